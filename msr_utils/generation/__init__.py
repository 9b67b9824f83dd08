"""Music that is written to feel a given way: loaded generators, without TensorFlow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msr_utils.generation.api import (  # noqa: F401
        Decoding,
        EmotionCurve,
        GeneratedNote,
        GenerationError,
        Generator,
        GeneratorCard,
        MusicRequest,
        as_notes,
        find_generators,
        untrained_generator,
    )

_OFFERED = (
    "Decoding",
    "EmotionCurve",
    "GeneratedNote",
    "GenerationError",
    "Generator",
    "GeneratorCard",
    "MusicRequest",
    "as_notes",
    "find_generators",
    "untrained_generator",
)

__all__ = list(_OFFERED)


def __getattr__(name: str) -> Any:
    """Import a name when it is used: the front of the service needs the limits only."""
    if name in _OFFERED:
        from msr_utils.generation import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
