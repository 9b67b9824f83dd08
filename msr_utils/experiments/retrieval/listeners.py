"""Do a listener's first ratings tell what the listener thinks of the next track?

The library's own preference model is fitted to some ratings of one listener and predicts the
others. Emotify has answers of listeners to many tracks, but no names of listeners. Rows with the
same age, gender and mother tongue are taken as one listener if there are enough of them and no
track comes twice. Some of these may be several people, which hides a part of what ratings tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.experiments.retrieval.held_out import HeldOutTrack
from msr_utils.experiments.retrieval.index import audio_of, view_of
from msr_utils.library.library import View
from msr_utils.library.preferences import LIKE, SKIP, fit
from msr_utils.library.records import Preference
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_units
from msr_utils.metrics.estimate import Estimate

PROFILE = ("age", "gender", "mother_tongue")
"""Columns that must be equal in all rows of a listener."""

RATINGS = (1, 2, 5, 10)
"""Numbers of ratings that the model is fitted to."""

LEAST = 2
"""Ratings of each listener beside the largest number of those: at least so many are predicted."""

DRAWS = 20
"""Random choices of the ratings that are known, for each listener."""

OWN, OTHERS = "own ratings", "ratings of another listener"
POPULARITY = "mean of all other listeners"
"""Predictors."""


@dataclass(frozen=True)
class Listener:
    """Rows that are taken as one listener.

    Parameters
    ----------
    rows : np.ndarray [shape=(n,), dtype=int]
        Of the view.
    values : np.ndarray [shape=(n,)]
        1: liked, -1: disliked, 0: neither, or both.
    popularity : np.ndarray [shape=(n,)]
        Mean value of the other rows of each track; NaN where there are none.
    """

    rows: np.ndarray
    values: np.ndarray
    popularity: np.ndarray


@dataclass(frozen=True)
class PreferenceScores:
    """How well ratings tell the next ones.

    Concordance is the share of a listener's pairs of unknown ratings with different values that are
    predicted in the right order. 0.5 is chance.

    Parameters
    ----------
    listeners, ratings : int
    excluded : int
        Profiles with enough rows in which a track comes twice.
    known : tuple of int
        Numbers of known ratings.
    concordance : dict of predictor to number of known ratings to Estimate
    gain : dict of number of known ratings to Estimate
        Paired difference: own ratings minus those of another listener.
    error : dict of str to Estimate
        Mean squared error of the next rating after the largest number of known ones: of the model,
        of indifference (0), of the mean of the known ratings.
    error_gain : dict of str to Estimate
        Paired differences: the model's error minus the others'.
    """

    listeners: int
    ratings: int
    excluded: int
    known: tuple[int, ...]
    concordance: dict[str, dict[int, Estimate]]
    gain: dict[int, Estimate]
    error: dict[str, Estimate]
    error_gain: dict[str, Estimate]


def listeners_of(
    corpus: Corpus, tracks: Sequence[HeldOutTrack], least: int
) -> tuple[list[Listener], int]:
    """Rows of one profile, as listeners of `least` tracks or more; and profiles left out.

    Raises
    ------
    CorpusError
        If the corpus has no likes, or no profile is frequent enough.
    """
    table = corpus.raters
    needed = {"track_id", "liked", "disliked", *PROFILE}
    if table is None or not needed <= set(table):
        raise CorpusError(f"{corpus.name}: needs {', '.join(sorted(needed))} of its listeners")
    row = {held_out.track.id: n for n, held_out in enumerate(tracks)}
    table = table[table["track_id"].isin(row)].dropna(subset=["liked", "disliked"])
    rows = table["track_id"].map(row).to_numpy(int)
    values = np.clip((table["liked"] - table["disliked"]).to_numpy(float), SKIP, LIKE)
    total = np.bincount(rows, values, len(tracks))
    count = np.bincount(rows, minlength=len(tracks))
    left = np.maximum(count[rows] - 1, 1)
    popularity = np.where(count[rows] > 1, (total[rows] - values) / left, np.nan)
    found, excluded = [], 0
    for _, places in sorted(table.groupby(list(PROFILE)).indices.items()):
        if len(places) < least:
            continue
        if len(set(rows[places])) < len(places):
            excluded += 1
            continue
        found.append(Listener(rows[places], values[places], popularity[places]))
    if len(found) < 2:
        raise CorpusError(f"{corpus.name}: fewer than two listeners rated {least} tracks")
    return found, excluded


def concordance(values: np.ndarray, predicted: np.ndarray) -> float:
    """Share of pairs with different values that are in the right order; ties count half.

    NaN where all values are equal.
    """
    higher = values[:, None] > values
    if not higher.any():
        return float("nan")
    difference = (predicted[:, None] - predicted)[higher]
    return float((np.sign(difference) / 2 + 0.5).mean())


def predict_with(view: View, rows: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The library's predictions for some rows after ratings of others."""
    preferences = [
        Preference(audio_of(int(row)), "rating", float(value), "")
        for row, value in zip(rows, values, strict=True)
    ]
    model = fit(view, preferences)
    assert model is not None, "the rows are in the view"
    return model.predict(view, asked)


def evaluate_preferences(
    corpus: Corpus,
    tracks: Sequence[HeldOutTrack],
    known: Sequence[int] = RATINGS,
    draws: int = DRAWS,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> PreferenceScores:
    """Predict ratings of listeners after few others of the same listener.

    Parameters
    ----------
    corpus : Corpus
        With likes of listeners, as Emotify.
    tracks : sequence of HeldOutTrack
        Of the corpus.
    known : sequence of int
        Numbers of ratings that are known.
    draws : int > 0
    n_boot : int >= 0
        Samples of listeners.
    seed : int

    Raises
    ------
    CorpusError
        See `listeners_of`.
    """
    listeners, excluded = listeners_of(corpus, tracks, max(known) + LEAST)
    view = view_of([held_out.indexed() for held_out in tracks])
    rng = np.random.default_rng(seed)
    right = np.array(
        [_concordances(view, listeners, n, known, draws, rng) for n in range(len(listeners))]
    )  # listener x predictor x number
    errors = np.array([_errors(view, one, max(known), draws, rng) for one in listeners])
    boot = np.concatenate(
        [np.arange(len(listeners))[None], draw_units(len(listeners), n_boot, seed)]
    )
    means = np.nanmean(right[boot], axis=1)
    losses = np.nanmean(errors[boot], axis=1)
    return PreferenceScores(
        listeners=len(listeners),
        ratings=sum(len(one.rows) for one in listeners),
        excluded=excluded,
        known=tuple(known),
        concordance={
            name: {n: Estimate.of_draws(means[:, p, k]) for k, n in enumerate(known)}
            for p, name in enumerate((OWN, OTHERS, POPULARITY))
        },
        gain={n: Estimate.of_draws(means[:, 0, k] - means[:, 1, k]) for k, n in enumerate(known)},
        error={name: Estimate.of_draws(losses[:, k]) for k, name in enumerate(_ERRORS)},
        error_gain={
            name: Estimate.of_draws(losses[:, 0] - losses[:, k])
            for k, name in enumerate(_ERRORS)
            if k > 0
        },
    )


_ERRORS = ("model", "indifference", "mean of the known ratings")


def _concordances(
    view: View,
    listeners: Sequence[Listener],
    n: int,
    known: Sequence[int],
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mean concordance of a listener by predictor and number of known ratings, (3, K)."""
    one = listeners[n]
    found = np.full((draws, 3, len(known)), np.nan)
    for draw in range(draws):
        order = rng.permutation(len(one.rows))
        asked = order[max(known) :]  # the same for every number
        other = listeners[(n + int(rng.integers(1, len(listeners)))) % len(listeners)]
        others = np.flatnonzero(~np.isin(other.rows, one.rows[asked]))
        others = others[rng.permutation(len(others))]
        popular = np.nan_to_num(one.popularity[asked])
        for k, number in enumerate(known):
            first, their = order[:number], others[:number]
            predictions = (
                predict_with(view, one.rows[first], one.values[first], one.rows[asked]),
                predict_with(view, other.rows[their], other.values[their], one.rows[asked])
                if len(their)
                else np.zeros(len(asked)),
                popular,
            )
            found[draw, :, k] = [concordance(one.values[asked], p) for p in predictions]
    known_draws = np.isfinite(found).any(axis=(1, 2))
    if not known_draws.any():
        return np.full((3, len(known)), np.nan)
    result: np.ndarray = np.nanmean(found[known_draws], axis=0)
    return result


def _errors(
    view: View, one: Listener, number: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Mean squared errors of the next rating, in the order of `_ERRORS`, (3,)."""
    found = []
    for _ in range(draws):
        order = rng.permutation(len(one.rows))
        first, after = order[:number], order[number:]
        predicted = predict_with(view, one.rows[first], one.values[first], one.rows[after])
        true = one.values[after]
        guesses = (predicted, 0.0, one.values[first].mean())
        found.append([np.square(true - guess).mean() for guess in guesses])
    result: np.ndarray = np.mean(found, axis=0)
    return result


def score_table(result: PreferenceScores) -> pd.DataFrame:
    """Readable table: concordance by number of known ratings."""
    rows = {
        name: {f"{n} known": f"{estimate:.3f}" for n, estimate in by_number.items()}
        for name, by_number in result.concordance.items()
    }
    rows[f"{OWN} − {OTHERS}"] = {f"{n} known": f"{d:+.3f}" for n, d in result.gain.items()}
    return pd.DataFrame(rows).T


def error_table(result: PreferenceScores) -> pd.DataFrame:
    """Readable table: error of the next rating after the largest number of known ones."""
    nothing = Estimate(float("nan"))
    return pd.DataFrame(
        {
            name: {
                "mean squared error": f"{estimate:.3f}",
                "model − row": f"{result.error_gain.get(name, nothing):+.3f}",
            }
            for name, estimate in result.error.items()
        }
    ).T
