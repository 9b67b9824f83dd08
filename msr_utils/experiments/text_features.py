"""Text embeddings, audio statistics and labels of whole tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from transformers import AutoTokenizer

from msr_utils.affect import SIGNS
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.emotify import EMOTIONS
from msr_utils.experiments.clip_scores import emotion_ceilings
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.reliability import rater_ceiling
from msr_utils.models.backend import keras
from msr_utils.models.checkpoints import MINILM, checkpoint_folder
from msr_utils.models.pretrained import checkpoint_config, load_encoder, word_embeddings
from msr_utils.models.transformer import bert_encoder
from msr_utils.paths import CACHE_DIR

FIELDS = ("title", "artist", "genre", "genres", "lyrics")
"""Keys of `Track.text` that describe the music. Other keys describe the corpus."""

MAX_TOKENS = 256
"""Longer texts are cut: all-MiniLM was trained on up to 256 tokens."""


def track_text(track: Track, fields: Sequence[str] = FIELDS) -> str:
    """The text fields of a track as one string, such as "Nothing Much. My Bubba & Mi. Blues"."""
    return ". ".join(track.text[f] for f in FIELDS if f in fields and track.text.get(f))


def sentence_embeddings(
    texts: Sequence[str], pretrained: str = MINILM, batch_size: int = 32, progress: bool = True
) -> np.ndarray:
    """Embed texts as sentence-BERT does: the mean over tokens, scaled to length 1.

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
        If the checkpoint is missing or is not a BERT.

    Notes
    -----
    Reimers and Gurevych (2019), "Sentence-BERT", https://arxiv.org/abs/1908.10084
    """
    # This model is never exported, so it can use the exact GELU of the checkpoint.
    config = checkpoint_config(
        pretrained, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_folder(pretrained))
    words = word_embeddings(pretrained)
    tokens = keras.Input((None, config.hidden_size))
    token_mask = keras.Input((None,), dtype="bool")
    model = keras.Model([tokens, token_mask], bert_encoder(tokens, config, token_mask))
    load_encoder(model, pretrained)
    max_tokens = min(MAX_TOKENS, config.max_position_embeddings)
    # Each distinct text is embedded once. Sorting by length keeps the padding of a batch short.
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    embeddings: dict[str, np.ndarray] = {}
    starts = range(0, len(distinct), batch_size)
    for start in tqdm(starts, desc="texts", unit="batch", disable=not progress):
        batch = distinct[start : start + batch_size]
        encoded = tokenizer(
            batch, padding=True, truncation=True, max_length=max_tokens, return_tensors="np"
        )
        mask = encoded["attention_mask"].astype(bool)
        hidden = np.asarray(model([words[encoded["input_ids"]], mask]))
        mean = np.where(mask[..., None], hidden, 0).sum(axis=1)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        embeddings |= dict(zip(batch, mean, strict=True))
    return np.stack([embeddings[text] for text in texts])


def clip_statistics(
    corpus: Corpus, features: FeatureConfig, cache_dir: Path = CACHE_DIR
) -> np.ndarray | None:
    """Mean and standard deviation of each feature over a track.

    Returns
    -------
    np.ndarray [shape=(tracks, 2 D), dtype=float32] or None
        None if the audio of any track is missing.
    """
    if not all(track.audio_path.is_file() for track in corpus.tracks):
        return None
    rows = []
    for track in tqdm(corpus.tracks, desc="features", unit="track"):
        frames = cached_features(track.audio_path, features, cache_dir)
        rows.append(np.concatenate([frames.mean(axis=0), frames.std(axis=0)]))
    return np.array(rows, np.float32)


def track_labels(corpus: Corpus) -> dict[str, np.ndarray]:
    """Labels of whole tracks, by target.

    Song-level ratings where the corpus has them, else the means of the curves.

    Returns
    -------
    dict of str to np.ndarray [shape=(tracks,)]
        Targets are valence and arousal, or the emotions. Quadrants give booleans: True where the
        dimension is positive.

    Raises
    ------
    CorpusError
        If only some tracks have song-level ratings.
    """
    tracks = corpus.tracks
    if corpus.labels == "quadrants":
        signs = np.array([SIGNS[track.quadrant] for track in tracks])
        return dict(zip(TARGETS, (signs > 0).T, strict=True))
    if corpus.labels == "gems":
        return dict(zip(EMOTIONS, np.array([track.gems for track in tracks]).T, strict=True))
    if "static" in corpus.kinds:
        missing = [track.id for track in tracks if track.static is None]
        if missing:
            raise CorpusError(
                f"{corpus.name}: track {missing[0]!r} has no song-level rating "
                f"({len(missing)} tracks have none); unpack the static annotations"
            )
        return dict(zip(TARGETS, np.array([track.static for track in tracks]).T, strict=True))
    return {
        target: np.array([getattr(track, target)[track.mask].mean() for track in tracks])
        for target in TARGETS
    }


def ceilings(corpus: Corpus) -> dict[str, float]:
    """Highest r that the disagreement of raters allows with labels of whole tracks, by target.

    Empty where the corpus does not hold the answers of single raters. See
    `msr_utils.metrics.reliability.rater_ceiling` for the method.
    """
    if corpus.labels == "gems":
        return emotion_ceilings(corpus)
    ratings = [track.ratings[:, track.mask] for track in corpus.tracks if track.ratings is not None]
    if "static" in corpus.kinds or not ratings:
        return {}
    # The label is a mean over time, so each rater's curve becomes its mean: a curve of one frame.
    # A rater with a gap has NaN there and is left out.
    return {
        target: rater_ceiling([r[..., column].mean(axis=1, keepdims=True) for r in ratings]).r
        for column, target in enumerate(TARGETS)
    }


def texts_of(corpus: Corpus, fields: Sequence[str]) -> dict[str, list[str]]:
    """Texts of all tracks, for several sets of text fields.

    Parameters
    ----------
    corpus : Corpus
    fields : sequence of str
        Sets of `FIELDS` such as ``"title,artist"``. ``genre`` includes ``genres``. Fields that
        the corpus lacks are left out. So are sets that then equal an earlier one.

    Returns
    -------
    dict of str to list of str
        Names of the fields to the text of each track.

    Raises
    ------
    CorpusError
        If no track has any text.
    ValueError
        If a field is unknown.
    """
    texts: dict[str, list[str]] = {}
    for field_set in fields:
        names = [name.strip() for name in field_set.split(",")]
        for name in names:
            if name not in FIELDS:
                raise ValueError(f"texts: unknown field {name!r}; known: {', '.join(FIELDS)}")
        if "genre" in names:
            names.append("genres")
        present = [f for f in FIELDS if f in names and any(t.text.get(f) for t in corpus.tracks)]
        if present:
            texts[", ".join(present)] = [track_text(track, present) for track in corpus.tracks]
    if not texts:
        raise CorpusError(f"{corpus.name}: no track has any of {'; '.join(fields)}")
    return texts
