"""``msr library tag``: moods in the tags of music files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msr_utils.cli.commands import FAILED, INTERRUPTED
from msr_utils.cli.library import common, listed_lines, opened
from msr_utils.cli.predict import ANY_PATH, echo, echo_json
from msr_utils.cli.scenes import library

if TYPE_CHECKING:
    from msr_utils.library.tagging import Fields, TagReport

__all__ = ["library"]

TAG_KINDS = {
    "written": "",
    "undone": "their fields are as before",
    "unchanged": "nothing was to be done",
    "mood kept": "of the written ones: the mood is not ours and stays",
    "no word": "of the written ones: no mood word is probable enough",
    "silent": "silent or no music, nothing written",
    "read-only": "",
    "changed": "",
    "no tags": "",
    "failed": "",
}
"""Kinds of files in a report, in the order in which they are printed, and what they mean."""


@library.command("tag")
@click.option("--dry-run", is_flag=True, help="only print what would be written")
@click.option("--undo", is_flag=True, help="give the files the fields that they had before")
@click.option(
    "--only", multiple=True, type=ANY_PATH, help="this file or folder only; repeat for more"
)
@common
def tag(
    dry_run: bool, undo: bool, only: tuple[Path, ...], library_dir: Path, as_json: bool
) -> None:
    """Write moods into the tags of your music files. No other command changes them.

    Written are the mean valence and arousal with their intervals, the model, and a mood word as
    MOOD. A MOOD that somebody else wrote stays. The audio stays as it is: it is decoded and
    compared before a file is replaced. The exit code is 1 if a file could not be written.
    """
    from msr_utils.io import printable
    from msr_utils.library.tagging import undo_tags, write_tags

    changes: list[dict[str, object]] = []

    def report_change(path: str, fields: Fields) -> None:
        if not dry_run:
            return
        if as_json:
            changes.append({"file": printable(path), "fields": fields})
        else:
            echo(f"{printable(path)}: {change_line(fields)}")

    call = undo_tags if undo else write_tags
    with opened(library_dir) as lib:
        try:
            report = call(lib, only, dry_run, report_change)
        except KeyboardInterrupt:
            echo("interrupted; each file is as before or written; call again to go on", err=True)
            sys.exit(INTERRUPTED)
    if as_json:
        document = report.to_json() | {"dry_run": dry_run}
        echo_json(document | ({"changes": changes} if dry_run else {}))
    else:
        echo("\n".join(tag_lines(report, dry_run)))
    sys.exit(FAILED if report.lost else 0)


def change_line(fields: Fields) -> str:
    """Changes of one file in one line."""
    return ", ".join(
        f"{name} {'; '.join(values)}" if values else f"no {name}" for name, values in fields.items()
    )


def tag_lines(report: TagReport, dry_run: bool) -> list[str]:
    """Lines about a call: files with something to say, then the number of each kind."""
    lines = []
    for kind, listed in report.listed.items():
        lines += listed_lines(kind, listed, report.counts[kind])
    for kind, meaning in TAG_KINDS.items():
        if report.counts[kind] or kind == "unchanged":
            lines.append(f"{kind:10} {report.counts[kind]:6}  {meaning}".rstrip())
    return [*lines, *(["nothing was written: this was a dry run"] if dry_run else [])]
