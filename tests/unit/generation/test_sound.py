"""The sound of a piece while it is written: the samples of a file, of known length."""

from __future__ import annotations

import io

import numpy as np
import soundfile as sf

from msr_utils.generation.codes import GeneratedNote, as_notes
from msr_utils.generation.limits import SAMPLE_RATE
from msr_utils.generation.sound import FADE_S, FULL_SCALE, PieceSound, sound_of
from msr_utils.generation.wav import TAIL_S, n_samples, wav_header
from msr_utils.symbolic.synthesizer import render

NOTES = [
    GeneratedNote(0.0, 0.5, 60, 80),
    GeneratedNote(0.0, 1.2, 43, 100),
    GeneratedNote(0.37, 0.2, 67, 60),
    GeneratedNote(1.4, 0.6, 72, 90),
]


def test_a_stream_has_the_samples_of_a_file_and_its_length_is_known_before():
    blocks = [*sound_of(NOTES, 2.0)]
    samples = np.concatenate(blocks)
    assert samples.dtype == np.int16
    assert len(samples) == n_samples(2.0) == (2.0 + TAIL_S) * SAMPLE_RATE
    # Before a note's start, all sound up to it is there.
    assert [len(block) for block in blocks[:-1]] == [
        0, 0, round(0.37 * SAMPLE_RATE), round(1.4 * SAMPLE_RATE) - round(0.37 * SAMPLE_RATE)
    ]  # fmt: skip
    whole = np.rint(render(as_notes(NOTES)) * FULL_SCALE)
    n = min(len(whole), len(samples) - round(FADE_S * SAMPLE_RATE))
    np.testing.assert_array_equal(samples[:n], whole[:n])
    assert np.abs(samples[: SAMPLE_RATE // 2]).max() > 1000


def test_a_note_that_rings_on_is_faded_out():
    sound = PieceSound(1.0)
    start = sound.push(GeneratedNote(0.9, 30.0, 36, 127))
    samples = np.concatenate([start, sound.finish()])
    assert len(samples) == n_samples(1.0)
    fade = round(FADE_S * SAMPLE_RATE)
    assert samples[-1] == 0
    assert np.abs(samples[-2 * fade : -fade]).max() > 3 * np.abs(samples[-fade // 4 :]).max() > 0


def test_a_piece_without_notes_is_silent():
    assert not np.concatenate([*sound_of([], 1.0)]).any()


def test_the_header_of_a_wav_file_is_read_by_others():
    samples = np.arange(-500, 500, dtype=np.int16)
    file = io.BytesIO(wav_header(len(samples)) + samples.tobytes())
    read, rate = sf.read(file, dtype="int16")
    assert rate == SAMPLE_RATE
    np.testing.assert_array_equal(read, samples)
