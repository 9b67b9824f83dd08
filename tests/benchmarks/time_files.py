"""Time predictions of whole files: ``time_files.py JOB.json RESULT.json``.

It runs in a process of its own, so that it can also time the package of another checkout:
``PYTHONPATH`` decides. The job names the clips, the folders of the bundles and the repeats. Each
action is timed twice over: processor time, which other programs change little, and the clock, which
shows what a second thread saves.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from msr_utils.audio.decode import AudioFile
from msr_utils.constants import CHROMA_N_FFT, CHROMA_STEPS, FRAME_SAMPLES, HOP_LENGTH, N_FFT
from msr_utils.inference.model import Model, Stream, load

TRANSFORMS = ((N_FFT, HOP_LENGTH), (CHROMA_N_FFT, FRAME_SAMPLES // CHROMA_STEPS))
"""Window and hop of the two spectra that the bundles' features need."""

WINDOWS_AT_ONCE = 64

OVERLAPS = "overlap" in inspect.signature(Model.predict).parameters
"""False for older versions, which have one thread and no content."""


def samples_of(path: str) -> np.ndarray:
    """Decoded, mixed and resampled audio."""
    return np.concatenate(list(AudioFile(path)))


def floor(path: str) -> None:
    """What no prediction can do without: decode, resample, Fourier transforms."""
    samples = samples_of(path)
    for n_fft, hop in TRANSFORMS:
        windows = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::hop]
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            scipy.fft.rfft(windows[first : first + WINDOWS_AT_ONCE], axis=1)


def follow(model: Model, samples: np.ndarray) -> None:
    """Predict audio that arrives in chunks of one frame."""
    stream = Stream(model)
    for first in range(0, len(samples), FRAME_SAMPLES):
        stream.push(samples[first : first + FRAME_SAMPLES])


def on_one_thread(model: Model, path: str) -> None:
    """Predict a file without a second thread."""
    model.predict(path, **({"overlap": False} if OVERLAPS else {}))


def without_content(model: Model, path: str) -> None:
    """The same, without finding out whether it is music, as older versions do."""
    os.environ["MSR_CONTENT"] = "off"
    try:
        on_one_thread(model, path)
    finally:
        del os.environ["MSR_CONTENT"]


def actions(path: str, models: dict[str, Model]) -> dict[str, Callable[[], object]]:
    """What is timed on one clip, by name."""
    rows: dict[str, Callable[[], object]] = {"floor": lambda: floor(path)}
    samples = samples_of(path)
    for name, model in models.items():
        rows[name] = lambda model=model: on_one_thread(model, path)
        if OVERLAPS:
            rows[f"{name}, content off"] = lambda model=model: without_content(model, path)
            rows[f"{name}, two threads"] = lambda model=model: model.predict(path)
        rows[f"{name}, live"] = lambda model=model: follow(model, samples)
    return rows


def measure(job: dict) -> dict[str, dict[str, list[list[float]]]]:
    """Seconds of each action on the processor and by the clock, each (clips, repeats).

    First calls do not count.
    """
    models = {Path(folder).name: load(folder) for folder in job["bundles"]}
    seconds: dict[str, dict[str, list[list[float]]]] = {"processor": {}, "clock": {}}
    for path in job["clips"]:
        rows = actions(path, models)
        for action in rows.values():
            action()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
        for _ in range(job["repeats"]):
            for name, action in rows.items():
                start, clock = time.process_time(), time.perf_counter()
                action()
                times[name].append((time.process_time() - start, time.perf_counter() - clock))
        for name, row in times.items():
            for kind, values in zip(seconds.values(), zip(*row, strict=True), strict=True):
                kind.setdefault(name, []).append(list(values))
    return seconds


if __name__ == "__main__":
    with threadpool_limits(1):
        result = measure(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")
