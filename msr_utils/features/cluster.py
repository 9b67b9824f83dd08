"""Run a function on a Dask cluster, whose machines are checked first."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import ModuleType
from typing import Any, TypeVar

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

SCHEDULER_TIMEOUT_S = 10
"""Time in s within which a scheduler must answer, and must have a worker."""

MAX_TASKS_IN_FLIGHT = 1000
"""Tasks that a scheduler holds at a time. Its memory then does not grow with the corpus."""

COMPARED_PACKAGES = ("msr-utils", "numpy", "scipy", "soundfile", "soxr")
"""Packages that change the numbers. Dask adds Python and the packages that it communicates with."""

IGNORED_PACKAGES = ("pandas", "lz4")
"""Packages that Dask compares but that do not change the numbers."""

MAX_PROBLEMS_SHOWN = 20
"""Differences between machines that an error names."""


class DistributedError(RuntimeError):
    """Worker processes, a scheduler or a cache that cannot be used."""


def run_on_cluster(
    tasks: Iterable[TaskT],
    work: Callable[[TaskT], ResultT],
    address: str,
    packages: Sequence[str] = COMPARED_PACKAGES,
) -> Iterator[tuple[TaskT, ResultT | None]]:
    """Run a function on a Dask cluster. Its scheduler is checked before the first task is sent.

    Parameters
    ----------
    tasks : iterable
    work : callable
        From a task to its result. It can be pickled, and returns errors instead of raising them.
    address : str
        ``tcp://host:port`` of the scheduler.
    packages : sequence of str
        Packages of which all machines must have the same version.

    Yields
    ------
    (task, result)
        In the order in which they finish. The result is None if every worker that took the task
        died.

    Raises
    ------
    DistributedError
        If the scheduler or its workers cannot be used.
    """
    distributed = _import_distributed()
    # Our errors report problems. Dask would log its own tracebacks beside them.
    for name in ("client", "core", "utils", "comm"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)
    _check_scheduler(distributed, address)
    with distributed.Client(address, timeout=SCHEDULER_TIMEOUT_S, set_as_default=False) as client:
        _check_workers(client, address, packages)
        unsent = iter(tasks)
        sent: dict[str, TaskT] = {}

        def send(count: int) -> list[Any]:
            # Not pure: a file may have changed since another session asked for it.
            futures = {client.submit(work, t, pure=False): t for t in islice(unsent, count)}
            sent.update((future.key, task) for future, task in futures.items())
            return list(futures)

        running = distributed.as_completed(
            send(MAX_TASKS_IN_FLIGHT), loop=client.loop, with_results=True, raise_errors=False
        )
        for future, result in running:
            if future.status in ("lost", "pending"):
                # Its worker died before the result was here: the scheduler gives it to another.
                running.add(future)
                continue
            task = sent.pop(future.key)
            yield task, _cluster_result(distributed, future, result, address)
            running.update(send(1))


def check_cluster(address: str, packages: Sequence[str] = COMPARED_PACKAGES) -> None:
    """Check a Dask cluster before anything is begun, as `run_on_cluster` does.

    Raises
    ------
    DistributedError
        If the scheduler or its workers cannot be used.
    """
    distributed = _import_distributed()
    _check_scheduler(distributed, address)
    with distributed.Client(address, timeout=SCHEDULER_TIMEOUT_S, set_as_default=False) as client:
        _check_workers(client, address, packages)


def is_address(text: str) -> bool:
    """Whether a text looks like the address of a scheduler."""
    return re.fullmatch(r"tcp://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):\d{1,5}", text) is not None


def _cluster_result(distributed: ModuleType, future: Any, result: Any, address: str) -> Any:
    """Result of a finished future, None if its workers died, or the error of its status."""
    if future.status == "finished":
        return result
    if future.status != "error":
        raise DistributedError(
            f"lost the scheduler {address}; what is finished is kept: start it and call again"
        )
    error = result[1]
    if isinstance(error, distributed.KilledWorker):
        return None
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise DistributedError(
        f"the machines of {address} cannot run the work: install the same checkout for its "
        f"scheduler and workers ({reason})"
    ) from error


def _import_distributed() -> ModuleType:
    """Import Dask, which only a cluster needs."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise DistributedError(
            "scheduler: a cluster needs Dask; in the checkout, pip install -e '.[scale]'"
        ) from error
    module: ModuleType = distributed
    return module


def _check_scheduler(distributed: ModuleType, address: str) -> None:
    """Refuse an address at which no scheduler answers.

    The client's own timeout covers only the connection. A server that accepts the connection and
    never answers would block the client for ever.
    """
    if not is_address(address):
        raise DistributedError(f"scheduler: must be local or tcp://host:port, not {address!r}")

    async def ask() -> None:
        async with distributed.rpc(address) as scheduler:
            await asyncio.wait_for(scheduler.identity(), SCHEDULER_TIMEOUT_S)

    try:
        # In a separate thread, because a notebook's thread already runs an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, ask()).result()
    except ValueError as error:
        raise DistributedError(
            f"scheduler: {address!r} is not tcp://host:port ({error})"
        ) from error
    except (OSError, TimeoutError) as error:
        raise DistributedError(
            f"scheduler: no Dask scheduler answers at {address} within {SCHEDULER_TIMEOUT_S} s; "
            "start one with 'dask scheduler', or check the address"
        ) from error


def _check_workers(client: Any, address: str, packages: Sequence[str]) -> None:
    """Refuse a cluster without workers, or with workers that might give other numbers."""
    try:
        client.wait_for_workers(1, timeout=SCHEDULER_TIMEOUT_S)
    except TimeoutError as error:
        raise DistributedError(
            f"scheduler: {address} has no worker; start some with "
            f"'dask worker {address} --nthreads 1'"
        ) from error
    for worker, threads in client.nthreads().items():
        if threads != 1:
            raise DistributedError(
                f"worker {worker} has {threads} threads; start it with --nthreads 1, and with "
                "--nworkers for more processes"
            )
    problems = version_mismatches(client.get_versions(packages=list(packages)))
    if problems:
        raise DistributedError(
            "the machines have different packages; install the same requirements.lock on all:\n"
            + "\n".join(problems[:MAX_PROBLEMS_SHOWN])
        )


def version_mismatches(versions: Mapping[str, Any]) -> list[str]:
    """Packages that a cluster has in other versions than its client.

    Parameters
    ----------
    versions : mapping
        From ``distributed.Client.get_versions``. Dask's own check only warns, and it warns about
        packages that do not matter here.

    Returns
    -------
    list of str
        One line for each package and machine.
    """
    ours = versions["client"]["packages"]
    others = {"scheduler": versions["scheduler"], **versions["workers"]}
    return [
        f"{name} on {where}: {theirs['packages'].get(name) or 'none'}, here {version or 'none'}"
        for where, theirs in others.items()
        for name, version in ours.items()
        if name not in IGNORED_PACKAGES and theirs["packages"].get(name) != version
    ]
