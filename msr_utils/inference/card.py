"""The card of a bundle: what the model is, what it was trained on, and how well it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self

from msr_utils.constants import TARGETS
from msr_utils.io import plain
from msr_utils.metrics.estimate import Estimate

KINDS = ("recurrent", "frame", "window")
"""How a network sees time. "recurrent": it carries a state from frame to frame. "frame": it maps
each frame alone, and the features hold the past. "window": it needs a whole window at once."""

Estimates = Mapping[str, Mapping[str, Estimate]]


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
    """

    kind: str
    targets: tuple[str, ...] = TARGETS
    parameters: int
    feature_hash: str
    model_sha256: str
    state_shape: tuple[int, int] | None = None
    max_frames: int | None = None
    parity_max_difference: float = math.nan

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is unknown; known: {', '.join(KINDS)}")
        needed = {"recurrent": "state_shape", "window": "max_frames"}.get(self.kind)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"{needed}: is missing, a {self.kind} network needs it")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read a card; fields of newer versions are ignored.

        Raises
        ------
        ValueError
            If fields are missing or do not fit; they are named.
        """
        missing = [name for name in _required(cls) if name not in stored]
        if missing:
            raise ValueError(f"missing: {', '.join(missing)}")
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        try:
            for name in ("metrics", "quadrants"):
                values[name] = {
                    key: {metric: Estimate.from_json(value) for metric, value in own.items()}
                    for key, own in values.get(name, {}).items()
                }
            values["margins"] = {t: float(v) for t, v in values.get("margins", {}).items()}
            for name in ("limits", "targets", "state_shape"):
                if values.get(name) is not None:
                    values[name] = tuple(values[name])
        except (AttributeError, TypeError) as error:
            raise ValueError(f"a field has another form than expected ({error})") from error
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The card as JSON holds it, without the fields that this kind of model has not."""
        required = _required(type(self))
        return {
            name: value
            for name, value in plain(self).items()
            if name in required or value not in (None, {})
        }


def _required(cls: type) -> list[str]:
    """Fields of a dataclass that have no default."""
    return [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
