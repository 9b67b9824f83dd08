"""Do raters' profiles explain how they rate?

A rater's deviation at a moment is the rating less the mean of the piece's other raters. Ridge
regression predicts it from the profile, and from the profile times that mean, because groups may
differ in level and in how much of the scale they use. It is tested on raters that it was not
trained on. The rater's own bias is shown beside it: the mean deviation in the first half of the
piece, tested on the second half. A profile cannot know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.experiments.corpus_audit import NOT_PROFILE
from msr_utils.least_squares import solve_normal_equations
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_units
from msr_utils.metrics.estimate import Estimate

FOLDS = 10

ALPHAS = tuple(10.0**k for k in range(0, 6))
"""Penalties to choose from, in raters: each rater counts as one observation."""

UNPENALISED = 1e-9
"""Penalty of the two terms that are not of the profile. It is above 0 for numerical stability."""

MIN_RATERS = 30
"""Answers of fewer raters are merged into `RARE`."""

RARE = "other or not given"

MAX_ANSWERS = 12
"""Numbers with more different values are divided into quintiles."""

OTHERS = "the others' mean, shrunk"

ALL = "whole profile"

OWN_BIAS = "own bias, from the first half on the second"

OWN_MEAN = "own bias, known exactly"


@dataclass(frozen=True)
class Deviations:
    """How raters deviate from the others. A row is one rater's rating of one track.

    Parameters
    ----------
    profile : pandas.DataFrame [n rows]
        Answers as text, rare ones merged; one column an attribute.
    fold_group : np.ndarray [shape=(n,)]
        Rows of one group are in one fold.
    track : np.ndarray [shape=(n,)]
    gram : np.ndarray [shape=(n, 2, 2)]
        Means over the row's frames of the products of (1, m), where m is the others' mean.
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


@dataclass(frozen=True)
class ProfileGain(Estimate):
    """Share that the whole profile explains of what the others' mean leaves.

    Parameters
    ----------
    p_value : float
        Of a permutation test.
    chance : float
        95th percentile of the gain among the permutations; NaN without any.
    """

    p_value: float = float("nan")
    chance: float = float("nan")


@dataclass(frozen=True)
class ProfileEffect:
    """How much of the raters' deviations in one target is explained.

    Parameters
    ----------
    raters, tracks : int
    sd : float
        Of the deviations, in units of the scale.
    rows : dict of str to Estimate
        Share explained by the others' mean alone (without any profile), by each attribute, by the
        whole profile and by the rater's own bias.
    gain : ProfileGain
    """

    raters: int
    tracks: int
    sd: float
    rows: dict[str, Estimate]
    gain: ProfileGain


class _Rating(NamedTuple):
    """One rater's rating of one track, at frames that another rater rated, too."""

    rater: str
    track: str
    others: np.ndarray
    deviation: np.ndarray


def deviations(corpus: Corpus, target: str) -> Deviations:
    """Deviations of the raters with a profile from the mean of the other raters of the track.

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
    ratings = [r for t in corpus.tracks for r in _ratings(t, target) if r.rater in answers.index]
    if not ratings:
        raise CorpusError(f"{corpus.name}: no two raters with a profile rated one track")
    raters, tracks = (np.array([r[i] for r in ratings]) for i in (0, 1))
    terms = [np.stack([np.ones(len(r.others)), r.others]) for r in ratings]
    # Raters of one track share its mean. Where they rate one track only, tracks keep them together.
    once = len(set(raters)) == len(raters)
    return Deviations(
        profile=answers.loc[raters].reset_index(drop=True),
        fold_group=tracks if once else raters,
        track=tracks,
        gram=np.stack([t @ t.T / t.shape[1] for t in terms]),
        moment=np.stack(
            [t @ r.deviation / t.shape[1] for t, r in zip(terms, ratings, strict=True)]
        ),
        power=np.array([np.mean(r.deviation**2) for r in ratings]),
        halves=np.stack(
            [
                [[half.mean(), np.mean(half**2)] for half in np.array_split(r.deviation, 2)]
                for r in ratings
            ]
        ),
    )


def _ratings(track: Track, target: str) -> list[_Rating]:
    """Ratings of a track that share two frames or more with another rater's."""
    if track.ratings is None or len(track.ratings) < 2:
        return []
    values = track.ratings[..., TARGETS.index(target)].astype(np.float64)
    known = np.isfinite(values)
    total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    ratings = []
    for rater, rating, rated in zip(track.raters, values, known, strict=True):
        shared = np.flatnonzero(rated & (count > 1))
        if len(shared) >= 2:
            others = (total[shared] - rating[shared]) / (count[shared] - 1)
            ratings.append(_Rating(rater, track.id, others, rating[shared] - others))
    return ratings


def profile_of(corpus: Corpus) -> pd.DataFrame:
    """Answers of a corpus' raters as text, by rater. Rare and missing answers are merged.

    Raises
    ------
    CorpusError
        If the corpus has no profiles, or all raters gave the same answers.
    """
    if corpus.raters is None:
        raise CorpusError(f"{corpus.name}: no profiles of its raters")
    table = {}
    for name, values in corpus.raters.items():
        if name in NOT_PROFILE:
            continue
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > MAX_ANSWERS:
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
    """A column of ones, then a centred column of 0 and 1 for every answer."""
    coded = pd.get_dummies(profile).to_numpy(float)
    return np.concatenate([np.ones((len(coded), 1)), coded - coded.mean(axis=0)], axis=1)


def _fold_sums(d: Deviations, z: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations of each fold: inputs are the Kronecker products of (1, m) and the profile.

    Returns
    -------
    gram : np.ndarray [shape=(folds, 2 p, 2 p)]
    moment : np.ndarray [shape=(folds, 2 p)]
    """
    p = z.shape[1]
    gram, moment = [], []
    for k in range(fold.max() + 1):
        inside = fold == k
        rows, products = z[inside], d.gram[inside]
        blocks = [[(rows * products[:, i, j, None]).T @ rows for j in range(2)] for i in range(2)]
        gram.append(np.block(blocks))
        moment.append((d.moment[inside].T @ rows).reshape(2 * p))
    return np.stack(gram), np.stack(moment)


def _solve(gram: np.ndarray, moment: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge weights, (2 p,). The two terms that are not of the profile are not shrunk."""
    penalty = np.full(len(gram), alpha)
    penalty[[0, len(gram) // 2]] = UNPENALISED
    return solve_normal_equations(gram, moment, penalty)


def held_out_errors(
    d: Deviations, z: np.ndarray, folds: int = FOLDS, alphas: Sequence[float] = ALPHAS
) -> np.ndarray:
    """Mean squared error of each row's deviation, predicted by a model that was not fitted to it.

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
    folds = min(folds, len(set(d.fold_group)))
    fold = np.zeros(len(z), int)
    for k, (_, test) in enumerate(GroupKFold(folds).split(z, groups=d.fold_group)):
        fold[test] = k
    gram, moment = _fold_sums(d, z, fold)
    errors = np.zeros(len(z))
    for k in range(folds):
        alpha = _best_penalty(gram, moment, k, alphas)
        weights = _solve(gram.sum(axis=0) - gram[k], moment.sum(axis=0) - moment[k], alpha)
        inside = fold == k
        # What a rater's profile adds to the deviation, and what it adds per unit of m.
        slope = z[inside] @ weights.reshape(2, -1).T
        errors[inside] = (
            d.power[inside]
            - 2 * (slope * d.moment[inside]).sum(axis=1)
            + np.einsum("ni,nij,nj->n", slope, d.gram[inside], slope)
        )
    return errors


def _best_penalty(
    gram: np.ndarray, moment: np.ndarray, test: int, alphas: Sequence[float]
) -> float:
    """The penalty with the lowest error in cross-validation over all folds but `test`."""
    all_gram, all_moment = gram.sum(axis=0), moment.sum(axis=0)
    losses = []
    for alpha in alphas:
        loss = 0.0
        for j in range(len(gram)):
            if j == test:
                continue
            weights = _solve(
                all_gram - gram[test] - gram[j], all_moment - moment[test] - moment[j], alpha
            )
            loss += weights @ gram[j] @ weights - 2 * weights @ moment[j]
        losses.append(loss)
    return alphas[int(np.argmin(losses))]


def explained(
    error: np.ndarray, power: np.ndarray, track: np.ndarray, n_boot: int, seed: int
) -> Estimate:
    """Share of `power` that is not in `error`.

    The interval resamples tracks with all their raters, because deviations from one mean are
    dependent.
    """
    _, number = np.unique(track, return_inverse=True)
    sums = np.stack([np.bincount(number, error), np.bincount(number, power)], axis=1)
    sampled = sums[draw_units(len(sums), n_boot, seed)].sum(axis=1)
    total = sums.sum(axis=0)
    return Estimate.from_samples(1 - total[0] / total[1], 1 - sampled[:, 0] / sampled[:, 1])


def profile_effect(
    corpus: Corpus,
    target: str,
    n_boot: int = N_BOOT,
    permutations: int = 200,
    seed: int = SEED,
    progress: bool = True,
) -> ProfileEffect:
    """How much of the raters' deviations their profiles explain.

    Parameters
    ----------
    corpus : Corpus
    target : str
        "valence" or "arousal".
    n_boot : int > 0
        Bootstrap samples of tracks for the intervals.
    permutations : int >= 0
        Exchanges of whole profiles among the raters of a track, for the p-value.
    seed : int
    progress : bool

    Notes
    -----
    p-value: (1 + permutations that are as good) / (1 + permutations), Phipson and Smyth (2010),
    "Permutation p-values should never be zero", Statistical Applications in Genetics and
    Molecular Biology 9(1).
    """
    d = deviations(corpus, target)
    z = one_hot(d.profile)
    errors = {
        OTHERS: held_out_errors(d, np.ones((len(d.power), 1))),
        **{str(name): held_out_errors(d, one_hot(d.profile[[name]])) for name in d.profile.columns},
        ALL: held_out_errors(d, z),
        OWN_MEAN: d.power - d.moment[:, 0] ** 2,
    }
    rows = {
        name: explained(error, d.power, d.track, n_boot, seed) for name, error in errors.items()
    }
    (first, _), (second, power) = d.halves[:, 0].T, d.halves[:, 1].T
    rows[OWN_BIAS] = explained(power - 2 * first * second + first**2, power, d.track, n_boot, seed)
    without, whole = errors[OTHERS], errors[ALL]
    gain = 1 - whole.sum() / without.sum()
    by_chance = _gains_by_chance(d, z, without, permutations, seed, target if progress else "")
    as_good = sum(value >= gain for value in by_chance)
    return ProfileEffect(
        raters=len(d.power),
        tracks=len(set(d.track)),
        sd=float(np.sqrt(d.power.mean())),
        rows=rows,
        gain=ProfileGain(
            **vars(explained(whole, without, d.track, n_boot, seed)),
            p_value=float((1 + as_good) / (1 + permutations)),
            chance=float(np.quantile(by_chance, 0.95)) if by_chance else float("nan"),
        ),
    )


def _gains_by_chance(
    d: Deviations, z: np.ndarray, without: np.ndarray, permutations: int, seed: int, label: str
) -> list[float]:
    """Gains of profiles that are exchanged among the raters of each track.

    `without` is the error without a profile; `label` names the progress bar, empty: none.
    """
    rng = np.random.default_rng(seed)
    tracks = np.unique(d.track, return_inverse=True)[1]
    gains = []
    for _ in tqdm(range(permutations), desc=f"permutations, {label}", disable=not label):
        exchanged = held_out_errors(d, z[_exchange(tracks, rng)])
        gains.append(1 - exchanged.sum() / without.sum())
    return gains


def _exchange(track: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of the rows that moves each within its track."""
    order = np.empty(len(track), int)
    order[np.argsort(track, kind="stable")] = np.lexsort((rng.random(len(track)), track))
    return order


def effect_table(effects: Mapping[str, ProfileEffect]) -> pd.DataFrame:
    """Shares explained for each target, in per cent with intervals, for display."""
    columns = {}
    for target, effect in effects.items():
        cells = {name: f"{share.scaled(100):.1f}" for name, share in effect.rows.items()}
        gain = effect.gain
        cells["the profile beyond the others' mean"] = (
            f"{gain.scaled(100):.1f}, p = {gain.p_value:.3f}"
        )
        columns[f"{target}: share explained (%)"] = cells
    return pd.DataFrame(columns)
