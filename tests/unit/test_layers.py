"""Imports go one way: a package imports only from those before it, and there is no circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from msr_utils.paths import PACKAGE

STREAM = [
    "constants",
    "paths",
    "io",
    "affect",
    "notes",
    "least_squares",
    "style",
    "provenance",
    "audio",
    "metrics",
    "corpora",
    "features",
    "inference",
    "library",
    "symbolic",
    "generation",
    "dataset",
    "models",
    "training",
    "evaluation",
    "export",
    "experiments",
    "figures",
    "study",
    "book",
    "cli",
    "__main__",
]
"""The packages in the order in which data flow through them; see `.github/CONTRIBUTING.md`."""

MAX_LINES = 500
MAX_FUNCTION_LINES = 60


PACKAGES = (PACKAGE, PACKAGE.parent / "serve")
"""The library, and the service that stands on it."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of both packages by its dotted name."""
    found = {}
    for path in sorted(file for package in PACKAGES for file in package.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"))
    return found


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of ours that a module imports anywhere, also in functions or for types."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & known) | ({node.module} if inside - known else set())
    return found & known


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    trees = modules()
    return {name: imports(tree, set(trees)) - {name} for name, tree in trees.items()}


def test_imports_name_their_package():
    """A relative import would be no arrow in this picture."""
    relative = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_no_import_goes_against_the_stream(graph):
    def place(module: str) -> int:
        package, _, rest = module.partition(".")
        if package == "serve":
            return len(STREAM)
        return STREAM.index(rest.split(".")[0]) if rest else -1

    against = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if module != "msr_utils" and place(other) > place(module)
    ]
    assert against == []


def test_no_import_circle(graph):
    # A package's __init__ hands on names of its modules: it stands above them.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


def test_no_module_is_too_long():
    lengths = {
        path.relative_to(PACKAGE.parent).as_posix(): len(path.read_text("utf-8").splitlines())
        for package in PACKAGES
        for path in package.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_no_function_is_too_long():
    # Docstrings do not count: they state shapes, units and errors.
    found = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    found[f"{path.relative_to(PACKAGE.parent).as_posix()}: {node.name}"] = lines
    assert found == {}


@pytest.mark.slow
def test_what_trains_nothing_loads_no_network_library():
    """Nobody should wait for TensorFlow to look at a table, a figure or a curve."""
    light = ("evaluation", "experiments.error_analysis", "figures", "inference", "library")
    inside = tuple(f"msr_utils.{package}" for package in light) + ("serve",)
    names = [name for name in modules() if f"{name}.".startswith(tuple(f"{p}." for p in inside))]
    names = [name for name in names if not name.endswith(("__main__", "beetsplug.msr"))]
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'keras', 'tensorflow'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} loads {sorted(heavy)}'"
    )
    command = [sys.executable, "-c", script, *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert len(names) > 100
    assert done.returncode == 0, done.stderr.splitlines()[-1]
