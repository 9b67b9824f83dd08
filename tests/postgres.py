"""A server of PostgreSQL for tests: its own files, its own socket, no port.

PostgreSQL refuses to run as root. Root starts it as another user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _programs() -> Path | None:
    """Folder with initdb and pg_ctl. Debian has one for each version."""
    if os.name != "posix":
        return None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=_version)
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).resolve().parent if on_path else None


def _version(path: Path) -> float:
    try:
        return float(path.parent.parent.name)
    except ValueError:
        return 0.0


PROGRAMS = _programs()
"""Folder with the programs; None if PostgreSQL is not installed."""

USERS = ("postgres", "nobody")
"""Users as whom root starts the server, the first that is there."""


@contextmanager
def running() -> Iterator[str]:
    """Start a server; give the URL of its database. It ends with the block."""
    assert PROGRAMS is not None
    # The path of a socket has 107 letters at most: pytest's folders may be too deep.
    folder = Path(tempfile.mkdtemp(prefix="msr-pg-"))
    user = _other_user() if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=60
        )

    data, server = str(folder / "data"), str(PROGRAMS / "pg_ctl")
    options = f"-k {folder} -h '' -c fsync=off -c max_connections=60"
    try:
        run(
            str(PROGRAMS / "initdb"), "-D", data, "-U", "msr", "-A", "trust", "-E", "UTF8",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        run(server, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://msr@/postgres?host={folder}"
        finally:
            run(server, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> str:
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in USERS if name in known)
