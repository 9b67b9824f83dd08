"""The length of a piece's sound, and the header of its WAV file.

Both are known before the first note, so that a stream can state them.
"""

from __future__ import annotations

import struct

from msr_utils.generation.limits import SAMPLE_RATE

TAIL_S = 2.0
"""The sound rings on for so long after the piece."""


def n_samples(seconds: float) -> int:
    """Samples of a piece of this length, with its end that rings on."""
    return round((seconds + TAIL_S) * SAMPLE_RATE)


def wav_header(samples: int) -> bytes:
    """Header of a WAV file with so many 16-bit samples, mono, at `SAMPLE_RATE`."""
    width = 2
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + width * samples, b"WAVE",
        b"fmt ", 16, 1, 1, SAMPLE_RATE, width * SAMPLE_RATE, width, 8 * width,
        b"data", width * samples,
    )  # fmt: skip
