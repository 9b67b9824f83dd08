"""Text files and CSV tables of a corpus, with errors that name file, line and column."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.findings import Findings

MISSING = ("", "nan", "na", "n/a", "null", "none")
"""Cells of a numeric column that mean "not known", in lower case."""

DELIMITERS = ",;\t"
"""Delimiters of tables as spreadsheet programs write them; the first one found is taken."""


@dataclass(frozen=True)
class TextTable:
    """A table with every cell as stripped text.

    Parameters
    ----------
    header : list of str
    rows : dict of int to list of str
        Line in the file -> cells.
    """

    header: list[str]
    rows: dict[int, list[str]]


@contextmanager
def reading(name: str = "") -> Iterator[None]:
    """Turn an `OSError` of a block into a `CorpusError` that names the file."""
    try:
        yield
    except OSError as error:
        name = name or os.path.basename(error.filename or "a file of the corpus")
        raise CorpusError(
            f"{name}: cannot be read ({error.strerror or error})", file=name
        ) from error


def read_text(path: Path, findings: Findings) -> str:
    """Text of a file in UTF-8, in UTF-16 with a byte-order mark, or else in Windows-1252.

    The encoding is not guessed from statistics: the rule gives the same result for every file.
    Windows-1252 is noted in `findings`.

    Raises
    ------
    CorpusError
        If the file is missing or is not text.
    """
    with reading(path.name):
        if not path.is_file():
            raise CorpusError(f"{path.name} not found in {path.parent}", file=path.name)
        content = path.read_bytes()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        try:
            text = content.decode("utf-16" if utf16 else "utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
            findings.note(path.name, "", "not UTF-8, read as Windows-1252: check its accents")
    except UnicodeDecodeError:
        text = "\0"  # refused below
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        raise CorpusError(
            f"{path.name}: not a text file; save the table as CSV in UTF-8", file=path.name
        )
    return text


def read_rows(
    path: Path,
    columns: tuple[str, ...] = (),
    key: str = "",
    findings: Findings | None = None,
    ragged: bool = False,
) -> TextTable:
    """Read a table of text, delimited by commas, semicolons or tabs.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        Required columns.
    key : str
        Column that identifies the subject of a row, for findings.
    findings : Findings, optional
    ragged : bool
        Whether rows may be shorter than the header.

    Returns
    -------
    TextTable
        A row whose length differs from the header's is an error and left out.

    Raises
    ------
    CorpusError
        If the file is missing, empty, not a table, or lacks or repeats a column.
    """
    findings = Findings() if findings is None else findings
    text = read_text(path, findings)
    first_line = text.lstrip().partition("\n")[0]
    delimiter = next((d for d in DELIMITERS if d in first_line), ",")
    rows = _parse(path.name, text, delimiter)
    header = rows.pop(min(rows))
    _check_header(path.name, header, columns)
    if not rows:
        raise CorpusError(f"{path.name}: holds no rows", file=path.name)
    for line, cells in list(rows.items()):
        if ragged:
            cells += [""] * (len(header) - len(cells))
        if len(cells) != len(header):
            named = dict(zip(header, rows.pop(line), strict=False))
            with findings.about(path.name, named.get(key) or f"line {line}"):
                raise CorpusError(
                    f"{path.name}, line {line}: {len(cells)} cells, the header has {len(header)}; "
                    "look for an extra comma, a cell without quotes or a cut line",
                    file=path.name,
                )
        elif delimiter != ",":
            # Where semicolons separate the cells, a comma is the decimal point.
            rows[line] = [re.sub(r"^(-?\d*),(\d+)$", r"\1.\2", cell) for cell in cells]
    return TextTable(header, rows)


def _parse(name: str, text: str, delimiter: str) -> dict[int, list[str]]:
    """Line -> stripped cells, without empty rows; the header is the first."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows = {}
    try:
        for cells in reader:
            if any(cells := list(map(str.strip, cells))):
                rows[reader.line_num] = cells
    except csv.Error as error:
        raise CorpusError(
            f"{name}, line {reader.line_num}: not a CSV table ({error})", file=name
        ) from error
    if not rows:
        raise CorpusError(f"{name}: not a CSV table (it is empty)", file=name)
    return rows


def _check_header(name: str, header: list[str], columns: tuple[str, ...]) -> None:
    """Refuse a header that lacks or repeats a column."""
    if missing := [c for c in columns if c not in header]:
        raise CorpusError(
            f"{name}: column {missing[0]!r} is missing; found {', '.join(header)[:200]}",
            file=name,
            field=missing[0],
        )
    if repeated := [c for c, n in Counter(header).items() if c and n > 1]:
        raise CorpusError(
            f"{name}: column {repeated[0]!r} is there more than once", file=name, field=repeated[0]
        )


def read_csv(
    path: Path,
    columns: tuple[str, ...],
    numeric: tuple[str, ...] = (),
    filled: tuple[str, ...] = (),
    key: str = "",
    findings: Findings | None = None,
) -> pd.DataFrame:
    """Read a table with every cell as stripped text, then convert the numeric columns.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        Required columns.
    numeric : tuple of str
        Columns of numbers, as far as present; NaN where a cell is empty.
    filled : tuple of str
        Columns that must not have empty cells.
    key : str
        Column that identifies the subject of a row, for findings.
    findings : Findings, optional

    Returns
    -------
    pandas.DataFrame
        Indexed by line in the file; rows with an error are left out.

    Raises
    ------
    CorpusError
        As `read_rows`, or if a cell is empty or contains text instead of a number.
    """
    findings = Findings() if findings is None else findings
    text = read_rows(path, columns, key, findings)
    table = pd.DataFrame(
        list(text.rows.values()), index=list(text.rows), columns=text.header, dtype=str
    )
    table = table.loc[:, [bool(column) for column in text.header]]
    names = table[key] if key else None
    texts = {column: table[column] for column in (*numeric, *filled) if column in table}
    problems = _Problems(path.name, names)
    for column in (c for c in numeric if c in table):
        missing = texts[column].str.lower().isin(MISSING)
        table[column] = pd.to_numeric(texts[column].mask(missing), errors="coerce")
        not_numbers = texts[column][table[column].isna() & ~missing]
        problems.add(not_numbers, column, "{cell!r}, not a number")
    for column in filled:
        empty = texts[column].str.lower().isin(MISSING if column in numeric else ("",))
        problems.add(texts[column][empty], column, "empty")
    problems.report(findings)
    return table.drop(index=sorted(problems.lines))


class _Problems:
    """Bad cells of a table, grouped by subject and column, since a whole column may be wrong.

    Parameters
    ----------
    file : str
    subjects : pandas.Series, optional
        Subject of each line of the table.
    """

    def __init__(self, file: str, subjects: pd.Series | None) -> None:
        self.file = file
        self.lines: set[int] = set()
        self._subjects = subjects
        self._texts: dict[tuple[str, str], dict[int, str]] = {}

    def add(self, cells: pd.Series, column: str, problem: str) -> None:
        """Add bad cells of a column, indexed by line."""
        for line, cell in zip(cells.index, cells, strict=True):
            subject = (self._subjects is not None and self._subjects[line]) or f"line {line}"
            text = f"{column} is {problem.format(cell=cell)}"
            self._texts.setdefault((subject, column), {})[line] = text
            self.lines.add(line)

    def report(self, findings: Findings) -> None:
        """Raise or collect one error for each subject and column, with its first line."""
        for (subject, column), texts in sorted(self._texts.items(), key=lambda item: min(item[1])):
            line, more = min(texts), len(texts) - 1
            rest = f" (and {more} more lines of {subject!r})" if more else ""
            with findings.about(self.file, subject):
                raise CorpusError(
                    f"{self.file}, line {line}: {texts[line]}{rest}", self.file, column
                )
