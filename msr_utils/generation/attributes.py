"""Musical attributes by which a generator is steered, and how they follow from an emotion.

Attributes of the near future need no label of emotion: every piece teaches a network to follow
them. A small regression on labelled music then says which attributes an emotion has. The two stages
are those of Kang and others (2023), "EmoGen: eliminating subjective bias in emotional music
generation", arXiv:2307.01229. There, the attributes are those near the centre of a cluster
of labelled pieces. Here, a linear model with normal residuals gives them, so that every place in
the plane has some, they change smoothly along a curve, and no clip is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from msr_utils.notes import Notes
from msr_utils.symbolic.statistics import CHORD_S, key_strengths

NAMES = (
    "density",
    "pitch",
    "pitch spread",
    "velocity",
    "length",
    "chord size",
    "dissonance",
    "mode",
    "clarity",
)
"""Logarithm of notes per second; mean and standard deviation of pitch; mean velocity; mean
logarithm of lengths; notes that start together; share of seconds and tritones in chords; best
correlation with a major key minus that with a minor key; best correlation with any key."""

MODE = NAMES.index("mode")
PITCH_ATTRIBUTE = NAMES.index("pitch")

AHEAD_S = 4.0
"""Attributes are those of the notes that start within this time from now on."""

KEY_BEFORE_S, KEY_AHEAD_S = 4.0, 8.0
"""The key is that of the notes in this window around now: harmony is slower than rhythm."""

MIN_NOTES = 4
"""A window with fewer notes is made longer."""

LIMIT = 2.5
"""Largest attribute that is asked for, in standard deviations."""

N_KEYS = 24
"""12 major keys from C on, then 12 minor keys."""

_DISSONANT = np.isin(np.arange(12), (1, 2, 6, 10, 11))


@dataclass(frozen=True, eq=False)
class LocalAttributes:
    """Attributes and key at some times.

    Parameters
    ----------
    values : np.ndarray [shape=(T, A)]
        In the order of `NAMES`.
    keys : np.ndarray [shape=(T,), dtype=int]
        0 to 23.
    """

    values: np.ndarray
    keys: np.ndarray


def local_attributes(notes: Notes, times_s: np.ndarray) -> LocalAttributes:
    """Attributes of a piece around given times.

    Parameters
    ----------
    notes : Notes
        At least one.
    times_s : np.ndarray [shape=(T,)]
    """
    start = notes.start_s
    # Near the end, the window is the last one that fits.
    now = np.minimum(times_s, max(start[-1] - AHEAD_S, start[0]))
    first = np.searchsorted(start, now)
    last = np.maximum(np.searchsorted(start, now + AHEAD_S), first + MIN_NOTES).clip(max=len(start))
    first = np.minimum(first, np.maximum(last - MIN_NOTES, 0))
    count = last - first

    def mean(values: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray((total[last] - total[first]) / count)

    pitch = notes.pitch.astype(float)
    new = np.diff(start, prepend=-np.inf) > CHORD_S
    # Interval of each note to the one before it, where both are of one chord.
    together = np.concatenate([[False], ~new[1:]])
    dissonant = together & _DISSONANT[np.abs(np.diff(notes.pitch, prepend=notes.pitch[:1])) % 12]
    seconds = np.maximum(start[last - 1] - start[first], AHEAD_S)
    average = mean(pitch)
    strengths = key_strengths(_profiles(notes, now))
    major, minor = strengths[:, :12].max(axis=1), strengths[:, 12:].max(axis=1)
    columns = (
        np.log(count / seconds),
        average,
        np.sqrt(np.maximum(mean(pitch**2) - average**2, 0)),
        mean(notes.velocity.astype(float)),
        mean(np.log(notes.length_s.clip(0.02))),
        1 / np.maximum(mean(new.astype(float)), 0.1),
        mean(dissonant.astype(float)),
        major - minor,
        np.maximum(major, minor),
    )
    return LocalAttributes(np.stack(columns, axis=1), strengths.argmax(axis=1))


def _profiles(notes: Notes, now: np.ndarray) -> np.ndarray:
    """Pitch classes around each time, weighted by duration, (T, 12)."""
    weight = np.zeros((len(notes) + 1, 12))
    weight[np.arange(len(notes)) + 1, notes.pitch % 12] = notes.length_s.clip(max=AHEAD_S)
    total = weight.cumsum(axis=0)
    first = np.searchsorted(notes.start_s, now - KEY_BEFORE_S)
    last = np.searchsorted(notes.start_s, now + KEY_AHEAD_S)
    return total[np.maximum(last, first + 1).clip(max=len(notes))] - total[first]


def _place_terms(valence: np.ndarray, arousal: np.ndarray) -> np.ndarray:
    """Inputs of the regression, (T, 4)."""
    return np.stack([np.ones_like(valence), valence, arousal, valence * arousal], axis=-1)


@dataclass(frozen=True, eq=False)
class AttributeModel:
    """Attributes that music of an emotion has: a linear model with normal residuals.

    Parameters
    ----------
    mean, sd : np.ndarray [shape=(A,)]
        Of all music that the generator was trained on; they standardise the attributes.
    coefficients : np.ndarray [shape=(4, A)]
        Of 1, valence, arousal and their product; they give standardised attributes.
    covariance : np.ndarray [shape=(A, A)]
        Of the residuals.
    """

    mean: np.ndarray
    sd: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(
        cls,
        mean: np.ndarray,
        sd: np.ndarray,
        values: np.ndarray,
        valence: np.ndarray,
        arousal: np.ndarray,
        other_style: np.ndarray,
    ) -> Self:
        """Fit by least squares.

        Parameters
        ----------
        mean, sd : np.ndarray [shape=(A,)]
        values : np.ndarray [shape=(T, A)]
            Attributes of labelled windows, not standardised.
        valence, arousal : np.ndarray [shape=(T,)]
        other_style : np.ndarray [shape=(T,), dtype=bool]
            Windows of another kind of music. They have a constant of their own, which is not kept.
        """
        target = (values - mean) / sd
        terms = _place_terms(valence, arousal)
        terms = np.concatenate([terms, other_style[:, None].astype(float)], axis=1)
        coefficients = np.linalg.lstsq(terms, target, rcond=None)[0]
        residual = target - terms @ coefficients
        return cls(mean, sd, coefficients[:-1], residual.T @ residual / len(residual))

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Attributes (T, A) in standard deviations."""
        return np.asarray((values - self.mean) / self.sd)

    def residual(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one residual (A,)."""
        values, vectors = np.linalg.eigh(self.covariance)
        return np.asarray(vectors @ (np.sqrt(values.clip(0)) * rng.standard_normal(len(values))))

    def wanted(self, valence: float, arousal: float, residual: np.ndarray) -> np.ndarray:
        """Standardised attributes (A,) for a place in the plane."""
        terms = _place_terms(np.asarray(valence), np.asarray(arousal))
        return np.asarray((terms @ self.coefficients + residual).clip(-LIMIT, LIMIT))

    def is_major(self, standardised: np.ndarray) -> bool:
        """Whether standardised attributes (A,) are those of a major key."""
        return bool(standardised[MODE] * self.sd[MODE] + self.mean[MODE] > 0)

    def to_json(self) -> dict[str, Any]:
        """As lists of numbers."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self._shapes()}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError
            If an array is missing or has another shape.
        """
        if not isinstance(stored, Mapping):
            raise ValueError("attributes: must be an object")
        arrays = {}
        for name, shape in cls._shapes().items():
            try:
                array = np.array(stored[name], np.float64)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"attributes: {name!r} must be numbers") from error
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"attributes: {name!r} must be {shape} finite numbers")
            arrays[name] = array
        return cls(**arrays)

    @staticmethod
    def _shapes() -> dict[str, tuple[int, ...]]:
        n = len(NAMES)
        return {"mean": (n,), "sd": (n,), "coefficients": (4, n), "covariance": (n, n)}
