"""Cost of networks: each is measured in its own process and only once, and growth is fitted."""

from __future__ import annotations

import numpy as np
import pytest

from msr_utils.experiments import network_cost
from msr_utils.experiments.network_cost import LengthCost, Network, Workload
from msr_utils.features.config import FeatureConfig
from msr_utils.figures.experiments import cost_growth
from msr_utils.models.lstm import LSTMConfig, build_lstm


def test_growth_of_known_curves():
    frames = [30, 60, 120, 240, 480, 1200]

    def of(seconds):
        return network_cost.growth([LengthCost(n, seconds(n), 3, 1.0) for n in frames])

    linear, square = of(lambda n: 1e-4 * n), of(lambda n: 1e-6 * n**2)
    assert linear.exponent == pytest.approx(1)
    assert linear.quadratic_share == pytest.approx(0, abs=1e-6)
    assert square.exponent == pytest.approx(2)
    assert square.quadratic_share == pytest.approx(1)
    both = of(lambda n: 0.01 + 1e-4 * n + 1e-7 * n**2)
    assert 1 < both.exponent < 2
    assert both.quadratic_share == pytest.approx(0.144 / (0.01 + 0.12 + 0.144))


@pytest.mark.extended
@pytest.mark.slow
def test_every_network_is_measured_once(tmp_path, monkeypatch):
    features = FeatureConfig("logmel")
    tiny = LSTMConfig((8,))
    compared = {"tiny": Network("lstm", tiny, features)}
    workload = Workload([10, 20, 40], (2, 10), 0.0)
    result = network_cost.measure_all(compared, workload, tmp_path, progress=False)
    cost = result.networks["tiny"]
    zeros = np.zeros(features.dim)
    assert cost.parameters == build_lstm(tiny, zeros, zeros + 1).count_params()
    assert cost.epoch_seconds_per_hour == pytest.approx(cost.batch_seconds * 7200 / 20)
    for lengths in (cost.inference.lengths, cost.training.lengths):
        assert [one.frames for one in lengths] == [10, 20, 40]
        assert all(one.seconds > 0 and one.repeats == 3 for one in lengths)
        peaks = [one.peak_mb for one in lengths]
        assert peaks == sorted(peaks)
        assert 1 < peaks[0] < 2000
    # A second call starts no process.
    monkeypatch.setattr(network_cost, "get_context", None)
    again = network_cost.measure_all(compared, workload, tmp_path, progress=False)
    assert again == result
    assert network_cost.cost_table(result).loc["tiny", "parameters"] == f"{cost.parameters:,}"
    assert len(network_cost.long_table(result)) == 6
    assert len(cost_growth(network_cost.long_table(result)).axes) == 4


def test_lengths_that_show_no_growth_are_refused():
    with pytest.raises(ValueError, match="3 or more"):
        Workload([30, 60])
    with pytest.raises(ValueError, match="must rise"):
        Workload([30, 60, 60])


def test_the_networks_have_room_for_the_longest_input():
    compared = network_cost.networks(1200).values()
    rooms = [n.config.max_frames for n in compared if n.family == "transformer"]
    assert rooms and set(rooms) == {1200}
    assert {n.family for n in compared} == {"lstm", "transformer"}
