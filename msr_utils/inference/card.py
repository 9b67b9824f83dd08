"""The card of a bundle: what was trained on which data, how well, and with which limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

from msr_utils.constants import TARGETS

KINDS = ("recurrent", "frame", "window")
"""Kinds of networks: ``recurrent`` networks carry a state from frame to frame; ``frame`` networks
need none, because all memory is in the features; ``window`` networks take a whole window."""


class CardError(ValueError):
    """A card with a missing or wrong field.

    Parameters
    ----------
    message : str
    field : str
        Key of the card.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class ModelCard:
    """Card of a bundle.

    Parameters
    ----------
    name : str
        Name of the bundle.
    kind : str
        One of `KINDS`.
    model_sha256 : str
        SHA-256 of ``model.onnx``.
    feature_hash : str
        Hash of the features, see `msr_utils.features.config.FeatureConfig.hash`.
    title, summary, protocol, trained_on, licence, corpus_hash : str
        Texts for readers, and the hash of the training data.
    metrics : mapping
        Target -> metric -> ``value, low, high``.
    margins : mapping of str to float
        Half-width of each target's interval; empty if the model gives none.
    limits : tuple of str
        Known limits, a sentence each.
    targets : tuple of str
        Order of the network's outputs.
    parameters : int, optional
        Number of weights.
    parity_max_difference : float, optional
        Largest difference between the outputs of the ONNX graph and of the trained network.
    state_shape : (int, int), optional
        Shape of the state that a recurrent network carries.
    max_frames : int, optional
        Longest input of a ``window`` network in frames.
    extra : mapping
        Other fields. They are kept when a card is read and written.
    """

    name: str
    kind: str
    model_sha256: str
    feature_hash: str
    title: str = ""
    summary: str = ""
    protocol: str = ""
    trained_on: str = ""
    licence: str = ""
    corpus_hash: str = ""
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    targets: tuple[str, ...] = TARGETS
    parameters: int | None = None
    parity_max_difference: float | None = None
    state_shape: tuple[int, ...] | None = None
    max_frames: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Any) -> ModelCard:
        """Check and read the content of a ``card.json``.

        Raises
        ------
        CardError
            If a field is missing or wrong; `field` is its key.
        """
        if not isinstance(values, Mapping):
            raise CardError("card: must be an object with fields")
        for name in ("name", "kind", "model_sha256", "feature_hash"):
            if name not in values:
                raise CardError(f"card: the field {name!r} is missing", name)
        for name, (words, is_right) in _CHECKS.items():
            if name in values and not is_right(values[name]):
                raise CardError(
                    f"card: the field {name!r} must be {words}, not {values[name]!r}", name
                )
        if values["kind"] not in KINDS:
            raise CardError(
                f"card: kind {values['kind']!r} is unknown; known: {', '.join(KINDS)}", "kind"
            )
        needed = {"recurrent": "state_shape", "window": "max_frames"}.get(values["kind"])
        if needed and needed not in values:
            raise CardError(
                f"card: the field {needed!r} is missing; kind {values['kind']!r} needs it", needed
            )
        known = {name: _frozen(values[name]) for name in _CHECKS if name in values}
        return cls(**known, extra={k: v for k, v in values.items() if k not in _CHECKS})

    def to_json(self) -> dict[str, Any]:
        """The card as plain values. Fields that are empty and not needed are left out."""
        values: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "targets" or (f.name != "extra" and value not in (None, "", (), {})):
                values[f.name] = list(value) if isinstance(value, tuple) else value
        return values | dict(self.extra)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(check, value))


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("name", "kind", "model_sha256", "feature_hash", "title", "summary", "protocol")
        + ("trained_on", "licence", "corpus_hash"),
        ("a text", _is_text),
    ),
    **dict.fromkeys(("limits", "targets"), ("a list of texts", _is_list_of(_is_text))),
    **dict.fromkeys(("parameters", "max_frames"), ("a positive whole number", _is_count)),
    "state_shape": ("a list of positive whole numbers", _is_list_of(_is_count)),
    "parity_max_difference": ("a number", _is_number),
    "metrics": ("an object", lambda value: isinstance(value, Mapping)),
    "margins": (
        "an object of numbers",
        lambda value: isinstance(value, Mapping) and all(map(_is_number, value.values())),
    ),
}
"""Field -> words for its type, and its check."""
