"""The valence-arousal plane: one definition of its quadrants, whoever asks."""

import numpy as np
import pytest

from msr_utils.affect import AXIS_ENDS, QUADRANT_NAMES, QUADRANTS, SIGNS, quadrant
from msr_utils.constants import TARGETS


@pytest.mark.parametrize(
    ("valence", "arousal", "name"),
    [(0.3, 0.9, "Q1"), (-0.3, 0.9, "Q2"), (-0.3, -0.9, "Q3"), (0.3, -0.9, "Q4"),
     (0.0, 0.0, "Q1"), (-1e-9, 0.0, "Q2"), (0.0, -1e-9, "Q4")],
)  # fmt: skip
def test_quadrant_of_a_point(valence, arousal, name):
    assert quadrant(valence, arousal).name == name
    assert quadrant(np.float32(valence), np.float32(arousal)).name == name


def test_quadrants_are_counted_counterclockwise():
    assert QUADRANT_NAMES == ("Q1", "Q2", "Q3", "Q4")
    angles = [np.arctan2(arousal, valence) % (2 * np.pi) for valence, arousal in SIGNS.values()]
    assert angles == sorted(angles)
    for each in QUADRANTS:
        assert quadrant(*each.signs) is each


def test_words_tell_the_quadrants_apart():
    words = [word for each in QUADRANTS for word in each.words.split(", ")]
    assert len(words) == len(set(words)) == 8
    assert tuple(AXIS_ENDS) == TARGETS
