"""What a result depends on: code, notebook, parameters, data, locked packages, machine."""

from __future__ import annotations

import ast
import inspect
import json
import os
import platform
import textwrap
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msr_utils.io import sha256_text
from msr_utils.paths import PACKAGE

NOT_STUDY = (
    "__main__.py",
    "cli.py",
    "study.py",
    "book.py",
    "inference.py",
    "batch.py",
    "scale.py",
    "corpora/download/__init__.py",
    "corpora/download/failures.py",
    "corpora/download/fetch.py",
    "corpora/download/http.py",
    "corpora/download/hub.py",
    "corpora/download/sources.py",
    "corpora/download/space.py",
    "corpora/download/unzip.py",
    "corpora/verify.py",
)
"""Modules whose changes cannot change a study's numbers."""

REPORTED_PACKAGES = (
    "tensorflow",
    "keras",
    "keras-hub",
    "transformers",
    "librosa",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "soundfile",
    "soxr",
    "onnxruntime",
)


@cache
def code_hash(notebook: Path | None = None) -> str:
    """SHA-256 of what the package does: comments, docstrings and layout do not count.

    Parameters
    ----------
    notebook : Path, optional
        Only the modules that it imports, and those that these import in turn.
    """
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
    if notebook is not None:
        cells = json.loads(Path(notebook).read_text("utf-8"))["cells"]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        used = _imported(sources, modules)
        modules = {name: path for name, path in modules.items() if name in used}
    parts = [
        f"{name}\n{_stripped(path.read_text('utf-8'))}"
        for name, path in modules.items()
        if name not in NOT_STUDY
    ]
    return sha256_text("\n".join(parts))


def _imported(sources: list[str], modules: Mapping[str, Path]) -> set[str]:
    """Modules of the package that sources import, directly or through others."""
    found: set[str] = set()
    waiting = list(sources)
    while waiting:
        tree = ast.parse(waiting.pop())
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        for name in names:
            if name.split(".")[0] != PACKAGE.name:
                continue
            base = "/".join(name.split(".")[1:])
            for path in (f"{base}.py", f"{base}/__init__.py"):
                if path in modules and path not in found:
                    found.add(path)
                    if path not in NOT_STUDY:
                        waiting.append(modules[path].read_text("utf-8"))
    return found


def source_hash(*objects: object) -> str:
    """SHA-256 of what functions, classes and modules do, without comments and layout."""
    sources = (textwrap.dedent(inspect.getsource(o)) for o in objects)
    return sha256_text("\n".join(_stripped(source) for source in sources))


def _stripped(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                item
                for item in body
                if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
    return ast.dump(tree)


def notebook_hash(path: Path) -> str:
    """SHA-256 of a notebook's cells: types, tags and sources, nothing else."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return sha256_text(
        json.dumps(
            [[c["cell_type"], "".join(c["source"]), c["metadata"].get("tags", [])] for c in cells]
        )
    )


def environment() -> dict:
    """Versions, threads and the kind of machine, for a manifest."""
    versions = {}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "packages": versions,
    }
