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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msr_utils.audio.source import TimeLimitExceeded
    from msr_utils.inference.card import CardError, ModelCard
    from msr_utils.inference.errors import BundleError, PretrainedWeightsMissing
    from msr_utils.inference.model import (
        FilePrediction,
        Model,
        Stream,
        available,
        load,
        load_default,
        usable,
    )
    from msr_utils.inference.prediction import Prediction, Smoother

_MODULES = {
    "msr_utils.audio.source": ("TimeLimitExceeded",),
    "msr_utils.inference.card": ("CardError", "ModelCard"),
    "msr_utils.inference.errors": ("BundleError", "PretrainedWeightsMissing"),
    "msr_utils.inference.model": (
        "FilePrediction",
        "Model",
        "Stream",
        "available",
        "load",
        "load_default",
        "usable",
    ),
    "msr_utils.inference.prediction": ("Prediction", "Smoother"),
}

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


def __getattr__(name: str) -> Any:
    """Import a name when it is used: the front of the service needs no decoder and no network."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
