"""Start the process that forks the workers, before anything slow is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, Pipe


@dataclass(frozen=True)
class Launched:
    """A process that imports what workers need, and then waits for its settings.

    Parameters
    ----------
    process : subprocess.Popen
    connection : Connection
        Takes the settings, see `serve.fork_server.main`.
    """

    process: subprocess.Popen[bytes]
    connection: Connection

    def close(self) -> None:
        """End the process and all of its workers."""
        self.connection.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def launch() -> Launched | None:
    """Start the process; None where processes cannot be forked, or a package is missing."""
    # Without the packages of the extra, the caller says which one is missing.
    if not hasattr(os, "fork") or find_spec("psutil") is None:
        return None
    ours, theirs = Pipe()
    code = (
        # The front decides when to end, from the start on.
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "import json, sys; fd, sys.path[:] = json.loads(sys.argv[1]); "
        "from serve.fork_server import main; main(fd)"
    )
    # The folder of a script is an empty text. It must be the same folder there.
    path = [os.path.abspath(folder) for folder in sys.path]
    # -P: no file of the working folder may take the place of a module.
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, json.dumps([theirs.fileno(), path])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return Launched(process, ours)
