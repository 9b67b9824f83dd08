"""Does it help to read about music before hearing it? Text through BERT, fused with audio.

Title, artist, genre and lyrics, as far as a corpus has them, become one embedding a track;
audio becomes statistics of its frames. Linear probes predict labels of whole tracks from one,
from the other, from both side by side, and by the mean of two predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.corpora.base import Corpus
from msr_utils.dataset.splits import inner_parts, splits_of
from msr_utils.experiments.text_features import (
    CONTROL,
    ceilings,
    sentence_embeddings,
    track_labels,
)
from msr_utils.metrics.reliability import CEILING
from msr_utils.models.checkpoints import MINILM

CONSTANT = "constant"

PENALTIES = tuple(10.0**k for k in range(1, 6))
"""Of the probes, on standardised inputs; chosen on inner parts."""


def out_of_fold(corpus: Corpus, x: np.ndarray, y: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Predict every test track by a linear probe that saw no track of its group.

    The penalty is chosen on inner parts, divided by group as well.

    Parameters
    ----------
    corpus : Corpus
    x : np.ndarray [shape=(tracks, D)]
    y : np.ndarray [shape=(tracks,)]
        Booleans give a logistic regression, numbers a ridge regression.
    folds : int > 1
    seed : int

    Returns
    -------
    np.ndarray [shape=(tracks,)]
        Probabilities or values; NaN where no fold tests a track, as DEAM's 58 full-length songs.

    Raises
    ------
    ValueError
        With fewer than two folds: tracks would be left without a prediction.
    """
    if folds < 2:
        raise ValueError(f"folds: must be at least 2, not {folds}")
    binary = y.dtype == bool
    row = {t.id: i for i, t in enumerate(corpus.tracks)}
    group = {t.id: t.group for t in corpus.tracks}
    predicted = np.full(len(y), np.nan)
    for split in splits_of(corpus, folds, seed):
        known = split.train + split.validation
        place = {track: i for i, track in enumerate(known)}
        groups = len({group[i] for i in known})
        parts = [
            tuple([place[i] for i in part] for part in parts)
            for parts in inner_parts(split, group, min(5, groups))
        ]
        probe, penalties = (
            (LogisticRegression(max_iter=1000), {"logisticregression__C": 1 / np.array(PENALTIES)})
            if binary
            else (Ridge(), {"ridge__alpha": PENALTIES})
        )
        search = GridSearchCV(
            make_pipeline(StandardScaler(), probe), penalties, cv=parts,
            scoring="roc_auc" if binary else "neg_mean_squared_error",
        )  # fmt: skip
        train, test = [row[i] for i in known], [row[i] for i in split.test]
        search.fit(x[train], y[train])
        predicted[test] = search.predict_proba(x[test])[:, 1] if binary else search.predict(x[test])
    return predicted


def compare(
    corpus: Corpus,
    texts: Mapping[str, Sequence[str]],
    audio: np.ndarray | None,
    folds: int,
    bootstrap: int,
    seed: int,
    pretrained: str = MINILM,
) -> dict:
    """Predict the labels of whole tracks from audio, from text and from both.

    Parameters
    ----------
    corpus : Corpus
    texts : mapping of str to sequence of str
        By what they are made of, see `texts_of`.
    audio : np.ndarray [shape=(tracks, D)], optional
        Statistics of each track; without, text stands alone.
    folds : int > 1
    bootstrap : int > 0
        Samples of tracks for the 95 % intervals; the same for all inputs, so that differences
        are paired.
    seed : int
    pretrained : str

    Returns
    -------
    dict
        ``metric`` ("auc" or "r"), ``tracks`` (that were tested), and ``scores[target][input]`` with ``value, low,
        high`` and, with audio, ``minus_audio`` with the same of the difference. As a control,
        each track gets the last text of another one, drawn at random. ``ceiling`` as
        `ceilings` gives it.
    """
    labels = track_labels(corpus)
    inputs = {name: sentence_embeddings(own, pretrained) for name, own in texts.items()}
    alone = {} if audio is None else {"audio": audio}
    beside = {}
    if audio is not None:
        drawn = np.random.default_rng(seed).permutation(len(audio))
        others = {**inputs, CONTROL: list(inputs.values())[-1][drawn]}
        beside = {f"audio | {n}": np.concatenate([audio, own], axis=1) for n, own in others.items()}
    nothing = {CONSTANT: np.zeros((len(corpus.tracks), 1), np.float32)}
    probes = nothing | alone | inputs | beside
    score = _auc if next(iter(labels.values())).dtype == bool else _pearson
    held_out = {track for split in splits_of(corpus, folds, seed) for track in split.test}
    tested = np.array([track.id in held_out for track in corpus.tracks])
    samples = np.random.default_rng(seed).integers(tested.sum(), size=(bootstrap, tested.sum()))
    bar = tqdm(total=len(labels) * len(probes), desc="probes", unit="probe")
    scores: dict[str, dict] = {}
    for target, y in labels.items():
        predicted = {}
        for name, x in probes.items():
            with threadpool_limits(1, user_api="blas"):
                predicted[name] = out_of_fold(corpus, x, y, folds, seed)
            bar.update()
        if audio is not None:
            for name in inputs:
                predicted[f"mean of audio, {name}"] = (predicted["audio"] + predicted[name]) / 2
        own = {name: p[tested] for name, p in predicted.items()}
        scores[target] = _intervals(y[tested], own, samples, score)
    bar.close()
    return {
        "metric": "auc" if score is _auc else "r",
        "tracks": int(tested.sum()),
        "groups": len({t.group for t in corpus.tracks}),
        "scores": scores,
        "ceiling": ceilings(corpus),
    }


def _intervals(
    y: np.ndarray, predicted: Mapping[str, np.ndarray], samples: np.ndarray, score: Callable
) -> dict[str, dict]:
    p = np.stack(list(predicted.values()))
    # A sample may hold one class alone, and a probe may predict a constant: no score then.
    with np.errstate(invalid="ignore"):
        value = score(y, p)
        boot = np.stack([score(y[s], p[:, s]) for s in samples])
    rows = {}
    for i, name in enumerate(predicted):
        rows[name] = _row(value[i], boot[:, i])
        if "audio" in predicted and name != "audio":
            heard = list(predicted).index("audio")
            rows[name]["minus_audio"] = _row(value[i] - value[heard], boot[:, i] - boot[:, heard])
    return rows


def _row(value: float, boot: np.ndarray) -> dict[str, float]:
    low, high = np.nanquantile(boot, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


def _auc(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each row of p (M, N), by the ranks of the positives."""
    positives = y.sum()
    ranks = rankdata(p, axis=1)[:, y].sum(axis=1) - positives * (positives + 1) / 2
    return ranks / (positives * (len(y) - positives))


def _pearson(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Pearson's r of each row of p (M, N)."""
    y, p = y - y.mean(), p - p.mean(axis=1, keepdims=True)
    return p @ y / np.sqrt((y @ y) * (p * p).sum(axis=1))


def table(result: dict) -> pd.DataFrame:
    """What `compare` gives, a row an input and a column a target, for display."""

    def cell(score: Mapping[str, float], sign: str = "") -> str:
        return f"{score['value']:{sign}.3f} [{score['low']:{sign}.3f}, {score['high']:{sign}.3f}]"

    columns = {}
    for target, rows in result["scores"].items():
        columns[f"{target}, {result['metric']}"] = {name: cell(row) for name, row in rows.items()}
        if "audio" in rows:
            columns[f"{target}, minus audio"] = {
                name: cell(row["minus_audio"], "+") for name, row in rows.items() if name != "audio"
            }
        if target in result["ceiling"]:
            column = columns[f"{target}, {result['metric']}"]
            column[CEILING] = f"{result['ceiling'][target]:.3f}"
    return pd.DataFrame(columns).fillna("")
