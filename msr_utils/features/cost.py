"""Cost of features: measured on some files, and estimated for a large collection."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msr_utils.constants import FRAME_RATE_HZ
from msr_utils.features.cache import compute_or_read
from msr_utils.features.config import FeatureConfig


@dataclass(frozen=True)
class MeasuredCost:
    """Cost of the features of some files.

    Parameters
    ----------
    files : int
    audio_minutes : float
    seconds_per_minute : float
        Processor time in s for a minute of audio: hashing, decoding, computing and writing.
        Waiting for a disk is not counted.
    bytes_per_minute : float
        Bytes of features for a minute of audio.
    audio_bytes_per_minute : float
        Bytes of audio files for a minute of audio.
    """

    files: int
    audio_minutes: float
    seconds_per_minute: float
    bytes_per_minute: float
    audio_bytes_per_minute: float


@dataclass(frozen=True)
class CollectionCost:
    """Estimated cost of the features of a collection.

    Parameters
    ----------
    audio_hours : float
        Length of all tracks.
    core_hours : float
        Processor time.
    hours : float
        Time with the given number of cores.
    storage_gib : float
        Size of the features in GiB (2**30 bytes).
    """

    audio_hours: float
    core_hours: float
    hours: float
    storage_gib: float


def measure_cost(paths: Sequence[Path], config: FeatureConfig) -> MeasuredCost:
    """Measure the cost of features on this machine, file by file as a worker does it.

    Parameters
    ----------
    paths : sequence of Path
        Audio files like those of the collection. A dozen is enough.
    config : FeatureConfig

    Raises
    ------
    ValueError
        If there is no path.
    AudioError
        If a file cannot be decoded.
    """
    if not paths:
        raise ValueError("paths: name at least one audio file")
    frames = feature_bytes = audio_bytes = 0
    with tempfile.TemporaryDirectory() as folder:
        # The first call loads libraries, so it is not counted.
        compute_or_read(paths[0], config, Path(folder) / "first")
        start = time.process_time()
        for path in paths:
            file, features, _ = compute_or_read(path, config, Path(folder) / "timed")
            frames += len(features)
            feature_bytes += file.stat().st_size
            audio_bytes += Path(path).stat().st_size
        seconds = time.process_time() - start
    minutes = frames / FRAME_RATE_HZ / 60
    return MeasuredCost(
        files=len(paths),
        audio_minutes=minutes,
        seconds_per_minute=seconds / minutes,
        bytes_per_minute=feature_bytes / minutes,
        audio_bytes_per_minute=audio_bytes / minutes,
    )


def estimate(
    tracks: int, seconds_per_track: float, cost_s: float, bytes_per_track: float, cores: int
) -> CollectionCost:
    """Estimate the cost of the features of a collection.

    Parameters
    ----------
    tracks : int
    seconds_per_track : float
        Length of a track.
    cost_s : float
        Processor time for one track in seconds: ``seconds_per_minute`` of `MeasuredCost` times
        ``seconds_per_track / 60``.
    bytes_per_track : float
        Bytes of features of one track, from ``bytes_per_minute`` in the same way.
    cores : int > 0
        Tracks computed at the same time.

    Raises
    ------
    ValueError
        If a number is negative or `cores` is less than 1.
    """
    given = {
        "tracks": tracks,
        "seconds_per_track": seconds_per_track,
        "cost_s": cost_s,
        "bytes_per_track": bytes_per_track,
    }
    for name, value in given.items():
        if not value >= 0:
            raise ValueError(f"{name}: must not be negative, is {value}")
    if cores < 1:
        raise ValueError(f"cores: must be at least 1, is {cores}")
    core_hours = tracks * cost_s / 3600
    return CollectionCost(
        audio_hours=tracks * seconds_per_track / 3600,
        core_hours=core_hours,
        hours=core_hours / cores,
        storage_gib=tracks * bytes_per_track / 2**30,
    )
