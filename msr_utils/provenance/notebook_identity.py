"""The two identities of a notebook: what it computes, and how it draws and words it.

Statements that call `DRAWING` draw; all others compute. Both are followed to the definitions that
they reach. What is reached by drawing alone, and the text of the notebook, are *presentation*: a
new colour does not touch the numbers. That this is so is checked, not believed: nothing that a
drawing statement assigns may be used by one that computes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msr_utils.io import sha256_text
from msr_utils.provenance.code_identity import Code, draws
from msr_utils.provenance.code_reader import (
    Key,
    Reading,
    read,
    silent_imports,
)
from msr_utils.provenance.source_tree import (
    LOCAL,
    Binding,
    IdentityError,
    bound_names,
)

RESULTS = "metrics.json"
"""Where a run's numbers are written."""


@dataclass(frozen=True)
class NotebookIdentity:
    """What a notebook reaches.

    Parameters
    ----------
    computation, presentation : str
        SHA-256 of either.
    definitions : frozenset of str
        That it computes with, as ``module.name``.
    packages : frozenset of str
        Of others, that it computes with, by the names that are imported.
    """

    computation: str
    presentation: str
    definitions: frozenset[str]
    packages: frozenset[str]


def notebook_identity(path: Path, code: Code) -> NotebookIdentity:
    """Read a notebook and all that it reaches.

    The values in its cell of parameters are left out: they are parameters of the run.

    Raises
    ------
    IdentityError
        If a name leads nowhere, or a drawing flows into what is computed.
    """
    cells = json.loads(Path(path).read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    tagged = [
        "parameters" in cell["metadata"].get("tags", [])
        for cell in cells
        if cell["cell_type"] == "code"
    ]
    words = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] != "code"]
    try:
        parsed = [ast.parse(source) for source in sources]
    except SyntaxError as error:
        raise IdentityError(f"{path.name}: {error}") from error
    scope = bound_names([node for tree in parsed for node in tree.body], path.stem)
    body = [
        node for tree, is_parameters in zip(parsed, tagged, strict=True)
        if not is_parameters for node in tree.body
    ]  # fmt: skip
    computing, drawing = _parted(path.stem, body, code, scope)
    imports = silent_imports(code.tree, scope, [node for tree in parsed for node in tree.body])
    own = [key for key in imports if not draws(key[0])]
    computed = code.reach([*own, *_roots(computing, code)])
    shown = [key for key in computed.drawn if key not in computed.readings]
    drawn = code.reach([*_roots(drawing, code), *shown], drawing=True)
    only_drawn = [d for key, d in drawn.digests().items() if key not in computed.readings]
    return NotebookIdentity(
        computation=_hash([computed.digest(r) for r in computing], computed.digests().values()),
        presentation=_hash([*words, *(drawn.digest(r) for r in drawing)], only_drawn),
        definitions=frozenset(computed.names),
        packages=frozenset(computed.packages.union(*(r.packages for r in computing))),
    )


def _hash(ordered: Iterable[str], unordered: Iterable[str]) -> str:
    """SHA-256 of statements, whose order counts, and definitions, whose order does not."""
    return sha256_text("\n".join([*ordered, "", *sorted(unordered)]))


def _roots(readings: Iterable[Reading], code: Code) -> list[Key]:
    """What statements name, and the effects of the modules that it is found through."""
    readings = list(readings)
    passed = {module for reading in readings for module in reading.passed}
    return [*(name for reading in readings for name in reading.names), *code.effects(passed)]


def _parted(
    name: str, body: Sequence[ast.stmt], code: Code, scope: Mapping[str, Binding]
) -> tuple[list[Reading], list[Reading]]:
    """Statements that compute, and those that draw.

    Raises
    ------
    IdentityError
        If one does both, or computes with what another has drawn.
    """
    computing: list[Reading] = []
    drawing: list[Reading] = []
    pictures: set[str] = set()  # names that drawing statements have assigned
    for node in body:
        reading = read(code.tree, name, [node], scope)
        if not reading.text:
            continue  # an import, or a text
        assigned = {n for n, binding in bound_names([node], name).items() if binding == LOCAL}
        used = pictures & _used(node)
        where = f"{name}: {ast.unparse(node).splitlines()[0]!r}"
        if any(draws(module) for module, _ in reading.names):
            if not isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign):
                raise IdentityError(f"{where} draws among other things: draw in a statement apart")
            if any(isinstance(n, ast.Constant) and n.value == RESULTS for n in ast.walk(node)):
                raise IdentityError(f"{where} draws and writes {RESULTS}: take it apart")
            pictures |= assigned
            drawing.append(reading)
        elif used and isinstance(node, ast.Expr) and _based_on(node.value, pictures):
            drawing.append(reading)
        elif used:
            raise IdentityError(
                f"{where} computes with {', '.join(sorted(used))}, which was drawn: numbers may "
                "not depend on figures"
            )
        else:
            pictures -= assigned
            computing.append(reading)
    return computing, drawing


def _used(node: ast.stmt) -> set[str]:
    names = {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
    if isinstance(node, ast.AugAssign):
        names |= {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
    return names


def _based_on(node: ast.expr, names: set[str]) -> bool:
    """True for a picture, or a method or attribute of one."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id in names
