"""Find tracks by mood, by example and by preference. Every result explains itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import expit

from msr_utils.constants import FRAME_SECONDS, SCALE, TARGETS
from msr_utils.library import filters as hard
from msr_utils.library.absent import absent
from msr_utils.library.filters import Filters, Removed
from msr_utils.library.library import View
from msr_utils.library.numbers import SEGMENT_FRAMES, interval
from msr_utils.library.preferences import PreferenceModel, fit
from msr_utils.library.records import TrackInfo
from msr_utils.library.regions import Region, probability
from msr_utils.library.shards import UsageError, absolute_path
from msr_utils.library.similarity import similarity_of

CONFIDENT = 0.5
"""Least probability of a confident match."""

PREFERENCE_GAIN = 2.0
"""How much the predicted preference counts: 1 more multiplies the odds by e to this."""

LOOK_UP = 64
"""Tracks that are looked up in the catalogue at a time."""


@dataclass(frozen=True)
class Query:
    """What a listener asks for.

    Parameters
    ----------
    region : Region, optional
        Wanted place in the plane.
    like, unlike : tuple of int
        Rows of tracks that results should sound like, or should not.
    filters : Filters
    listener : str
        Whose likes count; empty: nobody's.
    confidence : float in (0, 1)
        Least probability of lying in the region.
    limit : int > 0
        Most results.
    """

    region: Region | None = None
    like: tuple[int, ...] = ()
    unlike: tuple[int, ...] = ()
    filters: Filters = field(default_factory=Filters)
    listener: str = ""
    confidence: float = CONFIDENT
    limit: int = 20


@dataclass(frozen=True)
class Moment:
    """Ten seconds of a track.

    Parameters
    ----------
    start_s, end_s : float
    valence, arousal : float
        Predicted means.
    """

    start_s: float
    end_s: float
    valence: float
    arousal: float


@dataclass(frozen=True)
class Because:
    """A rated track that moved the predicted preference most.

    Parameters
    ----------
    track : TrackInfo
    rating : str
        ``"like"``, ``"skip"`` or ``"rating"``.
    adds : float
        To the predicted preference.
    """

    track: TrackInfo
    rating: str
    adds: float


@dataclass(frozen=True)
class Found:
    """A result and why it is one.

    Parameters
    ----------
    track : TrackInfo
    score : float
        What results are ranked by: the product of the parts below that were asked for. The
        similarity counts as (1 + similarity) / 2, the preference as a factor from 0 to 2.
    probability : float, optional
        Of lying in the wanted region.
    similarity : float, optional
        To the examples, in [-1, 1].
    preference : float, optional
        Predicted, about [-1, 1].
    because : Because, optional
    predicted : dict of str to float
        Mean valence and arousal.
    interval : dict of str to (float, float)
        Ends of the interval around each mean.
    certainty : float
        Probability that the quadrant of the mean is right.
    closest : Moment, optional
        The ten seconds that lie nearest to the wanted place.
    """

    track: TrackInfo
    score: float
    probability: float | None
    similarity: float | None
    preference: float | None
    because: Because | None
    predicted: dict[str, float]
    interval: dict[str, tuple[float, float]]
    certainty: float
    closest: Moment | None


@dataclass(frozen=True)
class Answer:
    """Results of a query.

    Parameters
    ----------
    results : tuple of Found
        The best first. Another version of a song that is in it already is left out.
    wanted : Region, optional
    confident : int
        Tracks that are confident matches; without a region, tracks that pass the filters.
    less_confident : int, optional
        Tracks below the wanted confidence, above half of it. None where results are enough.
    tracks : int
        Tracks in the library.
    removed : tuple of Removed
        What each filter removed.
    versions_left_out : int
    note : str
        Said if there are fewer results than were asked for, or if the listener has no ratings.
    """

    results: tuple[Found, ...]
    wanted: Region | None
    confident: int
    less_confident: int | None
    tracks: int
    removed: tuple[Removed, ...]
    versions_left_out: int
    note: str


def row_of_file(view: View, file: str | Path) -> int:
    """Row of a file of the library.

    Raises
    ------
    LibraryError
        If the library does not have the file, or has no curve of it.
    """
    path = absolute_path(file)
    known = view.catalogue.known_file(path)
    row = None if known is None else view.row_of(known.id)
    if row is None:
        raise absent(view.catalogue, path)
    return row


def find(view: View, query: Query) -> Answer:
    """Find tracks.

    Filters are applied first. Of what is left, tracks that lie in the region with at least the
    wanted probability are ranked. If those are few, the answer has few: it is not filled up.

    Raises
    ------
    LibraryError
        If a filter names an artist or a genre that no track has, or a number is out of range.
    """
    if not 0 < query.confidence < 1:
        raise UsageError(
            f"library: --confidence must lie between 0 and 1, not {query.confidence:g}"
        )
    mask, removed = hard.apply(view, query.filters)
    mask[list((*query.like, *query.unlike))] = False
    rows, fit_probability = _confident(view, query, mask)
    likeness = _likeness(view, query, rows)
    model = None
    if query.listener:
        model = fit(view, view.catalogue.preferences(query.listener))
    liked = None if model is None else model.predict(view, rows)
    score = np.ones(len(rows))
    if fit_probability is not None:
        score *= fit_probability
    if likeness is not None:
        score *= (1 + likeness) / 2
    if liked is not None:
        score *= 2 * expit(PREFERENCE_GAIN * liked)
    picked, left_out = _best_versions(view, rows, score, query.limit)
    results = tuple(
        _found(view, query, int(rows[k]), info, float(score[k]), _at(fit_probability, k),
               _at(likeness, k), model, _at(liked, k))
        for k, info in picked
    )  # fmt: skip
    less, note = None, ""
    if len(results) < query.limit:
        less, note = _few(view, query, mask, len(rows), len(results))
    if query.listener and model is None:
        unrated = (
            f"no track of this library has a rating by {query.listener!r}, so preferences did not "
            "count; 'msr library rate' notes them"
        )
        note = "; ".join(part for part in (note, unrated) if part)
    return Answer(
        results, query.region, len(rows), less, int(view.visible.sum()), removed, left_out, note
    )


def _confident(view: View, query: Query, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows in the region with the wanted probability, and the probabilities."""
    region = query.region
    if region is None:
        return np.flatnonzero(mask), None
    if query.confidence >= 0.5:
        # A mean outside of an interval has a probability below one half of lying inside.
        mask = mask & region.contains(*(view.numbers(f"mean_{t}") for t in TARGETS))
    rows = np.flatnonzero(mask)
    chances = probability(view, region, rows)
    enough = chances >= query.confidence
    return rows[enough], chances[enough]


def _likeness(view: View, query: Query, rows: np.ndarray) -> np.ndarray | None:
    """Similarity of rows to the examples, (n,)."""
    if not query.like and not query.unlike:
        return None
    similarity = similarity_of(view)
    direction = similarity.direction(
        np.array(query.like, np.int64), np.array(query.unlike, np.int64)
    )
    return similarity.to(rows, direction[None])[:, 0]


def _best_versions(
    view: View, rows: np.ndarray, score: np.ndarray, limit: int
) -> tuple[list[tuple[int, TrackInfo]], int]:
    """Places of the best rows, one for each song, and the number of versions left out."""
    picked: list[tuple[int, TrackInfo]] = []
    seen: set[tuple[str, ...]] = set()
    left_out = 0
    size = LOOK_UP
    best = np.zeros(0, np.int64)
    while len(picked) < limit and len(best) < len(rows):
        done = len(best)
        best = top(score, done + max(size, limit))
        size *= 2
        for k, info in zip(best[done:], view.infos(rows[best[done:]]), strict=True):
            if len(picked) == limit:
                break
            if not seen.isdisjoint(info.song_keys):
                left_out += 1
                continue
            seen |= info.song_keys
            picked.append((int(k), info))
    return picked, left_out


def top(score: np.ndarray, count: int) -> np.ndarray:
    """Places of the highest values, the highest first; equal ones in their order."""
    if count <= 0:
        return np.zeros(0, np.int64)
    if count < len(score):
        least = np.partition(score, len(score) - count)[len(score) - count]
        above, equal = np.flatnonzero(score > least), np.flatnonzero(score == least)
        places = np.sort(np.concatenate([above, equal[: count - len(above)]]))
    else:
        places = np.arange(len(score))
    result: np.ndarray = places[np.argsort(-score[places], kind="stable")]
    return result


def _few(
    view: View, query: Query, mask: np.ndarray, confident: int, given: int
) -> tuple[int | None, str]:
    """How many tracks are less confident, and what to say about few results."""
    if query.region is None:
        if not given:
            return None, "no track passes the filters"
        passing = "1 track passes" if given == 1 else f"{given} tracks pass"
        return None, f"only {passing} the filters"
    chances = probability(view, query.region, np.flatnonzero(mask))
    half = query.confidence / 2
    less = int(((chances >= half) & (chances < query.confidence)).sum())
    matches = (
        f"only {confident} confident match{'' if confident == 1 else 'es'}"
        if confident
        else "no track is a confident match"
    )
    note = f"{matches} (probability at least {query.confidence:.0%})"
    if less:
        note += f"; {less} more with at least {half:.0%}: --confidence {half:g}"
    return less, note


def _at(values: np.ndarray | None, k: int) -> float | None:
    return None if values is None else float(values[k])


def _found(
    view: View,
    query: Query,
    row: int,
    info: TrackInfo,
    score: float,
    chance: float | None,
    likeness: float | None,
    model: PreferenceModel | None,
    liked: float | None,
) -> Found:
    """A result with its explanation."""
    mean = {t: float(view.numbers(f"mean_{t}")[row]) for t in TARGETS}
    half = {t: float(view.numbers(f"half_width_{t}")[row]) for t in TARGETS}
    return Found(
        info,
        score,
        chance,
        likeness,
        liked,
        None if model is None else _because(view, model, row),
        mean,
        {t: interval(mean[t], half[t]) for t in TARGETS},
        float(view.numbers("certainty")[row]),
        None if query.region is None else closest_moment(view, row, query.region),
    )


def _because(view: View, model: PreferenceModel, row: int) -> Because:
    adds = model.contributions(view, row)
    k = int(np.abs(adds).argmax())
    (track,) = view.infos(model.rows[k : k + 1])
    return Because(track, model.rated[k].kind, float(adds[k]))


def closest_moment(view: View, row: int, region: Region) -> Moment:
    """The ten seconds of a track that lie nearest to the centre of a region."""
    segments = view.segments(row)
    free = [side == SCALE for side in (region.valence, region.arousal)]
    distance = np.where(free, 0.0, segments - np.array(region.centre))
    k = int(np.square(distance).sum(axis=1).argmin())
    seconds = SEGMENT_FRAMES * FRAME_SECONDS
    end = min((k + 1) * seconds, float(view.numbers("seconds")[row]))
    valence, arousal = (float(value) for value in segments[k])
    return Moment(k * seconds, end, valence, arousal)
