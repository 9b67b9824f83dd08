"""Versions of the packages that a computation rests on, and of those that these need.

Which package needs which is read from ``requirements.lock``, so that the answer is the same on
every platform; the versions are those that are installed, or those of the lock where a package
is not installed. A package that only the book or the tests use is none of a training's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msr_utils.paths import LOCK
from msr_utils.provenance.source_tree import PACKAGES, IdentityError

DISTRIBUTIONS = {
    "IPython": "ipython",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "vaderSentiment": "vadersentiment",
    "yaml": "pyyaml",
}
"""Packages that are installed under another name than they are imported by."""

COMPANIONS = {"keras": ("tensorflow",), "keras-hub": ("tensorflow",), "pandas": ("pyarrow",)}
"""What a package computes with and does not need by its own account, as Keras' backend."""


@cache
def _pins(lock: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Pinned version of each package, and what each needs, as a lock's comments say."""
    if not lock.is_file():
        return {}, {}  # not a checkout, but an installed package
    versions: dict[str, str] = {}
    needs: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=\S)", lock.read_text("utf-8")):
        pin = re.match(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", block)
        if not pin:
            continue
        versions.setdefault(pin[1], pin[2])
        for needed_by in re.findall(r"^\s+#\s+(?:via )?([a-z0-9][\w.-]*)\s*$", block, re.MULTILINE):
            needs.setdefault(needed_by, set()).add(pin[1])
    return versions, needs


def distribution(package: str, lock: Path = LOCK) -> str:
    """Under which name an imported package is pinned; empty for Python's own modules and ours.

    Raises
    ------
    IdentityError
        If the lock does not have it.
    """
    if package in sys.stdlib_module_names or package in PACKAGES:
        return ""
    name = DISTRIBUTIONS.get(package, package.replace("_", "-"))
    pinned = _pins(lock)[0]
    if pinned and name not in pinned:
        raise IdentityError(
            f"{lock.name} has no package {name!r}, which the code imports as {package!r}: add "
            "it to pyproject.toml and run 'make lock', or say its name in "
            "msr_utils.provenance.packages"
        )
    return name


@cache
def _installed(name: str) -> str | None:
    """Version of a package; None if it is not installed. Asking reads all of its metadata."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions_of(packages: Iterable[str], lock: Path = LOCK) -> dict[str, str]:
    """Version of each package by the name that it is imported by, and of all that they need.

    Raises
    ------
    IdentityError
        If the lock does not have one.
    """
    pinned, needs = _pins(lock)
    waiting = [name for name in (distribution(p, lock) for p in packages) if name]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        installed = _installed(name)
        found[name] = pinned.get(name, "") if installed is None else installed
        waiting += [*needs.get(name, ()), *COMPANIONS.get(name, ())]
    return dict(sorted(found.items()))
