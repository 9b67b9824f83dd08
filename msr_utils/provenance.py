"""What a result depends on: code, notebook, parameters, data, locked packages, machine."""

from __future__ import annotations

import ast
import inspect
import json
import os
import platform
import textwrap
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msr_utils.io import sha256_text

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout that this package runs from."""

LOCK = PROJECT_ROOT / "requirements.lock"

NOT_STUDY = (
    "cli.py",
    "study.py",
    "book.py",
    "inference.py",
    "batch.py",
    "scale.py",
    "corpora/download.py",
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
def code_hash() -> str:
    """SHA-256 of what the package does: comments, docstrings and layout do not count."""
    package = Path(__file__).resolve().parent
    parts = []
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).as_posix() not in NOT_STUDY:
            parts.append(
                f"{path.relative_to(package).as_posix()}\n{_stripped(path.read_text('utf-8'))}"
            )
    return sha256_text("\n".join(parts))


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
