"""Findings of a loader: errors to raise or to collect, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from msr_utils.corpora.base import CorpusError


@dataclass(frozen=True)
class Finding:
    """One thing that a user of the data should know.

    Parameters
    ----------
    level : str
        ``"error"``: the data are damaged or contradictory. ``"note"``: the data are as
        published, but unusual.
    file : str
        Its name, or its path in the corpus' folder where the name alone is not clear.
    subject : str
        Track, line or column; may be empty.
    message : str
    """

    level: str
    file: str
    subject: str
    message: str


class Findings(list[Finding]):
    """List of findings that a loader fills. It also decides what happens on an error.

    Parameters
    ----------
    collect : bool
        False: the first error is raised, so that no study runs on damaged data. True: errors
        are collected and the tracks concerned are left out, so that one pass lists them all.
    """

    def __init__(self, collect: bool = False) -> None:
        super().__init__()
        self.collect = collect

    @contextmanager
    def about(self, file: str, subject: str = "") -> Iterator[None]:
        """Collect or re-raise a `CorpusError` of a block, such as the reading of one track."""
        try:
            yield
        except CorpusError as error:
            if not self.collect:
                raise
            self.append(Finding("error", file or error.file, subject, str(error)))

    def note(self, file: str, subject: str, message: str) -> None:
        """Add a note."""
        self.append(Finding("note", file, subject, message))

    @property
    def damaged(self) -> set[str]:
        """Subjects of the errors collected so far; loaders leave these out."""
        return {finding.subject for finding in self if finding.level == "error"}


@contextmanager
def in_file(file: str) -> Iterator[None]:
    """Set the file of a `CorpusError` of a block that reads this file."""
    try:
        yield
    except CorpusError as error:
        error.file = error.file or file
        raise
