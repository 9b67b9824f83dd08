"""Feature frames: the only implementation, used for training and for serving.

A frame is 500 ms of audio. Its windows end within the frame, so features of frame ``t`` use no
audio after ``t``, and a stream gives the same numbers as the whole file. librosa is not imported,
because the service must start fast. Tests compare the features with librosa's.
"""

from msr_utils.features.blocks.registry import BLOCKS
from msr_utils.features.config import FeatureConfig, block_table
from msr_utils.features.extractor import FeatureExtractor, extract, logmel_spectrogram
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig

__all__ = [
    "BLOCKS",
    "FeatureConfig",
    "FeatureConfigError",
    "FeatureExtractor",
    "SpectrumConfig",
    "block_table",
    "extract",
    "logmel_spectrogram",
]
