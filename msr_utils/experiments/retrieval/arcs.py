"""Search by arc, tested on pieces whose raters' curves are known.

A query is the mean curve of half of a piece's raters over 30 s that begin at a random place. The
library searches it in the predicted curves of all pieces. It should find the piece, and in it the
place. No piece was predicted by a model that was trained on its series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS
from msr_utils.corpora.base import CorpusError, Track
from msr_utils.experiments.retrieval.held_out import HeldOutTrack, rated_frames
from msr_utils.experiments.retrieval.index import view_of
from msr_utils.experiments.retrieval.paired import (
    MethodScores,
    mean_samples,
    paired_scores,
    paired_table,
)
from msr_utils.library.arcs import Arc, find_excerpts
from msr_utils.library.library import View
from msr_utils.metrics.bootstrap import N_BOOT, SEED

ARC_SECONDS = 30.0
"""Length of a query."""

REPEATS = 4
"""Queries of each piece. Each has its own halves of the raters and its own place."""

RANDOM = "random order"
TRACK_MEAN = "track mean"
LOUDNESS = "loudness curve"
OTHER_RATERS = "the other raters"
EXCHANGED = "control: arcs of other pieces"
SHUFFLED = "control: arcs in shuffled time"
"""Names of rows."""

FORMATS = {"MRR": ".3f", "recall@10": ".3f", "offset error": ".1f"}
METRICS = tuple(FORMATS)
"""Mean reciprocal rank, share of queries whose piece is among the first ten, and seconds between
the place that was found in the piece and the right one."""

FIRST = 10


@dataclass(frozen=True)
class RatedPiece:
    """A piece with its raters' curves and all predictions, on the same frames.

    Parameters
    ----------
    held_out : HeldOutTrack
    ratings : np.ndarray [shape=(raters, n, 2)]
        Of the frames that have a label.
    predicted : np.ndarray [shape=(n, 2)]
    loudness : np.ndarray [shape=(n,)]
    mean : np.ndarray [shape=(n, 2)]
        Mean rating.
    """

    held_out: HeldOutTrack
    ratings: np.ndarray
    predicted: np.ndarray
    loudness: np.ndarray
    mean: np.ndarray

    def __len__(self) -> int:
        return len(self.predicted)


@dataclass(frozen=True)
class ArcQueries:
    """One query for each piece.

    Parameters
    ----------
    arcs : list of np.ndarray [shape=(L, 2)]
        Mean curves of half of the raters.
    starts : np.ndarray [shape=(N,), dtype=int]
        Their first frames.
    others : list of np.ndarray [shape=(n, 2)]
        Whole mean curves of the other halves.
    """

    arcs: list[np.ndarray]
    starts: np.ndarray
    others: list[np.ndarray]


@dataclass(frozen=True)
class ArcRetrieval:
    """Scores of searches by arc.

    Parameters
    ----------
    pieces : int
        That are long enough.
    too_short : int
    queries : int
    arc_seconds : float
    model : str
        The row that is compared with all others.
    scores : dict of method to metric to Estimate
        NaN where a method has no places.
    above : dict of method to metric to Estimate
        Paired differences: the model minus the method, on the same samples of pieces.
    """

    pieces: int
    too_short: int
    queries: int
    arc_seconds: float
    model: str
    scores: MethodScores
    above: MethodScores


def rated_pieces(tracks: Sequence[HeldOutTrack]) -> list[RatedPiece]:
    """Pieces with the ratings of at least two raters, on the frames that all data have.

    Raises
    ------
    CorpusError
        If no track has ratings.
    """
    pieces = []
    for held_out in tracks:
        track = held_out.track
        if track.ratings is None or len(track.ratings) < 2:
            continue
        index, labels = rated_frames(track, len(held_out.curve))
        pieces.append(
            RatedPiece(
                held_out,
                _on_frames(track, index),
                held_out.curve[index],
                held_out.loudness[index],
                labels,
            )
        )
    if not pieces:
        raise CorpusError("corpus: no track has the ratings of two raters; arcs need their curves")
    return pieces


def _on_frames(track: Track, index: np.ndarray) -> np.ndarray:
    """A track's ratings on some frames, (raters, n, 2)."""
    assert track.ratings is not None
    place = np.rint(track.times_s * FRAME_RATE_HZ).astype(int) - 1
    result: np.ndarray = track.ratings[:, np.searchsorted(place, index)]
    return result


def half_means(piece: RatedPiece, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean curves of two random halves of a piece's raters, (n, 2) each.

    Where nobody of a half has rated, the mean of all raters stands.
    """
    order = rng.permutation(len(piece.ratings))
    halves = []
    for part in np.array_split(order, 2):
        ratings = piece.ratings[part]
        known = np.isfinite(ratings)
        count = known.sum(axis=0)
        total = np.where(known, ratings, 0).sum(axis=0)
        halves.append(np.where(count > 0, total / np.maximum(count, 1), piece.mean))
    return halves[0], halves[1]


def arc_queries(pieces: Sequence[RatedPiece], frames: int, rng: np.random.Generator) -> ArcQueries:
    """A query of `frames` frames for each piece. Pieces must be as long at least."""
    halves = [half_means(piece, rng) for piece in pieces]
    starts = np.array([rng.integers(len(piece) - frames + 1) for piece in pieces])
    arcs = [one[at : at + frames] for (one, _), at in zip(halves, starts, strict=True)]
    return ArcQueries(arcs, starts, [other for _, other in halves])


def view_of_curves(pieces: Sequence[RatedPiece], curves: Sequence[np.ndarray]) -> View:
    """A library of pieces with these curves."""
    return view_of([p.held_out.indexed(c) for p, c in zip(pieces, curves, strict=True)])


def mean_curves_of(pieces: Sequence[RatedPiece]) -> list[np.ndarray]:
    """Predicted curves without their movement."""
    return [np.broadcast_to(p.predicted.mean(axis=0), p.predicted.shape) for p in pieces]


def loudness_curves(pieces: Sequence[RatedPiece]) -> list[np.ndarray]:
    """Least-squares fits of valence and arousal to loudness alone, each to the other folds."""
    fold = np.array([piece.held_out.fold for piece in pieces])
    inputs = [np.stack([np.ones(len(p)), p.loudness], axis=1) for p in pieces]
    weights = {}
    for k in np.unique(fold):
        others = np.flatnonzero(fold != k).tolist()
        x = np.concatenate([inputs[i] for i in others])
        y = np.concatenate([pieces[i].mean for i in others])
        weights[k] = np.linalg.lstsq(x, y, rcond=None)[0]
    return [x @ weights[k] for x, k in zip(inputs, fold, strict=True)]


def search_ranks(view: View, arcs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rank of every piece for every arc, and where in it the best excerpt begins.

    Returns
    -------
    ranks : np.ndarray [shape=(N, N), dtype=int]
        Of arc (row) and piece (column); the best is 1.
    starts : np.ndarray [shape=(N, N), dtype=int]
        First frames.
    """
    n = len(view)
    ranks, starts = np.zeros((len(arcs), n), int), np.zeros((len(arcs), n), int)
    for query, values in enumerate(arcs):
        found = find_excerpts(view, Arc(values), count=n)
        rows = [one.row for one in found]
        ranks[query, rows] = np.arange(1, len(found) + 1)
        starts[query, rows] = [one.start for one in found]
    return ranks, starts


def _scored(ranks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The metrics of each query, (N, 3)."""
    seconds = np.abs(offsets) * FRAME_SECONDS
    return np.stack([1 / ranks, ranks <= FIRST, seconds], axis=1).astype(float)


def by_chance(pieces: Sequence[RatedPiece], starts: np.ndarray, frames: int) -> np.ndarray:
    """Expected metrics of a random order of the pieces and a random place in each, (N, 3)."""
    n = len(pieces)
    ranks = np.arange(1, n + 1)
    offsets = [
        np.abs(np.arange(len(piece) - frames + 1) - at).mean()
        for piece, at in zip(pieces, starts, strict=True)
    ]
    expected = np.array([(1 / ranks).mean(), (ranks <= FIRST).mean()])
    return np.concatenate(
        [np.broadcast_to(expected, (n, 2)), FRAME_SECONDS * np.array(offsets)[:, None]], axis=1
    )


def _repeat(
    pieces: Mapping[str, Sequence[RatedPiece]], frames: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The metrics of one query for each piece, with every method: (N, 3) each."""
    *_, model = pieces
    own = pieces[model]
    queries = arc_queries(own, frames, rng)
    curves = {name: [p.predicted for p in of_model] for name, of_model in pieces.items()}
    curves |= {
        TRACK_MEAN: mean_curves_of(own),
        LOUDNESS: loudness_curves(own),
        OTHER_RATERS: queries.others,
    }
    right = np.arange(len(own))
    scores = {}
    for name, of_method in curves.items():
        ranks, starts = search_ranks(view_of_curves(own, of_method), queries.arcs)
        scores[name] = _scored(ranks[right, right], starts[right, right] - queries.starts)
        if name == model:
            # A cycle over all pieces: none keeps its own arc.
            order = rng.permutation(len(own))
            wrong = np.empty_like(order)
            wrong[order] = np.roll(order, 1)
            scores[EXCHANGED] = _scored(ranks[right, wrong], np.full(len(own), np.nan))
    scores[TRACK_MEAN][:, 2] = np.nan  # all its places are equal
    shuffled = [arc[rng.permutation(frames)] for arc in queries.arcs]
    ranks, starts = search_ranks(view_of_curves(own, curves[model]), shuffled)
    scores[SHUFFLED] = _scored(ranks[right, right], starts[right, right] - queries.starts)
    scores[RANDOM] = by_chance(own, queries.starts, frames)
    last = (RANDOM, OTHER_RATERS, EXCHANGED, SHUFFLED)
    return {name: scores[name] for name in [*(n for n in scores if n not in last), *last]}


def evaluate_arcs(
    models: Mapping[str, Sequence[HeldOutTrack]],
    arc_seconds: float = ARC_SECONDS,
    repeats: int = REPEATS,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> ArcRetrieval:
    """Score searches by arc with every model, every baseline and the other raters.

    Parameters
    ----------
    models : mapping of name to the same tracks
        The last one is compared with all other rows.
    arc_seconds : float > 0
    repeats : int > 0
        Queries of each piece. Intervals resample pieces with all their queries.
    n_boot : int >= 0
    seed : int

    Raises
    ------
    CorpusError
        If no track has ratings, or fewer than two are as long as an arc.
    """
    frames = round(arc_seconds * FRAME_RATE_HZ)
    every = {name: rated_pieces(tracks) for name, tracks in models.items()}
    pieces = {name: [p for p in of_model if len(p) >= frames] for name, of_model in every.items()}
    *_, model = pieces
    n = len(pieces[model])
    if n < 2:
        raise CorpusError(
            f"arc_seconds: fewer than two pieces with ratings are {arc_seconds:g} s long; give a "
            "shorter arc"
        )
    rng = np.random.default_rng(seed)
    runs = [_repeat(pieces, frames, rng) for _ in range(repeats)]
    means = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    return ArcRetrieval(
        pieces=n,
        too_short=len(every[model]) - n,
        queries=n * repeats,
        arc_seconds=arc_seconds,
        model=model,
        **vars(paired_scores(mean_samples(means, n_boot, seed), model, METRICS)),
    )


def score_table(result: ArcRetrieval) -> pd.DataFrame:
    """Readable table: every row's scores, and how far the model lies above it."""
    return paired_table(result, FORMATS)
