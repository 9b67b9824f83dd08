"""The comparison with librosa tells equal blocks from others."""

from __future__ import annotations

import numpy as np
from conftest import MUSIC, ten_seconds, tone

from msr_utils.constants import SAMPLE_RATE
from msr_utils.experiments import librosa_parity


def test_every_block_is_librosas_on_music():
    recordings = [ten_seconds(MUSIC[0]), tone(3.3)]
    rows = librosa_parity.parity(recordings)
    assert [row.block for row in rows] == list(librosa_parity.FRAMES)
    for row in rows:
        assert row.r > 0.99999 and row.median < 1e-3 and row.largest < 0.05, row
        # Whole frames; slopes are not compared in the first frame of each.
        assert row.frames == (24 if row.block == "mfcc_delta" else 26)
    assert len(librosa_parity.parity_table(rows)) == len(rows)


def test_another_sound_is_seen(monkeypatch):
    """librosa hears a sound a semitone higher: no block that reads pitch may agree."""
    rng = np.random.default_rng(0)
    other = tone(4.0, 466.2) + rng.normal(0, 0.01, 4 * SAMPLE_RATE).astype(np.float32)
    frames = {
        name: (function, lambda samples, config, f=compute: f(other, config))
        for name, (function, compute) in librosa_parity.FRAMES.items()
        if name in ("logmel", "mfcc", "chroma")
    }
    monkeypatch.setattr(librosa_parity, "FRAMES", frames)
    for row in librosa_parity.parity([tone(4.0, 440.0)]):
        assert row.largest > 1 and row.r < 0.999, row
