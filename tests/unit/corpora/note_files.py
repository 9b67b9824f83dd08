"""Small corpora of notes that the tests write themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msr_utils.notes import Notes, write_midi

TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}


def piece(tonic: int = 60, mode: str = "major", seconds: float = 8.0, beat_s: float = 0.5) -> Notes:
    """Triads on the tonic, subdominant and dominant, with the scale's steps above them."""
    rng = np.random.default_rng(tonic)
    rows = []
    for k, start_s in enumerate(np.arange(0, seconds, beat_s)):
        root = tonic + (0, 5, 7, 0)[k % 4]
        triad = TRIADS["major" if k % 4 == 2 else mode]
        rows += [(start_s, 0.9 * beat_s, root + step, 60 + 4 * (k % 3)) for step in triad]
        rows.append((start_s, 0.5 * beat_s, root + 12 + triad[rng.integers(3)], 80))
    start_s, length_s, pitch, velocity = (np.array(column) for column in zip(*rows, strict=True))
    order = np.lexsort((pitch, start_s))
    return Notes(start_s[order], length_s[order], pitch[order], velocity[order])


CLIPS = (
    ("Q1_song_a_0", "train"), ("Q1_song_a_1", "train"), ("Q2_song-b_0", "train"),
    ("Q3_cc_1", "val"), ("Q4_dd_2", "test"),
)  # fmt: skip


def write_emopia(root: Path, clips=CLIPS) -> Path:
    """EMOPIA's official layout."""
    base = root / "EMOPIA_1.0"
    for k, (name, _) in enumerate(clips):
        notes = piece(60 + k % 12, "major" if name[1] in "14" else "minor")
        write_midi(notes, base / "midis" / f"{name}.mid")
    rows = "".join(f"{name},{name[1]},D\n" for name, _ in clips)
    (base / "label.csv").write_text(f"ID,4Q,annotator\n{rows}")
    (base / "split").mkdir()
    for part in ("train", "val", "test"):
        names = [f"{k},{name}.mid\n" for k, (name, of) in enumerate(clips) if of == part]
        (base / "split" / f"{part}_clip.csv").write_text(",clip_name\n" + "".join(names))
    return root


def write_pop909(root: Path, songs: int = 3) -> Path:
    """POP909's official layout, with another version of the first song."""
    for k in range(1, songs + 1):
        write_midi(piece(55 + k), root / "POP909" / f"{k:03d}" / f"{k:03d}.mid")
    write_midi(piece(70), root / "POP909" / "001" / "versions" / "001-v1.mid")
    return root
