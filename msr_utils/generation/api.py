"""What `msr_utils.generation` offers."""

from msr_utils.generation.card import Decoding, GeneratorCard
from msr_utils.generation.codes import GeneratedNote, as_notes
from msr_utils.generation.generator import Generator, find_generators
from msr_utils.generation.request import EmotionCurve, GenerationError, MusicRequest
from msr_utils.generation.untrained import untrained_generator

__all__ = [
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
]
