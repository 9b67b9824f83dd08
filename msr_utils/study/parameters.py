"""Parameters of the notebooks: what a cell declares, and which values are right."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from msr_utils.constants import TARGETS
from msr_utils.corpora import CORPORA

TYPES: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "list": list,
}
"""Annotations allowed in a notebook's parameters cell."""


CHOICES: dict[str, tuple[str, ...]] = {
    "corpus": CORPORA,
    "target": TARGETS,
    "activation": ("tanh", "linear", "relu"),
}
"""The values of parameters that have few."""

LEAST: dict[str, float] = {
    "seed": 0, "tracks": 0, "dropout": 0, "averaging": 0, "pretrain_steps": 0, "tune_steps": 0,
    "controls": 0, "seconds": 0,
}  # fmt: skip
"""The smallest values. Another whole number is at least 1, another number above 0."""

BELOW: dict[str, float] = {"dropout": 1, "averaging": 1}
"""Values must be below these."""


class StudyError(ValueError):
    """A study file, parameter or run that is not right; the message says which and why."""


def declared_parameters(notebook: Path) -> dict[str, str]:
    """Names and annotated types in a notebook's cell tagged ``parameters``.

    Raises
    ------
    StudyError
        If the cell is missing or a parameter has no plain type.
    """
    import papermill

    declared = {
        name: info["inferred_type_name"]
        for name, info in papermill.inspect_notebook(str(notebook)).items()
    }
    if not declared:
        raise StudyError(f"{notebook.name}: has no cell tagged 'parameters'")
    for name, kind in declared.items():
        if kind not in TYPES:
            raise StudyError(f"{notebook.name}: parameter {name!r} needs a type of {list(TYPES)}")
    return declared


def default_parameters(notebook: Path) -> dict[str, Any]:
    """Values in a notebook's cell tagged ``parameters``.

    Raises
    ------
    StudyError
        If one is no literal.
    """
    import papermill

    found = {}
    for name, info in papermill.inspect_notebook(str(notebook)).items():
        try:
            found[name] = ast.literal_eval(info["default"])
        except ValueError as error:
            raise StudyError(f"{notebook.name}: parameter {name!r} is no literal") from error
    return found


def check_type(name: str, value: Any, kind: str) -> None:
    """Refuse a parameter value of another type than declared.

    Raises
    ------
    StudyError
        Naming the parameter, its type and the value.
    """
    fits = isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not fits:
        raise StudyError(f"parameter {name!r} must be {kind}, not {value!r}")


def parse_value(name: str, text: str, kind: str) -> Any:
    """Read a parameter from the command line as the type that its notebook declares.

    ``007`` stays a text where a text is declared.

    Raises
    ------
    StudyError
        If the text is no value of that type.
    """
    if kind == "str":
        return text
    try:
        value = yaml.safe_load(text)
        # YAML 1.1 reads 1e-3 as a text.
        if kind == "float" and isinstance(value, str):
            value = float(value)
    except (yaml.YAMLError, ValueError):
        value = text
    check_type(name, value, kind)
    return value


def check_value(name: str, value: Any, kind: str) -> None:
    """Refuse a parameter value that is of another type than declared, unknown or out of range.

    Raises
    ------
    StudyError
        Naming the parameter, the value, and what is allowed.
    """
    check_type(name, value, kind)
    if name in CHOICES and value not in CHOICES[name]:
        known = ", ".join(CHOICES[name])
        raise StudyError(f"parameter {name!r}: unknown {value!r}; known: {known}")
    if kind not in ("int", "float"):
        return
    least = LEAST.get(name, 1 if kind == "int" else None)
    low = value <= 0 if least is None else value < least
    if low or value >= BELOW.get(name, float("inf")):
        wanted = "above 0" if least is None else f"at least {least:g}"
        below = f" and below {BELOW[name]:g}" if name in BELOW else ""
        raise StudyError(f"parameter {name!r} must be {wanted}{below}, not {value!r}")


def injected(cells: list[str]) -> list[str]:
    """Names that papermill set: it writes a cell of assignments under the line ``# Parameters``.

    Parameters
    ----------
    cells : list of str
        Sources of the cells that ran, as IPython's ``In`` has them.
    """
    found = []
    for source in cells:
        if source.startswith("# Parameters\n"):
            for line in ast.parse(source).body:
                if isinstance(line, ast.Assign):
                    found += [t.id for t in line.targets if isinstance(t, ast.Name)]
    return found


def check() -> None:
    """Check the parameters of the notebook that runs, as ``msr run`` does before it starts one.

    Raises
    ------
    StudyError
        If papermill set a parameter that the notebook does not have, a value is not right, or no
        notebook runs.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise StudyError("parameters.check() is for a notebook that runs")
    check_namespace(shell.user_ns)


def check_namespace(namespace: Mapping[str, Any]) -> None:
    """Check the parameters of a notebook.

    Parameters
    ----------
    namespace : mapping
        The notebook's names and values. Its annotated names are the parameters.

    Raises
    ------
    StudyError
        As of `check`.
    """
    declared = {name: kind.__name__ for name, kind in namespace["__annotations__"].items()}
    for name in injected(namespace.get("In", [])):
        if name not in declared:
            raise StudyError(f"parameter {name!r} is unknown; known: {', '.join(declared)}")
    for name, kind in declared.items():
        check_value(name, namespace[name], kind)
