"""Lyrics beside audio: what do the words of a song tell about its ratings?

Each input has a model of its own, and combinations are weighted sums of their predictions. The
weights are not negative. They are found on predictions for songs that the models were not trained
on, inside the training part of each fold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import nnls
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.affect import QUADRANT_NAMES, quadrant
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.dataset.splits import inner_parts, splits_of
from msr_utils.experiments.clip_models import CONSTANT, INNER_FOLDS
from msr_utils.experiments.clip_scores import estimates, paired_difference
from msr_utils.experiments.lyrics_scores import (
    AUDIO,
    COMBINATIONS,
    FUSED,
    NORMS,
    SENTENCES,
    WORDS,
    LyricsComparison,
    Mended,
)
from msr_utils.experiments.song_models import metric_samples
from msr_utils.experiments.text_features import MAX_TOKENS, sentence_embeddings
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.estimate import Estimate
from msr_utils.models.checkpoints import MINILM

PENALTIES = tuple(10.0**k for k in range(-1, 6))
"""Penalties of ridge regression that are tried. The one with the lowest leave-one-out error on the
training songs is taken, for each target."""

WORDS_OF_A_PART = 2 * MAX_TOKENS // 3
"""Words of one part of the lyrics. English has about four tokens in three words."""

MIN_SONGS = 3
"""Songs of the training part in which a word must occur."""


def compare(
    corpus: Corpus,
    features: np.ndarray,
    folds: int,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    pretrained: str = MINILM,
    progress: bool = True,
) -> LyricsComparison:
    """Predict the ratings of songs from audio, from lyrics and from both.

    Parameters
    ----------
    corpus : Corpus
        With ratings of whole songs. Songs without lyrics are left out.
    features : np.ndarray [shape=(tracks, D)]
        Statistics of the audio of each track.
    folds : int > 1
        No artist is in both training and test.
    n_boot : int >= 0
        Bootstrap samples of artists; 0: no intervals.
    seed : int
    pretrained : str
        BERT checkpoint that embeds the lyrics.
    progress : bool

    Raises
    ------
    CorpusError
        If no track has lyrics, or one has no rating of the whole song.
    ValueError
        If there are fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"folds: must be at least 2, not {folds}")
    chosen = [i for i, track in enumerate(corpus.tracks) if track.text.get("lyrics")]
    if not chosen:
        raise CorpusError(f"{corpus.name}: no track has lyrics")
    songs = replace(corpus, tracks=[corpus.tracks[i] for i in chosen])
    true = _ratings(songs.tracks)
    texts = [track.text["lyrics"] for track in songs.tracks]
    inputs: dict[str, np.ndarray] = {
        AUDIO: features[chosen],
        WORDS: np.array(texts, dtype=object),
        SENTENCES: lyrics_embeddings(texts, pretrained, progress),
        NORMS: np.array([word_norms(text) for text in texts]),
    }
    predicted, weights = cross_validate(songs, inputs, true, folds, seed, progress)
    groups = [track.group for track in songs.tracks]
    counts = draw_counts(groups, n_boot, seed)
    samples = {name: metric_samples(counts, true, rows) for name, rows in predicted.items()}
    # The constant differs from fold to fold. Its r would only tell the folds apart.
    samples[CONSTANT]["r"] = {t: np.full(n_boot + 1, np.nan) for t in TARGETS}
    return LyricsComparison(
        songs=len(songs.tracks),
        groups=len(set(groups)),
        without_lyrics=len(corpus.tracks) - len(songs.tracks),
        scores={name: estimates(rows) for name, rows in samples.items()},
        above_audio={
            name: estimates(paired_difference(rows, samples[AUDIO]))
            for name, rows in samples.items()
            if name not in (CONSTANT, AUDIO)
        },
        weights=weights,
        mended=_mended(counts, true, predicted[AUDIO], predicted[FUSED]),
    )


def _ratings(tracks: Sequence[Track]) -> np.ndarray:
    """Valence and arousal of each song, (songs, 2)."""
    if unrated := [track.id for track in tracks if track.static is None]:
        raise CorpusError(f"song {unrated[0]}: has no rating of the whole song")
    return np.array([track.static for track in tracks], np.float64)


# ---------------------------------------------------------------------------------------- inputs


def lyrics_embeddings(
    texts: Sequence[str], pretrained: str = MINILM, progress: bool = True
) -> np.ndarray:
    """Mean embedding of the parts of each text, (texts, D); a BERT reads short texts only."""
    parts, owner = [], []
    for i, text in enumerate(texts):
        words = text.split()
        for start in range(0, max(len(words), 1), WORDS_OF_A_PART):
            parts.append(" ".join(words[start : start + WORDS_OF_A_PART]))
            owner.append(i)
    embedded = sentence_embeddings(parts, pretrained, progress=progress)
    count = np.bincount(owner, minlength=len(texts))
    total = np.zeros((len(texts), embedded.shape[1]))
    np.add.at(total, owner, embedded)
    return total / count[:, None]


@lru_cache(maxsize=1)
def _norms() -> dict[str, float]:
    """Valence of words: the list of VADER, from -4 to 4.

    Hutto and Gilbert (2014), "VADER: a parsimonious rule-based model for sentiment analysis of
    social media text", ICWSM. Ten people rated each word.
    """
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer().lexicon


def word_norms(text: str) -> np.ndarray:
    """What the words of a text say on their own.

    Returns
    -------
    np.ndarray [shape=(5,)]
        Mean over all words of their positive and of their negative valence, share of words that are
        on the list, logarithm of the number of words, share of different words.
    """
    words = re.findall(r"[a-z']+", text.lower())
    n = max(len(words), 1)
    valence = np.array([_norms().get(word, 0.0) for word in words] or [0.0])
    return np.array(
        [
            valence.clip(min=0).sum() / n,
            valence.clip(max=0).sum() / n,
            np.count_nonzero(valence) / n,
            np.log(n),
            len(set(words)) / n,
        ]
    )


# ---------------------------------------------------------------------------------------- models


def _fit(name: str, x: np.ndarray, y: np.ndarray) -> Pipeline:
    """Ridge regression of both targets on one input."""
    scaled = (
        TfidfVectorizer(
            sublinear_tf=True,
            ngram_range=(1, 2),
            min_df=MIN_SONGS,
            max_df=0.8,
            strip_accents="unicode",
        )
        if name == WORDS
        else StandardScaler()
    )
    # Leave-one-out errors need an array.
    dense = FunctionTransformer(_dense, accept_sparse=True)
    return make_pipeline(scaled, dense, RidgeCV(PENALTIES, alpha_per_target=True)).fit(x, y)


def _dense(x: Any) -> np.ndarray:
    return x.toarray() if scipy.sparse.issparse(x) else x


def cross_validate(
    songs: Corpus,
    inputs: Mapping[str, np.ndarray],
    true: np.ndarray,
    folds: int,
    seed: int,
    progress: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """Predict every song by models that were not trained on its artist.

    Parameters
    ----------
    songs : Corpus
    inputs : mapping of str to np.ndarray [shape=(songs, ...)]
    true : np.ndarray [shape=(songs, 2)]
    folds : int > 1
    seed : int
    progress : bool

    Returns
    -------
    predicted : dict of str to np.ndarray [shape=(songs, 2)]
        The constant, each input, and the combinations.
    weights : dict of input to target to float
        In "audio and lyrics", mean of the folds.
    """
    row = {track.id: i for i, track in enumerate(songs.tracks)}
    group = {track.id: track.group for track in songs.tracks}
    predicted = {name: np.empty_like(true) for name in (CONSTANT, *inputs, *COMBINATIONS)}
    found = []
    for split in tqdm(splits_of(songs, folds, seed), desc="folds", disable=not progress):
        train, test = (
            np.array([row[i] for i in ids]) for ids in (split.train + split.validation, split.test)
        )
        inner = [
            (np.array([row[i] for i in part]), np.array([row[i] for i in held_out]))
            for part, held_out in inner_parts(split, group, INNER_FOLDS)
        ]
        predicted[CONSTANT][test] = true[train].mean(axis=0)
        held_out = {name: np.full_like(true, np.nan) for name in inputs}
        with threadpool_limits(1, user_api="blas"):
            for name, x in inputs.items():
                for part, rest in inner:
                    held_out[name][rest] = _fit(name, x[part], true[part]).predict(x[rest])
                predicted[name][test] = _fit(name, x[train], true[train]).predict(x[test])
        for name, members in COMBINATIONS.items():
            mean = true[train].mean(axis=0)
            weights = _weights(
                np.stack([held_out[m][train] - mean for m in members]), true[train] - mean
            )
            parts = np.stack([predicted[m][test] - mean for m in members])
            predicted[name][test] = mean + np.einsum("mk,mnk->nk", weights, parts)
            if name == FUSED:
                found.append(weights)
    means = np.mean(found, axis=0)
    return predicted, {
        name: dict(zip(TARGETS, means[k].tolist(), strict=True))
        for k, name in enumerate(COMBINATIONS[FUSED])
    }


def _weights(parts: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Weights that are not negative, by least squares.

    Wolpert (1992), "Stacked generalization"; Breiman (1996), "Stacked regressions".

    Parameters
    ----------
    parts : np.ndarray [shape=(inputs, songs, 2)]
    true : np.ndarray [shape=(songs, 2)]

    Returns
    -------
    np.ndarray [shape=(inputs, 2)]
    """
    return np.stack([nnls(parts[..., k].T, true[:, k])[0] for k in range(len(TARGETS))], axis=1)


def _mended(
    counts: np.ndarray, true: np.ndarray, audio: np.ndarray, fused: np.ndarray
) -> dict[str, Mended]:
    """Errors of valence by quadrant of the rating, with intervals from resampled artists."""
    names = np.array([quadrant(*point).name for point in true])
    valence = TARGETS.index("valence")
    found = {}
    for name in QUADRANT_NAMES:
        chosen = names == name
        if not chosen.any():
            continue
        drawn = counts[:, chosen]
        total = np.maximum(drawn.sum(axis=1), 1)
        before, after = (
            drawn @ np.abs(predicted - true)[chosen, valence] / total
            for predicted in (audio, fused)
        )
        found[name] = Mended(
            songs=int(chosen.sum()),
            audio=Estimate.of_draws(before),
            fused=Estimate.of_draws(after),
            change=Estimate.of_draws(after - before),
        )
    return found
