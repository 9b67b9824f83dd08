"""What the networks cost: parameters, time and memory against the length of the music.

Networks are measured as they are built, before any training: cost does not depend on weights.
"""

from __future__ import annotations

import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from tqdm import tqdm

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS
from msr_utils.features.config import FeatureConfig
from msr_utils.io import (
    plain,
    read_json,
    sha256_text,
    write_json,
)
from msr_utils.models.families import FAMILIES
from msr_utils.models.lstm import LSTMConfig
from msr_utils.models.transformer import TransformerConfig
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.provenance.environment import environment
from msr_utils.training.loop import compile_model, sequence_predictor, set_seed

Networks = dict[str, tuple[str, LSTMConfig | TransformerConfig, FeatureConfig]]
"""Name to family, shape and what it reads."""

WORK = ("inference", "training")

MAX_REPEATS = 30
"""Of one measurement, however short it is."""


def networks(longest: int) -> Networks:
    """What is compared: the paper's LSTM, the Transformer from scratch, a BERT as MiniLM is.

    Parameters
    ----------
    longest : int > 0
        Frames of the longest input; the Transformers get as many positions.
    """
    mel, patch = FeatureConfig("logmel,logmel_sd"), FeatureConfig("patch")
    small = TransformerConfig(max_frames=longest)
    large = TransformerConfig(layers=6, hidden=384, heads=12, max_frames=longest)
    return {
        "LSTM 2 × 64": ("lstm", LSTMConfig(), mel),
        "Transformer 4 × 128": ("transformer", small, patch),
        "BERT 6 × 384 (MiniLM)": ("transformer", large, patch),
    }


def measure(
    family: str,
    config: LSTMConfig | TransformerConfig,
    features: FeatureConfig,
    work: str,
    frames: Sequence[int],
    batch: tuple[int, int],
    seconds: float,
) -> dict[str, Any]:
    """Time and memory of one network at one kind of work; run it in a process of its own.

    Parameters
    ----------
    family, config, features
        See `networks`.
    work : str
        "inference" or "training": one track from features to curve, or one step of Adam on it.
    frames : sequence of int
        Lengths, rising: the memory that a process has taken at most never falls.
    batch : (int, int)
        Windows and frames of a training batch, measured as well.
    seconds : float >= 0
        Time spent on each length beyond the first three repeats.

    Returns
    -------
    dict
        ``parameters``; for each length ``frames, seconds`` (median), ``repeats`` and
        ``peak_mb``, how much the process has grown since before the network was built;
        ``batch_seconds`` of training.
    """
    set_seed(7)
    rng = np.random.default_rng(7)
    before_mb = _peak_mb()
    model = FAMILIES[family](config, np.zeros(features.dim), np.ones(features.dim))
    compile_model(model, config.learning_rate)
    predict = sequence_predictor(model)

    def draw(n: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, length, features.dim)).astype(np.float32)
        return x, np.zeros((n, length, 1), np.float32), np.ones((n, length), np.float32)

    def job(n: int, length: int) -> Callable[[], Any]:
        x, y, weights = draw(n, length)
        if work == "inference":
            return lambda: predict(x[0])
        return lambda: model.train_on_batch(x, y, sample_weight=weights)

    rows = []
    for length in frames:
        median, repeats = _median_seconds(job(1, length), seconds)
        peak_mb = _peak_mb() - before_mb
        rows.append({"frames": length, "seconds": median, "repeats": repeats, "peak_mb": peak_mb})
    result = {"parameters": model.count_params(), "lengths": rows}
    if work == "training":
        result["batch_seconds"] = _median_seconds(job(*batch), seconds)[0]
    return result


def _median_seconds(job: Callable[[], Any], seconds: float) -> tuple[float, int]:
    job()  # the first call of a shape builds its graph
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < MAX_REPEATS):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times)


def _peak_mb() -> float:
    """Largest resident memory of this process so far, in megabytes of 1e6 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux' getrusage also counts what the parent held when it started this process.
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_all(
    which: Networks,
    frames: Sequence[int],
    work_dir: Path,
    batch: tuple[int, int] = (8, 90),
    seconds: float = 2.0,
    progress: bool = True,
) -> dict:
    """Measure every network, each kind of work in a process of its own.

    What is measured is kept in `work_dir`; a call after a kill goes on from there.

    Parameters
    ----------
    which : Networks
    frames : sequence of int
        At least three lengths, rising.
    work_dir : Path
    batch : (int, int)
        Windows and frames of a training batch.
    seconds : float
        See `measure`.

    Returns
    -------
    dict
        ``networks[name]``: ``parameters, batch_seconds, epoch_seconds_per_hour`` (of music
        trained on), and for each of `WORK` its ``lengths``, and ``growth`` (see `growth`);
        ``threads`` and ``machine``.

    Raises
    ------
    ValueError
        If there are fewer than three lengths, or they do not rise.
    """
    frames = list(frames)
    if frames != sorted(set(frames)):
        raise ValueError(f"lengths: must rise, for peaks of memory to be told apart, not {frames}")
    if len(frames) < 3:
        raise ValueError(f"lengths: need three or more to tell how cost grows, not {frames}")
    result: dict[str, Any] = {"networks": {}}
    bar = tqdm(total=len(which) * len(WORK), desc="cost", unit="process", disable=not progress)
    for name, (family, config, features) in which.items():
        rows: dict[str, Any] = {}
        for work in WORK:
            asked = (family, config, features, work, frames, batch, seconds)
            bar.set_postfix_str(f"{name}, {work}")
            rows[work] = _measured_before(Path(work_dir), asked)
            bar.update()
        training, hour = rows["training"], 3600 * FRAME_RATE_HZ
        result["networks"][name] = {
            "parameters": training["parameters"],
            "batch_seconds": training["batch_seconds"],
            "epoch_seconds_per_hour": training["batch_seconds"] * hour / (batch[0] * batch[1]),
            **{
                work: {"lengths": rows[work]["lengths"], "growth": growth(rows[work]["lengths"])}
                for work in WORK
            },
        }
    bar.close()
    known = environment()
    return {
        **result,
        "batch": list(batch),
        "machine": known["machine"],
        "threads": known["threads"],
    }


def _measured_before(work_dir: Path, asked: tuple) -> dict[str, Any]:
    family, config, features, *rest = asked
    code = computed_by(measure, FAMILIES[family], tables=("FAMILIES",))
    key = plain([family, asdict(config), features.hash, rest, code, computed_on()])
    file = work_dir / f"{sha256_text(repr(key))[:16]}.json"
    if not file.is_file():
        # Spawned: a forked process would start with this one's memory, and a used TensorFlow.
        process = get_context("spawn").Process(target=_write_measured, args=(file, asked))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(
                f"cost: measuring {family} {rest[0]} ended with code {process.exitcode}; "
                "where memory was short, take fewer lengths"
            )
    return read_json(file)


def _write_measured(file: Path, asked: tuple) -> None:
    # The process writes what it measured itself, and ends by itself where its parent was killed.
    write_json(file, measure(*asked))


def growth(lengths: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How time grows with length.

    Parameters
    ----------
    lengths : sequence of mapping
        ``frames`` and ``seconds``.

    Returns
    -------
    dict of str to float
        ``exponent``: slope of log time over log length in the upper half of the lengths, where
        a fixed overhead counts less: 1 is linear, 2 quadratic. ``quadratic_share``: part of the
        time at the greatest length that falls to c in a + b n + c n², fitted with weights that
        make relative errors count and no coefficient below zero.
    """
    n = np.array([row["frames"] for row in lengths], float)
    s = np.array([row["seconds"] for row in lengths])
    upper = slice(len(n) // 2 if len(n) > 3 else 0, None)
    exponent = np.polyfit(np.log(n[upper]), np.log(s[upper]), 1)[0]
    powers = (n[:, None] / n[-1]) ** np.arange(3)
    parts, _ = nnls(powers / s[:, None], np.ones(len(n)))
    return {"exponent": float(exponent), "quadratic_share": float(parts[2] / parts.sum())}


def table(result: Mapping) -> pd.DataFrame:
    """What `measure_all` gives, a row a network, at the greatest length, for display."""
    rows = {}
    for name, row in result["networks"].items():
        last = {work: row[work]["lengths"][-1] for work in WORK}
        minutes = f"{last['inference']['frames'] * FRAME_SECONDS / 60:g} min"
        rows[name] = {
            "parameters": f"{row['parameters']:,}",
            "step of a batch (s)": f"{row['batch_seconds']:.3f}",
            "epoch per hour of music (s)": f"{row['epoch_seconds_per_hour']:.1f}",
            f"inference, {minutes} (ms)": f"{1000 * last['inference']['seconds']:.0f}",
            f"inference, {minutes} (MB)": f"{last['inference']['peak_mb']:.0f}",
            f"training, {minutes} (MB)": f"{last['training']['peak_mb']:.0f}",
            "exponent": f"{row['inference']['growth']['exponent']:.2f}",
            "quadratic share": f"{row['inference']['growth']['quadratic_share']:.0%}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def long_table(result: Mapping) -> pd.DataFrame:
    """One row a network, kind of work and length: ``network, work, frames, seconds, peak_mb``."""
    return pd.DataFrame(
        {"network": name, "work": work, **length}
        for name, row in result["networks"].items()
        for work in WORK
        for length in row[work]["lengths"]
    )
