"""What a listener likes: a ridge regression on their likes, skips and ratings.

It has one weight for each dimension of how a track sounds and for its mean valence and arousal. A
few ratings move it only a little: the penalty draws all weights to zero, which is indifference.
The dual form says how much each rated track adds to a prediction, so every prediction can be
explained. Nothing leaves the library's folder, and all of it can be listed and deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msr_utils.least_squares import solve_normal_equations
from msr_utils.library.catalogue import audio_key
from msr_utils.library.library import View
from msr_utils.library.records import Preference
from msr_utils.library.shards import UsageError
from msr_utils.library.similarity import similarity_of

PENALTY = 1.0
"""Ridge penalty. The features of a track have a length of about 1, so one rating moves the
prediction for the same track half of the way."""

MOOD_SCALE = 0.3
"""Valence and arousal are divided by this: about their deviation between tracks."""

MOOD_WEIGHT = 0.5
"""Length of the mood features beside the sound features, which have length 1."""

LIKE, SKIP = 1.0, -1.0
"""Values of a like and a skip. Stars from 1 to 5 lie between -1 and 1."""


def value_of_stars(stars: float) -> float:
    """Stars from 1 to 5 as a value in [-1, 1].

    Raises
    ------
    LibraryError
        If there are fewer or more stars, or they are no number.
    """
    if not 1 <= stars <= 5:
        raise UsageError(f"library: stars must lie between 1 and 5, not {stars:g}")
    return (stars - 3) / 2


@dataclass(frozen=True)
class PreferenceModel:
    """A fitted model of one listener.

    Parameters
    ----------
    rated : tuple of Preference
        What the listener said about tracks that are in the library.
    rows : np.ndarray [shape=(n,)]
        Their rows.
    dual : np.ndarray [shape=(n,)]
        Weight of each rated track.
    features : np.ndarray [shape=(n, D + 2)]
    """

    rated: tuple[Preference, ...]
    rows: np.ndarray
    dual: np.ndarray
    features: np.ndarray

    def predict(self, view: View, rows: np.ndarray) -> np.ndarray:
        """Predicted preference of some rows, about [-1, 1]; 0 is indifference."""
        weights = self.dual @ self.features
        result = np.zeros(len(rows))
        for start in range(0, len(rows), 65_536):
            part = slice(start, start + 65_536)
            result[part] = features(view, rows[part]) @ weights
        return result

    def contributions(self, view: View, row: int) -> np.ndarray:
        """What each rated track adds to the prediction of a row; they sum to it. (n,)"""
        result: np.ndarray = self.dual * (self.features @ features(view, np.array([row]))[0])
        return result

    @property
    def mood_weights(self) -> tuple[float, float]:
        """How the prediction changes with one unit of valence and of arousal."""
        weights = (self.dual @ self.features)[-2:] * MOOD_WEIGHT / MOOD_SCALE
        return float(weights[0]), float(weights[1])


def features(view: View, rows: np.ndarray) -> np.ndarray:
    """Features of tracks: how they sound, then their mood; (n, D + 2)."""
    sound = similarity_of(view).vectors(rows)
    mood = np.stack([view.numbers(f"mean_{t}")[rows] for t in ("valence", "arousal")], axis=1)
    return np.concatenate([sound, mood / MOOD_SCALE * MOOD_WEIGHT], axis=1).astype(np.float64)


def fit(view: View, preferences: list[Preference]) -> PreferenceModel | None:
    """Fit a listener's model; None if nothing that they rated is in the library."""
    by_key = {audio_key(one.audio): one for one in preferences}
    here = np.flatnonzero(np.isin(view.audio_keys, np.array([*by_key], np.int64)) & view.visible)
    # Of several files with the same audio, one is enough.
    _, first = np.unique(view.audio_keys[here], return_index=True)
    rows = here[first]
    if not len(rows):
        return None
    rated = tuple(by_key[int(key)] for key in view.audio_keys[rows])
    known = features(view, rows)
    values = np.array([one.value for one in rated])
    dual = solve_normal_equations(known @ known.T, values, PENALTY)
    return PreferenceModel(rated, rows, dual, known)
