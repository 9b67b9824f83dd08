"""Notes as sound by one of two renderers."""

from __future__ import annotations

import numpy as np

from msr_utils.notes import Notes
from msr_utils.provenance.cache_keys import computed_by
from msr_utils.symbolic import fluidsynth, synthesizer

OWN, FLUIDSYNTH, AUTO = "own", "fluidsynth", "auto"
RENDERERS = (OWN, FLUIDSYNTH)


def choose_renderer(name: str) -> str:
    """A renderer by name; "auto" is FluidSynth where it is installed, else our own.

    Raises
    ------
    ValueError
        If there is no such renderer.
    FluidSynthError
        If FluidSynth is asked for and not installed.
    """
    if name == AUTO:
        return FLUIDSYNTH if fluidsynth.is_installed() else OWN
    if name not in RENDERERS:
        raise ValueError(f"renderer: must be one of {', '.join(RENDERERS)}, not {name!r}")
    if name == FLUIDSYNTH:
        fluidsynth.version()
    return name


def render_notes(
    notes: Notes, renderer: str = OWN, sample_rate: int = synthesizer.SAMPLE_RATE
) -> np.ndarray:
    """The sound of a piece.

    Parameters
    ----------
    notes : Notes
    renderer : str
        One of `RENDERERS`, or "auto", see `choose_renderer`.
    sample_rate : int
        In Hz.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]
        Mono, within [-1, 1].

    Raises
    ------
    ValueError
        If there is no such renderer, or the sample rate is out of range.
    FluidSynthError
        If FluidSynth is asked for and not installed, or fails.
    """
    if choose_renderer(renderer) == FLUIDSYNTH:
        return fluidsynth.render(notes, sample_rate)
    return synthesizer.render(notes, sample_rate)


def renderer_identity(renderer: str) -> str:
    """What the sound of a renderer depends on besides the notes: its code, or its version."""
    if choose_renderer(renderer) == FLUIDSYNTH:
        return f"{FLUIDSYNTH}: {fluidsynth.version()}, gain {fluidsynth.GAIN:g}"
    return f"{OWN}: {computed_by(synthesizer.render)['code']}"
