"""What is kept of a curve: a byte for each value, and the numbers that searches read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from msr_utils.affect import QUADRANTS
from msr_utils.constants import FRAME_RATE_HZ, SCALE, TARGETS

LEVELS = 255
"""Steps between -1 and 1 of a stored value. One step is 0.008, far below any interval."""

SEGMENT_FRAMES = 10 * FRAME_RATE_HZ
"""Frames in a segment of 10 s."""

END_SEGMENTS = 2
"""Segments at the beginning and at the end of a track that tell how it begins and ends: 20 s."""

Z_COVERAGE = 1.6448536269514722
"""Standard deviations to each side that an interval reaches. Intervals are meant to cover 90 % of
frames, see the cards; normal errors do so within this distance."""

QUARTILES = (0.25, 0.5, 0.75)

COLUMNS = (
    "mean_valence", "mean_arousal",
    "sd_valence", "sd_arousal",
    "q25_valence", "q50_valence", "q75_valence",
    "q25_arousal", "q50_arousal", "q75_arousal",
    "share_Q1", "share_Q2", "share_Q3", "share_Q4",
    "start_valence", "start_arousal", "end_valence", "end_arousal",
    "half_width_valence", "half_width_arousal",
    "certainty", "silent", "seconds", "year", "tempo",
)  # fmt: skip
"""Numbers of a track. Half-widths are those of the intervals. Certainty is the probability that
the quadrant of the mean is right. Year and tempo come from tags; NaN is unknown."""


@dataclass(frozen=True)
class TrackArrays:
    """Everything about a track that is kept in shards.

    Parameters
    ----------
    numbers : np.ndarray [shape=(len(COLUMNS),), dtype=float32]
    embedding : np.ndarray [shape=(D,), dtype=float16]
    curve : np.ndarray [shape=(T, 2), dtype=uint8]
        (valence, arousal) of each frame, see `to_bytes`.
    """

    numbers: np.ndarray
    embedding: np.ndarray
    curve: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the track."""
        return float(self.numbers[COLUMNS.index("seconds")])

    def packed(self) -> bytes:
        """All arrays in one piece, for `unpacked`."""
        file = io.BytesIO()
        np.savez(file, numbers=self.numbers, embedding=self.embedding, curve=self.curve)
        return file.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> TrackArrays:
        """Read what `packed` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(arrays["numbers"], arrays["embedding"], arrays["curve"])

    def with_numbers(self, values: Mapping[str, float | None]) -> TrackArrays:
        """The same with other numbers in some columns; None is unknown."""
        numbers = self.numbers.copy()
        for name, value in values.items():
            numbers[COLUMNS.index(name)] = np.nan if value is None else value
        return TrackArrays(numbers, self.embedding, self.curve)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as bytes."""
    return np.round((np.asarray(values) + 1) * (LEVELS / 2)).astype(np.uint8)


def from_bytes(stored: np.ndarray) -> np.ndarray:
    """What `to_bytes` stored, as float32 to half a step."""
    return np.asarray(stored, np.float32) * np.float32(2 / LEVELS) - np.float32(1)


def segments(curve: np.ndarray) -> np.ndarray:
    """Means of segments of 10 s.

    Parameters
    ----------
    curve : np.ndarray [shape=(T, 2), dtype=uint8]

    Returns
    -------
    np.ndarray [shape=(ceil(T / SEGMENT_FRAMES), 2), dtype=uint8]
        The last segment may be shorter.
    """
    starts = np.arange(0, len(curve), SEGMENT_FRAMES)
    sums = np.add.reduceat(curve, starts, axis=0, dtype=np.uint32)
    lengths = np.diff([*starts, len(curve)])
    return np.round(sums / lengths[:, None]).astype(np.uint8)


def summarise(
    curve: np.ndarray,
    half_widths: Mapping[str, float],
    seconds: float,
    silent: bool = False,
    year: float | None = None,
    tempo: float | None = None,
) -> np.ndarray:
    """The numbers of a track.

    Parameters
    ----------
    curve : np.ndarray [shape=(T, 2)]
        (valence, arousal) in [-1, 1].
    half_widths : mapping of str to float
        Half-width of the interval by target. A missing one is taken as 0.
    seconds : float
    silent : bool
        True if there was nothing to hear.
    year, tempo : float, optional

    Returns
    -------
    np.ndarray [shape=(len(COLUMNS),), dtype=float32]
    """
    known = {
        "silent": float(silent),
        "seconds": seconds,
        "year": np.nan if year is None else year,
        "tempo": np.nan if tempo is None else tempo,
    }
    return summarise_many(curve[None], half_widths, known)[:, 0]


def summarise_many(
    curves: np.ndarray, half_widths: Mapping[str, float], known: Mapping[str, Any]
) -> np.ndarray:
    """The numbers of tracks of one length.

    Parameters
    ----------
    curves : np.ndarray [shape=(n, T, 2)]
    half_widths : mapping of str to float
    known : mapping of str to float or np.ndarray [shape=(n,)]
        Columns that do not come from the curve: silent, seconds, year and tempo.

    Returns
    -------
    np.ndarray [shape=(len(COLUMNS), n), dtype=float32]
    """
    ends = END_SEGMENTS * SEGMENT_FRAMES
    # Sums along the last axis are much faster.
    by_target = np.ascontiguousarray(np.moveaxis(curves, 2, 1))
    mean = by_target.mean(axis=2)
    widths = [half_widths.get(target, 0.0) for target in TARGETS]
    values: dict[str, Any] = dict(known)
    parts = {
        "mean": mean,
        "sd": by_target.std(axis=2),
        "start": by_target[..., :ends].mean(axis=2),
        "end": by_target[..., -ends:].mean(axis=2),
        "half_width": np.broadcast_to(widths, mean.shape),
    }
    for percent, quantile in zip(
        (25, 50, 75), np.quantile(by_target, QUARTILES, axis=2), strict=True
    ):
        parts[f"q{percent}"] = quantile
    for name, part in parts.items():
        for k, target in enumerate(TARGETS):
            values[f"{name}_{target}"] = part[:, k]
    valence, arousal = by_target[:, 0] >= 0, by_target[:, 1] >= 0
    for q in QUADRANTS:
        inside = (valence == q.valence_positive) & (arousal == q.arousal_positive)
        values[f"share_{q.name}"] = inside.mean(axis=1)
    values["certainty"] = certainty(mean, widths)
    rows = [np.broadcast_to(values[name], (len(curves),)) for name in COLUMNS]
    return np.stack(rows).astype(np.float32)


def certainty(mean: np.ndarray, half_widths: Sequence[float]) -> np.ndarray:
    """Probability that the quadrant of a mean is right.

    The errors of valence and arousal are taken as independent and normal, with the standard
    deviation that the interval implies.

    Parameters
    ----------
    mean : np.ndarray [shape=(n, 2)]
    half_widths : sequence of two floats

    Returns
    -------
    np.ndarray [shape=(n,)]
    """
    sigma = np.maximum(np.array(half_widths) / Z_COVERAGE, 1e-6)
    result: np.ndarray = np.prod(ndtr(np.abs(mean) / sigma), axis=1)
    return result


def interval(mean: float, half_width: float) -> tuple[float, float]:
    """Ends of the interval around a mean, within the scale."""
    return max(mean - half_width, SCALE[0]), min(mean + half_width, SCALE[1])
