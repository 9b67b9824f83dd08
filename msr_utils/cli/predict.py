"""``msr predict``: curves of a file, of standard input or of a folder."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msr_utils.cli.commands import FAILED, INTERRUPTED

if TYPE_CHECKING:
    from msr_utils.audio.source import AudioSource
    from msr_utils.inference.folder_summary import FileResult, FolderResult
    from msr_utils.inference.model import Model
    from msr_utils.inference.prediction import Prediction

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
"""Names of standard input."""


class PathType(click.Path):
    """A path that is not empty: to Python, an empty one is the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the path is empty; write . for the working folder", param, ctx)
        return super().convert(value, param, ctx)


ANY_PATH = PathType(path_type=Path, readable=False)
"""A path. That it cannot be read is not a wrong command: the exit code is 1."""

MAX_SHOWN = 50
"""Files of one kind that are listed. ``summary.csv`` and ``--json`` have all."""


@click.command()
@click.argument("audio", type=ANY_PATH)
@click.option(
    "--model", default="", help="bundle; default: full, or light without the weights of MusiCNN"
)
@click.option("--models", "models_dir", default="", help="folder of bundles")
@click.option(
    "--csv",
    is_flag=False,
    flag_value="-",
    type=ANY_PATH,
    help="write the curve to this file; for a folder, write the curves to this folder. "
    "Without a name, or with -, the curve is printed",
)
@click.option("--plot", type=ANY_PATH, help="draw the curve here: .png, .pdf, .svg")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="for a folder: number of processes that work at once",
)
def predict(
    audio: Path,
    model: str,
    models_dir: str,
    csv: Path | None,
    plot: Path | None,
    as_json: bool,
    jobs: int,
) -> None:
    """Predict the curve of an audio file and print it as CSV.

    If --csv names a file, the curve is written there, and only its means are printed. AUDIO may be
    - for standard input, or a named pipe.

    If AUDIO is a folder, every audio file in it is predicted. With --csv FOLDER, each curve becomes
    a CSV file there, and summary.csv has a row for every entry. A second call analyses only files
    that are new or were replaced, and those whose curve is missing; with another model it
    analyses all files. With --json alone, nothing is written.

    The exit code is 1 if audio could not be analysed, and 2 if the command is wrong.
    """
    from threadpoolctl import threadpool_limits

    from msr_utils import paths
    from msr_utils.inference import model as inference_model

    threadpool_limits(1)  # The products are small: cores that share one wait for each other.
    is_folder = audio.as_posix() not in STANDARD_INPUT and os.path.isdir(audio)
    _check_usage(is_folder, csv, plot, as_json, jobs)
    _keep_input(audio, csv, plot)
    bundles = models_dir or paths.MODELS_DIR
    try:
        loaded = (
            inference_model.load(model, bundles) if model else inference_model.load_default(bundles)
        )
        if is_folder:
            _predict_folder(loaded, audio, csv, as_json, jobs)
        else:
            _predict_file(loaded, audio, csv, plot, as_json)
    except inference_model.BundleError as error:
        raise _failure(str(error)) from error


def _check_usage(
    is_folder: bool, csv: Path | None, plot: Path | None, as_json: bool, jobs: int
) -> None:
    """Refuse options that do not fit together (exit code 2)."""
    printed = csv == Path("-")
    if is_folder and (plot is not None or printed or (csv is None and not as_json)):
        raise click.UsageError("of a folder, give --csv FOLDER or --json, and no --plot")
    if not is_folder and jobs > 1:
        raise click.UsageError("--jobs is for a folder; this is one file")
    if as_json and printed:
        raise click.UsageError("--json and --csv - would both be printed; give --csv a file")


def _keep_input(audio: Path, *outputs: Path | None) -> None:
    """Refuse to write over the audio (exit code 2)."""
    for output in outputs:
        if output is None or not (os.path.isfile(output) and os.path.isfile(audio)):
            continue
        if os.path.samefile(audio, output):
            raise click.UsageError(f"{output} is the audio itself; give another file")


# ------------------------------------------------------------------------------ one file


def _predict_file(
    model: Model, audio: Path, csv: Path | None, plot: Path | None, as_json: bool
) -> None:
    """Predict one file; write and print what was asked for."""
    from msr_utils.audio.source import AudioError, source_name
    from msr_utils.io import write_text

    try:
        source = _source(audio)
        name = source_name(source)
        result = model.predict(source)
    except (AudioError, FileNotFoundError) as error:
        raise _failure(str(error)) from error
    except OSError as error:
        raise _failure(f"{audio}: {error.strerror or error}") from error
    except MemoryError as error:
        raise _failure(f"{audio}: not enough memory to analyse it") from error
    for warning in result.warnings:
        echo(f"warning: {warning}", err=True)
    printed = csv == Path("-") or (csv is None and plot is None and not as_json)
    try:
        if csv is not None and not printed:
            write_text(csv, result.to_csv())
    except OSError as error:
        raise _failure(f"cannot write {csv}: {error.strerror or error}") from error
    if plot is not None:
        _plot(plot, result, name)
    if as_json:
        warnings = [_shown(warning) for warning in result.warnings]
        echo_json({"file": _shown(name), **result.to_json(), "warnings": warnings})
        return
    if printed:
        echo(result.to_csv(), end="")
        return
    echo(
        f"{name}: valence {result.mean['valence']:+.2f}, "
        f"arousal {result.mean['arousal']:+.2f}, {result.feeling}; "
        f"written: {', '.join(str(p) for p in (csv, plot) if p)}"
    )


def _plot(file: Path, result: Prediction, title: str) -> None:
    """Draw a curve into a file."""
    from msr_utils.inference import figure

    try:
        figure.plot(file, result.times_s, result.curves(), _shown(title))
    except OSError as error:
        raise _failure(f"cannot write {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise _failure(f"--plot: {error}") from error


def _source(audio: Path) -> AudioSource:
    """The path itself, or standard input."""
    if audio.as_posix() not in STANDARD_INPUT:
        return audio
    if sys.stdin is None:
        raise click.UsageError("standard input is closed; send audio to it: < song.mp3")
    if sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal; send audio to it: < song.mp3")
    return sys.stdin.buffer


# ------------------------------------------------------------------------------ a folder


def _predict_folder(
    model: Model, folder: Path, output: Path | None, as_json: bool, jobs: int
) -> None:
    """Predict a folder, print what became of it, and exit with 1 if audio was lost."""
    from msr_utils.inference.folder import FolderError, predict_folder

    try:
        result = predict_folder(model, folder, output, jobs)
    except FolderError as error:
        raise _failure(str(error)) from error
    except KeyboardInterrupt:
        kept = "what is finished is kept; call again to go on" if output else "nothing was kept"
        echo(f"interrupted; {kept}", err=True)
        sys.exit(INTERRUPTED)
    if as_json:
        echo_json({"folder": _shown(folder.name or str(folder)), **result.to_json()})
    else:
        echo("\n".join(folder_report(result, folder.name or str(folder), output)))
    if not any(r.may_be_audio for r in result.files):
        from msr_utils.audio.formats import AUDIO_SUFFIXES

        echo(f"no audio file in {folder}; known: {', '.join(AUDIO_SUFFIXES)}", err=True)
    sys.exit(FAILED if result.lost else 0)


def folder_report(result: FolderResult, name: str, output: Path | None) -> list[str]:
    """Lines about a folder: what could not be analysed, warnings, and the number of each state.

    Parameters
    ----------
    result : FolderResult
    name : str
        Name of the folder.
    output : Path, optional
        Folder of the curves.
    """
    from msr_utils.audio.folder_scan import State

    lines = []
    for state in (State.FAILED, State.UNREADABLE, State.REPEATED):
        lines += _listed(str(state), ((r, r.reason) for r in result.select(state)))
    warned = [r for r in result.with_curve if r.warnings]
    lines += _listed("warning", ((r, "; ".join(r.warnings)) for r in warned))
    with_warnings = Counter(r.state for r in warned)
    remarks = {state: f"{count} with warnings" for state, count in with_warnings.items()}
    remarks[State.NOT_AUDIO] = ", ".join(f"{n} {suffix}" for suffix, n in result.not_audio.items())
    remarks[State.GONE] = "no longer in the folder"
    for state, count in result.counts.items():
        # States that concern audio are always shown.
        if count or state in (State.ANALYSED, State.UNCHANGED, State.FAILED, State.UNREADABLE):
            lines.append(f"{state!s:10} {count:6}  {remarks.get(state, '')}".rstrip())
    where = f"; curves and summary.csv in {output}" if output else ""
    lost = len(result.lost)
    lines.append(
        f"{name}: {len(result.with_curve)} audio files have a curve by {result.model}@"
        f"{result.version}, {lost} {'has' if lost == 1 else 'have'} none{where}"
    )
    return lines


def _listed(word: str, results: Iterable[tuple[FileResult, str]]) -> list[str]:
    """Lines for files of one kind, the first `MAX_SHOWN` of them."""
    lines = [f"{word:10} {result.file}: {text}" for result, text in results]
    more = len(lines) - MAX_SHOWN
    return [*lines[:MAX_SHOWN], *([f"{word:10} and {more} more"] if more > 0 else [])]


# ------------------------------------------------------------------------------ printing


def echo(text: str, err: bool = False, end: str = "\n") -> None:
    """Print text whatever its characters are: what cannot be encoded is escaped."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = "\n".join(_shown(line) for line in text.split("\n"))
    click.echo(lines.encode(encoding, "backslashreplace").decode(encoding) + end, nl=False, err=err)


def echo_json(document: dict[str, Any]) -> None:
    """Print a JSON object on one line."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    echo(json.dumps(document, ensure_ascii=encoding != "utf8"))


def _shown(text: str | os.PathLike[str]) -> str:
    from msr_utils.io import printable

    return printable(os.fspath(text))


def _failure(message: str) -> click.ClickException:
    """An error that ends the command with exit code 1. Its text can always be printed."""
    return click.ClickException(_shown(message))
