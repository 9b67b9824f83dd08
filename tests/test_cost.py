"""Cost: measured in processes of their own, resumed, growth fitted."""

from __future__ import annotations

import numpy as np
import pytest

from msr_utils.experiments import network_cost
from msr_utils.features.config import FeatureConfig
from msr_utils.figures.experiments import cost_growth
from msr_utils.models.lstm import LSTMConfig, build_lstm


def test_growth_of_known_curves():
    frames = [30, 60, 120, 240, 480, 1200]

    def of(seconds):
        return network_cost.growth([{"frames": n, "seconds": seconds(n)} for n in frames])

    linear, square = of(lambda n: 1e-4 * n), of(lambda n: 1e-6 * n**2)
    assert linear["exponent"] == pytest.approx(1)
    assert linear["quadratic_share"] == pytest.approx(0, abs=1e-6)
    assert square["exponent"] == pytest.approx(2)
    assert square["quadratic_share"] == pytest.approx(1)
    both = of(lambda n: 0.01 + 1e-4 * n + 1e-7 * n**2)
    assert 1 < both["exponent"] < 2
    assert both["quadratic_share"] == pytest.approx(0.144 / (0.01 + 0.12 + 0.144))


@pytest.mark.slow
def test_every_network_is_measured_once(tmp_path, monkeypatch):
    features = FeatureConfig("logmel")
    tiny = LSTMConfig((8,))
    result = network_cost.measure_all(
        {"tiny": ("lstm", tiny, features)}, [10, 20, 40], tmp_path, (2, 10), 0.0, progress=False
    )
    row = result["networks"]["tiny"]
    zeros = np.zeros(features.dim)
    assert row["parameters"] == build_lstm(tiny, zeros, zeros + 1).count_params()
    assert row["epoch_seconds_per_hour"] == pytest.approx(row["batch_seconds"] * 7200 / 20)
    for work in network_cost.WORK:
        lengths = row[work]["lengths"]
        assert [one["frames"] for one in lengths] == [10, 20, 40]
        assert all(one["seconds"] > 0 and one["repeats"] == 3 for one in lengths)
        peaks = [one["peak_mb"] for one in lengths]
        assert peaks == sorted(peaks)
        assert 1 < peaks[0] < 2000
    # A second call measures nothing again.
    monkeypatch.setattr(network_cost, "get_context", None)
    again = network_cost.measure_all(
        {"tiny": ("lstm", tiny, features)}, [10, 20, 40], tmp_path, (2, 10), 0.0, progress=False
    )
    assert again == result
    assert network_cost.table(result).loc["tiny", "parameters"] == f"{row['parameters']:,}"
    assert len(network_cost.long_table(result)) == 6
    assert len(cost_growth(network_cost.long_table(result)).axes) == 4


def test_lengths_that_tell_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="three or more"):
        network_cost.measure_all({}, [30, 60], tmp_path)
    with pytest.raises(ValueError, match="must rise"):
        network_cost.measure_all({}, [30, 60, 60], tmp_path)


def test_what_is_compared_has_room_for_the_longest():
    for family, config, _ in network_cost.networks(1200).values():
        assert family == "lstm" or config.max_frames == 1200
