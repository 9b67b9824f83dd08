"""Curves of valence and arousal from notes, beside the same curves from sound.

Both read the same pieces up to the end of each frame, both are ridge regressions whose penalty is
chosen on the same inner folds, and both remember about as long: what differs is what they read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.midi import read_midi
from msr_utils.dataset.sequences import Sequence2Hz, collect, sequences_of
from msr_utils.dataset.splits import InnerParts, Split, inner_parts, splits_of
from msr_utils.evaluation.baselines import constant
from msr_utils.experiments.release.least_squares import SufficientStatistics
from msr_utils.experiments.symbolic.sound import missing_networks
from msr_utils.features.config import FeatureConfig
from msr_utils.io import atomic_path, plain, sha256_text
from msr_utils.metrics.bootstrap import N_BOOT, SEED
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import Scores, evaluate, paired_difference
from msr_utils.models.ridge import causal_average
from msr_utils.paths import CACHE_DIR, TRAININGS
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.symbolic.running import WINDOWS_S, running_names, running_statistics

NETWORK = "musicnn"
"""Pretrained network of the richer audio row."""

MEMORY_S, MEMORY_SD_S = (3.0, 10.0, 40.0), (10.0,)
"""Time constants of the audio features, as in the chapter on the linear model."""

LONG_MEMORY_S, LONG_WINDOW_S = 40.0, 6.0
"""The longest of them also averages the statistics of this window, so that both remember as long.
"""

ALPHAS = (100.0, 1e3, 1e4, 1e5, 1e6)
"""Penalties that are tried."""

CONSTANT = "constant"
NOTES_SHORT = "notes, the last 20 s"
NOTES = "notes"
AUDIO = "audio, hand-made features"
AUDIO_NETWORK = "audio, with MusiCNN"
BOTH_EARLY = "notes and audio, one model"
BOTH_LATE = "notes and audio, mean of both"

ByTarget = dict[str, Predictions]
"""Target -> predictions of all pieces."""


@dataclass(frozen=True)
class CurveResults:
    """Scores of every row on the same pieces and frames.

    Parameters
    ----------
    scores : dict of row to target to Scores
    differences : dict of name to target to metric to Estimate
        Paired, on the same resampled pieces: what the first row has more than the second.
    audio_row : str
        The row that stands for audio in the differences.
    n_inputs : dict of row to int
        Length of the vectors.
    missing : dict of network to str
        Pretrained networks that are not installed, and what to do.
    predictions : dict of row to target to Predictions
    """

    scores: dict[str, dict[str, Scores]]
    differences: dict[str, dict[str, dict[str, Estimate]]]
    audio_row: str
    n_inputs: dict[str, int]
    missing: dict[str, str]
    predictions: dict[str, ByTarget]

    def to_json(self) -> dict[str, object]:
        """All but the predictions."""
        return {name: value for name, value in vars(self).items() if name != "predictions"}

    def remark(self) -> str:
        """Which row stands for audio, and what is missing."""
        if not self.missing:
            return f"Audio is the row *{self.audio_row}*."
        networks = "; ".join(f"`{name}`: {what}" for name, what in self.missing.items())
        return (
            "The weights of a pretrained network are not installed, so its row is missing, and "
            f"audio is the row *{self.audio_row}*. {networks}"
        )


def compare(
    corpus: Corpus,
    features: str,
    folds: int,
    inner_folds: int,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> CurveResults:
    """Cross-validate ridge regression on notes, on audio and on both.

    Parameters
    ----------
    corpus : Corpus
        With curves, audio and notes of every track.
    features : str
        Hand-made feature blocks of the audio, separated by commas.
    folds : int >= 1
        By group.
    inner_folds : int >= 1
        They choose the penalty.
    n_boot, seed : int
        Bootstrap samples of pieces.
    cache_dir : Path
        Of the audio features.
    progress : bool

    Raises
    ------
    CorpusError
        If a track has no curve, audio or notes.
    ValueError
        If there are too few groups.
    """
    if without := [track.id for track in corpus.tracks if track.midi_path is None]:
        raise CorpusError(
            f"track {without[0]!r}: has no notes ({len(without)} of {len(corpus.tracks)} tracks "
            "have none); give a corpus with curves, audio and midi.csv"
        )
    missing = {k: v for k, v in missing_networks().items() if k == NETWORK}
    blocks = FeatureConfig(features if missing else f"{features},{NETWORK}")
    audio_config = replace(blocks, memory_s=MEMORY_S, memory_sd_s=MEMORY_SD_S)
    audio = sequences_of(corpus, audio_config, cache_dir)
    notes = _note_sequences(corpus, audio)
    both = [
        replace(a, features=np.concatenate([n.features, a.features], axis=1))
        for n, a in zip(notes, audio, strict=True)
    ]
    n_notes, n_short = notes[0].features.shape[1], len(running_names())
    hand_made = n_notes + audio_config.columns(FeatureConfig(features).blocks)
    every = np.arange(both[0].features.shape[1])
    columns = {NOTES_SHORT: every[:n_short], NOTES: every[:n_notes], AUDIO: hand_made}
    if not missing:
        columns[AUDIO_NETWORK] = every[n_notes:]
    columns[BOTH_EARLY] = every
    splits = splits_of(corpus, folds, seed)
    with threadpool_limits(1, user_api="blas"):
        found = _cross_validate(both, columns, splits, inner_folds, progress)
    audio_row = AUDIO if missing else AUDIO_NETWORK
    found[BOTH_LATE] = {t: _mean(found[NOTES][t], found[audio_row][t]) for t in TARGETS}
    rows = {CONSTANT: _constant(both, splits), **found}
    pairs = (
        (NOTES, audio_row),
        (BOTH_EARLY, audio_row),
        (BOTH_LATE, audio_row),
        (BOTH_LATE, NOTES),
        (BOTH_LATE, BOTH_EARLY),
        (NOTES, NOTES_SHORT),
    )
    return CurveResults(
        scores={r: {t: evaluate(p[t], n_boot, seed) for t in TARGETS} for r, p in rows.items()},
        differences={
            f"{first} – {second}": {
                t: paired_difference(rows[first][t], rows[second][t], n_boot, seed) for t in TARGETS
            }
            for first, second in pairs
        },
        audio_row=audio_row,
        n_inputs={row: len(of_row) for row, of_row in columns.items()},
        missing=missing,
        predictions=rows,
    )


def _note_sequences(corpus: Corpus, audio: Sequence[Sequence2Hz]) -> list[Sequence2Hz]:
    """The frames of the audio with statistics of the notes."""
    found = []
    of_window = len(running_names()) // len(WINDOWS_S)
    place = WINDOWS_S.index(LONG_WINDOW_S) * of_window
    for track, sequence in zip(corpus.tracks, audio, strict=True):
        assert track.midi_path is not None  # compare has looked
        statistics = running_statistics(read_midi(track.midi_path), len(sequence.mask))
        long = causal_average(statistics[:, place : place + of_window], LONG_MEMORY_S)
        features = np.concatenate([statistics, long], axis=1, dtype=np.float32)
        found.append(replace(sequence, features=features))
    return found


def _cross_validate(
    sequences: Sequence[Sequence2Hz],
    columns: Mapping[str, np.ndarray],
    splits: Sequence[Split],
    inner_folds: int,
    progress: bool,
) -> dict[str, ByTarget]:
    """Predictions of every row.

    The products of the features are summed once for each group, and every training part is a sum
    of groups. So one pass over the frames serves all folds and rows.
    """
    origin = np.mean([s.features[s.mask].mean(axis=0) for s in sequences], axis=0)
    centred = {s.id: s.features[s.mask] - origin.astype(np.float32) for s in sequences}
    labels = {s.id: s.labels[s.mask].astype(np.float64) for s in sequences}
    group = {s.id: s.group for s in sequences}
    of_group: dict[str, SufficientStatistics] = {}
    for s in sequences:
        own = SufficientStatistics.of(centred[s.id], labels[s.id])
        of_group[s.group] = of_group[s.group] + own if s.group in of_group else own

    def of_groups(ids: Sequence[str]) -> SufficientStatistics:
        first, *rest = sorted({group[i] for i in ids})
        total = of_group[first]
        for name in rest:
            total = total + of_group[name]
        return total

    _refuse_divided_groups(splits, group)
    digest = hashlib.sha256()
    for s in sequences:
        digest.update(f"{s.id} {s.group} {s.features.shape}\n".encode())
        digest.update(s.features.tobytes() + s.labels.tobytes() + s.mask.tobytes())
    data = digest.hexdigest()
    curves: dict[str, dict[str, dict[str, np.ndarray]]] = {
        row: {target: {} for target in TARGETS} for row in columns
    }
    for split in tqdm(splits, "folds", disable=not progress):
        parts = inner_parts(split, group, inner_folds)
        file = _file_of(data, split, parts)
        for row, used in columns.items():
            kept = file.with_name(f"{file.stem}-{len(used)}-{int(used[0])}.npz")
            if not kept.is_file():
                trained = [(of_groups(train), held) for train, held in parts]
                final = of_groups([*split.train, *split.validation])
                fit = _Fit.chosen(trained, final, used, centred, labels)
                test: dict[str, Any] = {i: fit.predict(centred[i][:, used]) for i in split.test}
                with atomic_path(kept) as temporary:
                    np.savez(temporary, **test)
            with np.load(kept) as predicted:
                for i in split.test:
                    for k, target in enumerate(TARGETS):
                        curves[row][target][i] = predicted[i][:, k]
    tested = [s for s in sequences if s.id in curves[next(iter(columns))][TARGETS[0]]]
    return {
        row: {t: _collected(tested, of_row[t], t) for t in TARGETS}
        for row, of_row in curves.items()
    }


def _file_of(data: str, split: Split, parts: InnerParts) -> Path:
    """Where the predictions of a split are kept, so that a killed run goes on."""
    inputs = [data, asdict(split), parts, computed_by(_Fit), computed_on()]
    key = sha256_text(json.dumps(plain(inputs), sort_keys=True))[:16]
    return TRAININGS / "notes" / f"curves-{key}.npz"


def _refuse_divided_groups(splits: Sequence[Split], group: Mapping[str, str]) -> None:
    for split in splits:
        known = {group[i] for i in (*split.train, *split.validation)}
        if known & {group[i] for i in split.test}:
            raise ValueError("splits: a group lies on both sides; its sums cannot be divided")


@dataclass(frozen=True)
class _Fit:
    """Ridge regression of both targets, each with its own penalty."""

    slope: np.ndarray
    level: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x @ self.slope + self.level

    @classmethod
    def chosen(
        cls,
        trained: Sequence[tuple[SufficientStatistics, Sequence[str]]],
        final: SufficientStatistics,
        used: np.ndarray,
        x: Mapping[str, np.ndarray],
        y: Mapping[str, np.ndarray],
    ) -> _Fit:
        """Choose the penalties on held-out tracks, then fit all that is known."""
        errors = np.zeros((len(ALPHAS), len(TARGETS)))
        for sums, held in trained:
            inputs = np.concatenate([x[i][:, used] for i in held])
            true = np.concatenate([y[i] for i in held])
            for a, fit in enumerate(_path(sums, used, ALPHAS)):
                errors[a] += ((fit.predict(inputs) - true) ** 2).mean(axis=0)
        best = errors.argmin(axis=0)
        fits = {int(a): next(_path(final, used, (ALPHAS[a],))) for a in set(best.tolist())}
        return cls(
            np.stack([fits[int(a)].slope[:, k] for k, a in enumerate(best)], axis=1),
            np.array([fits[int(a)].level[k] for k, a in enumerate(best)]),
        )


def _path(sums: SufficientStatistics, used: np.ndarray, alphas: Sequence[float]) -> Iterator[_Fit]:
    """A fit for each penalty; features are standardised first."""
    n = sums.n
    mean_x, mean_y = sums.x[used] / n, sums.y / n
    gram = sums.xx[np.ix_(used, used)].astype(np.float64) - n * np.outer(mean_x, mean_x)
    moment = sums.xy[used].astype(np.float64) - n * np.outer(mean_x, mean_y)
    sd = np.sqrt(np.maximum(np.diag(gram) / n, 0))
    sd[sd < 1e-6] = 1
    gram /= np.outer(sd, sd)
    for alpha in alphas:
        slope = _solved(gram, alpha, moment / sd[:, None])
        slope /= sd[:, None]
        yield _Fit(slope, mean_y - mean_x @ slope)


def _solved(gram: np.ndarray, alpha: float, moment: np.ndarray) -> np.ndarray:
    """Coefficients of ridge regression."""
    try:
        found = cho_solve(cho_factor(gram + alpha * np.eye(len(gram))), moment)
    except LinAlgError:
        # Single-precision sums of nearly constant features can give negative eigenvalues.
        values, vectors = eigh(gram)
        found = vectors @ ((vectors.T @ moment) / (values.clip(0) + alpha)[:, None])
    return np.asarray(found)


def _collected(
    sequences: Sequence[Sequence2Hz], curves: Mapping[str, np.ndarray], target: str
) -> dict[str, Curve]:
    """As `collect`, of values at the labelled frames only."""
    whole = {}
    for s in sequences:
        whole[s.id] = np.zeros(len(s.mask))
        whole[s.id][s.mask] = curves[s.id]
    return collect(sequences, whole, target)


def _constant(sequences: Sequence[Sequence2Hz], splits: Sequence[Split]) -> ByTarget:
    by_id = {s.id: s for s in sequences}
    found: dict[str, dict[str, Curve]] = {target: {} for target in TARGETS}
    for split in splits:
        known = [by_id[i] for i in (*split.train, *split.validation)]
        test = [by_id[i] for i in split.test]
        for target in TARGETS:
            found[target] |= collect(test, constant(known, test, target), target)
    order = [s.id for s in sequences]
    return {t: {i: of[i] for i in order if i in of} for t, of in found.items()}


def _mean(first: Predictions, second: Predictions) -> dict[str, Curve]:
    return {
        i: replace(curve, predicted=(curve.predicted + second[i].predicted) / 2)
        for i, curve in first.items()
    }


def curve_table(results: CurveResults) -> pd.DataFrame:
    """Readable table of r and RMSE over all frames, and the mean r within pieces."""
    rows = {}
    for name, of_target in results.scores.items():
        cells: dict[str, str] = {"inputs": str(results.n_inputs.get(name, "–"))}
        for target, scores in of_target.items():
            cells[f"r, {target}"] = f"{scores.pooled['r']}"
            cells[f"RMSE, {target}"] = f"{scores.pooled['rmse']}"
            cells[f"r within pieces, {target}"] = f"{scores.per_song['r']}"
        rows[name] = cells
    return pd.DataFrame(rows).T.rename_axis("row")


def difference_table(results: CurveResults) -> pd.DataFrame:
    """Readable table of paired differences of r."""
    return pd.DataFrame(
        {
            name: {target: f"{metrics['r']:+.3f}" for target, metrics in of_target.items()}
            for name, of_target in results.differences.items()
        }
    ).T.rename_axis("difference of r")


def score_rows(results: CurveResults) -> pd.DataFrame:
    """``target, model, metric, value, low, high`` of r, for `msr_utils.figures.score_intervals`.

    The constant is left out: of folds with other means, its r says nothing.
    """
    rows = [
        {"target": target, "model": name, "metric": "r", **vars(scores.pooled["r"])}
        for name, of_target in results.scores.items()
        for target, scores in of_target.items()
        if name != CONSTANT
    ]
    return pd.DataFrame(rows)


def of_shown(results: CurveResults) -> dict[str, dict[str, Predictions]]:
    """Predictions by target and row of the rows that are drawn."""
    names = (NOTES, results.audio_row, BOTH_LATE)
    return {t: {name: results.predictions[name][t] for name in names} for t in TARGETS}


def pieces_by_disagreement(results: CurveResults, corpus: Corpus) -> list[Track]:
    """The pieces on which notes and audio disagree most, at the median, and least."""
    first, second = results.predictions[NOTES], results.predictions[results.audio_row]
    distance = {
        i: np.mean([np.abs(first[t][i].predicted - second[t][i].predicted).mean() for t in TARGETS])
        for i in first[TARGETS[0]]
    }
    order = sorted(distance, key=lambda i: distance[i])
    track = {track.id: track for track in corpus.tracks}
    return [track[order[k]] for k in (-1, len(order) // 2, 0)]
