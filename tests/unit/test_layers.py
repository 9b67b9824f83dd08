"""Imports go one way: a package imports only from those before it, and there is no circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from msr_utils.paths import PACKAGE

STREAM = [
    "constants",
    "paths",
    "io",
    "affect",
    "style",
    "provenance",
    "audio",
    "metrics",
    "corpora",
    "features",
    "inference",
    "library",
    "symbolic",
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


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"))
    return found


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of the package that a module imports anywhere, also in functions or for types."""
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
        return STREAM.index(module.split(".")[1]) if "." in module else -1

    against = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if "." in module and place(other) > place(module)
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
        for folder in (PACKAGE, PACKAGE.parent / "serve")
        for path in folder.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_no_function_is_too_long():
    # Docstrings do not count: they state shapes, units and errors.
    found = {}
    for folder in (PACKAGE, PACKAGE.parent / "serve"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    found[f"{path.relative_to(PACKAGE.parent).as_posix()}: {node.name}"] = lines
    assert found == {}
