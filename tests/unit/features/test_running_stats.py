"""Running statistics: against their definition, and as a part of the features."""

import numpy as np
import pytest

from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor, extract
from msr_utils.features.running_stats import RunningStats
from msr_utils.inference.model import load

CONFIG = FeatureConfig(("logmel_sd", "chroma"), memory_s=(3, 10), memory_sd_s=(10,))


def test_weighted_mean_and_deviation_of_the_past() -> None:
    frames = np.random.default_rng(1).normal(5, 2, (60, 4)).astype(np.float32)
    stats = RunningStats(4, (3, 10), (3,)).push(frames)
    assert stats.shape == (60, 12)
    for t in (0, 1, 30, 59):
        for column, seconds in ((0, 3), (4, 10)):
            weights = np.exp(-np.arange(t, -1, -1) / (2 * seconds))
            mean = np.average(frames[: t + 1], axis=0, weights=weights)
            np.testing.assert_allclose(stats[t, column : column + 4], mean, rtol=1e-4)
            if seconds == 3:
                spread = np.average((frames[: t + 1] - mean) ** 2, axis=0, weights=weights)
                np.testing.assert_allclose(stats[t, 8:], np.sqrt(spread), rtol=1e-3, atol=1e-3)


def test_a_stream_gives_the_same_as_the_file() -> None:
    samples = np.random.default_rng(2).normal(0, 0.1, 22050 * 8).astype(np.float32)
    whole = FeatureExtractor(CONFIG).push(samples)
    assert whole.shape == (16, CONFIG.dim) and CONFIG.dim == 3 * CONFIG.frame_dim
    parts, extractor = [], FeatureExtractor(CONFIG)
    for start in range(0, len(samples), 12_345):
        parts.append(extractor.push(samples[start : start + 12_345]))
        state = extractor.state()
        extractor = FeatureExtractor(CONFIG)
        extractor.restore(state)
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_cache_gives_the_same_as_the_file(tmp_path) -> None:
    import soundfile as sf

    path = tmp_path / "a.wav"
    sf.write(path, np.random.default_rng(3).normal(0, 0.1, 22050 * 4), 22050)
    for _ in range(2):  # computed, then read
        assert np.array_equal(cached_features(path, CONFIG, tmp_path), extract(path, CONFIG))


def test_columns_name_a_block_at_every_time_constant() -> None:
    chroma = CONFIG.columns(["chroma"])
    assert chroma.tolist() == [*range(32, 44), *range(76, 88), *range(120, 132)]


def test_bundles_without_running_statistics_keep_their_hash() -> None:
    assert "memory_s" not in FeatureConfig("logmel").to_json()
    assert CONFIG.hash != CONFIG.without_running_stats().hash
    assert FeatureConfig.from_json(CONFIG.to_json()) == CONFIG
    assert not load("lstm-tonal-vgmidi").features.has_running_stats


@pytest.mark.parametrize("seconds", [(0,), (-1,), (float("nan"),), (3, 3)])
def test_bad_time_constants(seconds) -> None:
    with pytest.raises(ValueError, match="memory_s"):
        FeatureConfig("logmel", memory_s=seconds)


def test_state_of_other_parameters_is_refused() -> None:
    state = FeatureExtractor(CONFIG).state()
    with pytest.raises(ValueError, match="running_mean"):
        FeatureExtractor(CONFIG).restore({**state, "running_mean": np.zeros((1, 2))})
    with pytest.raises(ValueError, match="running_weight"):
        FeatureExtractor(CONFIG.without_running_stats()).restore(state)
