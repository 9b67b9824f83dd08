"""Predict a block of a file in a second thread while the next one is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def has_second_core() -> bool:
    """Whether this process may use more than one core."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) > 1
    return (os.cpu_count() or 1) > 1


def overlapped(
    function: Callable[[Item], Result], items: Generator[Item, None, None]
) -> Iterator[Result]:
    """``map(function, items)``, whose function runs in a second thread.

    The caller's thread makes the next item meanwhile. So it is the one that reads files, and
    Ctrl-C reaches it there. Decoders, numpy and networks let the other thread run while they
    work. At most one item waits. The thread ends with the iteration, however that ends.

    Parameters
    ----------
    function : callable
        Is called with one item at a time, in their order.
    items : generator
        Is closed at the end.

    Yields
    ------
    result
        In the order of the items.
    """
    context = copy_context()  # how numpy treats errors, for instance
    running: Future[Result] | None = None
    with closing(items), ThreadPoolExecutor(1, "predict") as pool:
        for item in items:
            try:
                given = pool.submit(context.run, function, item)
            except RuntimeError:  # The system, or the end of the interpreter, allows no thread.
                if running is not None:
                    raise
                yield function(item)
                yield from map(function, items)
                return
            if running is not None:
                yield running.result()
            running = given
        if running is not None:
            yield running.result()
