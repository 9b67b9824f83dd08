"""Does it help to read about music before hearing it? Text through BERT, fused with audio.

Title, artist, genre and lyrics, as far as a corpus has them, become one embedding a track;
audio becomes statistics of its frames. Linear probes predict labels of whole tracks from one,
from the other, from both side by side, and by the mean of two predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm
from transformers import AutoTokenizer

from msr_utils.constants import TARGETS
from msr_utils.corpora import CACHE_DIR
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.emotify import EMOTIONS, reliability
from msr_utils.dataset import cached_features, inner_parts, splits_of
from msr_utils.features import FeatureConfig
from msr_utils.metrics import rater_ceiling
from msr_utils.models.pretrained import (
    MINILM,
    checkpoint_config,
    checkpoint_folder,
    load_encoder,
    word_embeddings,
)
from msr_utils.models.transformer import bert_encoder
from msr_utils.training import keras

FIELDS = ("title", "artist", "genre", "genres", "lyrics")
"""What of `Track.text` describes the music; the rest describes the corpus."""

MAX_TOKENS = 256
"""Longest text that all-MiniLM was made for, of those tokens; the rest is cut."""

CONTROL = "text of another track"
CONSTANT = "constant"

PENALTIES = tuple(10.0**k for k in range(1, 6))
"""Of the probes, on standardised inputs; chosen on inner parts."""

HIGH = {"arousal": ("Q1", "Q2"), "valence": ("Q1", "Q4")}
"""Quadrants in which each dimension is positive."""


def describe(track: Track, fields: Sequence[str] = FIELDS) -> str:
    """What is known of a track in words, such as "Nothing Much. My Bubba & Mi. Blues"."""
    return ". ".join(track.text[f] for f in FIELDS if f in fields and track.text.get(f))


def sentence_embeddings(
    texts: Sequence[str], pretrained: str = MINILM, batch_size: int = 32, progress: bool = True
) -> np.ndarray:
    """Embed texts as sentence-BERT does: mean over tokens, of length 1.

    Parameters
    ----------
    texts : sequence of str
    pretrained : str
        See `msr_utils.models.pretrained.checkpoint_folder`.
    batch_size : int > 0

    Returns
    -------
    np.ndarray [shape=(texts, hidden_size), dtype=float32]

    Raises
    ------
    PretrainedError
        If the checkpoint is not there or is no BERT.

    Notes
    -----
    Reimers and Gurevych (2019), "Sentence-BERT", https://arxiv.org/abs/1908.10084
    """
    # Never exported: GELU as the checkpoint was trained, and no dropout.
    config = checkpoint_config(
        pretrained, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_folder(pretrained))
    words = word_embeddings(pretrained)
    tokens = keras.Input((None, config.hidden_size))
    heard = keras.Input((None,), dtype="bool")
    model = keras.Model([tokens, heard], bert_encoder(tokens, config, heard))
    load_encoder(model, pretrained)
    longest = min(MAX_TOKENS, config.max_position_embeddings)
    # Each text once, with texts of like length: the shorter are padded to the longest of a batch.
    different = sorted(set(texts), key=lambda text: (len(text), text))
    embeddings: dict[str, np.ndarray] = {}
    starts = range(0, len(different), batch_size)
    for start in tqdm(starts, desc="texts", unit="batch", disable=not progress):
        part = different[start : start + batch_size]
        batch = tokenizer(
            part, padding=True, truncation=True, max_length=longest, return_tensors="np"
        )  # fmt: skip
        mask = batch["attention_mask"].astype(bool)
        hidden = np.asarray(model([words[batch["input_ids"]], mask]))
        mean = np.where(mask[..., None], hidden, 0).sum(axis=1)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        embeddings |= dict(zip(part, mean, strict=True))
    return np.stack([embeddings[text] for text in texts])


def clip_statistics(
    corpus: Corpus, features: FeatureConfig, cache_dir: Path = CACHE_DIR
) -> np.ndarray | None:
    """Mean and standard deviation of each feature over a track, (tracks, 2 D) float32.

    None where a track's audio is not at hand.
    """
    if not all(track.audio_path.is_file() for track in corpus.tracks):
        return None
    rows = []
    for track in tqdm(corpus.tracks, desc="features", unit="track"):
        frames = cached_features(track.audio_path, features, cache_dir)
        rows.append(np.concatenate([frames.mean(axis=0), frames.std(axis=0)]))
    return np.array(rows, np.float32)


def track_labels(corpus: Corpus) -> dict[str, np.ndarray]:
    """What is to be predicted of whole tracks, (tracks,) each; booleans for quadrants.

    Song-level ratings where a corpus has them, else the means of curves.

    Raises
    ------
    CorpusError
        If song-level ratings are there for some tracks only.
    """
    tracks = corpus.tracks
    if corpus.labels == "quadrants":
        return {t: np.array([k.quadrant in HIGH[t] for k in tracks]) for t in TARGETS}
    if corpus.labels == "gems":
        return dict(zip(EMOTIONS, np.array([k.gems for k in tracks]).T, strict=True))
    if "static" in corpus.kinds:
        missing = [k.id for k in tracks if k.static is None]
        if missing:
            raise CorpusError(
                f"{corpus.name}: track {missing[0]!r} has no song-level rating, as {len(missing)} "
                "have not; unpack the static annotations"
            )
        return dict(zip(TARGETS, np.array([k.static for k in tracks]).T, strict=True))
    return {t: np.array([getattr(k, t)[k.mask].mean() for k in tracks]) for t in TARGETS}


def ceilings(corpus: Corpus) -> dict[str, float]:
    """Highest r that raters' disagreement allows with labels of whole tracks, by label.

    Empty where single answers are not at hand; see `msr_utils.metrics.rater_ceiling`.
    """
    if corpus.labels == "gems":
        return reliability(corpus.tracks)["ceiling"].to_dict()
    answers = [t.ratings[:, t.mask] for t in corpus.tracks if t.ratings is not None]
    if "static" in corpus.kinds or not answers:
        return {}
    # A rater's mean where the label is the mean of theirs, as a curve of one frame; who left a gap
    # has none.
    return {
        target: rater_ceiling([own[..., column].mean(axis=1, keepdims=True) for own in answers])[
            "r"
        ]
        for column, target in enumerate(TARGETS)
    }


def texts_of(corpus: Corpus, fields: Sequence[str]) -> dict[str, list[str]]:
    """Texts of all tracks, by the fields that they are made of.

    Parameters
    ----------
    corpus : Corpus
    fields : sequence of str
        Sets of `FIELDS` such as ``"title,artist"``; ``genre`` stands for ``genres``, too.
        Fields that the corpus lacks are left out, and so are sets that are then the same.

    Raises
    ------
    CorpusError
        If no track has any text.
    ValueError
        If a field is unknown.
    """
    texts: dict[str, list[str]] = {}
    for wanted in fields:
        names = [name.strip() for name in wanted.split(",")]
        for name in names:
            if name not in FIELDS:
                raise ValueError(f"texts: unknown field {name!r}; known: {', '.join(FIELDS)}")
        if "genre" in names:
            names.append("genres")
        there = [f for f in FIELDS if f in names and any(t.text.get(f) for t in corpus.tracks)]
        if there:
            texts[", ".join(there)] = [describe(t, there) for t in corpus.tracks]
    if not texts:
        raise CorpusError(f"{corpus.name}: no track has any of {'; '.join(fields)}")
    return texts


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
            column["raters' ceiling"] = f"{result['ceiling'][target]:.3f}"
    return pd.DataFrame(columns).fillna("")
