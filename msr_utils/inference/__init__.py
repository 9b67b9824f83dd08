"""Predict curves of files and streams with a bundle; neither tensorflow nor librosa is needed.

>>> from msr_utils.inference import load
>>> curve = load("lstm").predict("song.mp3")     # doctest: +SKIP
>>> curve.times_s[:3], curve.valence[:3]         # doctest: +SKIP
>>> curve                                        # doctest: +SKIP
"""

from msr_utils.audio.source import TimeLimitExceeded
from msr_utils.inference.card import CardError, ModelCard
from msr_utils.inference.model import (
    BundleError,
    FilePrediction,
    Model,
    PretrainedWeightsMissing,
    Stream,
    available,
    load,
    load_default,
    usable,
)
from msr_utils.inference.prediction import Prediction, Smoother

__all__ = [
    "BundleError",
    "CardError",
    "FilePrediction",
    "Model",
    "ModelCard",
    "Prediction",
    "PretrainedWeightsMissing",
    "Smoother",
    "Stream",
    "TimeLimitExceeded",
    "available",
    "load",
    "load_default",
    "usable",
]
