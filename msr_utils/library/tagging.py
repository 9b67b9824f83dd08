"""Write moods into the tags of music files, and take them back.

This is the only part of a library that changes music. Only fields of our own are written, and the
field for a mood that other programs read, unless somebody else wrote it. A field is ours if it
equals `moods.WORD` in the same file, so that this can be seen without the library.

A file is never written in place. A copy beside it gets the new tags. Its audio is decoded, the hash
is compared with that of the file's audio, and only then it takes the file's place. What our fields
were before is kept in the library first, for `undo_tags`.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mutagen
import sqlalchemy as sa

from msr_utils.audio.source import AudioError
from msr_utils.constants import SAMPLE_RATE
from msr_utils.io import printable, sha256_file
from msr_utils.library import moods, schema
from msr_utils.library.analysis import decoded_hash
from msr_utils.library.catalogue import ANALYSED, now
from msr_utils.library.indexing import MAX_LISTED, Listed
from msr_utils.library.library import Library
from msr_utils.library.moods import TrackMood, track_mood
from msr_utils.library.records import Known
from msr_utils.library.shards import LibraryError, absolute_path
from msr_utils.library.tag_fields import MOOD, FieldFile, UnwritableTags

PREFIX = ".msr-tag-"
"""Begin of the names of copies. What a killed run left is removed by the next one."""

FIELDS = (MOOD, *moods.NAMES)
"""All fields that may be written."""

Fields = dict[str, list[str]]
"""Name of a field -> its values; none: the file does not have it."""

LOST = ("read-only", "changed", "no tags", "failed")
"""Kinds of files that were left as they were, although something was to be done."""


@dataclass
class TagReport:
    """What a call of `write_tags` or `undo_tags` did.

    Parameters
    ----------
    counts : Counter of str
        ``written``, ``undone``, ``unchanged`` (nothing was to be done), ``mood kept`` (written, and
        the mood of somebody else left), ``no word`` (written without a mood), ``silent``, and the
        kinds of `LOST`.
    listed : dict of str to list of Listed
        The first files of the kinds with something to say, and why.
    """

    counts: Counter[str] = field(default_factory=Counter)
    listed: dict[str, list[Listed]] = field(default_factory=dict)

    def note(self, kind: str, path: str, reason: str = "") -> None:
        """Count a file; list it if there is something to say."""
        self.counts[kind] += 1
        if reason and len(self.listed.setdefault(kind, [])) < MAX_LISTED:
            self.listed[kind].append(Listed(printable(path), reason))

    @property
    def lost(self) -> int:
        """Files that were left as they were, although something was to be done."""
        return sum(self.counts[kind] for kind in LOST)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        listed = {kind: [asdict(one) for one in files] for kind, files in self.listed.items()}
        return {"counts": dict(self.counts), "listed": listed}


class _Left(Exception):
    """A file that is left as it is: kind and reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


# Gets the path of each file and the fields that change.
OnChange = Callable[[str, Fields], None]


def write_tags(
    library: Library,
    only: Sequence[str | Path] = (),
    dry_run: bool = False,
    on_change: OnChange | None = None,
) -> TagReport:
    """Write the mood of every track into its file.

    Parameters
    ----------
    library : Library
    only : sequence of path
        Files of the library, or folders with some; all of it by default.
    dry_run : bool
        Only say what would change.
    on_change : callable, optional

    Returns
    -------
    TagReport
        A file that cannot be written is counted, with the reason, and does not stop the others.

    Raises
    ------
    LibraryError
        If a path of `only` is empty or not in the library, or another process writes it.
    """
    report = TagReport()
    model = library.catalogue.facts().get("model", "")
    with library.catalogue.one_writer():
        schema.tagged.create(library.catalogue.engine, checkfirst=True)
        swept: set[Path] = set()
        for known in _tracks(library, only):
            arrays = library.arrays(known.shard, known.row, known.id)
            assert arrays is not None, "its state says that it has arrays"
            mood = track_mood(arrays.numbers, model)
            if mood.silent:
                report.note("silent", known.path)
                continue
            with _counted(report, known.path):
                if not dry_run:
                    _sweep(Path(known.path).parent, swept)
                _write(library, known, mood, report, dry_run, on_change)
    return report


def undo_tags(
    library: Library,
    only: Sequence[str | Path] = (),
    dry_run: bool = False,
    on_change: OnChange | None = None,
) -> TagReport:
    """Give the files that `write_tags` changed the fields that they had before.

    A mood that somebody wrote since then stays. Other tags that were edited since then stay too.

    Parameters, returns and raises as `write_tags`.
    """
    report = TagReport()
    catalogue = library.catalogue
    with catalogue.one_writer():
        schema.tagged.create(catalogue.engine, checkfirst=True)
        bases = [absolute_path(path) for path in only]
        with catalogue.connections.reading() as connection:
            rows = connection.execute(sa.select(schema.tagged).order_by(schema.tagged.c.id.desc()))
            records = rows.all()
        paths = catalogue.paths({row.track for row in records})
        swept: set[Path] = set()
        for row in records:
            path = paths.get(row.track, os.fsdecode(row.path))
            if bases and not any(_inside(path, base) for base in bases):
                continue
            with _counted(report, path):
                if not dry_run:
                    _sweep(Path(path).parent, swept)
                _undo(library, path, row, report, dry_run, on_change)
    return report


def _tracks(library: Library, only: Sequence[str | Path]) -> list[Known]:
    """Tracks whose files are there, in the order of their paths."""
    catalogue = library.catalogue
    found: dict[str, Known] = {}
    for base in map(absolute_path, only or catalogue.roots()):
        inside = catalogue.known(base)
        file = catalogue.known_file(base)
        if file is not None:
            inside[file.path] = file
        if only and not inside:
            raise LibraryError(
                f"library: {printable(base)} is not in it; add its folder with 'msr library add'"
            )
        found |= inside
    return [found[path] for path in sorted(found) if found[path].state == ANALYSED]


def _inside(path: str, base: str) -> bool:
    return path == base or path.startswith(os.path.join(base, ""))


@contextmanager
def _counted(report: TagReport, path: str) -> Iterator[None]:
    """Count what stops one file, and go on."""
    try:
        yield
    except _Left as left:
        report.note(left.kind, path, str(left))
    except UnwritableTags as error:
        report.note("no tags", path, str(error))
    except OSError as error:
        report.note("failed", path, error.strerror or str(error))
    except (mutagen.MutagenError, AudioError) as error:
        # mutagen wraps the errors of the system.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        reason = getattr(cause, "strerror", None) or str(error)
        report.note("failed", path, printable(" ".join(str(reason).split())))


def _write(
    library: Library,
    known: Known,
    mood: TrackMood,
    report: TagReport,
    dry_run: bool,
    on_change: OnChange | None,
) -> None:
    """Write the tags of one track."""
    path = Path(os.path.realpath(known.path))
    found = _check(path, (known.size, known.mtime_ns))
    file = FieldFile(path)
    before = {name: file.get(name) for name in FIELDS}
    ours = not before[MOOD] or _same_words(before[MOOD], before[moods.WORD])
    wanted: Fields = {name: [] for name in moods.NAMES} | mood.fields()
    if ours:
        wanted[MOOD] = wanted[moods.WORD]
    else:
        wanted[moods.WORD] = []  # else the mood of somebody else would look like ours
    changes = {n: v for n, v in wanted.items() if not _same_words(v, before[n])}
    if not changes:
        report.note("unchanged", known.path)
        return
    if on_change is not None:
        on_change(known.path, changes)
    if not dry_run:
        with _replaced(path, found, known.sha256) as copy:
            for name, values in changes.items():
                file.put(name, values)
            file.save(copy)
            _check_audio(path, copy, known.audio)
            _keep_record(library, known, {n: before[n] for n in wanted})
        _update(library, known.id, path)
    report.note("written", known.path)
    if not ours:
        report.note("mood kept", known.path)
    elif not mood.word:
        report.note("no word", known.path)


def _undo(
    library: Library,
    path: str,
    row: sa.Row[Any],
    report: TagReport,
    dry_run: bool,
    on_change: OnChange | None,
) -> None:
    """Give one file its fields back, and forget the record."""
    known = library.catalogue.known_file(path)
    real = Path(os.path.realpath(path))
    found = _check(real, None if known is None else (known.size, known.mtime_ns))
    file = FieldFile(real)
    now_there = {name: file.get(name) for name in FIELDS}
    before: Fields = json.loads(row.before)
    if not _same_words(now_there[MOOD], now_there[moods.WORD]):
        before.pop(MOOD, None)  # somebody wrote another one since
    changes = {n: v for n, v in before.items() if not _same_words(v, now_there[n])}
    if on_change is not None and changes:
        on_change(path, changes)
    if not dry_run:
        if changes:
            sha256 = "" if known is None else known.sha256
            with _replaced(real, found, sha256) as copy:
                for name, values in changes.items():
                    file.put(name, values)
                file.save(copy)
                _check_audio(real, copy, "" if known is None else known.audio)
            if known is not None:
                _update(library, known.id, real)
        with library.catalogue.connections.writing() as connection:
            connection.execute(sa.delete(schema.tagged).where(schema.tagged.c.id == row.id))
    report.note("undone" if changes else "unchanged", path)


def _same_words(one: list[str], other: list[str]) -> bool:
    """Whether two fields say the same. ID3v2.3 has several values as one text."""
    joined = [[part for text in values for part in text.split("; ")] for values in (one, other)]
    return joined[0] == joined[1]


def _keep_record(library: Library, known: Known, before: Fields) -> None:
    """Keep what a file has, unless an earlier call kept it. It must be on disk before a change."""
    tagged = schema.tagged
    with library.catalogue.connections.writing() as connection:
        there = sa.select(tagged.c.id).where(tagged.c.track == known.id)
        if connection.execute(there).first() is None:
            values = {"track": known.id, "path": os.fsencode(known.path), "at": now()}
            connection.execute(sa.insert(tagged), {**values, "before": json.dumps(before)})


def _update(library: Library, track: int, path: Path) -> None:
    """Tell the catalogue about the new file, so that no rescan reads it."""
    found = path.stat()
    values = {
        "id": track,
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "sha256": sha256_file(path),
    }
    library.catalogue.put(values, None, None)


# ------------------------------------------------------------------------------ one file


def _check(path: Path, indexed: tuple[int, int] | None) -> os.stat_result:
    """Refuse a file that may not be written, or that is not the indexed one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise _Left("changed", "is no longer there; call 'msr library rescan'") from None
    if indexed is not None and indexed != (found.st_size, found.st_mtime_ns):
        raise _Left("changed", "changed since it was indexed; call 'msr library rescan' first")
    if not found.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
        raise _Left("read-only", "is read-only")
    return found


@contextmanager
def _replaced(path: Path, found: os.stat_result, sha256: str) -> Iterator[Path]:
    """Give a copy of a file to change; let it take the file's place when the block succeeds.

    Mode, owner and extended attributes stay. The time of the last change becomes that of this
    change, so that backups see it. Another name of the same file (a hard link) keeps what was.

    Raises
    ------
    _Left
        If the file changes meanwhile, or its content is not the indexed one.
    OSError
        If the folder cannot be written, the disk is full, or the owner cannot be kept.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX, suffix=path.suffix)
    os.close(handle)
    copy = Path(name)
    try:
        shutil.copyfile(path, copy)
        if sha256 and sha256_file(copy) != sha256:
            raise _Left("changed", "changed since it was indexed; call 'msr library rescan' first")
        if os.name == "posix":
            made = copy.stat()
            if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
                os.chown(copy, found.st_uid, found.st_gid)
        shutil.copystat(path, copy)
        yield copy
        with open(copy, "r+b") as file:
            os.fsync(file.fileno())
        after = path.stat()
        if (found.st_size, found.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise _Left("changed", "changed meanwhile; call 'msr library rescan' first")
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)


def _check_audio(path: Path, copy: Path, indexed: str) -> None:
    """Refuse a copy whose audio is not that of the file.

    Parameters
    ----------
    path, copy : Path
    indexed : str
        Hash of the file's audio in the catalogue; empty if it is not known. Where the copy does not
        have it, the file is decoded as well: another decoder or rate gives another hash.
    """
    found = audio_hash(copy)
    if found != indexed and found != audio_hash(path):
        raise _Left("failed", "its audio would not be the same with other tags; left as it is")


def audio_hash(path: Path) -> str:
    """Hash of the decoded audio of a file, see `analysis`.

    Raises
    ------
    AudioError
    """
    with open(path, "rb") as file:
        return decoded_hash(file, SAMPLE_RATE)


def _sweep(folder: Path, swept: set[Path]) -> None:
    """Remove the copies that a killed run left in a folder, once."""
    if folder in swept:
        return
    swept.add(folder)
    for left_over in folder.glob(f"{PREFIX}*"):
        left_over.unlink(missing_ok=True)
