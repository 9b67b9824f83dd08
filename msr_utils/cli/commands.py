"""What all commands share: one line for what is not installed or what the system refuses."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import click

from msr_utils.paths import IS_CHECKOUT, PACKAGE

FAILED, INTERRUPTED = 1, 130
"""Exit codes. 1: the command is right, but could not be done, or not for all files; it is that of
`click.ClickException`. 130: Ctrl-C, as shells use it. A command that no file and no library would
make right ends with 2, the code of `click.UsageError`.
"""

EXTRAS = {"generate": "notes", "library": "library", "predict": "plot", "serve": "serve"}
"""Extra that a command needs, where it is not `STUDY`."""

STUDY = "study"
"""Extra with the packages of all commands."""

OTHER_FOLDERS = {
    "book": "build it in a checkout that this user may write",
    "data": "choose another folder",
    "features": "name another folder with --cache",
    "library": "name another folder with --library",
    "run": "work in a checkout that this user may write",
    "weights": "set MSR_WEIGHTS to another folder",
}
"""How a command is told to write elsewhere."""

REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    *(getattr(errno, name) for name in ("EDQUOT",) if hasattr(errno, name)),
}
"""Errors with which the system refuses a file or a folder. Any other error may be a fault of ours
and keeps its traceback."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class Commands(click.Group):
    """The command line. Its errors are one line with what to do.

    A package that is missing, and a file or a folder that the system refuses, become
    ``click.ClickException``, in every command and at every depth.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            message = missing_package(error, ctx.invoked_subcommand or "")
            if not message:
                raise
            raise click.ClickException(message) from error
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            raise click.ClickException(refusal(error, ctx.invoked_subcommand or "")) from error


def needs_checkout(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Mark a command that works on the notebooks, the reports or the book of a checkout."""

    @wraps(command)
    def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        if not IS_CHECKOUT:
            name = click.get_current_context().info_name
            raise click.ClickException(
                f"'msr {name}' needs a checkout of the project with its notebooks; this is an "
                "installed package. Clone the repository and run 'make study' there"
            )
        return command(*args, **kwargs)

    return checked


def missing_package(error: ModuleNotFoundError, command: str) -> str:
    """Which extra brings a package that is missing.

    Parameters
    ----------
    error : ModuleNotFoundError
    command : str
        Name of the command that needs the package.

    Returns
    -------
    str
        Empty if the module is one of ours or of Python: then it is a fault, not an installation
        without extras.
    """
    package = (error.name or "").partition(".")[0]
    if not package or package in sys.stdlib_module_names or package in ("msr_utils", "serve"):
        return ""
    extra = EXTRAS.get(command, STUDY)
    source = "-e '.[{}]'" if IS_CHECKOUT else "'msr-utils[{}]'"
    return (
        f"'msr {command}' needs the package {package!r}, which is not installed; "
        f"run: pip install {source.format(extra)}"
    )


def refusal(error: OSError, command: str) -> str:
    """Which file or folder the system refuses, why, and what to do.

    Parameters
    ----------
    error : OSError
        Its number is one of `REFUSALS`.
    command : str
        Name of the command that it stopped.
    """
    reason = error.strerror or str(error)
    if not isinstance(error.filename, str | bytes | os.PathLike):
        # The system names no file where a write fails, as on a full disk.
        return f"cannot write: {reason}; make room where this command writes, then repeat it"
    path = Path(os.fsdecode(error.filename))
    if path.name.startswith(".tmp-"):  # of msr_utils.io.atomic_path
        path = path.parent
    elsewhere = OTHER_FOLDERS.get(command, "choose another folder")
    if error.errno not in (errno.EACCES, errno.EPERM):
        return f"cannot write {path}: {reason}; {elsewhere}"
    nearest = next((p for p in (path, *path.parents) if os.path.lexists(p)), path)
    if nearest == path and not _is_readable(path):
        return f"cannot read {path}: {reason}; give this user the right to read it"
    if nearest.is_dir() and not os.access(nearest, os.X_OK):
        return f"cannot open {path}: {reason}; give this user the right to enter {nearest}"
    return f"cannot write {path}: {reason}; give this user the right to write there, or {elsewhere}"


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK)


def shown(path: Path) -> str:
    """A path for people: relative if it lies in the working folder."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def load_service() -> ModuleType:
    """Import the package `serve` that lies beside this one.

    It is loaded by its place: ``import serve`` would take any ``serve.py`` that comes earlier on
    the path, such as one in the working folder.

    Raises
    ------
    click.ClickException
        If the installation has no such package.
    """
    file = PACKAGE.parent / "serve" / "__init__.py"
    if not file.is_file():
        raise click.ClickException(f"this installation has no service: {file} is not there")
    spec = importlib.util.spec_from_file_location(
        "serve", file, submodule_search_locations=[str(file.parent)]
    )
    assert spec is not None and spec.loader is not None  # it is a Python file
    service = importlib.util.module_from_spec(spec)
    sys.modules["serve"] = service
    spec.loader.exec_module(service)
    return importlib.import_module("serve.__main__")
