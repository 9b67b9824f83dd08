"""Parameters, time and memory of the networks against the length of the music.

Networks are measured untrained: cost does not depend on the weights.
"""

from __future__ import annotations

import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from msr_utils.models.families import FAMILIES, FAMILY_TABLES
from msr_utils.models.lstm import LSTMConfig
from msr_utils.models.transformer import TransformerConfig
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.provenance.environment import environment
from msr_utils.training.loop import compile_model, sequence_predictor, set_seed

TASKS = ("inference", "training")
"""Inference computes the curve of one track. Training makes one step of Adam on one track."""

MIN_REPEATS = 3
MAX_REPEATS = 30
"""Bounds on the repeats of one measurement."""

MIN_LENGTHS = 3
"""Fewer lengths do not show how cost grows."""


@dataclass(frozen=True)
class Network:
    """An untrained network.

    Parameters
    ----------
    family : str
        Key of `msr_utils.models.families.FAMILIES`.
    config : LSTMConfig or TransformerConfig
    features : FeatureConfig
        Its input.
    """

    family: str
    config: LSTMConfig | TransformerConfig
    features: FeatureConfig


@dataclass(frozen=True)
class Workload:
    """What every network is measured on.

    Parameters
    ----------
    frames : list of int
        Lengths of the tracks. They rise, because the peak memory of a process never falls.
    batch : (int, int)
        Windows in a training batch, and frames in each.
    seconds : float >= 0
        Time spent on each measurement after the first `MIN_REPEATS` repeats.

    Raises
    ------
    ValueError
        If there are fewer than `MIN_LENGTHS` lengths, or they do not rise.
    """

    frames: list[int]
    batch: tuple[int, int] = (8, 90)
    seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.frames != sorted(set(self.frames)):
            raise ValueError(
                "lengths: must rise, because the peak memory of a process never falls, "
                f"not {self.frames}"
            )
        if len(self.frames) < MIN_LENGTHS:
            raise ValueError(
                f"lengths: needs {MIN_LENGTHS} or more to show how cost grows, not {self.frames}"
            )


@dataclass(frozen=True)
class LengthCost:
    """Cost of one track.

    Parameters
    ----------
    frames : int
    seconds : float
        Median of the repeats.
    repeats : int
    peak_mb : float
        How much the process has grown since before the network was built.
    """

    frames: int
    seconds: float
    repeats: int
    peak_mb: float


@dataclass(frozen=True)
class Measurement:
    """Cost of one network at one task.

    Parameters
    ----------
    parameters : int
    lengths : list of LengthCost
    batch_seconds : float or None
        Of a training step on a whole batch; None for inference.
    """

    parameters: int
    lengths: list[LengthCost]
    batch_seconds: float | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Measurement:
        """Read what `msr_utils.io.write_json` wrote."""
        return cls(**{**stored, "lengths": [LengthCost(**row) for row in stored["lengths"]]})


@dataclass(frozen=True)
class Growth:
    """How time grows with length.

    Parameters
    ----------
    exponent : float
        Slope of log time over log length in the upper half of the lengths, where a fixed overhead
        counts less: 1 is linear, 2 quadratic.
    quadratic_share : float
        Share of c n² in the time at the greatest length n, when a + b n + c n² is fitted to all
        lengths. Relative errors count in the fit, and no coefficient is negative.
    """

    exponent: float
    quadratic_share: float


@dataclass(frozen=True)
class TaskCost:
    """Cost of one task against length.

    Parameters
    ----------
    lengths : list of LengthCost
    growth : Growth
    """

    lengths: list[LengthCost]
    growth: Growth


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one network.

    Parameters
    ----------
    parameters : int
    batch_seconds : float
        Of a training step on a batch.
    epoch_seconds_per_hour : float
        Of a training epoch, per hour of music in the training set.
    inference, training : TaskCost
    """

    parameters: int
    batch_seconds: float
    epoch_seconds_per_hour: float
    inference: TaskCost
    training: TaskCost


@dataclass(frozen=True)
class CostComparison:
    """Cost of several networks on one machine.

    Parameters
    ----------
    networks : dict of str to NetworkCost
    batch : (int, int)
        Windows in a training batch, and frames in each.
    machine : str
    threads : str
    """

    networks: dict[str, NetworkCost]
    batch: tuple[int, int]
    machine: str
    threads: str


def networks(longest: int) -> dict[str, Network]:
    """The networks to compare: the paper's LSTM, a Transformer and a BERT of MiniLM's shape.

    Parameters
    ----------
    longest : int > 0
        Frames of the longest input. The Transformers get as many positions.
    """
    mel, patch = FeatureConfig("logmel,logmel_sd"), FeatureConfig("patch")
    small = TransformerConfig(max_frames=longest)
    large = TransformerConfig(layers=6, hidden=384, heads=12, max_frames=longest)
    return {
        "LSTM 2 × 64": Network("lstm", LSTMConfig(), mel),
        "Transformer 4 × 128": Network("transformer", small, patch),
        "BERT 6 × 384 (MiniLM)": Network("transformer", large, patch),
    }


def measure(network: Network, task: str, workload: Workload) -> Measurement:
    """Time and memory of one network at one task. Run it in a process of its own.

    Parameters
    ----------
    network : Network
    task : str
        One of `TASKS`.
    workload : Workload
    """
    set_seed(7)
    rng = np.random.default_rng(7)
    before_mb = _peak_mb()
    dim = network.features.dim
    model = FAMILIES[network.family](network.config, np.zeros(dim), np.ones(dim))
    compile_model(model, network.config.learning_rate)
    predict = sequence_predictor(model)

    def job(n: int, length: int) -> Callable[[], Any]:
        x = rng.normal(size=(n, length, dim)).astype(np.float32)
        if task == "inference":
            return lambda: predict(x[0])
        y, weights = np.zeros((n, length, 1), np.float32), np.ones((n, length), np.float32)
        return lambda: model.train_on_batch(x, y, sample_weight=weights)

    lengths = []
    for frames in workload.frames:
        median, repeats = _median_seconds(job(1, frames), workload.seconds)
        lengths.append(LengthCost(frames, median, repeats, _peak_mb() - before_mb))
    batch_seconds = None
    if task == "training":
        batch_seconds, _ = _median_seconds(job(*workload.batch), workload.seconds)
    return Measurement(model.count_params(), lengths, batch_seconds)


def _median_seconds(job: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """Median time of a job and the number of repeats."""
    job()  # the first call with a shape builds its graph
    times: list[float] = []
    while len(times) < MIN_REPEATS or (sum(times) < seconds and len(times) < MAX_REPEATS):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times)


def _peak_mb() -> float:
    """Largest resident memory of this process so far, in megabytes of 1e6 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux' getrusage also counts what the parent held when it started this process.
        peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if peak:
            return int(peak[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_all(
    compared: Mapping[str, Network], workload: Workload, work_dir: Path, progress: bool = True
) -> CostComparison:
    """Measure every network at every task, each in a process of its own.

    Measurements are kept in `work_dir`. After a kill the next call continues from there.

    Parameters
    ----------
    compared : mapping of str to Network
    workload : Workload
    work_dir : Path
    progress : bool

    Raises
    ------
    RuntimeError
        If a process fails.
    """
    costs: dict[str, NetworkCost] = {}
    total = len(compared) * len(TASKS)
    with tqdm(total=total, desc="cost", unit="process", disable=not progress) as bar:
        for name, network in compared.items():
            measured: dict[str, Measurement] = {}
            for task in TASKS:
                bar.set_postfix_str(f"{name}, {task}")
                measured[task] = _measure_once(Path(work_dir), network, task, workload)
                bar.update()
            costs[name] = _network_cost(measured["inference"], measured["training"], workload.batch)
    known = environment()
    return CostComparison(costs, workload.batch, known.machine, known.threads)


def _network_cost(
    inference: Measurement, training: Measurement, batch: tuple[int, int]
) -> NetworkCost:
    assert training.batch_seconds is not None
    hour = 3600 * FRAME_RATE_HZ
    return NetworkCost(
        parameters=training.parameters,
        batch_seconds=training.batch_seconds,
        epoch_seconds_per_hour=training.batch_seconds * hour / (batch[0] * batch[1]),
        inference=TaskCost(inference.lengths, growth(inference.lengths)),
        training=TaskCost(training.lengths, growth(training.lengths)),
    )


def _measure_once(work_dir: Path, network: Network, task: str, workload: Workload) -> Measurement:
    """Measure in a new process, or read the measurement of an earlier call."""
    config = [network.family, asdict(network.config), network.features.hash]
    code = computed_by(measure, FAMILIES[network.family], tables=FAMILY_TABLES[:1])
    key = plain([config, task, asdict(workload), code, computed_on()])
    file = work_dir / f"{sha256_text(repr(key))[:16]}.json"
    if not file.is_file():
        # Spawned, because a forked process would start with the memory and TensorFlow of this one.
        process = get_context("spawn").Process(
            target=_write_measurement, args=(file, network, task, workload)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(
                f"cost: measuring {network.family} {task} ended with code {process.exitcode}; "
                "if memory was short, take fewer lengths"
            )
    return Measurement.from_json(read_json(file))


def _write_measurement(file: Path, network: Network, task: str, workload: Workload) -> None:
    # The process writes its result itself, and so it finishes even if its parent is killed.
    write_json(file, measure(network, task, workload))


def growth(lengths: Sequence[LengthCost]) -> Growth:
    """How time grows with length."""
    n = np.array([row.frames for row in lengths], float)
    s = np.array([row.seconds for row in lengths])
    upper = slice(len(n) // 2 if len(n) > 3 else 0, None)
    exponent = np.polyfit(np.log(n[upper]), np.log(s[upper]), 1)[0]
    powers = (n[:, None] / n[-1]) ** np.arange(3)
    parts, _ = nnls(powers / s[:, None], np.ones(len(n)))
    return Growth(float(exponent), float(parts[2] / parts.sum()))


def cost_table(result: CostComparison) -> pd.DataFrame:
    """Table for display: a row for each network, at the greatest length."""
    rows = {}
    for name, cost in result.networks.items():
        inference, training = cost.inference.lengths[-1], cost.training.lengths[-1]
        minutes = f"{inference.frames * FRAME_SECONDS / 60:g} min"
        rows[name] = {
            "parameters": f"{cost.parameters:,}",
            "step of a batch (s)": f"{cost.batch_seconds:.3f}",
            "epoch per hour of music (s)": f"{cost.epoch_seconds_per_hour:.1f}",
            f"inference, {minutes} (ms)": f"{1000 * inference.seconds:.0f}",
            f"inference, {minutes} (MB)": f"{inference.peak_mb:.0f}",
            f"training, {minutes} (MB)": f"{training.peak_mb:.0f}",
            "exponent": f"{cost.inference.growth.exponent:.2f}",
            "quadratic share": f"{cost.inference.growth.quadratic_share:.0%}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def long_table(result: CostComparison) -> pd.DataFrame:
    """One row a network, task and length: ``network, work, frames, seconds, repeats, peak_mb``."""
    return pd.DataFrame(
        {"network": name, "work": task, **asdict(length)}
        for name, cost in result.networks.items()
        for task, work in (("inference", cost.inference), ("training", cost.training))
        for length in work.lengths
    )
