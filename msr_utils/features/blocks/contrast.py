"""Spectral contrast."""

from __future__ import annotations

from functools import cache

import numpy as np

from msr_utils.constants import POWER_FLOOR
from msr_utils.features.blocks.base import Block
from msr_utils.features.frame import Frames
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig

CONTRAST_FROM_HZ = 200.0
"""Lower edge of the second band."""

CONTRAST_BANDS = 7
"""Number of bands. All but the first are octaves."""

CONTRAST_QUANTILE = 0.02
"""Share of a band's bins that count as its peak, and as its valley. This and the two values above
are the defaults of librosa.feature.spectral_contrast."""

CONTRAST_RANGE = 1e-5
"""Lowest magnitude relative to the loudest bin of a hop: -100 dB. Lower magnitudes, in the
resampler's roll-off and between pure tones, are rounding errors."""

CONTRAST_TOP_HZ = CONTRAST_FROM_HZ * 2 ** (CONTRAST_BANDS - 2)
"""Lower edge of the highest band, which reaches up to half the sample rate."""


@cache
def _contrast_bands(config: SpectrumConfig) -> list[tuple[slice, int]]:
    """Bins of each band, and the number of bins in its peak and in its valley."""
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    edges = np.concatenate([[0], CONTRAST_FROM_HZ * 2.0 ** np.arange(CONTRAST_BANDS)])
    bands = []
    for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        inside = np.flatnonzero((hz >= low) & (hz <= high))
        first, last = inside[0] - (k > 0), inside[-1]
        if k == CONTRAST_BANDS - 1:
            last = len(hz) - 1
        share = max(1, int(np.rint(CONTRAST_QUANTILE * (last + 1 - first))))
        # As in librosa, a band's last bin counts towards its size but belongs to the next band.
        bands.append((slice(first, last + (k == CONTRAST_BANDS - 1)), share))
    return bands


def _contrast(frames: Frames) -> np.ndarray:
    """Ratio of each band's peak to its valley in dB, mean over a frame, (count, CONTRAST_BANDS)."""
    power = frames.power
    levels = np.empty((CONTRAST_BANDS, 2, *power.shape[:2]), np.float32)
    for level, (bins, share) in zip(levels, _contrast_bands(frames.config), strict=True):
        ranked = np.sort(power[:, :, bins], axis=2)
        for side, part in enumerate((slice(-share, None), slice(share))):
            np.add.reduce(np.sqrt(ranked[:, :, part]), axis=2, out=level[side])
        level /= share
    loudest = np.sqrt(power.max(axis=2))
    floor = np.maximum(np.float32(CONTRAST_RANGE) * loudest, np.float32(POWER_FLOOR))
    peak, valley = np.log10(np.maximum(levels, floor)).mean(axis=3).transpose(1, 2, 0)
    contrast: np.ndarray = 10 * (peak - valley)
    return contrast


def _check_top_band(config: SpectrumConfig) -> None:
    if config.sample_rate / 2 <= CONTRAST_TOP_HZ:
        raise FeatureConfigError(
            f"features: contrast needs a sample_rate above {2 * CONTRAST_TOP_HZ:g}, "
            f"not {config.sample_rate}",
            "sample_rate",
        )


BLOCKS = (
    Block(
        name="contrast",
        dim=lambda config: CONTRAST_BANDS,
        unit="dB",
        what="spectral peaks over valleys in octave bands, mean over the frame",
        source="Jiang, Lu, Zhang, Tao and Cai (2002), Music type classification by spectral "
        "contrast feature, ICME",
        compute=_contrast,
        check=_check_top_band,
        version=2,
    ),
)
