"""The card of a generator: what it is, what it was trained on, how it draws notes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Self

from msr_utils.generation.attributes import AttributeModel
from msr_utils.generation.condition import EMOTION, KEY, MUSIC, STYLES
from msr_utils.inference.card import CardError
from msr_utils.io import plain

KINDS = ("lstm", "gpt")

TOLD = {"all": (), "emotion": (MUSIC,), "attributes": (EMOTION,), "nothing": (EMOTION, MUSIC, KEY)}
"""What a network is told of the wanted emotion -> parts of the condition that are left out."""


@dataclass(frozen=True)
class Decoding:
    """How notes are drawn. All were chosen without the judges that the card reports.

    Parameters
    ----------
    guidance : float >= 0
        Weight of the wanted emotion and attributes: logits without them, plus so many times what
        they change (Ho and Salimans 2022, "Classifier-free diffusion guidance"). 1 is no guidance.
    gain : float > 0
        Factor of valence and arousal before the attributes are looked up. Labels are noisy, so that
        a regression on them understates how attributes differ.
    spread : float >= 0
        Factor of the residual of the attributes. Less than 1 gives more typical music.
    top_p : float in (0, 1]
        See `msr_utils.generation.sampling.draw`.
    style : int
        Kind of music that is asked for, a place in `msr_utils.generation.condition.STYLES`.
    told : str
        One of `TOLD`. All but "all" are for controls.
    """

    guidance: float = 1.0
    gain: float = 1.0
    spread: float = 0.5
    top_p: float = 0.95
    style: int = 0
    told: str = "all"

    def __post_init__(self) -> None:
        limits = {"guidance": (0, 10), "gain": (0, 10), "spread": (0, 2), "top_p": (0.01, 1)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                raise CardError(
                    f"decoding: {name!r} must lie in [{low}, {high}], not {value!r}", "decoding"
                )
        if self.told not in TOLD:
            raise CardError(f"decoding: 'told' must be one of {', '.join(TOLD)}", "decoding")
        if not isinstance(self.style, int) or not 0 <= self.style < len(STYLES):
            raise CardError(
                f"decoding: 'style' must be below {len(STYLES)}, not {self.style!r}", "decoding"
            )


@dataclass(frozen=True)
class GeneratorCard:
    """Content of ``card.json``.

    Parameters
    ----------
    name, title, summary : str
    kind : str
        One of `KINDS`.
    model_sha256 : str
        Of ``model.onnx``.
    state_shape : tuple of int
        Of what the network carries from note to note; 0 stands for the batch.
    attributes : AttributeModel
    decoding : Decoding
    context : int
        Notes that a GPT sees at most; 0 for an LSTM.
    parameters : int
        Number of weights.
    trained_on, protocol, licence : str
    limits : tuple of str
    metrics : dict
        Measured figures by name; see the chapter on generation.
    parity_max_difference : float
        Largest difference between the trained network and ``model.onnx``.
    """

    name: str
    kind: str
    model_sha256: str
    state_shape: tuple[int, ...]
    attributes: AttributeModel
    decoding: Decoding = field(default_factory=Decoding)
    context: int = 0
    title: str = ""
    summary: str = ""
    parameters: int = 0
    trained_on: str = ""
    protocol: str = ""
    licence: str = ""
    limits: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parity_max_difference: float = 0.0

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
        for name in ("name", "kind", "model_sha256", "state_shape", "attributes"):
            if name not in stored:
                raise CardError(f"card: the field {name!r} is missing", name)
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        for name in (
            "name",
            "model_sha256",
            "title",
            "summary",
            "trained_on",
            "protocol",
            "licence",
        ):
            if not isinstance(values.get(name, ""), str):
                raise CardError(f"card: the field {name!r} must be a text", name)
        if values["kind"] not in KINDS:
            raise CardError(f"card: kind must be one of {', '.join(KINDS)}", "kind")
        for name in ("context", "parameters"):
            if not _is_count(values.get(name, 0)):
                raise CardError(f"card: the field {name!r} must be a whole number", name)
        shape = values["state_shape"]
        if not isinstance(shape, list) or len(shape) != 2 or not all(map(_is_count, shape)):
            raise CardError("card: state_shape must be two whole numbers", "state_shape")
        values["state_shape"] = tuple(shape)
        limits = values.get("limits", [])
        if not isinstance(limits, list) or not all(isinstance(limit, str) for limit in limits):
            raise CardError("card: limits must be a list of texts", "limits")
        values["limits"] = tuple(limits)
        if not isinstance(values.get("metrics", {}), Mapping):
            raise CardError("card: metrics must be an object", "metrics")
        try:
            values["attributes"] = AttributeModel.from_json(values["attributes"])
            values["decoding"] = Decoding(**values.get("decoding", {}))
        except TypeError as error:
            raise CardError(f"card: decoding has an unknown field ({error})", "decoding") from error
        except CardError:
            raise
        except ValueError as error:
            raise CardError(f"card: {error}", "attributes") from error
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The card as JSON holds it."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
