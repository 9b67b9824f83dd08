"""Text of a track as numbers, and the labels that it is set against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from transformers import AutoTokenizer

from msr_utils.affect import QUADRANTS
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.emotify import EMOTIONS, reliability
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.reliability import rater_ceiling
from msr_utils.models.backend import keras
from msr_utils.models.checkpoints import MINILM, checkpoint_folder
from msr_utils.models.pretrained import checkpoint_config, load_encoder, word_embeddings
from msr_utils.models.transformer import bert_encoder
from msr_utils.paths import CACHE_DIR

FIELDS = ("title", "artist", "genre", "genres", "lyrics")
"""What of `Track.text` describes the music; the rest describes the corpus."""

MAX_TOKENS = 256
"""Longest text that all-MiniLM was made for, of those tokens; the rest is cut."""

CONTROL = "text of another track"

POSITIVE_QUADRANTS = {
    "valence": tuple(q.name for q in QUADRANTS if q.valence_positive),
    "arousal": tuple(q.name for q in QUADRANTS if q.arousal_positive),
}
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
        See `msr_utils.models.families.pretrained.checkpoint_folder`.
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
        return {t: np.array([k.quadrant in POSITIVE_QUADRANTS[t] for k in tracks]) for t in TARGETS}
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

    Empty where single answers are not at hand; see `msr_utils.metrics.reliability.rater_ceiling`.
    """
    if corpus.labels == "gems":
        return reliability(corpus.tracks)["ceiling"].to_dict()
    answers = [t.ratings[:, t.mask] for t in corpus.tracks if t.ratings is not None]
    if "static" in corpus.kinds or not answers:
        return {}
    # A rater's mean where the label is the mean of theirs, as a curve of one frame; who left a gap
    # has none.
    return {
        target: rater_ceiling([own[..., column].mean(axis=1, keepdims=True) for own in answers]).r
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
