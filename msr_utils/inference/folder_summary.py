"""The results of a folder, and the table that keeps them between calls."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TextIO

from msr_utils.audio.folder_scan import FolderError, State
from msr_utils.inference.content import CONTENT
from msr_utils.inference.folder_names import JOURNAL, SUMMARY
from msr_utils.inference.prediction import DECIMALS
from msr_utils.io import printable, write_text

BETWEEN_WARNINGS = " | "
"""Text between the warnings of one file in the table."""

NUMBERS = ("seconds", "mean_valence", "mean_arousal")
"""Columns of numbers."""


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What became of one entry of a folder: a row of the table.

    Parameters
    ----------
    file : str
        Path relative to the folder, with slashes. What cannot be printed is escaped, see
        `msr_utils.io.shown_name`.
    state : State
    seconds : float, optional
        Seconds that the curve covers. None if there is no curve.
    mean_valence, mean_arousal : float, optional
        In [-1, 1].
    quadrant : str
        Name of the quadrant of the means; empty if there is no curve or nothing to hear. As in
        answers of the service, it is there for a recording that does not sound like music: a
        warning says so.
    content : mapping of str to float, optional
        Share of music, singing, speech, noise and silence, a column of the table each. None if
        there is no curve, or the weights of YAMNet are not installed.
    model, version : str
        The bundle that made the curve.
    sha256 : str
        SHA-256 of the audio file.
    output : str
        The curve, relative to the output folder and escaped like `file`; empty if none was
        written.
    warnings : tuple of str
        Defects of the audio that was decoded.
    reason : str
        Why there is no curve.
    output_sha256 : str
        SHA-256 of the curve's file.
    analysis : str
        Hash of the bundle, the version of this package and the weights of YAMNet: what a result
        depends on besides audio.
    path : Path
        The file itself. It is not in the table.
    may_be_audio : bool
        True for a file with the suffix of audio, and for a folder that cannot be listed. It is
        not in the table.
    """

    file: str
    state: State
    seconds: float | None = None
    mean_valence: float | None = None
    mean_arousal: float | None = None
    quadrant: str = ""
    content: Mapping[str, float] | None = None
    model: str = ""
    version: str = ""
    sha256: str = ""
    output: str = ""
    warnings: tuple[str, ...] = ()
    reason: str = ""
    output_sha256: str = ""
    analysis: str = ""
    path: Path = Path()
    may_be_audio: bool = False

    def row(self) -> dict[str, str]:
        """The columns of the table."""
        values = {name: getattr(self, name) for name in NEEDED}
        shares = self.content or {}
        values |= {SHARES[kind]: f"{shares[kind]:g}" if shares else "" for kind in CONTENT}
        for name in NUMBERS:
            value = values[name]
            digits = 1 if name == "seconds" else DECIMALS
            values[name] = "" if value is None else f"{value:.{digits}f}"
        values["warnings"] = BETWEEN_WARNINGS.join(self.warnings)
        return {name: str(values[name]) for name in COLUMNS}

    @classmethod
    def from_row(cls, row: Mapping[str | None, Any]) -> FileResult | None:
        """Read a row of the table; None if it is damaged."""
        if None in row or not all(isinstance(row.get(name), str) for name in NEEDED):
            return None  # cut off, or more columns than names
        values: dict[str, Any] = {name: row[name] for name in NEEDED}
        shares = {kind: row.get(column) or "" for kind, column in SHARES.items()}
        try:
            if all(shares.values()):
                values["content"] = {kind: float(text) for kind, text in shares.items()}
            values["state"] = State(values["state"])
            for name in NUMBERS:
                values[name] = float(values[name]) if values[name] else None
        except ValueError:
            return None
        texts = values["warnings"]
        values["warnings"] = tuple(texts.split(BETWEEN_WARNINGS)) if texts else ()
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The columns of the table as JSON. Values that this file does not have are left out."""
        values = {name: getattr(self, name) for name in NEEDED}
        values["content"] = None if self.content is None else dict(self.content)
        values["warnings"] = list(self.warnings)
        values["model_version"] = values.pop("version")
        values["quadrant"] = self.quadrant
        kept = {name: value for name, value in values.items() if value not in ("", None)}
        if self.seconds is None:
            kept.pop("warnings")
        return kept


SHARES = {kind: f"content_{kind}" for kind in CONTENT}
"""Kind of content -> column of the table with its share. Older tables have none of them."""

NEEDED = tuple(
    f.name for f in fields(FileResult) if f.name not in ("path", "may_be_audio", "content")
)
"""Columns that every table has."""

_BEFORE = NEEDED.index("quadrant") + 1

COLUMNS = (*NEEDED[:_BEFORE], *SHARES.values(), *NEEDED[_BEFORE:])
"""Columns of the table."""


@dataclass(frozen=True)
class FolderResult:
    """What became of every entry of a folder.

    Parameters
    ----------
    files : tuple of FileResult
        Sorted by name. Rows of files that have left the folder come with them.
    model, version : str
        The bundle.
    """

    files: tuple[FileResult, ...]
    model: str
    version: str

    @property
    def counts(self) -> dict[State, int]:
        """Number of entries in each state, all states in their order."""
        found = Counter(result.state for result in self.files)
        return {state: found[state] for state in State}

    @property
    def with_curve(self) -> tuple[FileResult, ...]:
        """Files that were analysed now or before."""
        return self.select(State.ANALYSED, State.UNCHANGED)

    @property
    def lost(self) -> tuple[FileResult, ...]:
        """Audio without a curve: files that failed or cannot be read, folders not listed."""
        return tuple(r for r in self.select(State.FAILED, State.UNREADABLE) if r.may_be_audio)

    @property
    def not_audio(self) -> dict[str, int]:
        """Number of files that are not audio by suffix, the most frequent first."""
        return dict(Counter(r.reason for r in self.select(State.NOT_AUDIO)).most_common())

    def select(self, *states: State) -> tuple[FileResult, ...]:
        """Entries in these states."""
        return tuple(result for result in self.files if result.state in states)

    def to_json(self) -> dict[str, Any]:
        """One object with the counts and the files, as ``msr predict --json`` prints it."""
        return {
            "model": self.model,
            "model_version": self.version,
            "counts": {str(state): count for state, count in self.counts.items()},
            "with_warnings": sum(bool(result.warnings) for result in self.with_curve),
            "not_audio": self.not_audio,
            "files": [result.to_json() for result in self.files],
        }


def table(results: Iterable[FileResult], header: bool = True) -> str:
    """Rows of results as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(result.row() for result in results)
    return text.getvalue()


class Summary:
    """The table of an output folder, ``summary.csv``.

    It is written when the work begins and when it ends. Until then, each result is added to the
    journal ``summary.csv.partial``. A kill therefore loses the files in work, and nothing else.

    Parameters
    ----------
    folder : Path
        The output folder. It is made if it is missing.

    Attributes
    ----------
    known : dict of str to FileResult
        Results of earlier calls by file.

    Raises
    ------
    FolderError
        If the folder cannot be written, or holds a ``summary.csv`` that is not such a table.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._journal: TextIO | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.known = {
                result.file: result
                for name in (SUMMARY, JOURNAL)
                for result in _read(self._folder / name)
            }
            self._write(self.known.values())
            self._journal = open(  # noqa: SIM115 - closed by `close`
                self._folder / JOURNAL, "w", encoding="utf-8", newline=""
            )
            self._journal.write(table([]))
            self._journal.flush()
        except OSError as error:
            self._discard_journal()
            raise self.error(error) from error

    def error(self, error: OSError) -> FolderError:
        """The error of a folder that cannot be written."""
        return FolderError(
            f"cannot write in {printable(str(self._folder))}: {error.strerror or error}; what is "
            "finished is kept: remove the cause, then call again to go on"
        )

    def add(self, result: FileResult) -> None:
        """Add a result to the journal."""
        assert self._journal is not None, "closed"
        try:
            self._journal.write(table([result], header=False))
            self._journal.flush()
        except OSError as error:
            raise self.error(error) from error

    def close(self, results: Iterable[FileResult], after_error: bool = False) -> None:
        """Write the table and remove the journal. If it cannot be written, the journal stays.

        Parameters
        ----------
        results : iterable of FileResult
            All rows.
        after_error : bool
            True if an error is on its way, which one of the table must not replace.
        """
        try:
            self._write(results)
        except OSError as error:
            self._discard_journal(keep=True)
            if after_error:
                return
            raise self.error(error) from error
        self._discard_journal()

    def _write(self, results: Iterable[FileResult]) -> None:
        rows = sorted(results, key=lambda result: result.file)
        write_text(self._folder / SUMMARY, table(rows))

    def _discard_journal(self, keep: bool = False) -> None:
        if self._journal is None:
            return
        with suppress(OSError):  # a full disk refuses what is still buffered
            self._journal.close()
        if not keep:
            with suppress(OSError):
                os.unlink(self._folder / JOURNAL)


def gone(known: Mapping[str, FileResult], files: Iterable[str]) -> list[FileResult]:
    """Earlier results with a curve whose files are no longer in the folder.

    Parameters
    ----------
    known : mapping of str to FileResult
        Earlier results.
    files : iterable of str
        All entries that are in the folder now.
    """
    present = set(files)
    return [
        replace(result, state=State.GONE, reason="no longer in the folder; its curve is kept")
        for result in known.values()
        if result.file not in present and result.output_sha256
    ]


def _read(path: Path) -> list[FileResult]:
    """Rows of a table that are whole; none if there is no table."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    if not text:
        return []
    reader = csv.DictReader(io.StringIO(text, newline=""))
    results = []
    try:
        if not set(NEEDED) <= set(reader.fieldnames or ()):
            raise FolderError(
                f"{printable(str(path))} is not a table of 'msr predict'; move it away, or name "
                "another output folder"
            )
        for row in reader:
            result = FileResult.from_row(row)
            if result is not None:
                results.append(result)
    except csv.Error:
        pass  # what is damaged is analysed again
    return results
