"""The pretrained ear: what MusiCNN computes, as a stream, and what happens without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
import soxr
from click.testing import CliRunner
from conftest import tone
from needs import needs_pretrained_weights

from msr_utils.audio import decode
from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE
from msr_utils.features import musicnn_graph, weights
from msr_utils.features.blocks import musicnn
from msr_utils.features.cache import compute_or_read
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor, extract
from msr_utils.features.weights import PretrainedWeightsError

CONFIG = FeatureConfig("ear")
GOLDEN = Path(__file__).parent / "golden" / "ear.npz"
"""What the graph of the package itself gave for ``mel``, a made-up spectrogram of 187 hops:
some rows of the maps whose filters are not silent, their maximum and mean, the embedding."""


def run(mel: np.ndarray, state: dict[str, np.ndarray], pooled: int = 1) -> tuple:
    """The graph's embedding and next state."""
    inputs = [node.name for node in weights.session().get_inputs()[2:]]
    given = {name: state[name] for name in inputs}
    embedding, *after = weights.session().run(
        None, {"mel": mel, "pooled": np.float32([pooled]), **given}
    )
    return embedding, dict(zip(inputs, after, strict=True))


def by_hop(mel: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict]:
    """The maps, hop by hop: of one hop, the sum is the value."""
    rows = []
    for hop in range(len(mel)):
        _, state = run(mel[hop : hop + 1], state)
        rows.append(state["ear_sums"][-1])
    return np.array(rows), state


def lags(state: dict[str, np.ndarray]) -> np.ndarray:
    """Hops by which each map is late."""
    n = [state[f"ear_{name}"].shape[1] for name in ("timbral", "temporal", "layer1")]
    reach = musicnn_graph.LOOKAHEAD_HOPS
    return np.repeat([3, reach, reach + 3, reach + 6, reach + 9], [n[0], n[1], n[2], n[2], n[2]])


@needs_pretrained_weights
def test_maps_are_those_of_a_patch_away_from_its_edges():
    with np.load(GOLDEN) as golden:
        mel, hops, wanted = (golden[name] for name in ("mel", "hops", "maps"))
    state = musicnn.initial_state()
    got, _ = by_hop(mel.astype(np.float32), state)
    late = lags(state)
    # A patch is padded with zeros: before it as a stream's start is, after it too early.
    assert (hops.min() > 70) and (hops.max() + late.max() < len(mel))
    for hop, row in zip(hops, wanted, strict=True):
        np.testing.assert_allclose(got[hop + late, np.arange(len(late))], row, atol=1e-4)
    assert wanted.std(axis=0).max() > 1


@needs_pretrained_weights
def test_embedding_is_that_of_a_patch_with_the_same_pools():
    with np.load(GOLDEN) as golden:
        mel, peaks, means = (golden[name] for name in ("mel", "peaks", "means"))
        embedding = golden["embedding"]
    mel = mel.astype(np.float32)
    _, state = by_hop(mel[:-1], musicnn.initial_state())
    _, after = run(mel[-1:], state)
    # What the frames before leave is set so that with the last hop the pools are the patch's.
    state["ear_sums"][:] = 0
    state["ear_sums"][0] = means * len(mel) - after["ear_sums"][-1]
    state["ear_peaks"][:] = peaks
    assert (after["ear_peaks"][-1] <= peaks + 1e-4).all()
    got, _ = run(mel[-1:], state, len(mel))
    np.testing.assert_allclose(got, embedding, atol=1e-4)


def test_spectrogram_is_librosas(music):
    samples = soxr.resample(music, SAMPLE_RATE, musicnn.MUSICNN_RATE)
    power = librosa.feature.melspectrogram(
        y=samples, sr=musicnn.MUSICNN_RATE, n_fft=512, hop_length=256, n_mels=96, center=False
    )
    whole = samples[: 512 + 256 * (power.shape[1] - 1)]
    np.testing.assert_allclose(musicnn.log_mel(whole), np.log10(1 + 10_000 * power.T), atol=1e-4)


@pytest.mark.parametrize("hz", [50, 440, 3000, 7000])
def test_resampler_keeps_what_the_ear_hears(hz):
    got = musicnn.resample(tone(2.0, hz)[: musicnn.TAPS + 90 * musicnn.BLOCK_IN])
    t = np.arange(len(got)) / musicnn.MUSICNN_RATE + musicnn.TAPS / 2 / SAMPLE_RATE
    np.testing.assert_allclose(got, 0.3 * np.sin(2 * np.pi * hz * t), atol=2e-5)


@pytest.mark.parametrize("hz", [8200, 9000, 10_900])
def test_resampler_removes_what_would_fold(hz):
    assert abs(musicnn.resample(tone(2.0, hz)[: musicnn.TAPS + 90 * musicnn.BLOCK_IN])).max() < 2e-5


@needs_pretrained_weights
def test_resampler_does_what_soxr_does(music):
    """Embeddings too: MusiCNN hears a shift of a fifth of a hop, so both are put in step."""
    samples = music[: len(music) // CONFIG.frame_samples * CONFIG.frame_samples]
    own = musicnn.resample(np.concatenate([np.zeros(musicnn.TAPS, np.float32), samples]))
    delay = round(musicnn.TAPS / 2 / SAMPLE_RATE * musicnn.MUSICNN_RATE)
    other = soxr.resample(samples, SAMPLE_RATE, musicnn.MUSICNN_RATE)
    other = np.concatenate([np.zeros(delay, np.float32), other])[: len(own)]
    rows = []
    for heard in (own, other):
        state, mine = musicnn.initial_state(), []
        heard = np.concatenate([np.zeros(musicnn.MUSICNN_HOP, np.float32), heard])
        for frame in range(len(samples) // CONFIG.frame_samples):
            first, end = musicnn.hops_until(frame), musicnn.hops_until(frame + 1)
            mel = musicnn.log_mel(heard[first * 256 : end * 256 + 256])
            pooled = end - musicnn.hops_until(max(frame + 1 - musicnn_graph.POOL_FRAMES, 0))
            embedding, state = run(mel, state, pooled)
            mine.append(embedding)
        rows.append(np.array(mine))
    np.testing.assert_allclose(rows[0], FeatureExtractor(CONFIG).push(samples), atol=1e-4)
    assert np.corrcoef(rows[0].ravel(), rows[1].ravel())[0, 1] > 0.99


@needs_pretrained_weights
@pytest.mark.parametrize("sizes", [[441], [11_025], [7, 5000, 30_000]])
def test_stream_equals_file_whatever_the_chunks(sizes, music):
    samples = music
    whole, stream, parts, at = FeatureExtractor(CONFIG).push(samples), None, [], 0
    state = None
    while at < len(samples):
        stream = FeatureExtractor(CONFIG)  # another process each time
        if state is not None:
            stream.restore(state)
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(samples[at : at + size]))
        state = stream.state()
        at += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert sum(value.size for value in state.values()) < 30_000  # it travels in a token


@needs_pretrained_weights
def test_a_frame_does_not_see_the_future(music):
    samples, noise = music, np.random.default_rng(0).uniform(-1, 1, SAMPLE_RATE)
    changed = samples.copy()
    changed[4 * CONFIG.frame_samples :][: len(noise)] = noise
    before, after = (FeatureExtractor(CONFIG).push(x) for x in (samples, changed))
    np.testing.assert_array_equal(before[:4], after[:4])
    assert abs(before[4] - after[4]).max() > 0.01


@needs_pretrained_weights
def test_windows_stand_alike_however_long_it_hears():
    """The count of frames is kept small: after minutes, the same audio gives the same numbers."""
    loop = np.tile(tone(2.0, 300, level=0.5), 12)  # 2 s: four frames, 125 hops
    rows = FeatureExtractor(CONFIG).push(loop)
    np.testing.assert_allclose(rows[24:28], rows[40:44], atol=1e-5)
    extractor = FeatureExtractor(CONFIG)
    extractor.push(loop)
    assert extractor.state()["ear_frames"] < 3 * musicnn_graph.POOL_FRAMES


@needs_pretrained_weights
@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0, 1e4])
def test_any_level_stays_finite(level):
    noise = np.random.default_rng(0).uniform(-level, level, 2 * SAMPLE_RATE).astype(np.float32)
    assert np.isfinite(FeatureExtractor(CONFIG).push(noise)).all()


def test_a_configuration_says_which_ear_it_needs():
    values = CONFIG.to_json()
    assert values["pretrained"] == {
        "ear": f"{musicnn_graph.MUSICNN_NAME} {musicnn_graph.MUSICNN_SHA256}"
    }
    assert FeatureConfig.from_json(values) == CONFIG
    assert CONFIG.dim == musicnn_graph.EMBEDDING_DIM
    with pytest.raises(
        ValueError,
        match=f"needs .*another.*, this version has .*{musicnn_graph.MUSICNN_SHA256[:8]}",
    ):
        FeatureConfig.from_json({**values, "hash": "0" * 64, "pretrained": {"ear": "another 0123"}})
    with pytest.raises(ValueError, match="ear needs a sample_rate of 22050"):
        FeatureConfig("ear", sample_rate=16_000, hop_length=320, fmax=8000.0)


def test_without_the_ear_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MSR_EARS", str(tmp_path))
    weights.session.cache_clear()
    with pytest.raises(
        PretrainedWeightsError, match=f"{musicnn_graph.MUSICNN_NAME}.*run 'msr ear fetch'"
    ):
        FeatureExtractor(CONFIG)
    (tmp_path / f"{musicnn_graph.MUSICNN_NAME}.onnx").write_bytes(b"another")
    with pytest.raises(PretrainedWeightsError, match="has SHA-256 .*run 'msr ear fetch'"):
        FeatureExtractor(CONFIG)
    assert FeatureExtractor(FeatureConfig()).push(tone(1.0)).shape == (2, 128)
    done = CliRunner().invoke(main, ["ear", "fetch", "--wheel", str(tmp_path / "none.whl")])
    assert done.exit_code == 1 and "none.whl is not the wheel of musicnn==0.1.0" in done.output
    sf.write(tmp_path / "tone.wav", tone(1.0), SAMPLE_RATE)
    done = CliRunner().invoke(
        main, ["features", "--corpus", "audio", "--data", str(tmp_path), "--features", "ear",
               "--cache", str(tmp_path / "cache")]
    )  # fmt: skip
    assert done.exit_code == 1 and "run 'msr ear fetch'" in done.output
    weights.session.cache_clear()


@needs_pretrained_weights
def test_fetch_again_does_nothing_and_features_are_kept(tmp_path):
    done = CliRunner().invoke(main, ["ear", "fetch"])
    assert done.exit_code == 0 and "nothing to be done" in done.output
    path = tmp_path / "tone.wav"
    sf.write(path, tone(2.0), SAMPLE_RATE)
    _, made, computed = compute_or_read(path, CONFIG, tmp_path)
    _, kept, again = compute_or_read(path, CONFIG, tmp_path)
    assert computed and not again and made.shape == (4, musicnn_graph.EMBEDDING_DIM)
    np.testing.assert_array_equal(made, extract(path, CONFIG))
    np.testing.assert_array_equal(made, kept)
    np.testing.assert_array_equal(made, FeatureExtractor(CONFIG).push(decode.load(path)))


def test_features_load_no_runtime_until_the_ear_is_named():
    heavy = "{'onnx', 'onnxruntime', 'tensorflow', 'librosa', 'scipy.signal'}"
    code = (
        "import sys; from msr_utils.features.config import *; FeatureConfig('ear').hash;"
        f"FeatureExtractor(FeatureConfig()); print(*({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
