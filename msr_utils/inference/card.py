"""The card of a bundle: what the model is, what it was trained on, and how well it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any, Self

from msr_utils.constants import TARGETS
from msr_utils.io import plain
from msr_utils.metrics.estimate import Estimate
from msr_utils.paths import MODELS_DIR

KINDS = ("recurrent", "frame", "window")
"""How a network sees time. "recurrent": it carries a state from frame to frame. "frame": it maps
each frame alone, and the features hold the past. "window": it needs a whole window at once."""

Estimates = Mapping[str, Mapping[str, Estimate]]


PREFERRED = ("full", "light")
"""Default bundles: the first that is installed with its pretrained weights is used. They come
first because they were trained on more than one kind of music."""

VERSION_DIGITS = 12
"""Hexadecimal digits of a bundle's version."""


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


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What the author of a bundle says about it.

    Parameters
    ----------
    name, title, summary : str
    protocol : str
        How the scores were measured.
    trained_on, licence : str
        Titles of the training corpora, and what the weights may be used for.
    corpus_hash : str
        Content hashes of the training corpora.
    metrics : mapping of target to metric to Estimate
    margins : mapping of target to float
        Half-widths of the intervals of predicted curves; empty: the model gives none.
    setting : mapping of str to float
        Weights of the training loss.
    quadrants : mapping of corpus to metric to Estimate
        Scores on clips of a known quadrant.
    coverage : mapping
        ``wanted`` and ``reached[target][corpus]``: share of frames inside the intervals.
    limits : tuple of str
        What a user must know before trusting a curve.
    """

    name: str
    title: str
    summary: str
    protocol: str
    trained_on: str
    licence: str
    corpus_hash: str
    metrics: Estimates
    margins: Mapping[str, float] = field(default_factory=dict)
    setting: Mapping[str, float] = field(default_factory=dict)
    quadrants: Estimates = field(default_factory=dict)
    coverage: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelCard(ModelDescription):
    """A description with what the export found out.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    targets : tuple of str
        What the columns of the output are.
    parameters : int
        Weights of the network, normalisation included.
    feature_hash, model_sha256 : str
        Of ``features.json`` and ``model.onnx`` beside the card.
    state_shape : tuple of int, optional
        Rows and width of the state; of a recurrent network.
    max_frames : int, optional
        Longest input; of a network that sees a window.
    parity_max_difference : float
        Largest difference between the outputs of Keras and ONNX.
    extra : mapping
        Other fields. They are kept when a card is read and written.
    """

    kind: str
    targets: tuple[str, ...] = TARGETS
    parameters: int | None = None
    feature_hash: str
    model_sha256: str
    state_shape: tuple[int, int] | None = None
    max_frames: int | None = None
    parity_max_difference: float = math.nan
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Start of the SHA-256 of the network, `VERSION_DIGITS` long."""
        return self.model_sha256[:VERSION_DIGITS]

    @property
    def is_causal(self) -> bool:
        """True if the model can follow a live stream: no value needs later frames."""
        return self.kind != "window"

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Check and read the content of a ``card.json``.

        Raises
        ------
        CardError
            If a field is missing or wrong; its `field` is the key.
        """
        if not isinstance(stored, Mapping):
            raise CardError("card: must be an object with fields")
        for name in REQUIRED:
            if name not in stored:
                raise CardError(f"card: the field {name!r} is missing", name)
        for name, (words, is_right) in _CHECKS.items():
            if name in stored and not is_right(stored[name]):
                raise CardError(
                    f"card: the field {name!r} must be {words}, not {stored[name]!r}", name
                )
        kind = stored["kind"]
        if kind not in KINDS:
            raise CardError(f"card: kind {kind!r} is unknown; known: {', '.join(KINDS)}", "kind")
        needed = {"recurrent": "state_shape", "window": "max_frames"}.get(kind)
        if needed and needed not in stored:
            raise CardError(
                f"card: the field {needed!r} is missing; kind {kind!r} needs it", needed
            )
        values: dict[str, Any] = dict.fromkeys(TEXTS, "") | {"metrics": {}}
        values |= {name: _read(name, value) for name, value in stored.items() if name in _CHECKS}
        return cls(**values, extra={k: v for k, v in stored.items() if k not in _CHECKS})

    def to_json(self) -> dict[str, Any]:
        """The card as JSON holds it, without the fields that this kind of model does not have."""
        # Field by field: `plain` of the card would call this method again.
        values: dict[str, Any] = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        extra = values.pop("extra")
        present = {k: v for k, v in values.items() if v not in (None, "", {}, [])}
        return present | dict(extra)


REQUIRED = ("name", "kind", "model_sha256", "feature_hash")
"""Fields without which a bundle cannot be loaded."""

TEXTS = ("title", "summary", "protocol", "trained_on", "licence", "corpus_hash")


def _read(name: str, value: Any) -> Any:
    """A field of JSON as the dataclass holds it."""
    if name in ("metrics", "quadrants"):
        return {
            key: {metric: Estimate.from_json(score) for metric, score in scores.items()}
            for key, scores in value.items()
        }
    return tuple(value) if isinstance(value, list) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(check, value))


def _is_object_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(check, value.values()))


def _is_estimate(value: Any) -> bool:
    return isinstance(value, Mapping) and {"value", "low", "high"} <= set(value)


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys((*REQUIRED, *TEXTS), ("a text", _is_text)),
    **dict.fromkeys(("limits", "targets"), ("a list of texts", _is_list_of(_is_text))),
    **dict.fromkeys(("parameters", "max_frames"), ("a positive whole number", _is_count)),
    **dict.fromkeys(
        ("metrics", "quadrants"),
        ("an object of objects of value, low and high", _is_object_of(_is_object_of(_is_estimate))),
    ),
    **dict.fromkeys(("margins", "setting"), ("an object of numbers", _is_object_of(_is_number))),
    "coverage": ("an object", lambda value: isinstance(value, Mapping)),
    "state_shape": ("a list of positive whole numbers", _is_list_of(_is_count)),
    "parity_max_difference": ("a number", _is_number),
}
"""Known fields of ``card.json``: what each must be, in words and as a check."""


def available(models_dir: str | Path = MODELS_DIR) -> list[str]:
    """Names of the bundles in a folder, sorted."""
    return sorted(path.parent.name for path in Path(models_dir).glob("*/card.json"))
