"""Log-mel spectrogram of a frame: its mean, its fluctuation, and the whole patch."""

from __future__ import annotations

import numpy as np

from msr_utils.constants import SD_BANDS
from msr_utils.features.blocks.base import Block
from msr_utils.features.frame import Frames
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig


def _logmel(frames: Frames) -> np.ndarray:
    """Mean of each mel band over a frame, (count, n_mels)."""
    return frames.mel_mean[:, 0]


def _logmel_sd(frames: Frames) -> np.ndarray:
    """Standard deviation over a frame, averaged in groups of bands, (count, SD_BANDS).

    It measures movement within the frame, such as onsets and decays, which the mean hides.
    """
    sd = frames.mel_db.std(axis=1, mean=frames.mel_mean)
    groups: np.ndarray = sd.reshape(frames.count, SD_BANDS, -1).mean(axis=2)
    return groups


def _patch(frames: Frames) -> np.ndarray:
    """A frame's log-mel spectrogram, flattened, (count, patch_steps * n_mels)."""
    config = frames.config
    shape = (frames.count, config.patch_steps, -1, config.n_mels)
    patch: np.ndarray = frames.mel_db.reshape(shape).mean(axis=2)
    return patch.reshape(frames.count, -1)


def _check_groups(config: SpectrumConfig) -> None:
    if config.n_mels % SD_BANDS:
        raise FeatureConfigError(
            f"features: logmel_sd needs n_mels to be a multiple of {SD_BANDS}, not {config.n_mels}",
            "n_mels",
        )


BLOCKS = (
    Block(
        name="logmel",
        dim=lambda config: config.n_mels,
        unit="dB",
        what="level of each mel band, mean over the frame",
        source="Slaney (1998), Auditory Toolbox, Interval Technical Report 1998-010",
        compute=_logmel,
    ),
    Block(
        name="logmel_sd",
        dim=lambda config: SD_BANDS,
        unit="dB",
        what="standard deviation of the mel bands' levels within the frame, in groups of bands",
        source="as logmel",
        compute=_logmel_sd,
        check=_check_groups,
    ),
    Block(
        name="patch",
        dim=lambda config: config.patch_steps * config.n_mels,
        unit="dB",
        what="the frame's log-mel spectrogram in a few time steps, flattened",
        source="as logmel",
        compute=_patch,
    ),
)
