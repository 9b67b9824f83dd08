"""Notes as sound by FluidSynth, where it is installed.

FluidSynth plays the recorded piano of a soundfont, which sounds more like a piano than
`msr_utils.symbolic.synthesizer` does. Both it and the soundfont are packages of the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from msr_utils.notes import Notes, write_midi

SOUNDFONT_VARIABLE = "MSR_SOUNDFONT"
"""Environment variable with the path of another soundfont."""

SOUNDFONTS = tuple(
    Path(folder) / name
    for name in ("TimGM6mb.sf2", "FluidR3_GM.sf2", "default-GM.sf2")
    for folder in (
        "/usr/share/sounds/sf2",
        "/usr/share/soundfonts",
        "/usr/local/share/soundfonts",
        "/opt/homebrew/share/soundfonts",
    )
)
"""Where soundfonts are looked for. The first one found is used."""

GAIN = 0.6
"""Level at which dense music stays below full scale."""

TIMEOUT_S = 600.0
"""Longest time for one piece in seconds."""

HOW_TO_INSTALL = "on Debian or Ubuntu run: apt-get install fluidsynth timgm6mb-soundfont"


class FluidSynthError(RuntimeError):
    """FluidSynth or a soundfont is missing, or the synthesis failed."""


def is_installed() -> bool:
    """Whether the program and a soundfont are there."""
    return shutil.which("fluidsynth") is not None and soundfont() is not None


def soundfont() -> Path | None:
    """The soundfont: that of `SOUNDFONT_VARIABLE`, or else the first of `SOUNDFONTS`."""
    chosen = os.environ.get(SOUNDFONT_VARIABLE)
    candidates = (Path(chosen),) if chosen else SOUNDFONTS
    return next((path for path in candidates if path.is_file()), None)


@cache
def version() -> str:
    """What the program says of its version, and the name of the soundfont."""
    program, font = _installed()
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    first = (answer.stdout.strip().splitlines() or ["FluidSynth"])[0]
    return f"{first}, {font.name}"


def render(notes: Notes, sample_rate: int = 44_100) -> np.ndarray:
    """The sound of a piece, played on the first instrument of the soundfont.

    Parameters
    ----------
    notes : Notes
    sample_rate : int
        In Hz, from 8,000 to 96,000.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]
        Mono, within [-1, 1]; both channels are averaged.

    Raises
    ------
    FluidSynthError
        If FluidSynth or a soundfont is not installed, or it fails.
    """
    import soundfile

    program, font = _installed()
    with tempfile.TemporaryDirectory(prefix="msr-fluidsynth-") as folder:
        midi, audio = Path(folder) / "notes.mid", Path(folder) / "sound.wav"
        write_midi(notes, midi)
        # No shell, so that any path of the soundfont is safe.
        command = [program, "-n", "-i", "-q", "-C", "0", "-g", str(GAIN), "-r", str(sample_rate)]
        command += ["-T", "wav", "-O", "float", "-F", str(audio), str(font), str(midi)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise FluidSynthError(f"FluidSynth took more than {TIMEOUT_S:g} s") from error
        if done.returncode or not audio.is_file():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise FluidSynthError(f"FluidSynth failed: {reason}")
        sound, _ = soundfile.read(audio, dtype="float32", always_2d=True)
    return sound.mean(axis=1).clip(-1, 1)


def _installed() -> tuple[str, Path]:
    program, font = shutil.which("fluidsynth"), soundfont()
    if program is None:
        raise FluidSynthError(f"FluidSynth is not installed; {HOW_TO_INSTALL}")
    if font is None:
        chosen = os.environ.get(SOUNDFONT_VARIABLE)
        where = f"{SOUNDFONT_VARIABLE} names no file: {chosen}" if chosen else "no soundfont found"
        raise FluidSynthError(f"{where}; {HOW_TO_INSTALL}, or set {SOUNDFONT_VARIABLE}")
    return program, font
