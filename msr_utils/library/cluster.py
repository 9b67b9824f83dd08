"""Analysis of a library on a Dask cluster, see `msr_utils.features.distributed`.

Every machine must see the music under the same path, and have the same checkout. The process that
called stores all results, so workers need no access to the library.
"""

from __future__ import annotations

import pickle
from collections.abc import Generator, Iterable
from functools import lru_cache, partial

from threadpoolctl import threadpool_limits

from msr_utils.features.cluster import (
    COMPARED_PACKAGES,
    DistributedError,
    check_cluster,
    is_address,
    run_on_cluster,
)
from msr_utils.inference.model import Model
from msr_utils.library.analysis import TrackOutcome, TrackTask, died, look_at
from msr_utils.library.shards import LibraryError, UsageError

LOCAL = "local"
"""Name of this machine, instead of the address of a scheduler."""

SCHEDULERS = f"{LOCAL} or tcp://host:port"
"""What a scheduler may be."""

PACKAGES = (*COMPARED_PACKAGES, "onnxruntime", "av")
"""Packages that change the numbers of a library."""


def look_at_on_cluster(
    model: Model, tasks: Iterable[TrackTask], address: str
) -> Generator[TrackOutcome, None, None]:
    """Look at files on a cluster, see `msr_utils.library.analysis.look_at`.

    Parameters
    ----------
    model : Model
        Workers load it from its folder, once each, and check that it is the same.
    tasks : iterable of TrackTask
    address : str
        ``tcp://host:port`` of the scheduler.

    Yields
    ------
    TrackOutcome
        In the order in which they finish. A file at which every worker died is one, too.

    Raises
    ------
    LibraryError
        If the scheduler or its workers cannot be used. Outcomes until then are valid.
    """
    work = partial(_look_at, pickle.dumps(model))
    try:
        for task, outcome in run_on_cluster(tasks, work, address, PACKAGES):
            yield died(model, task) if outcome is None else outcome
    except DistributedError as error:
        raise LibraryError(f"library: {error}") from error


def check_scheduler(address: str) -> None:
    """Check that a cluster can be used, before a run begins.

    Raises
    ------
    LibraryError
        If its scheduler or its workers cannot be used.
    """
    if address == LOCAL:
        return
    if not is_address(address):
        raise UsageError(f"library: --scheduler must be {SCHEDULERS}, not {address!r}")
    try:
        check_cluster(address, PACKAGES)
    except DistributedError as error:
        raise LibraryError(f"library: {error}") from error


def _look_at(pickled: bytes, task: TrackTask) -> TrackOutcome:
    """Look at a file in a worker."""
    return look_at(_model(pickled), task)


@lru_cache(maxsize=1)
def _model(pickled: bytes) -> Model:
    """The model, loaded once in each worker."""
    threadpool_limits(1)  # as in the processes of one machine: the numbers are the same
    model: Model = pickle.loads(pickled)
    return model
