"""Predict curves of files and streams with a bundle; neither tensorflow nor librosa is needed.

>>> import io, wave
>>> from msr_utils.inference import load
>>> song = io.BytesIO()
>>> with wave.open(song, "wb") as file:    # a file of yours is given by its path
...     file.setparams((1, 2, 16_000, 0, "NONE", ""))
...     file.writeframes(bytes(2 * 32_000))
>>> curve = load("light").predict(song)
>>> curve.times_s.tolist()
[0.5, 1.0, 1.5, 2.0]
>>> len(curve.valence) == len(curve.arousal) == 4
True
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
