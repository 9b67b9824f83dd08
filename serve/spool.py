"""Bodies of requests while they arrive and are worked on: in memory if small, else in a file.

A body is stored once. Its bytes, and those of all other bodies, are counted.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections import Counter
from concurrent.futures import Executor
from typing import BinaryIO, cast

from serve.problems import Problem
from serve.refusals import Refused
from serve.request_errors import RETRY_AFTER_S

MEMORY_BYTES = 1_000_000
"""A body up to this size stays in memory. A larger one goes to an unnamed file."""

MAX_MEMORY_BYTES = 32_000_000
"""All bodies in memory together. Beyond that, small ones go to files as well."""

WRITE_BYTES = 256 * 1024
"""A file is written in pieces of about this size."""


class Lane:
    """Kind of bodies that have their own limits, so that another kind cannot use them up.

    Parameters
    ----------
    name : str
        For the message, such as ``"uploads"``.
    max_bodies : int > 0
        Bodies that arrive at the same time.
    max_bytes : int > 0
        Bytes stored at the same time.
    max_client_bytes : int > 0
        Bytes of one client stored at the same time.
    """

    def __init__(self, name: str, max_bodies: int, max_bytes: int, max_client_bytes: int) -> None:
        self._name = name
        self._max_bodies = max_bodies
        self._max_bytes = max_bytes
        self._max_client_bytes = max_client_bytes
        self._by_client: Counter[str] = Counter()
        self.arriving = 0
        self.stored = 0
        self.in_memory = 0

    def admit(self, client: str, n_bytes: int) -> None:
        """Let a body begin.

        Parameters
        ----------
        client : str
            Address.
        n_bytes : int
            What it states as its length; 0 if it states nothing.

        Raises
        ------
        Refused
            If there is no room for it.
        """
        if self.arriving >= self._max_bodies:
            raise self._busy(f"{self.arriving} {self._name} arrive at the moment")
        self._check(client, n_bytes)
        self.arriving += 1

    def arrived(self) -> None:
        """A body that was admitted has arrived, or will not."""
        self.arriving -= 1

    def take(self, client: str, n_bytes: int) -> None:
        """Count bytes that are stored.

        Raises
        ------
        Refused
            If there is no room for them.
        """
        self._check(client, n_bytes)
        self.stored += n_bytes
        self._by_client[client] += n_bytes

    def give_back(self, client: str, n_bytes: int) -> None:
        """Count bytes that are no longer stored."""
        self.stored -= n_bytes
        self._by_client[client] -= n_bytes
        if not self._by_client[client]:
            del self._by_client[client]

    def _check(self, client: str, n_bytes: int) -> None:
        if self._by_client[client] + n_bytes > self._max_client_bytes:
            raise self._busy(f"{self._name} of this client hold all the room that it may have")
        if self.stored + n_bytes > self._max_bytes:
            raise self._busy(f"{self._name} hold all the room that there is")

    def _busy(self, reason: str) -> Refused:
        detail = f"the service is busy ({reason}); try again in {RETRY_AFTER_S} s"
        return Refused(Problem(503, detail), drain=True)


class Body:
    """A body that arrives piece by piece.

    Parameters
    ----------
    lane : Lane
    client : str
        Address.
    executor : Executor
        Writes the file, because a slow disk must not hold up other requests.
    """

    def __init__(self, lane: Lane, client: str, executor: Executor) -> None:
        self._lane, self._client, self._executor = lane, client, executor
        self._pieces = io.BytesIO()
        self._file: BinaryIO | None = None
        self._in_memory = 0
        self.size = 0

    async def append(self, data: bytes) -> None:
        """Store the next bytes.

        Raises
        ------
        Refused
            If there is no room for them in the lane.
        OSError
            If the file cannot be written.
        """
        self._lane.take(self._client, len(data))
        self.size += len(data)
        self._pieces.write(data)
        self._count_memory(len(data))
        if self._file is None:
            is_large = self.size > MEMORY_BYTES or self._lane.in_memory > MAX_MEMORY_BYTES
        else:
            is_large = self._in_memory >= WRITE_BYTES
        if is_large:
            await self._write()

    async def finish(self) -> BinaryIO:
        """The whole body as a file at its start.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        if self._file is None:
            self._pieces.seek(0)
            return self._pieces
        await self._write()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Forget everything that was stored."""
        self._count_memory(-self._in_memory)
        self._lane.give_back(self._client, self.size)
        self.size = 0
        self._pieces.close()
        if self._file is not None:
            self._file.close()

    def _count_memory(self, n_bytes: int) -> None:
        self._in_memory += n_bytes
        self._lane.in_memory += n_bytes

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        pieces, n_bytes = self._pieces, self._in_memory
        # Shielded: the file must not be closed while another thread writes it.
        writing = loop.run_in_executor(self._executor, self._write_now, pieces)
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        self._pieces = io.BytesIO()
        self._count_memory(-n_bytes)

    def _write_now(self, pieces: io.BytesIO) -> None:
        if self._file is None:
            # Without a buffer, every error of the disk is an error of the write.
            self._file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
        rest = memoryview(pieces.getvalue())
        while rest:
            rest = rest[self._file.write(rest) :]
