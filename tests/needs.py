"""What some tests need and not every machine has.

A test names its need with one of the marks below. If the need is missing, the test is skipped.
The reason, and the command that would run the test, are written here and nowhere else.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import NoReturn

import postgres
import pytest
from benchmarks.real_data import DATA
from chromium import CHROMIUM, DRIVER

from msr_utils.features import weights
from msr_utils.features.weights import PretrainedWeightsError

needs_data = pytest.mark.data
"""``needs_data("deam")``: that corpus, in the folder that `DATA` names."""

needs_browser = pytest.mark.browser
"""Chromium and its driver; ``needs_browser(driver=False)``: Chromium alone."""

needs_pretrained_weights = pytest.mark.weights
"""``needs_pretrained_weights("jamendo_fcn")``: weights by the blocks that need them; without names,
those of MusiCNN. They are fetched once."""

needs_package = pytest.mark.package
"""``needs_package("name")``: an optional Python package, by the name of its module."""

needs_program = pytest.mark.program
"""``needs_program("ffmpeg")``: a program on the PATH."""

needs_mounts = pytest.mark.mounts
"""The right to mount a small disk in a namespace of its own."""

needs_posix = pytest.mark.posix
"""What Windows has not, or not in this way: named pipes, rights by mode, groups of processes."""

needs_linux = pytest.mark.linux
"""What only Linux has: the folder /proc, and all addresses that begin with 127."""

needs_postgres = pytest.mark.postgres
"""The programs of PostgreSQL. Tests start a server of their own with them, see `postgres.py`."""

PYTEST = ".venv/bin/python -m pytest"

DOWNLOADABLE = ("deam", "emotify", "merp", "emopia", "pop909")
"""Corpora that ``msr data fetch`` knows."""


@dataclass(frozen=True)
class Missing:
    """Why a test cannot run here, and the command that would run it."""

    reason: str
    command: str


def skip(reason: str, command: str) -> NoReturn:
    """Skip the running test: why, and the command that would run it."""
    pytest.skip(f"{reason}; to run it: {command}")


def check(item: pytest.Item) -> None:
    """Skip a test if something that it needs is missing.

    It fails instead if ``MSR_REQUIRE`` names the mark, as in ``MSR_REQUIRE="browser program"``.
    """
    for name, find in NEEDS.items():
        for mark in item.iter_markers(name):
            missing = find(*mark.args, **mark.kwargs)
            if missing and name in os.environ.get("MSR_REQUIRE", "").split():
                pytest.fail(
                    f"{missing.reason}, and MSR_REQUIRE allows no skip; "
                    f"to run it: {missing.command}",
                    pytrace=False,
                )
            if missing:
                skip(missing.reason, missing.command)


def missing_corpora(*names: str) -> Missing | None:
    """The first of these corpora that is not in `DATA`."""
    for name in names:
        if not (DATA / name).is_dir():
            fetch = f".venv/bin/msr data fetch {name} --to FOLDER/{name} && "
            return Missing(
                f"needs the corpus {name} in the folder MSR_DATA",
                f"{fetch if name in DOWNLOADABLE else ''}MSR_DATA=FOLDER {PYTEST} -m data",
            )
    return None


def missing_browser(driver: bool = True) -> Missing | None:
    """What a browser test lacks: Chromium, chromedriver or both."""
    lacking = [] if CHROMIUM else ["chromium"]
    if driver and not DRIVER:
        lacking.append("chromedriver")
    if not lacking:
        return None
    there = ", only chromium" if CHROMIUM else ", only chromedriver" if driver and DRIVER else ""
    return Missing(
        f"needs a browser: no {' and no '.join(lacking)} on the PATH{there}",
        f"apt-get install chromium chromium-driver && {PYTEST} -m browser",
    )


@functools.cache
def missing_weights(*blocks: str) -> Missing | None:
    """Fetch the weights of these blocks if they are not at hand; why that failed."""
    for block in blocks or ("musicnn",):
        network = weights.NETWORKS[block]
        try:
            weights.fetch(network)
        except PretrainedWeightsError as error:
            return Missing(
                f"needs the pretrained weights of {block} ({error})",
                f".venv/bin/{weights.fetch_command(network)} && {PYTEST} -m weights",
            )
    return None


def missing_package(name: str) -> Missing | None:
    """An optional Python package that is not installed. The lock has all of them."""
    if importlib.util.find_spec(name):
        return None
    return Missing(f"needs the Python package {name}", "make test")


def missing_program(name: str) -> Missing | None:
    """A program that is not on the PATH. Debian's packages bear the programs' names."""
    if shutil.which(name):
        return None
    return Missing(
        f"needs the program {name} on the PATH", f"apt-get install {name} && {PYTEST} -m program"
    )


@functools.cache
def missing_mounts() -> Missing | None:
    """Whether a process can mount a disk of its own: on Linux, where the system allows it."""
    mount = "mount -t tmpfs none /tmp"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount]
    if shutil.which("unshare") and not subprocess.run(command, capture_output=True).returncode:
        return None
    return Missing(
        "needs the right to mount a small disk in a user namespace of Linux",
        f"sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 && {PYTEST} -m mounts",
    )


def missing_posix() -> Missing | None:
    """Linux and macOS have what POSIX says."""
    if os.name == "posix":
        return None
    return Missing("needs pipes, rights and signals of POSIX", f"on Linux or macOS: {PYTEST}")


def missing_linux() -> Missing | None:
    """Other systems have neither /proc nor several loopback addresses."""
    if sys.platform == "linux":
        return None
    return Missing("needs /proc and several loopback addresses", f"on Linux: {PYTEST}")


def missing_postgres() -> Missing | None:
    """The programs of PostgreSQL, which Debian does not put on the PATH, and its driver."""
    if postgres.PROGRAMS is None or not importlib.util.find_spec("psycopg"):
        return Missing(
            "needs PostgreSQL (initdb, pg_ctl) and the Python package psycopg",
            f"apt-get install postgresql && {PYTEST} -m postgres",
        )
    return None


NEEDS = {
    "data": missing_corpora,
    "browser": missing_browser,
    "weights": missing_weights,
    "package": missing_package,
    "program": missing_program,
    "mounts": missing_mounts,
    "posix": missing_posix,
    "postgres": missing_postgres,
    "linux": missing_linux,
}
"""Marker -> what finds out whether its need is missing."""
