"""What features cost, and what a large collection needs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from msr_utils.constants import FRAME_RATE_HZ
from msr_utils.features.cache import compute_or_read
from msr_utils.features.config import FeatureConfig


def measure_cost(paths: Sequence[Path], config: FeatureConfig) -> dict:
    """What the features of a minute of audio cost here, file by file as a worker does it.

    Parameters
    ----------
    paths : sequence of Path
        Audio files like those that will be computed; a dozen is enough.
    config : FeatureConfig

    Returns
    -------
    dict
        ``files``; ``audio_minutes``; ``seconds_per_minute``, processor time for hashing,
        decoding, computing and writing, without waiting for a disk; ``bytes_per_minute``
        that are kept; ``audio_bytes_per_minute`` that are read.

    Raises
    ------
    ValueError
        If there is no path.
    AudioError
        If a file cannot be decoded.
    """
    if not paths:
        raise ValueError("paths: name at least one audio file")
    frames = kept = read = 0
    with tempfile.TemporaryDirectory() as folder:
        # The first call loads libraries: it is not counted.
        compute_or_read(paths[0], config, Path(folder) / "first")
        start = time.process_time()
        for path in paths:
            file, features, _ = compute_or_read(path, config, Path(folder) / "timed")
            frames += len(features)
            kept += file.stat().st_size
            read += Path(path).stat().st_size
        seconds = time.process_time() - start
    minutes = frames / FRAME_RATE_HZ / 60
    return {
        "files": len(paths),
        "audio_minutes": minutes,
        "seconds_per_minute": seconds / minutes,
        "bytes_per_minute": kept / minutes,
        "audio_bytes_per_minute": read / minutes,
    }


def estimate(
    tracks: int, seconds_per_track: float, cost_s: float, bytes_per_track: float, cores: int
) -> dict:
    """What the features of a collection need.

    Parameters
    ----------
    tracks : int
    seconds_per_track : float
        Length of a track.
    cost_s : float
        Processor time for one track in seconds: ``seconds_per_minute`` of `measure_cost`
        times ``seconds_per_track / 60``.
    bytes_per_track : float
        Features kept of one track: from ``bytes_per_minute`` in the same way.
    cores : int > 0
        Workers at a time; tracks do not wait for one another.

    Returns
    -------
    dict
        ``audio_hours``, ``core_hours``, ``hours`` on so many cores, ``storage_gib`` (2**30 B).

    Raises
    ------
    ValueError
        If a number is negative or there is no core.
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
    return {
        "audio_hours": tracks * seconds_per_track / 3600,
        "core_hours": core_hours,
        "hours": core_hours / cores,
        "storage_gib": tracks * bytes_per_track / 2**30,
    }
