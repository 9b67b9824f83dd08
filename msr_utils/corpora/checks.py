"""Checks and look-ups that all loaders share: audio files, annotation times, rating scales."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS, SCALE
from msr_utils.corpora.base import CorpusError, Track
from msr_utils.corpora.findings import Findings
from msr_utils.io import sha256_file

GRID_TOLERANCE_S = 0.01
"""Largest distance of an annotation time from a multiple of 500 ms."""

MAX_TIME_S = 24 * 3600
"""Largest plausible time in seconds. Larger values are milliseconds or damage."""

RATING_SCALES = (
    (1, 9, "(x - 5) / 4"),
    (0, 10, "x / 5 - 1"),
    (0, 100, "x / 50 - 1"),
    (-100, 100, "x / 100"),
)
"""Common rating scales: lowest value, highest value, formula that maps them to [-1, 1]."""

MIN_VALUES_FOR_SCALE = 30
"""Fewest values of a column from which its scale can be guessed."""


def walk(root: Path) -> list[Path]:
    """Files under a folder, sorted. Links to folders are followed.

    Each folder is entered once, through its own path before any link to it. Dot files and
    ``__MACOSX``, which archivers add, are left out.

    Raises
    ------
    PermissionError
        If a folder in it cannot be read. It is not left out in silence.
    """
    files: list[Path] = []
    entered: set[str] = set()
    pending = [Path(root)]
    for start in pending:  # grows: links come after the tree that contains them
        for folder, folders, names in os.walk(start, onerror=_raise_if_refused):
            real_path = os.path.realpath(folder)
            folders[:] = [f for f in folders if f != "__MACOSX" and not f.startswith(".")]
            if real_path in entered:
                folders.clear()
                continue
            entered.add(real_path)
            pending += sorted(p for f in folders if (p := Path(folder, f)).is_symlink())
            files += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(path for path in files if path.is_file())


def _raise_if_refused(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def find_audio(path: Path) -> Path | None:
    """Find an audio file by name, or one beside it with the same stem and another suffix.

    Re-encoded copies of a corpus keep its file names and change their suffix.
    """
    if path.is_file():
        return path
    stem = path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path
    suffixes = [
        *(spelling for suffix in AUDIO_SUFFIXES for spelling in (suffix, suffix.upper())),
        *(suffix.title() for suffix in AUDIO_SUFFIXES),  # "x.Ogg", as some systems write it
    ]
    candidates = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def check_duplicate_audio(
    tracks: Sequence[Track], findings: Findings, file: str = ""
) -> list[Track]:
    """Refuse identical audio files in two groups; note them within one group.

    No split separates two copies of a recording that lie in different groups.

    Parameters
    ----------
    tracks : sequence of Track
        Tracks without an audio file pass.
    findings : Findings
    file : str
        Table to name in findings; the audio file by default.

    Returns
    -------
    list of Track
        The tracks that pass. Where errors are collected, the first copy stays.

    Raises
    ------
    CorpusError
        If two audio files with the same bytes belong to tracks of two groups.
    """
    size = {t.id: t.audio_path.stat().st_size for t in tracks if t.audio_path.is_file()}
    tracks_per_size = Counter(size.values())
    first_with_hash: dict[str, Track] = {}
    kept = []
    for track in tracks:
        name, original = track.audio_path.name, track
        where = file or name
        with findings.about(where, track.id):
            # Only files of equal size can be equal. Empty files are reported elsewhere.
            if size.get(track.id) and tracks_per_size[size[track.id]] > 1:
                try:
                    original = first_with_hash.setdefault(sha256_file(track.audio_path), track)
                except OSError as error:
                    raise CorpusError(f"{name}: cannot be read ({error.strerror})", name) from error
            message = f"{name}: track {track.id!r} has the same audio as {original.id!r}"
            if original.group != track.group:
                raise CorpusError(
                    f"{message} in another group ({track.group!r}, {original.group!r}), so that it "
                    "may lie on both sides of a split; put the right file in place or leave one "
                    "out",
                    file=where,
                    field="group",
                )
            if original is not track:
                findings.note(where, track.id, message)
            kept.append(track)
    return kept


def frame_index(times_s: np.ndarray, where: str, file: str = "") -> np.ndarray:
    """Index of the frame that ends at each time: 0.5 s is frame 0.

    Parameters
    ----------
    times_s : np.ndarray [shape=(T,)]
    where : str
        File and track, the beginning of error messages.
    file : str
        Name of the file, for `CorpusError.file`.

    Raises
    ------
    CorpusError
        If a time is off the 500 ms grid, not positive or implausibly late, or if the times do
        not rise.
    """
    times_s = np.asarray(times_s, float)
    if problem := _time_problem(times_s):
        raise CorpusError(f"{where}: time_s {problem}", file, "time_s")
    return np.rint(times_s * FRAME_RATE_HZ).astype(int) - 1


def _time_problem(times_s: np.ndarray) -> str:
    """What is wrong with annotation times; empty if nothing is."""
    late = np.abs(times_s) > MAX_TIME_S
    if late.any():
        return (
            f"{times_s[late][0]:g} lies beyond {MAX_TIME_S} s; give seconds from the start of the "
            "audio"
        )
    index = np.rint(times_s * FRAME_RATE_HZ)
    off_grid = ~(np.abs(times_s - index * FRAME_SECONDS) <= GRID_TOLERANCE_S)
    if off_grid.any():
        return (
            f"{times_s[off_grid][0]:g} is not a multiple of {FRAME_SECONDS} s; give the end of "
            "each 500 ms window"
        )
    if (index < 1).any():
        return f"{times_s.min():g} is before the first window's end"
    repeated = np.diff(index) <= 0
    if repeated.any():
        return f"{times_s[1:][repeated][0]:g} is repeated or out of order"
    return ""


def check_scale(
    values: np.ndarray,
    where: str,
    column: np.ndarray | None = None,
    file: str = "",
    field: str = "",
) -> None:
    """Refuse values outside [-1, 1]; NaN passes.

    Parameters
    ----------
    values : np.ndarray
    where : str
        File, track and column, the beginning of error messages.
    column : np.ndarray, optional
        All values of the column, from which the scale is guessed; `values` by default.
    file, field : str
        Names of file and column, for `CorpusError`.

    Raises
    ------
    CorpusError
        Naming the first value out of range and the likely scale of the column.
    """
    low, high = SCALE
    # NaN compares false with everything, infinity does not.
    outside = (values < low) | (values > high)
    if outside.any():
        raise CorpusError(
            f"{where}: {values[outside][0]:g} lies outside [{low:g}, {high:g}]; "
            f"{_rescaling(values if column is None else column)}",
            file,
            field,
        )


def note_scale(name: str, values: np.ndarray, file: str, findings: Findings) -> None:
    """Note a column whose values all lie in [0, 1]: its scale may be 0..1.

    Parameters
    ----------
    name : str
        Of the column.
    values : np.ndarray
        All values of the corpus; NaN is ignored.
    file : str
    findings : Findings
    """
    values = np.asarray(values)[np.isfinite(values)]
    if len(values) >= MIN_VALUES_FOR_SCALE and ((values >= 0) & (values <= 1)).all():
        findings.note(
            file,
            name,
            f"all values of {name} lie in [0, 1]: if the scale is 0..1, map it with 2x - 1",
        )


def _rescaling(column: np.ndarray) -> str:
    """Advice for a column with values out of scale."""
    column = column[np.isfinite(column)]
    # Most values are in range: the others are mistakes, not another scale.
    if np.sum(np.abs(column) > SCALE[1]) <= len(column) / 2:
        return "correct it or leave the cell empty"
    for low, high, formula in RATING_SCALES:
        if low <= column.min() and column.max() <= high:
            return f"the column looks like {low}..{high}: rescale it with {formula}"
    return "rescale the column before loading"


def mean_of_known(values: np.ndarray, axis: int, at_least: float = 1) -> np.ndarray:
    """Mean over an axis, ignoring NaN; NaN where fewer than `at_least` values are known.

    Returns
    -------
    np.ndarray [dtype=float32]
    """
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis, dtype=np.float64)
    return np.where(count >= at_least, total / np.maximum(count, 1), np.nan).astype(np.float32)
