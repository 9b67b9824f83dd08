"""Search by mood, tested on clips whose quadrant is known.

A query asks for a quadrant or for a mood word. The library's own search ranks clips by the
probability that they lie in the wanted region. All that has learned from labels is tested on
artists that it was not trained on.

A word is judged by the quadrant of a clip, too, because nothing else is known. A word whose place
lies near an axis does not say on which side of the axis it is, so only the other sign counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from msr_utils.affect import QUADRANTS, SIGNS
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.experiments.release.peers import _run_vibenet
from msr_utils.experiments.release.training_data import CLIP_LEVEL
from msr_utils.experiments.retrieval.held_out import HeldOutTrack, artist_of
from msr_utils.experiments.retrieval.index import row_of, view_of
from msr_utils.experiments.retrieval.paired import MethodScores, paired_scores
from msr_utils.experiments.retrieval.ranking import (
    Variety,
    chance,
    first_k,
    variety,
)
from msr_utils.library.library import View
from msr_utils.library.regions import Region, point_region
from msr_utils.library.search import CONFIDENT, Query, find, top
from msr_utils.library.similarity import similarity_of
from msr_utils.library.words import ANGLES, STRENGTH, place, word_region
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.estimate import Estimate

RANK_ALL = 1e-12
"""Least probability that lets a search rank nearly all clips."""

NEAR_AXIS = 0.15
"""A word whose place lies nearer to an axis does not ask for a side of it."""

QUADRANT, WORD = "quadrant", "word"
"""Kinds of queries."""

RANDOM = "random order"
LOUDNESS_TEMPO = "loudness and tempo"
CENTROID = "embedding centroid"
CENTROIDS = "difference of embedding centroids"
"""Names of the baselines."""

METRICS = ("P@10", "nDCG@10")

VARIETY_QUERIES = 1000

Rankings = list[np.ndarray]
"""Rows that each query found, the best first."""


@dataclass(frozen=True)
class MoodQuery:
    """What is asked for, and which clips are right.

    Parameters
    ----------
    name, kind : str
    region : Region
    signs : (int, int)
        Wanted signs of valence and arousal; 0: any.
    """

    name: str
    kind: str
    region: Region
    signs: tuple[int, int]

    def relevant(self, signs: np.ndarray) -> np.ndarray:
        """Whether clips with these signs, (N, 2), are right; (N,) bool."""
        wanted = np.array(self.signs)
        result: np.ndarray = ((wanted == 0) | (signs == wanted)).all(axis=1)
        return result


@dataclass(frozen=True)
class Confident:
    """Clips that the library calls confident matches of one query.

    Parameters
    ----------
    found : int
    stated : float
        Mean of the probabilities that the library states for them. NaN where none was found.
    right : Estimate
        Share that is right.
    """

    found: int
    stated: float
    right: Estimate


@dataclass(frozen=True)
class MoodRetrieval:
    """Scores of searches by mood.

    Parameters
    ----------
    clips, artists : int
    model : str
        The row that is compared with all others.
    scores : dict of kind to method to metric to Estimate
        Means over the queries of a kind.
    above : dict of kind to method to metric to Estimate
        Paired differences: the model minus the method, on the same samples.
    precision : dict of query to Estimate
        P@10 of the model.
    by_chance : dict of query to float
        Share of the clips that are right.
    confident : dict of quadrant to Confident
        Of the model.
    variety : dict of search to Variety
    """

    clips: int
    artists: int
    model: str
    scores: dict[str, MethodScores]
    above: dict[str, MethodScores]
    precision: dict[str, Estimate]
    by_chance: dict[str, float]
    confident: dict[str, Confident]
    variety: dict[str, Variety]


def mood_queries() -> list[MoodQuery]:
    """The four quadrants, then Russell's words."""
    queries = []
    for quadrant in QUADRANTS:
        valence, arousal = ((0.0, 1.0) if sign > 0 else (-1.0, 0.0) for sign in quadrant.signs)
        centre = (STRENGTH * quadrant.signs[0], STRENGTH * quadrant.signs[1])
        region = Region(valence, arousal, centre, quadrant.name)
        queries.append(MoodQuery(quadrant.name, QUADRANT, region, quadrant.signs))
    for word in ANGLES:
        signs = [int(np.sign(x)) if abs(x) >= NEAR_AXIS else 0 for x in place(word)]
        queries.append(MoodQuery(word, WORD, word_region(word), (signs[0], signs[1])))
    return queries


def signs_of(clips: Sequence[HeldOutTrack]) -> np.ndarray:
    """Signs of valence and arousal of clips with a quadrant, (N, 2)."""
    return np.array([SIGNS[clip.track.quadrant] for clip in clips])


def search_rankings(view: View, queries: Sequence[MoodQuery]) -> Rankings:
    """What the library's search finds, with the least confidence."""
    return [_found(view, query.region) for query in queries]


def _found(view: View, region: Region, limit: int | None = None) -> np.ndarray:
    answer = find(view, Query(region, confidence=RANK_ALL, limit=limit or len(view)))
    return np.array([row_of(found.track) for found in answer.results], int)


def loudness_tempo_view(clips: Sequence[HeldOutTrack]) -> View:
    """A library whose valence and arousal are least-squares fits to loudness and tempo alone.

    Each clip's are fitted to the quadrants of the other folds.
    """
    fold = np.array([clip.fold for clip in clips])
    inputs = np.array([[1.0, clip.loudness.mean(), clip.tempo_band] for clip in clips])
    labels = CLIP_LEVEL * signs_of(clips)
    predicted = np.zeros((len(clips), 2))
    for k in np.unique(fold):
        weights = np.linalg.lstsq(inputs[fold != k], labels[fold != k], rcond=None)[0]
        predicted[fold == k] = inputs[fold == k] @ weights
    return constant_view(clips, predicted)


def constant_view(clips: Sequence[HeldOutTrack], values: np.ndarray) -> View:
    """A library of clips whose curves do not move: (valence, arousal) of each clip, (N, 2)."""
    return view_of(
        [
            clip.indexed(np.broadcast_to(value, clip.curve.shape))
            for clip, value in zip(clips, values, strict=True)
        ]
    )


def peer_values(
    corpus: Corpus, clips: Sequence[HeldOutTrack], python: str
) -> dict[str, np.ndarray]:
    """Valence and energy of clips, (N, 2), by another program.

    Parameters
    ----------
    corpus : Corpus
        Of the clips.
    clips : sequence of HeldOutTrack
    python : str
        Path of an interpreter that has vibenet. Empty: there is no other program.

    Raises
    ------
    ValueError
        If the interpreter is missing or vibenet fails.
    """
    if not python:
        return {}
    in_order = replace(corpus, tracks=[clip.track for clip in clips])
    return dict([_run_vibenet(in_order, python)])


def peer_view(clips: Sequence[HeldOutTrack], values: np.ndarray) -> View:
    """A library of another program's values, (N, 2), of any scale.

    The median is taken as the centre of the plane, and a deviation as the level of a quadrant.
    """
    scaled = (values - np.median(values, axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    return constant_view(clips, CLIP_LEVEL * scaled)


def centroid_rankings(
    view: View, queries: Sequence[MoodQuery], clips: Sequence[HeldOutTrack], less_others: bool
) -> Rankings:
    """Clips by the similarity of their embedding to right clips of the other folds.

    Parameters
    ----------
    view : View
    queries : sequence of MoodQuery
    clips : sequence of HeldOutTrack
        Rows of the view.
    less_others : bool
        Unlike the wrong clips of the other folds, too.
    """
    similarity = similarity_of(view)
    fold, signs = np.array([clip.fold for clip in clips]), signs_of(clips)
    rankings = []
    for query in queries:
        relevant = query.relevant(signs)
        likeness = np.zeros(len(clips))
        for k in np.unique(fold):
            like = np.flatnonzero((fold != k) & relevant)
            unlike = np.flatnonzero((fold != k) & ~relevant & less_others)
            direction = similarity.direction(like, unlike)
            tested = np.flatnonzero(fold == k)
            likeness[tested] = similarity.to(tested, direction[None])[:, 0]
        rankings.append(np.argsort(-likeness, kind="stable"))
    return rankings


def evaluate_moods(
    models: Mapping[str, Sequence[HeldOutTrack]],
    peers: Mapping[str, np.ndarray],
    n_boot: int = N_BOOT,
    seed: int = SEED,
    n_variety: int = VARIETY_QUERIES,
) -> MoodRetrieval:
    """Score searches by mood with every model, every baseline and other programs.

    Parameters
    ----------
    models : mapping of name to the same clips
        The last one is compared with all other rows. Its embeddings are those of the baselines.
    peers : mapping of name to np.ndarray [shape=(N, 2)]
        Valence and energy of the clips.
    n_boot : int >= 0
        Bootstrap samples of artists.
    seed : int
    n_variety : int > 0
        Queries of the test of variety.
    """
    queries = mood_queries()
    *_, model = models
    clips = models[model]
    views = {name: view_of([c.indexed() for c in held_out]) for name, held_out in models.items()}
    views[LOUDNESS_TEMPO] = loudness_tempo_view(clips)
    views |= {name: peer_view(clips, values) for name, values in peers.items()}
    rankings = {name: search_rankings(view, queries) for name, view in views.items()}
    for name, less_others in ((CENTROID, False), (CENTROIDS, True)):
        rankings[name] = centroid_rankings(views[model], queries, clips, less_others)
    groups = [clip.track.group for clip in clips]
    counts = draw_counts(groups, n_boot, seed)
    relevant = [query.relevant(signs_of(clips)) for query in queries]
    samples = {
        name: [first_k(counts, r, right) for r, right in zip(found, relevant, strict=True)]
        for name, found in rankings.items()
    }
    samples[RANDOM] = [chance(counts, right) for right in relevant]
    scores, above = _scores(queries, samples, model)
    return MoodRetrieval(
        clips=len(clips),
        artists=len(set(groups)),
        model=model,
        scores=scores,
        above=above,
        precision={
            query.name: Estimate.of_draws(one[0])
            for query, one in zip(queries, samples[model], strict=True)
        },
        by_chance={q.name: float(r.mean()) for q, r in zip(queries, relevant, strict=True)},
        confident={
            query.name: confident_matches(views[model], query, right, counts)
            for query, right in zip(queries, relevant, strict=True)
            if query.kind == QUADRANT
        },
        variety=search_variety(views[model], [artist_of(c.track) for c in clips], n_variety, seed),
    )


def _scores(
    queries: Sequence[MoodQuery],
    samples: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
    model: str,
) -> tuple[dict[str, MethodScores], dict[str, MethodScores]]:
    """Means over the queries of each kind, and the model's differences from the others."""
    scores: dict[str, MethodScores] = {}
    above: dict[str, MethodScores] = {}
    for kind in (QUADRANT, WORD):
        chosen = [n for n, query in enumerate(queries) if query.kind == kind]
        means = {
            name: np.mean([of_queries[n] for n in chosen], axis=0).T
            for name, of_queries in samples.items()
        }
        found = paired_scores(means, model, METRICS)
        scores[kind], above[kind] = found.scores, found.above
    return scores, above


def confident_matches(
    view: View, query: MoodQuery, relevant: np.ndarray, counts: np.ndarray
) -> Confident:
    """How many of the clips that the library is confident of are right.

    Parameters
    ----------
    view : View
    query : MoodQuery
    relevant : np.ndarray [shape=(N,), dtype=bool]
    counts : np.ndarray [shape=(B, N)]
    """
    answer = find(view, Query(query.region, confidence=CONFIDENT, limit=len(view)))
    rows = np.array([row_of(found.track) for found in answer.results], int)
    drawn = counts[:, rows]
    total = drawn.sum(axis=1)
    share = np.where(total > 0, drawn @ relevant[rows] / np.maximum(total, 1), np.nan)
    stated = [found.probability or 0.0 for found in answer.results]
    return Confident(len(rows), float(np.mean(stated)) if stated else float("nan"),
                     Estimate.of_draws(share))  # fmt: skip


def search_variety(
    view: View, artists: Sequence[str], n_queries: int, seed: int = SEED
) -> dict[str, Variety]:
    """Variety of searches for places, beside searches for tracks that sound like two others.

    Places are drawn from a square in which all mood words lie, examples from all clips.
    """
    rng = np.random.default_rng(seed)
    names = np.array(artists)
    places = rng.uniform(-STRENGTH, STRENGTH, (n_queries, len(TARGETS)))
    pairs = np.array([rng.choice(len(names), 2, replace=False) for _ in range(n_queries)])
    similarity = similarity_of(view)
    by_sound = []
    for pair in pairs:
        likeness = similarity.to(
            np.arange(len(names)), similarity.direction(pair, np.zeros(0, int))[None]
        )[:, 0]
        likeness[pair] = -np.inf
        by_sound.append(top(likeness, len(names))[:10])
    return {
        "by place": variety([_found(view, point_region(*p), 10) for p in places.tolist()], names),
        "by sound": variety(by_sound, names),
    }


def score_table(result: MoodRetrieval) -> pd.DataFrame:
    """Readable table: every row's scores, the model first."""
    order = [result.model, *(name for name in result.above[QUADRANT])]
    return pd.DataFrame(
        {
            (f"{kind}s", metric): {
                name: f"{result.scores[kind][name][metric]:.2f}" for name in order
            }
            for kind in result.scores
            for metric in METRICS
        }
    )


def difference_table(result: MoodRetrieval) -> pd.DataFrame:
    """Readable table: the model minus each other row."""
    return pd.DataFrame(
        {
            (f"{kind}s", metric): {
                f"{result.model} − {name}": f"{row[metric]:+.2f}" for name, row in rows.items()
            }
            for kind, rows in result.above.items()
            for metric in METRICS
        }
    )


def confident_table(result: MoodRetrieval) -> pd.DataFrame:
    """Readable table: what the library is confident of, and what of it is right."""
    return pd.DataFrame(
        {
            name: {
                "confident matches": one.found,
                "stated probability": f"{Estimate(one.stated):.2f}",
                "right": f"{one.right:.2f}",
            }
            for name, one in result.confident.items()
        }
    ).T


def variety_table(result: MoodRetrieval) -> pd.DataFrame:
    """Readable table of the variety of both kinds of searches."""
    return pd.DataFrame(
        {
            name: {
                "queries": one.queries,
                "artist entropy": f"{one.artist_entropy:.2f}",
                "coverage": f"{one.coverage:.0%}",
                "hubness": f"{one.hubness:.1f}",
                "most frequent track": f"in {one.largest_share:.0%} of the queries",
            }
            for name, one in result.variety.items()
        }
    ).T
