"""What may be asked of a generator."""

from __future__ import annotations

import math

import numpy as np
import pytest

from msr_utils.generation.limits import MAX_CURVE_POINTS, MAX_SECONDS, MAX_SEED
from msr_utils.generation.request import EmotionCurve, GenerationError, MusicRequest

CALM = EmotionCurve.constant(0.5, -0.5)


def test_a_curve_is_linear_between_points_and_constant_outside():
    curve = EmotionCurve([2, 4], [-1, 1], [0.5, 0.1])
    assert curve.at(0) == curve.at(2) == (-1, 0.5)
    assert curve.at(3) == pytest.approx((0, 0.3))
    assert curve.at(1e9) == (1, 0.1)
    assert CALM.at(7) == (0.5, -0.5)


@pytest.mark.parametrize(
    ("times", "valence", "arousal", "field"),
    [
        ([], [], [], "times_s"),
        ([0.0], [math.nan], [0.0], "valence"),
        ([0.0], [0.0], [math.inf], "arousal"),
        ([0.0], [0.0], [1.01], "arousal"),
        ([0.0, 1.0], [0.0], [0.0, 0.0], "valence"),
        ([1.0, 1.0], [0.0, 0.0], [0.0, 0.0], "times_s"),
        ([-1.0], [0.0], [0.0], "times_s"),
        (["a"], [0.0], [0.0], "times_s"),
        ([[0.0]], [0.0], [0.0], "times_s"),
        (None, [0.0], [0.0], "times_s"),
        (np.arange(MAX_CURVE_POINTS + 1.0), [0.0], [0.0], "times_s"),
    ],
)
def test_a_curve_that_is_wrong_names_its_field(times, valence, arousal, field):
    with pytest.raises(GenerationError, match=f"^{field}: ") as error:
        EmotionCurve(times, valence, arousal)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("seconds", v) for v in (0, -1, MAX_SECONDS + 1, 1e9, math.nan, math.inf, "9", True)),
        *(("seed", v) for v in (-1, MAX_SEED + 1, 1.5, True, "1", None)),
        *(("temperature", v) for v in (0, 0.1, 2.1, math.nan, None)),
    ],
)
def test_a_request_that_is_wrong_names_its_field(field, value):
    with pytest.raises(GenerationError, match=f"^{field}: ") as error:
        MusicRequest(**{"curve": CALM, "seconds": 10.0, "seed": 1, field: value})
    assert error.value.field == field
