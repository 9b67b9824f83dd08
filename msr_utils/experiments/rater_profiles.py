"""Does knowing who listens explain how they rate? Profiles against deviations from other raters.

What a rater said at a moment, less the mean of the piece's other raters, is the rater's
deviation. Ridge regression predicts it from the profile, and from the profile times that mean,
since some people may use more of the scale; it is judged on raters that it did not see. Beside
it stands the rater's own bias, which no profile knows: heard in the first half of the piece and
tested on the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.experiments.corpus_audit import NOT_PROFILE

FOLDS = 10

ALPHAS = tuple(10.0**k for k in range(0, 6))
"""Penalties to choose from, in raters: each rater counts as one observation."""

MIN_RATERS = 30
"""Rarer answers are taken together."""

RARE = "other or not told"

MOST_ANSWERS = 12
"""Numbers with more different values are cut at their quintiles."""

OTHERS = "the others' mean, shrunk"

ALL = "whole profile"

OWN_BIAS = "own bias, from the first half on the second"

OWN_MEAN = "own bias, known exactly"


@dataclass(frozen=True)
class Deviations:
    """How raters deviate from the others, one row each rating of a track by a rater.

    Parameters
    ----------
    profile : pandas.DataFrame [n rows]
        Answers as text, rare ones taken together; one column an attribute.
    fold_group : np.ndarray [shape=(n,)]
        Rows of one group lie in one fold.
    track : np.ndarray [shape=(n,)]
    gram : np.ndarray [shape=(n, 2, 2)]
        Means over the rating's frames of the products of (1, m), m the others' mean.
    moment : np.ndarray [shape=(n, 2)]
        Means of (1, m) times the deviation.
    power : np.ndarray [shape=(n,)]
        Mean squared deviation.
    halves : np.ndarray [shape=(n, 2, 2)]
        Mean deviation and mean squared deviation in each half of the track.
    """

    profile: pd.DataFrame
    fold_group: np.ndarray
    track: np.ndarray
    gram: np.ndarray
    moment: np.ndarray
    power: np.ndarray
    halves: np.ndarray


def deviations(corpus: Corpus, target: str) -> Deviations:
    """Deviations of every rater whose profile is known from the mean of the track's others.

    Parameters
    ----------
    corpus : Corpus
        With `Track.ratings` and `Corpus.raters`.
    target : str
        "valence" or "arousal".

    Raises
    ------
    CorpusError
        If there are no ratings or no profiles.
    """
    answers = profile_of(corpus)
    column = TARGETS.index(target)
    rows = []
    for track in corpus.tracks:
        if track.ratings is None or len(track.ratings) < 2:
            continue
        values = track.ratings[..., column].astype(np.float64)
        known = np.isfinite(values)
        total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
        for rater, own, there in zip(track.raters, values, known, strict=True):
            # Frames that this rater and at least one other rated.
            used = np.flatnonzero(there & (count > 1))
            if rater not in answers.index or len(used) < 2:
                continue
            others = (total[used] - own[used]) / (count[used] - 1)
            rows.append((rater, track.id, others, own[used] - others))
    if not rows:
        raise CorpusError(f"{corpus.name}: no two raters with a profile rated one track")
    raters, tracks = (np.array([row[i] for row in rows]) for i in (0, 1))
    terms = [np.stack([np.ones(len(m)), m]) for _, _, m, _ in rows]
    # Raters of one track share its mean; where they rate one only, tracks keep them together.
    once = len(set(raters)) == len(raters)
    return Deviations(
        profile=answers.loc[raters].reset_index(drop=True),
        fold_group=tracks if once else raters,
        track=tracks,
        gram=np.stack([t @ t.T / t.shape[1] for t in terms]),
        moment=np.stack([t @ row[3] / t.shape[1] for t, row in zip(terms, rows, strict=True)]),
        power=np.array([np.mean(row[3] ** 2) for row in rows]),
        halves=np.stack(
            [
                [[half.mean(), np.mean(half**2)] for half in np.array_split(row[3], 2)]
                for row in rows
            ]
        ),
    )


def profile_of(corpus: Corpus) -> pd.DataFrame:
    """Answers of a corpus' raters as text, by rater: rare and missing ones taken together.

    Raises
    ------
    CorpusError
        If the corpus has no profiles, or all raters answered alike.
    """
    if corpus.raters is None:
        raise CorpusError(f"{corpus.name}: no profiles of its raters")
    table = {}
    for name, values in corpus.raters.items():
        if name in NOT_PROFILE:
            continue
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_ANSWERS:
            values = pd.qcut(values, 5, duplicates="drop")
        text = values.astype(object).where(values.notna() & (values != ""), RARE).astype(str)
        counts = text.value_counts()
        text = text.where(text.map(counts) >= MIN_RATERS, RARE)
        if text.nunique() > 1:
            table[name] = text
    if not table:
        raise CorpusError(f"{corpus.name}: its raters' profiles do not differ")
    return pd.DataFrame(table)


def one_hot(profile: pd.DataFrame) -> np.ndarray:
    """Columns of 0 and 1 for every answer, centred, and one of ones before them."""
    coded = pd.get_dummies(profile).to_numpy(float)
    return np.concatenate([np.ones((len(coded), 1)), coded - coded.mean(axis=0)], axis=1)


def _fold_sums(d: Deviations, z: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations of each fold: inputs are (1, m) times the profile, Kronecker-wise.

    Returns
    -------
    gram : np.ndarray [shape=(folds, 2 p, 2 p)]
    moment : np.ndarray [shape=(folds, 2 p)]
    """
    p = z.shape[1]
    gram, moment = [], []
    for k in range(fold.max() + 1):
        here, own = z[fold == k], fold == k
        blocks = [[(here * d.gram[own, i, j, None]).T @ here for j in range(2)] for i in range(2)]
        gram.append(np.block(blocks))
        moment.append((d.moment[own].T @ here).reshape(2 * p))
    return np.stack(gram), np.stack(moment)


def _solve(gram: np.ndarray, moment: np.ndarray, alpha: float, p: int) -> np.ndarray:
    """Ridge weights, (2 p,); the two terms that are not of the profile are not shrunk."""
    penalty = np.full(2 * p, alpha)
    penalty[[0, p]] = 1e-9
    return np.linalg.solve(gram + np.diag(penalty), moment)


def held_out_errors(
    d: Deviations, z: np.ndarray, folds: int = FOLDS, alphas: Sequence[float] = ALPHAS
) -> np.ndarray:
    """Mean squared error of each row's deviation, predicted by a model that did not see it.

    The penalty of each fold is chosen by cross-validation over the others.

    Parameters
    ----------
    d : Deviations
    z : np.ndarray [shape=(n, p)]
        From `one_hot`.
    folds : int > 2
    alphas : sequence of float
        Penalties to choose from.

    Returns
    -------
    np.ndarray [shape=(n,)]
    """
    p = z.shape[1]
    folds = min(folds, len(set(d.fold_group)))
    fold = np.zeros(len(z), int)
    for k, (_, test) in enumerate(GroupKFold(folds).split(z, groups=d.fold_group)):
        fold[test] = k
    gram, moment = _fold_sums(d, z, fold)
    all_gram, all_moment = gram.sum(axis=0), moment.sum(axis=0)
    errors = np.zeros(len(z))
    for k in range(folds):
        rest = [j for j in range(folds) if j != k]
        losses = []
        for alpha in alphas:
            loss = 0.0
            for j in rest:
                w = _solve(
                    all_gram - gram[k] - gram[j], all_moment - moment[k] - moment[j], alpha, p
                )
                loss += w @ gram[j] @ w - 2 * w @ moment[j]
            losses.append(loss)
        best = alphas[int(np.argmin(losses))]
        w = _solve(all_gram - gram[k], all_moment - moment[k], best, p)
        own = fold == k
        slope = z[own] @ w.reshape(2, p).T  # what each rater adds to the mean, and per m
        errors[own] = (
            d.power[own]
            - 2 * (slope * d.moment[own]).sum(axis=1)
            + np.einsum("ni,nij,nj->n", slope, d.gram[own], slope)
        )
    return errors


def explained(
    error: np.ndarray, power: np.ndarray, track: np.ndarray, n_boot: int, seed: int
) -> dict[str, float]:
    """Share of `power` that is not in `error`, with a 95 % interval.

    Tracks are drawn with all their raters, whose deviations hang together.

    Returns
    -------
    dict of str to float
        ``value, low, high``.
    """
    _, where = np.unique(track, return_inverse=True)
    sums = np.stack([np.bincount(where, error), np.bincount(where, power)], axis=1)
    draws = np.random.default_rng(seed).integers(len(sums), size=(n_boot, len(sums)))
    drawn = sums[draws].sum(axis=1)
    low, high = np.quantile(1 - drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    total = sums.sum(axis=0)
    return {"value": float(1 - total[0] / total[1]), "low": float(low), "high": float(high)}


def profile_effect(
    corpus: Corpus,
    target: str,
    n_boot: int = 2000,
    permutations: int = 200,
    seed: int = 7,
    progress: bool = True,
) -> dict:
    """How much of the raters' deviations their profiles explain.

    Parameters
    ----------
    corpus : Corpus
    target : str
    n_boot : int > 0
        Samples of tracks for the intervals.
    permutations : int >= 0
        Exchanges of whole profiles between raters of one track, for the p-value.
    seed : int
    progress : bool

    Returns
    -------
    dict
        ``raters``, ``tracks``, ``sd`` (of the deviations, in units of the scale);
        ``rows[name]`` with ``value, low, high``: the share explained, of the others'
        mean alone (which no profile enters), each attribute, the whole profile and the
        rater's own bias; ``gain``: the share that the whole profile explains of what the
        others' mean leaves, with ``p_value`` and ``chance`` (its 95th percentile among
        permutations).

    Notes
    -----
    p-value: (1 + permutations as good) / (1 + permutations), Phipson and Smyth (2010),
    Statistical Applications in Genetics and Molecular Biology 9(1).
    """
    d = deviations(corpus, target)
    nothing = held_out_errors(d, np.ones((len(d.power), 1)))
    z = one_hot(d.profile)
    whole = held_out_errors(d, z)
    errors = {
        OTHERS: nothing,
        **{name: held_out_errors(d, one_hot(d.profile[[name]])) for name in d.profile},
        ALL: whole,
        OWN_MEAN: d.power - d.moment[:, 0] ** 2,
    }
    rows = {
        name: explained(error, d.power, d.track, n_boot, seed) for name, error in errors.items()
    }
    (first, _), (second, power) = d.halves[:, 0].T, d.halves[:, 1].T
    rows[OWN_BIAS] = explained(power - 2 * first * second + first**2, power, d.track, n_boot, seed)
    gain = 1 - whole.sum() / nothing.sum()
    rng = np.random.default_rng(seed)
    tracks = np.unique(d.track, return_inverse=True)[1]
    by_chance = []
    for _ in tqdm(range(permutations), desc=f"permutations, {target}", disable=not progress):
        exchanged = held_out_errors(d, z[_exchange(tracks, rng)])
        by_chance.append(1 - exchanged.sum() / nothing.sum())
    as_good = sum(value >= gain for value in by_chance)
    return {
        "raters": len(d.power),
        "tracks": len(set(tracks)),
        "sd": float(np.sqrt(d.power.mean())),
        "rows": rows,
        "gain": {
            **explained(whole, nothing, d.track, n_boot, seed),
            "p_value": float((1 + as_good) / (1 + permutations)),
            "chance": float(np.quantile(by_chance, 0.95)) if by_chance else float("nan"),
        },
    }


def _exchange(track: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of the rows that moves each within its track."""
    order = np.empty(len(track), int)
    order[np.argsort(track, kind="stable")] = np.lexsort((rng.random(len(track)), track))
    return order


def effect_table(effects: Mapping[str, dict]) -> pd.DataFrame:
    """What `profile_effect` found for each target, in per cent with intervals, for display."""
    rows = {}
    for target, effect in effects.items():
        cells = {name: _per_cent(row) for name, row in effect["rows"].items()}
        gain = effect["gain"]
        cells["the profile beyond the others' mean"] = (
            f"{_per_cent(gain)}, p = {gain['p_value']:.3f}"
        )
        rows[f"{target}: share explained (%)"] = cells
    return pd.DataFrame(rows)


def _per_cent(row: Mapping[str, float]) -> str:
    return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
