"""Playlists from mood to mood, scored on the curves of raters.

The library makes playlists from predicted curves. How well they follow the request, and how large
the jumps between tracks are, is measured on the raters' mean curves. One half of the raters scores
all playlists; the other half makes the best ones that can be expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_SECONDS, SCALE
from msr_utils.experiments.retrieval.arcs import (
    LOUDNESS,
    OTHER_RATERS,
    RANDOM,
    TRACK_MEAN,
    RatedPiece,
    half_means,
    loudness_curves,
    mean_curves_of,
    rated_pieces,
    view_of_curves,
)
from msr_utils.experiments.retrieval.held_out import HeldOutTrack
from msr_utils.experiments.retrieval.index import row_of
from msr_utils.experiments.retrieval.paired import (
    MethodScores,
    mean_samples,
    paired_scores,
    paired_table,
)
from msr_utils.library.library import View
from msr_utils.library.numbers import END_SEGMENTS, SEGMENT_FRAMES
from msr_utils.library.playlists import End, make_playlist, wanted_path
from msr_utils.library.words import ANGLES, STRENGTH, place
from msr_utils.metrics.bootstrap import N_BOOT, SEED

REQUESTS = 60
"""Playlists of each method."""

MINUTES = 20.0

APART = STRENGTH
"""Least distance between the two words of a request."""

RANDOM_ORDERS = 5
"""Random playlists for each request."""

METRICS = ("distance", "gap")
"""Mean distance of a track's beginning or end, the larger one, from the wanted place; mean distance
from the end of a track to the beginning of the next one. Both on the raters' curves."""


@dataclass(frozen=True)
class PathScores:
    """Scores of playlists.

    Parameters
    ----------
    pieces, requests : int
    minutes : float
    model : str
        The row that is compared with all others.
    scores : dict of method to metric to Estimate
        Lower is better.
    above : dict of method to metric to Estimate
        Paired differences: the model minus the method, on the same samples of requests.
    """

    pieces: int
    requests: int
    minutes: float
    model: str
    scores: MethodScores
    above: MethodScores


def requests_of(n: int, rng: np.random.Generator) -> list[tuple[End, End]]:
    """Requests from one mood word to another one that is not near it."""
    words = list(ANGLES)
    pairs = [
        (End(place(one), one), End(place(other), other))
        for one in words
        for other in words
        if np.hypot(*np.subtract(place(one), place(other))) >= APART
    ]
    return [pairs[k] for k in rng.choice(len(pairs), n, replace=n > len(pairs))]


def score_playlist(
    rows: Sequence[int],
    lengths: np.ndarray,
    curves: Sequence[np.ndarray],
    wanted: Callable[[np.ndarray], np.ndarray],
    total_s: float,
) -> tuple[float, float]:
    """Distance and gap of a playlist on given curves.

    Parameters
    ----------
    rows : sequence of int
        Tracks in their order.
    lengths : np.ndarray [shape=(N,)]
        Seconds of each track.
    curves : sequence of np.ndarray [shape=(n, 2)]
        Of each track.
    wanted : callable
        From shares of the time to places, see `msr_utils.library.playlists.wanted_path`.
    total_s : float
        Wanted length.
    """
    ends = END_SEGMENTS * SEGMENT_FRAMES
    begin = np.array([curves[row][:ends].mean(axis=0) for row in rows])
    end = np.array([curves[row][-ends:].mean(axis=0) for row in rows])
    after = np.cumsum([lengths[row] for row in rows])
    length = max(total_s, float(after[-1]))
    before = np.concatenate([[0.0], after[:-1]])
    away = [
        np.linalg.norm(places - wanted(np.clip(seconds / length, 0, 1)), axis=1)
        for places, seconds in ((begin, before), (end, after))
    ]
    gaps = np.linalg.norm(begin[1:] - end[:-1], axis=1)
    return float(np.maximum(*away).mean()), float(gaps.mean()) if len(gaps) else float("nan")


def random_rows(lengths: np.ndarray, total_s: float, rng: np.random.Generator) -> list[int]:
    """Tracks in random order until the wanted length is reached."""
    order = rng.permutation(len(lengths))
    reached = int(np.searchsorted(np.cumsum(lengths[order]), total_s)) + 1
    return order[:reached].tolist()


def evaluate_paths(
    models: Mapping[str, Sequence[HeldOutTrack]],
    n_requests: int = REQUESTS,
    minutes: float = MINUTES,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> PathScores:
    """Make playlists with every model and every baseline, and score them on raters' curves.

    Parameters
    ----------
    models : mapping of name to the same tracks
        The last one is compared with all other rows.
    n_requests : int > 0
    minutes : float > 0
    n_boot : int >= 0
        Samples of requests. They share the pieces, so the intervals say nothing about other
        libraries.
    seed : int

    Raises
    ------
    CorpusError
        If no track has ratings.
    """
    rng = np.random.default_rng(seed)
    pieces = {name: rated_pieces(tracks) for name, tracks in models.items()}
    *_, model = pieces
    own = pieces[model]
    halves = [half_means(piece, rng) for piece in own]
    requests = requests_of(n_requests, rng)
    views = {
        name: view_of_curves(own, [p.predicted for p in of_model])
        for name, of_model in pieces.items()
    } | {
        TRACK_MEAN: view_of_curves(own, mean_curves_of(own)),
        LOUDNESS: view_of_curves(own, loudness_curves(own)),
        OTHER_RATERS: view_of_curves(own, [one for one, _ in halves]),
    }
    scoring = [np.clip(other, *SCALE) for _, other in halves]
    found = {name: _follow(view, requests, minutes, scoring) for name, view in views.items()}
    found[RANDOM] = _random_scores(own, requests, minutes, scoring, rng)
    samples = mean_samples(found, n_boot, seed, np.nanmean)
    return PathScores(
        pieces=len(own),
        requests=n_requests,
        minutes=minutes,
        model=model,
        **vars(paired_scores(samples, model, METRICS)),
    )


def _follow(
    view: View, requests: Sequence[tuple[End, End]], minutes: float, scoring: Sequence[np.ndarray]
) -> np.ndarray:
    """Distance and gap of the library's playlist for each request, (n, 2)."""
    lengths = view.numbers("seconds").astype(float)
    scores = []
    for start, end in requests:
        steps = make_playlist(view, start, end, minutes).steps
        rows = [row_of(step.track) for step in steps]
        scores.append(
            score_playlist(rows, lengths, scoring, wanted_path("direct", start, end), minutes * 60)
        )
    return np.array(scores)


def _random_scores(
    pieces: Sequence[RatedPiece],
    requests: Sequence[tuple[End, End]],
    minutes: float,
    scoring: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """As `_follow`, of random playlists: the means over some for each request."""
    lengths = np.array([len(piece) * FRAME_SECONDS for piece in pieces])
    scores = []
    for start, end in requests:
        wanted = wanted_path("direct", start, end)
        lists = [random_rows(lengths, minutes * 60, rng) for _ in range(RANDOM_ORDERS)]
        several = [score_playlist(rows, lengths, scoring, wanted, minutes * 60) for rows in lists]
        scores.append(np.nanmean(several, axis=0))
    return np.array(scores)


def score_table(result: PathScores) -> pd.DataFrame:
    """Readable table: every row's scores, and how far the model lies from it."""
    return paired_table(result, dict.fromkeys(METRICS, ".2f"))
