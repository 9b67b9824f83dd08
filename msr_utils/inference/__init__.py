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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msr_utils.inference.api import (  # noqa: F401
        BundleError,
        CardError,
        FilePrediction,
        Model,
        ModelCard,
        Prediction,
        PretrainedWeightsMissing,
        Smoother,
        Stream,
        TimeLimitExceeded,
        available,
        load,
        load_default,
        usable,
    )

_OFFERED = (
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
)

__all__ = list(_OFFERED)


def __getattr__(name: str) -> Any:
    """Import a name when it is used: the front of the service needs no decoder and no network."""
    if name in _OFFERED:
        from msr_utils.inference import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
