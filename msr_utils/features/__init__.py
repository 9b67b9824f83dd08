"""The one feature implementation: training and serving both compute frames here.

A frame is 500 ms of audio. Its STFT windows end inside the frame, so frame ``t`` sees no
audio after ``t`` and a stream gives the numbers that the whole file gives. No librosa here:
the service must not load it. The tests hold this package to librosa's results instead.
"""

from msr_utils.features.blocks.registry import BLOCKS
from msr_utils.features.config import FeatureConfig, block_table
from msr_utils.features.extractor import FeatureExtractor, extract, logmel_spectrogram

__all__ = [
    "BLOCKS",
    "FeatureConfig",
    "FeatureExtractor",
    "block_table",
    "extract",
    "logmel_spectrogram",
]
