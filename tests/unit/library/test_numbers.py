"""Stored curves and the numbers of a track, against plain numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from msr_utils.library.numbers import (
    COLUMNS,
    Z_COVERAGE,
    TrackArrays,
    from_bytes,
    segments,
    summarise,
    to_bytes,
)

CURVE = np.stack([np.linspace(-1, 1, 101), np.linspace(0.5, -0.25, 101)], axis=1)


def column(numbers, name):
    return float(numbers[COLUMNS.index(name)])


def test_a_byte_holds_a_value_to_half_a_step():
    assert np.abs(from_bytes(to_bytes(CURVE)) - CURVE).max() <= 1 / 255 + 1e-6
    assert from_bytes(to_bytes(np.array([-1.0, 1.0]))).tolist() == [-1.0, 1.0]


def test_summary_is_what_numpy_says():
    numbers = summarise(CURVE, {"valence": 0.3, "arousal": 0.2}, 50.5, year=1999)
    assert column(numbers, "mean_valence") == pytest.approx(0, abs=1e-6)
    assert column(numbers, "sd_arousal") == pytest.approx(CURVE[:, 1].std(), abs=1e-6)
    assert column(numbers, "q75_valence") == pytest.approx(0.5)
    assert column(numbers, "start_valence") == pytest.approx(CURVE[:40, 0].mean(), abs=1e-6)
    assert column(numbers, "end_arousal") == pytest.approx(CURVE[-40:, 1].mean(), abs=1e-6)
    assert column(numbers, "year") == 1999
    assert np.isnan(column(numbers, "tempo"))
    shares = [column(numbers, f"share_Q{k}") for k in (1, 2, 3, 4)]
    positive = CURVE >= 0
    assert shares[0] == pytest.approx(positive.all(axis=1).mean())
    assert sum(shares) == pytest.approx(1)


def test_certainty_is_the_probability_of_the_quadrant():
    curve = np.full((20, 2), (0.2, -0.4))
    numbers = summarise(curve, {"valence": 0.3, "arousal": 0.2}, 10)
    wanted = norm.cdf(0.2, scale=0.3 / Z_COVERAGE) * norm.cdf(0.4, scale=0.2 / Z_COVERAGE)
    assert column(numbers, "certainty") == pytest.approx(wanted, abs=1e-6)
    assert norm.cdf(Z_COVERAGE) - norm.cdf(-Z_COVERAGE) == pytest.approx(0.9)


@pytest.mark.parametrize("frames", [1, 19, 20, 21, 45])
def test_segments_are_means_of_ten_seconds(frames):
    curve = np.random.default_rng(0).integers(0, 256, (frames, 2)).astype(np.uint8)
    wanted = [np.round(curve[i : i + 20].mean(axis=0)) for i in range(0, frames, 20)]
    assert segments(curve).tolist() == np.array(wanted).tolist()


def test_arrays_survive_packing():
    arrays = TrackArrays(summarise(CURVE, {}, 1), np.arange(5, dtype=np.float16), to_bytes(CURVE))
    again = TrackArrays.unpacked(arrays.packed())
    assert np.array_equal(again.numbers, arrays.numbers, equal_nan=True)
    assert np.array_equal(again.curve, arrays.curve)
    changed = again.with_numbers({"year": 2001, "tempo": None})
    assert column(changed.numbers, "year") == 2001 and np.isnan(column(changed.numbers, "tempo"))
