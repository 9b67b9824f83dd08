"""``msr library``: an index of a music collection, and what it recommends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from msr_utils import paths
from msr_utils.cli.commands import FAILED, INTERRUPTED, REFUSALS, refusal
from msr_utils.cli.predict import ANY_PATH, echo, echo_json

if TYPE_CHECKING:
    from msr_utils.inference.model import Model
    from msr_utils.library.indexing import Listed, RunReport
    from msr_utils.library.library import Library

KINDS = {
    "added": "",
    "unchanged": "",
    "changed": "other audio under the same name",
    "retagged": "the same audio in a changed file",
    "moved": "found at another place",
    "back": "gone before, there again",
    "gone": "no longer there; kept until 'msr library remove --gone'",
    "failed": "",
    "unreadable": "",
    "repeated": "",
    "not audio": "",
    "hidden": "",
}
"""Kinds of files in a report, in the order in which they are printed, and what they mean."""

ALWAYS = ("added", "unchanged", "failed", "unreadable")
"""Kinds that are printed even if there is none."""

STORE = "msr.library.store"
"""Where the context of a command has the URL of the store."""

IN_LAST_RUN = ("unreadable", "repeated", "not audio", "hidden")
"""Kinds that the catalogue need not know. An unreadable file with a curve counts as gone there."""

LISTED = ("failed", "unreadable", "repeated", "with warnings")
"""Kinds whose files are listed."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@click.group()
def library() -> None:
    """Index your music, and find what fits a mood.

    The index is a folder of its own. Your music files are only read, except by 'tag'.

    Exit codes: 0, done. 1, it could not be done, or not for all files: a file is missing or broken,
    the library is none or is in use. 2, the command is wrong: an option, a word, a number or the
    ending of a file name. 130, interrupted.
    """


def common(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Options of every command, and its errors in one line."""

    @click.option(
        "--library",
        "library_dir",
        type=ANY_PATH,
        default=paths.LIBRARY,
        envvar="MSR_LIBRARY",
        help="folder of the library; the user's folder of data by default, or MSR_LIBRARY",
    )
    @click.option(
        "--store",
        default="",
        envvar="MSR_LIBRARY_STORE",
        metavar="URL",
        expose_value=False,
        callback=_note_store,
        help="PostgreSQL database for many machines, postgresql+psycopg://user@host/database; "
        "MSR_LIBRARY_STORE names it, too. The folder then keeps copies",
    )
    @click.option("--json", "as_json", is_flag=True, help="print one JSON object")
    @wraps(command)
    def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        from sqlalchemy.exc import DatabaseError

        from msr_utils.audio.folder_scan import FolderError
        from msr_utils.inference.model import BundleError
        from msr_utils.library.shards import LibraryError, UsageError

        try:
            return command(*args, **kwargs)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        except (LibraryError, FolderError, BundleError) as error:
            raise click.ClickException(str(error)) from error
        except DatabaseError as error:  # a full disk, for one
            reason = " ".join(str(error.orig).split())
            raise click.ClickException(
                f"library: its catalogue cannot be read or written ({reason}); what was finished "
                "is kept"
            ) from error
        except OSError as error:
            # Without a name it is no file's: a closed pipe, for one.
            if error.filename is None or error.errno in REFUSALS:
                raise
            raise click.ClickException(refusal(error, "library")) from error

    return checked


def _check_address(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse what is no address, before a library is opened or made."""
    from msr_utils.features.cluster import is_address

    if value != "local" and not is_address(value):
        raise click.BadParameter(f"must be local or tcp://host:port, not {value!r}")
    return value


def _note_store(context: click.Context, parameter: click.Parameter, value: str) -> None:
    """Keep the store for `opened`: the commands themselves need not know it."""
    context.meta[STORE] = value


def analysing(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Options of commands that analyse audio."""
    for option in (
        click.option(
            "--jobs",
            default=1,
            show_default=True,
            type=click.IntRange(min=1),
            help="processes that work at once",
        ),
        click.option(
            "--scheduler",
            default="local",
            show_default=True,
            callback=_check_address,
            help="local, or a Dask scheduler's tcp://",
        ),
        click.option("--models", "models_dir", default="", help="folder of bundles"),
        click.option(
            "--model",
            default="",
            help="bundle that analyses the music; default: the one that this library already "
            "uses, for a new library full or, without the weights of MusiCNN, light",
        ),
    ):
        command = option(command)
    return command


@library.command()
@click.argument("folders", nargs=-1, required=True, type=ANY_PATH)
@analysing
@common
def add(
    folders: tuple[Path, ...],
    model: str,
    models_dir: str,
    jobs: int,
    scheduler: str,
    library_dir: Path,
    as_json: bool,
) -> None:
    """Add all music under FOLDERS. Called again, it does only what is new.

    The exit code is 1 if audio could not be analysed.
    """
    from msr_utils.library import indexing

    with opened(library_dir, create=True) as lib:
        loaded = load_model(lib, model, models_dir)
        run(lambda: indexing.add(lib, loaded, folders, jobs, scheduler=scheduler), lib, as_json)


@library.command()
@analysing
@common
def rescan(
    model: str, models_dir: str, jobs: int, scheduler: str, library_dir: Path, as_json: bool
) -> None:
    """Look again at all folders that were added: new, changed, moved and lost files.

    The exit code is 1 if audio could not be analysed.
    """
    from msr_utils.library import indexing

    with opened(library_dir) as lib:
        loaded = load_model(lib, model, models_dir)
        run(lambda: indexing.rescan(lib, loaded, jobs, scheduler=scheduler), lib, as_json)


@library.command()
@click.argument("files", nargs=-1, type=ANY_PATH)
@click.option("--gone", is_flag=True, help="forget all tracks whose files are gone")
@common
def remove(files: tuple[Path, ...], gone: bool, library_dir: Path, as_json: bool) -> None:
    """Forget FILES, or all that lies in folders. The music itself is left alone."""
    from msr_utils.library import indexing

    if not files and not gone:
        raise click.UsageError("name files or folders, or give --gone")
    if files and gone:
        raise click.UsageError("--gone is about all folders; name no files with it")
    with opened(library_dir) as lib:
        count = indexing.remove(lib, files, gone)
    if as_json:
        echo_json({"removed": count})
    else:
        echo(f"{plural(count, 'track')} forgotten")


@library.command()
@common
def status(library_dir: Path, as_json: bool) -> None:
    """Say what is in the library, what has no curve and why, and which files seem to be the same.

    The exit code is 1 if a run was stopped before its end.
    """
    from msr_utils.io import plain
    from msr_utils.library import indexing

    with opened(library_dir) as lib:
        found, place = indexing.status(lib), lib.place
    if as_json:
        echo_json({"library": place, **plain(found)})
        sys.exit(FAILED if found.unfinished else 0)
    echo(f"library {place}, made with {found.model or 'no model yet'}")
    for root in found.roots:
        echo(f"folder     {root}")
    for state, listed in found.problems.items():
        print_listed(state, listed, found.counts[state])
    for why, files in found.duplicates:
        echo(f"duplicate? {why}: {', '.join(files)}")
    for kind, reason in KINDS.items():
        count = found.last_run.get("counts", {}).get(kind, 0)
        if kind in IN_LAST_RUN and kind not in found.problems and count:
            echo(f"{kind:10} {count:6}  in the last run {reason}".rstrip())
    for state, count in sorted(found.counts.items()):
        echo(f"{state:10} {count:6}")
    if found.unfinished:
        echo(f"unfinished: {found.unfinished}")
        sys.exit(FAILED)


# ------------------------------------------------------------------------------ shared parts


@contextmanager
def opened(folder: Path, create: bool = False) -> Iterator[Library]:
    """An open library."""
    from msr_utils.library.library import Library

    lib = Library(folder, create, click.get_current_context().meta.get(STORE, ""))
    try:
        yield lib
    finally:
        lib.close()


def load_model(lib: Library, name: str, models_dir: str) -> Model:
    """The bundle that was named, that of the library, or the default."""
    from threadpoolctl import threadpool_limits

    from msr_utils.inference import model as inference_model

    threadpool_limits(1)  # The products are small: cores that share one wait for each other.
    bundles = models_dir or paths.MODELS_DIR
    name = name or lib.catalogue.facts().get("model_name", "")
    return inference_model.load(name, bundles) if name else inference_model.load_default(bundles)


def run(call: Callable[[], RunReport], lib: Library, as_json: bool) -> None:
    """Analyse, print the report, and exit with 1 if audio was lost."""
    try:
        report = call()
    except KeyboardInterrupt:
        echo("interrupted; what is finished is kept: call again to go on", err=True)
        sys.exit(INTERRUPTED)
    if as_json:
        echo_json(report.to_json())
    else:
        echo("\n".join(report_lines(report)))
        with_curve = lib.catalogue.count_states().get("analysed", 0)
        echo(f"{plural(with_curve, 'track')} in the library {lib.place}")
    sys.exit(FAILED if report.lost else 0)


def report_lines(report: RunReport) -> list[str]:
    """Lines about a run: files with something to say, then the number of each kind."""
    lines = []
    for kind in LISTED:
        lines += listed_lines(kind, report.listed.get(kind, []), report.counts[kind])
    for kind, meaning in KINDS.items():
        count = report.counts[kind]
        if kind == "not audio":
            meaning = ", ".join(f"{n} {suffix}" for suffix, n in report.not_audio.most_common())
        if kind == "added" and report.counts["with warnings"]:
            meaning = f"{report.counts['with warnings']} with warnings"
        if count or kind in ALWAYS:
            lines.append(f"{kind:10} {count:6}  {meaning}".rstrip())
    return [*lines, f"{report.seconds:.1f} s"]


def listed_lines(kind: str, listed: list[Listed], count: int) -> list[str]:
    """Lines for files of one kind, and how many more there are."""
    lines = [f"{kind:10} {one.file}: {one.reason}" for one in listed]
    more = count - len(listed)
    return [*lines, *([f"{kind:10} and {more} more"] if more > 0 else [])]


def print_listed(kind: str, listed: list[Listed], count: int) -> None:
    """Print `listed_lines`."""
    for line in listed_lines(kind, listed, count):
        echo(line)


def plural(count: int, word: str) -> str:
    """``1 track``, ``2 tracks``."""
    return f"{count} {word}{'' if count == 1 else 's'}"
