"""Log-mel spectrogram and spectral contrast."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.constants import POWER_FLOOR, SD_BANDS
from msr_utils.features.frame import Frame

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


def _logmel(frame: Frame) -> np.ndarray:
    """Mean over the frame of each mel band, (n_mels,)."""
    return frame.mel_db.mean(axis=0)


def _logmel_sd(frame: Frame) -> np.ndarray:
    """Standard deviation over the frame, averaged in groups of bands, (SD_BANDS,).

    How much a frame moves: onsets and decays, which its mean does not show.
    """
    return frame.mel_db.std(axis=0).reshape(SD_BANDS, -1).mean(axis=1)


def _patch(frame: Frame) -> np.ndarray:
    """The frame's log-mel spectrogram flattened, (patch_steps * n_mels,)."""
    config = frame.config
    return frame.mel_db.reshape(config.patch_steps, -1, config.n_mels).mean(axis=1).ravel()


CONTRAST_FROM_HZ = 200.0

CONTRAST_BANDS = 7

CONTRAST_QUANTILE = 0.02
"""Lowest band edge, number of bands (octaves but the first) and share of a band's bins that
count as peak and as valley: the defaults of librosa.feature.spectral_contrast."""

CONTRAST_RANGE = 1e-5
"""Magnitudes this far (100 dB) below a hop's loudest bin count as that: in the resampler's
roll-off, and between pure tones, lies nothing but rounding."""

CONTRAST_TOP_HZ = CONTRAST_FROM_HZ * 2 ** (CONTRAST_BANDS - 2)
"""Lower edge of the highest band, which reaches up to half the sample rate."""


@cache
def _contrast_bands(config: FeatureConfig) -> list[tuple[slice, int]]:
    """Bins of each band, and how many of them make its peak and its valley."""
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    edges = np.concatenate([[0], CONTRAST_FROM_HZ * 2.0 ** np.arange(CONTRAST_BANDS)])
    bands = []
    for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        inside = np.flatnonzero((hz >= low) & (hz <= high))
        first, last = inside[0] - (k > 0), inside[-1]
        if k == CONTRAST_BANDS - 1:
            last = len(hz) - 1
        share = max(1, int(np.rint(CONTRAST_QUANTILE * (last + 1 - first))))
        # As in librosa, a band's last bin counts for its size and is then left to the next.
        bands.append((slice(first, last + (k == CONTRAST_BANDS - 1)), share))
    return bands


def _contrast(frame: Frame) -> np.ndarray:
    """Mean over the frame of each band's peak over its valley, (CONTRAST_BANDS,)."""
    levels = []
    for bins, share in _contrast_bands(frame.config):
        ranked = np.sqrt(np.sort(frame.power[:, bins], axis=1))
        levels.append((ranked[:, -share:].mean(axis=1), ranked[:, :share].mean(axis=1)))
    loudest = np.sqrt(frame.power.max(axis=1))
    floor = np.maximum(np.float32(CONTRAST_RANGE) * loudest, np.float32(POWER_FLOOR))
    peak, valley = np.log10(np.maximum(levels, floor)).mean(axis=2).T
    return 10 * (peak - valley)
