"""What a worker does with one file: hash it, predict it, read its tags.

Identity. A track is the SHA-256 of its decoded audio: mono, at the rate of the model, rounded to
16 bits. Tags, names and containers do not change it. A WAV file and a FLAC file of the same samples
are one track; an MP3 of them is another. The samples of a lossy file depend on the decoder, so
another version of a decoder may give another hash. A file whose size and time are unchanged is
never decoded again, so its hash stays.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from pathlib import Path

import numpy as np

from msr_utils.audio.decode import AudioFile
from msr_utils.audio.source import AudioError
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.folder_workers import DIED, error_text, message_text
from msr_utils.inference.model import FilePrediction, Model
from msr_utils.inference.prediction import Prediction
from msr_utils.library.numbers import TrackArrays, from_bytes, summarise, to_bytes
from msr_utils.library.records import Known
from msr_utils.library.tags import Tags, read_tags

FULL_SCALE = 32767
"""Samples are rounded to 16 bits for the hash."""

EMBEDDING_BLOCK = "musicnn"
"""The block whose features are averaged to the embedding. A model without it gives all of its
features."""


class Result(StrEnum):
    """What became of a file."""

    ANALYSED = "analysed"
    SAME_AUDIO = "same audio"
    SAME_BYTES = "same bytes"
    MOVED = "moved"
    FAILED = "failed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class TrackTask:
    """A file to be looked at.

    Parameters
    ----------
    path : Path
    known : Known, optional
        What the catalogue knows about this path, if it has arrays.
    moved_from : tuple of Known
        Files of the same size and time that are no longer at their place.
    """

    path: Path
    known: Known | None = None
    moved_from: tuple[Known, ...] = ()


@dataclass(frozen=True)
class TrackOutcome:
    """What became of a file.

    Parameters
    ----------
    task : TrackTask
    result : Result
    reason : str
        Why it has no curve.
    size, mtime_ns : int
    sha256, audio : str
        Hashes of the file and of its decoded audio.
    tags : Tags
    arrays : TrackArrays, optional
        Of a file that was analysed.
    warnings : tuple of str
        Defects of audio that was decoded.
    seconds : float, optional
    moved_from : Known, optional
        The file that lies here now.
    """

    task: TrackTask
    result: Result
    reason: str = ""
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    audio: str = ""
    tags: Tags = Tags()
    arrays: TrackArrays | None = None
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    moved_from: Known | None = None


class AudioHash:
    """SHA-256 of samples, block by block: see this module's text."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, samples: np.ndarray) -> None:
        """Take the next samples, (n,) float32."""
        scaled = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE - 1, FULL_SCALE)
        self._hash.update(scaled.astype("<i2").tobytes())

    def hexdigest(self) -> str:
        """The hash so far, 64 hexadecimal digits."""
        return self._hash.hexdigest()


class Embedding:
    """Mean over time of features that a model computes anyway.

    Of a model with MusiCNN, it is the mean of MusiCNN's embedding; with running statistics, of the
    shortest running mean. Its length is that of one frame's block.

    Parameters
    ----------
    config : FeatureConfig
    """

    def __init__(self, config: FeatureConfig) -> None:
        self._columns = embedding_columns(config)
        self._sum = np.zeros(len(self._columns), np.float64)
        self._frames = 0

    def add(self, features: np.ndarray) -> None:
        """Take the next frames, (frames, D)."""
        self._sum += features[:, self._columns].sum(axis=0, dtype=np.float64)
        self._frames += len(features)

    def mean(self) -> np.ndarray:
        """The embedding, float16."""
        limit = float(np.finfo(np.float16).max)
        mean = self._sum / max(self._frames, 1)
        return np.clip(mean, -limit, limit).astype(np.float16)


def embedding_columns(config: FeatureConfig) -> np.ndarray:
    """Columns of the features that make the embedding."""
    names = [n for n in config.blocks if n == EMBEDDING_BLOCK] or list(config.blocks)
    return config.columns(names)[: len(config.without_running_stats().columns(names))]


def look_at(model: Model, task: TrackTask) -> TrackOutcome:
    """Find out what a file is and, if it is new, predict it. Errors become outcomes."""
    try:
        with open(task.path, "rb") as file:
            return _look_at_open(model, task, file)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        return TrackOutcome(task, Result.UNREADABLE, reason)


def died(model: Model, task: TrackTask) -> TrackOutcome:
    """The outcome of a file whose process died twice."""
    return TrackOutcome(task, Result.FAILED, DIED)


def _look_at_open(model: Model, task: TrackTask, file: BufferedReader) -> TrackOutcome:
    """Hash, compare and predict an open file. An OSError means that it cannot be read."""
    before = os.fstat(file.fileno())
    size, mtime_ns = before.st_size, before.st_mtime_ns
    if not size:
        return TrackOutcome(task, Result.FAILED, "is empty (0 bytes)", size, mtime_ns)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    known = task.known
    if known is not None and known.sha256 == sha256:
        return TrackOutcome(
            task, Result.SAME_BYTES, "", size, mtime_ns, sha256, known.audio, read_tags(file)
        )
    for other in task.moved_from:
        if other.sha256 == sha256:
            return TrackOutcome(
                task, Result.MOVED, "", size, mtime_ns, sha256, other.audio, read_tags(file),
                moved_from=other,
            )  # fmt: skip
    tags = read_tags(file)
    reason = ""
    try:
        if known is not None and decoded_hash(file, model.features.sample_rate) == known.audio:
            return TrackOutcome(
                task, Result.SAME_AUDIO, "", size, mtime_ns, sha256, known.audio, tags
            )
        audio, arrays, prediction = analyse(model, file, tags)
        after = os.fstat(file.fileno())
        if (size, mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise AudioError("changed while it was read; call again")
        name = task.path.name
        return TrackOutcome(
            task, Result.ANALYSED, "", size, mtime_ns, sha256, audio, tags, arrays,
            tuple(message_text(text, name) for text in prediction.warnings),
            prediction.duration_s,
        )  # fmt: skip
    except MemoryError:
        reason = "not enough memory to analyse it"
    except Exception as error:  # no file of a large collection may stop the rest
        reason = error_text(error, task.path.name)
    return TrackOutcome(task, Result.FAILED, reason, size, mtime_ns, sha256, tags=tags)


def decoded_hash(file: BufferedReader, sample_rate: int) -> str:
    """Hash of the decoded audio of a file.

    Raises
    ------
    AudioError
    """
    digest = AudioHash()
    for block in AudioFile(file, sample_rate):
        digest.add(block)
    return digest.hexdigest()


def analyse(model: Model, file: BufferedReader, tags: Tags) -> tuple[str, TrackArrays, Prediction]:
    """Decode a file once: hash its audio, predict its curve, average its embedding.

    Memory does not grow with the length of the audio, apart from 8 bytes for each half second.

    Raises
    ------
    AudioError
    """
    digest, embedding = AudioHash(), Embedding(model.features)
    run = FilePrediction(model, file, on_samples=digest.add, on_features=embedding.add)
    for _ in run:
        pass
    prediction = run.prediction()
    stored = to_bytes(np.stack([prediction.valence, prediction.arousal], axis=1))
    numbers = summarise(
        from_bytes(stored),
        prediction.margins,
        prediction.duration_s,
        not prediction.is_music,
        tags.year,
        tags.tempo,
    )
    return digest.hexdigest(), TrackArrays(numbers, embedding.mean(), stored), prediction
