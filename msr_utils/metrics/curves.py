"""True and predicted curves, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from msr_utils.io import atomic_path


@dataclass(frozen=True)
class Curve:
    """True and predicted values of one target over the frames of one song that count.

    Parameters
    ----------
    times_s, true, predicted : np.ndarray [shape=(T,)]
    """

    times_s: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


Predictions = Mapping[str, Curve]
"""Song id to curve."""


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions to an ``.npz`` file, atomically."""
    arrays: dict[str, Any] = {
        "ids": np.array(list(predictions)),
        "lengths": np.array([len(c.true) for c in predictions.values()]),
    }
    for name in ("times_s", "true", "predicted"):
        arrays[name] = np.concatenate([getattr(c, name) for c in predictions.values()])
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_predictions(path: Path) -> dict[str, Curve]:
    """Read what `save_predictions` wrote."""
    with np.load(path) as stored:
        ends = np.cumsum(stored["lengths"])[:-1]
        parts = [np.split(stored[name], ends) for name in ("times_s", "true", "predicted")]
        return {str(i): Curve(*curve) for i, *curve in zip(stored["ids"], *parts, strict=True)}


def mean_curves(members: Sequence[Predictions]) -> dict[str, Curve]:
    """The mean of several models' predictions of the same tracks and frames."""
    return {
        i: replace(curve, predicted=np.mean([m[i].predicted for m in members], axis=0))
        for i, curve in members[0].items()
    }
