"""Multimodal fusion: does the text about a track add to what its audio tells?

Title, artist, genre and lyrics, as far as a corpus has them, become one BERT embedding a track.
Audio becomes statistics of its frames. Linear probes predict the labels of whole tracks from
audio, from text and from both. Both are combined in two ways: side by side as one input (early
fusion), and as the mean of two predictions (late fusion).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.corpora.base import Corpus
from msr_utils.dataset.splits import inner_parts, splits_of
from msr_utils.experiments.text_features import ceilings, sentence_embeddings, track_labels
from msr_utils.experiments.text_scores import (
    AUDIO,
    CONSTANT,
    CONTROL,
    TextComparison,
    score_inputs,
)
from msr_utils.metrics.bootstrap import draw_units
from msr_utils.models.checkpoints import MINILM

PENALTIES = tuple(10.0**k for k in range(1, 6))
"""Penalties of the probes on standardised inputs. One is chosen by inner cross-validation."""

INNER_FOLDS = 5
"""Inner folds that choose the penalty; fewer where there are fewer groups."""


def out_of_fold(corpus: Corpus, x: np.ndarray, y: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Predict every test track by a linear probe that was not trained on its group.

    The penalty is chosen by inner cross-validation, which keeps groups together as well.

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
        Probabilities or values. NaN for tracks that no fold tests, such as DEAM's 58 full-length
        songs.

    Raises
    ------
    ValueError
        With fewer than two folds: some tracks would have no prediction.
    """
    if folds < 2:
        raise ValueError(f"folds: must be at least 2, not {folds}")
    binary = y.dtype == bool
    row = {track.id: i for i, track in enumerate(corpus.tracks)}
    group = {track.id: track.group for track in corpus.tracks}
    predicted = np.full(len(y), np.nan)
    for split in splits_of(corpus, folds, seed):
        known = split.train + split.validation
        place = {track_id: i for i, track_id in enumerate(known)}
        n_groups = len({group[track_id] for track_id in known})
        inner = [
            ([place[i] for i in train], [place[i] for i in held_out])
            for train, held_out in inner_parts(split, group, min(INNER_FOLDS, n_groups))
        ]
        train_rows, test_rows = [row[i] for i in known], [row[i] for i in split.test]
        probe = _probe(binary, inner).fit(x[train_rows], y[train_rows])
        x_test = x[test_rows]
        predicted[test_rows] = (
            probe.predict_proba(x_test)[:, 1] if binary else probe.predict(x_test)
        )
    return predicted


def _probe(binary: bool, inner: Sequence[tuple[list[int], list[int]]]) -> GridSearchCV:
    """A linear model that chooses its penalty on the inner folds."""
    if binary:
        model = LogisticRegression(max_iter=1000)
        grid = {"logisticregression__C": 1 / np.array(PENALTIES)}
    else:
        model = Ridge()
        grid = {"ridge__alpha": np.array(PENALTIES)}
    scoring = "roc_auc" if binary else "neg_mean_squared_error"
    return GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=inner, scoring=scoring)


def compare(
    corpus: Corpus,
    texts: Mapping[str, Sequence[str]],
    audio: np.ndarray | None,
    folds: int,
    bootstrap: int,
    seed: int,
    pretrained: str = MINILM,
) -> TextComparison:
    """Predict the labels of whole tracks from audio, from text and from both.

    As a control, audio is joined by the last text of a randomly drawn other track.

    Parameters
    ----------
    corpus : Corpus
    texts : mapping of str to sequence of str
        By the fields that they are made of, see `msr_utils.experiments.text_features.texts_of`.
    audio : np.ndarray [shape=(tracks, D)], optional
        Statistics of each track. Without it, only text is compared.
    folds : int > 1
    bootstrap : int > 0
        Samples of tracks for the 95 % intervals. All inputs share them, so that differences are
        paired.
    seed : int
    pretrained : str
        BERT checkpoint that embeds the texts.

    Returns
    -------
    TextComparison
    """
    labels = track_labels(corpus)
    embeddings = {name: sentence_embeddings(text, pretrained) for name, text in texts.items()}
    inputs = _probe_inputs(embeddings, audio, len(corpus.tracks), seed)
    is_tested = _tested(corpus, folds, seed)
    n_tested = int(is_tested.sum())
    samples = draw_units(n_tested, bootstrap, seed)
    scores = {}
    with tqdm(total=len(labels) * len(inputs), desc="probes", unit="probe") as bar:
        for target, y in labels.items():
            predicted = {}
            for name, x in inputs.items():
                with threadpool_limits(1, user_api="blas"):
                    predicted[name] = out_of_fold(corpus, x, y, folds, seed)[is_tested]
                bar.update()
            if audio is not None:
                for name in embeddings:
                    late = (predicted[AUDIO] + predicted[name]) / 2
                    predicted[f"mean of {AUDIO}, {name}"] = late
            scores[target] = score_inputs(y[is_tested], predicted, samples)
    return TextComparison(
        metric="auc" if _is_binary(labels) else "r",
        tracks=n_tested,
        groups=len({track.group for track in corpus.tracks}),
        scores=scores,
        ceiling=ceilings(corpus),
    )


def _is_binary(labels: Mapping[str, np.ndarray]) -> bool:
    return next(iter(labels.values())).dtype == bool


def _probe_inputs(
    embeddings: Mapping[str, np.ndarray], audio: np.ndarray | None, n_tracks: int, seed: int
) -> dict[str, np.ndarray]:
    """Inputs of the probes by name, (tracks, D) each: constant, audio, texts, both side by side."""
    inputs = {CONSTANT: np.zeros((n_tracks, 1), np.float32)}
    if audio is None:
        return {**inputs, **embeddings}
    order = np.random.default_rng(seed).permutation(len(audio))
    beside_audio = {**embeddings, CONTROL: list(embeddings.values())[-1][order]}
    fused = {
        f"{AUDIO} | {name}": np.concatenate([audio, text], axis=1)
        for name, text in beside_audio.items()
    }
    return {**inputs, AUDIO: audio, **embeddings, **fused}


def _tested(corpus: Corpus, folds: int, seed: int) -> np.ndarray:
    """True for tracks that a fold tests, (tracks,)."""
    tested = {track_id for split in splits_of(corpus, folds, seed) for track_id in split.test}
    return np.array([track.id in tested for track in corpus.tracks])
