"""Mood words and their places in the valence-arousal plane.

Russell (1980) let people arrange 28 words on a circle of affect. `ANGLES` has the angles, rounded
to degrees, with pleasure at 0 and arousal at 90. They are quoted from memory of the literature and
have not been compared with the article itself. `NEAR` lists other words of playlists and tags. Each
is given the place of one of Russell's words: that is our choice, not a published norm.

An angle says nothing about strength. The place of a word is `STRENGTH` from the centre, and its
region reaches `REACH` to each side, and to the edge of the plane where it faces it. Both are our
choice: predicted means seldom lie farther out. The chapter on search by mood measures how many
tracks found by a word of the circle have its quadrant. For other words this was not measured.

References
----------
Russell, J. A. (1980). A circumplex model of affect. *Journal of Personality and Social Psychology*,
39(6), 1161-1178.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from msr_utils.library.regions import Region, lies_in
from msr_utils.library.shards import UsageError

ANGLES = {
    "happy": 8, "delighted": 25, "excited": 49, "astonished": 70, "aroused": 74, "tense": 93,
    "alarmed": 97, "angry": 99, "afraid": 116, "annoyed": 123, "distressed": 138,
    "frustrated": 141, "miserable": 189, "sad": 208, "gloomy": 209, "depressed": 210, "bored": 242,
    "droopy": 257, "tired": 268, "sleepy": 272, "calm": 316, "relaxed": 318, "satisfied": 319,
    "at ease": 321, "content": 323, "serene": 329, "glad": 349, "pleased": 353,
}  # fmt: skip
"""Angle in degrees of Russell's 28 words."""

NEAR = {
    "joyful": "happy", "cheerful": "happy", "upbeat": "delighted", "playful": "delighted",
    "uplifting": "delighted", "euphoric": "excited", "energetic": "excited", "exciting": "excited",
    "party": "excited", "triumphant": "excited", "epic": "astonished", "intense": "aroused",
    "nervous": "tense", "anxious": "tense", "suspenseful": "tense", "aggressive": "angry",
    "furious": "angry", "scary": "afraid", "fearful": "afraid", "dark": "distressed",
    "melancholic": "sad", "melancholy": "sad", "sorrowful": "sad", "lonely": "gloomy",
    "hopeless": "depressed", "dull": "bored", "weary": "tired", "dreamy": "serene",
    "peaceful": "serene", "gentle": "calm", "soothing": "calm", "mellow": "relaxed",
    "chill": "relaxed", "tender": "content", "romantic": "content", "warm": "content",
}  # fmt: skip
"""Word -> the word of Russell's whose place it is given."""

WORDS = (*ANGLES, *NEAR)
"""All words."""

STRENGTH = 0.5
"""Distance of a word from the centre of the plane."""

REACH = 0.35
"""Half of the side of a word's region."""

FACING = 0.25
"""A coordinate beyond this faces the edge of the plane: the region ends there."""


def place(word: str) -> tuple[float, float]:
    """Valence and arousal of a word.

    Raises
    ------
    LibraryError
        If the word is unknown.

    Examples
    --------
    >>> place("calm")
    (0.36, -0.35)
    """
    known = word.strip().lower()
    angle = ANGLES.get(NEAR.get(known, known))
    if angle is None:
        raise UsageError(
            f"library: the word {word.strip()!r} is unknown; known: {', '.join(sorted(WORDS))}"
        )
    radians = math.radians(angle)
    return round(STRENGTH * math.cos(radians), 2), round(STRENGTH * math.sin(radians), 2)


def word_region(word: str) -> Region:
    """Region of a word.

    Raises
    ------
    LibraryError
        If the word is unknown.
    """
    valence, arousal = place(word)
    return Region(_side(valence), _side(arousal), (valence, arousal), word.strip().lower())


def words_region(words: str) -> Region:
    """What the regions of several words, separated by commas, have in common.

    Raises
    ------
    LibraryError
        If a word is unknown, or the regions have nothing in common.
    """
    regions = [word_region(word) for word in words.split(",") if word.strip()]
    if not regions:
        raise UsageError(f"library: no word is given; known: {', '.join(sorted(WORDS))}")
    region = regions[0]
    for other in regions[1:]:
        region = region.common(other)
    return region


def fitting_word(spread: Mapping[str, Sequence[np.ndarray]], least: float) -> str:
    """The word of Russell's that fits one track: of the probable ones, the nearest to its mean.

    Parameters
    ----------
    spread : mapping of str to (mean, sd, half_width)
        Of one track, see `msr_utils.library.regions.lies_in`.
    least : float in (0, 1)
        Least probability of lying in the word's region.

    Returns
    -------
    str
        Empty if no word is probable enough.
    """
    mean = [float(np.ravel(spread[target][0])[0]) for target in ("valence", "arousal")]
    probable = [word for word in ANGLES if float(lies_in(word_region(word), spread)[0]) >= least]
    return min(probable, key=lambda word: math.dist(place(word), mean), default="")


def _side(coordinate: float) -> tuple[float, float]:
    low, high = coordinate - REACH, coordinate + REACH
    if coordinate > FACING:
        high = 1.0
    if coordinate < -FACING:
        low = -1.0
    return round(max(low, -1.0), 4), round(min(high, 1.0), 4)
