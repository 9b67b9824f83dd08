"""Jamendo's FCN as a causal stream. Random weights show whether the graph is the network."""

import hashlib

import librosa
import numpy as np
import onnxruntime as ort
import pytest
from benchmarks.real_data import DATA
from click.testing import CliRunner
from conftest import tone
from needs import needs_data

from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE
from msr_utils.features import jamendo_graph, weights
from msr_utils.features.blocks import jamendo
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.features.filterbanks import htk_mel_filters
from msr_utils.features.jamendo_graph import (
    CHUNK_HOPS,
    EMBEDDING_DIM,
    JAMENDO_MELS,
    LAG_HOPS,
    MAPS,
    POOLS,
    WINDOW_COLUMNS,
)
from msr_utils.features.weights import PretrainedWeightsError

CONFIG = FeatureConfig("jamendo_fcn")


def random_weights() -> dict[str, np.ndarray]:
    """Weights of the network's shapes."""
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}

    def batch_norm(name: str, maps: int) -> None:
        found[f"{name}.weight"] = rng.uniform(0.5, 1.5, maps)
        found[f"{name}.bias"] = rng.normal(0, 0.3, maps)
        found[f"{name}.running_mean"] = rng.normal(0, 0.3, maps)
        found[f"{name}.running_var"] = rng.uniform(0.5, 1.5, maps)

    batch_norm("spec_bn", 1)
    found["spec_bn.running_mean"], found["spec_bn.running_var"] = np.array([-30.0]), np.array([400])
    before = 1
    for number, maps in enumerate(MAPS, 1):
        scale = 1 / np.sqrt(9 * before)
        found[f"layer{number}.conv.weight"] = rng.normal(0, scale, (maps, before, 3, 3))
        found[f"layer{number}.conv.bias"] = rng.normal(0, 0.1, maps)
        batch_norm(f"layer{number}.bn", maps)
        before = maps
    return {name: value.astype(np.float32) for name, value in found.items()}


WEIGHTS = random_weights()


@pytest.fixture(scope="module")
def network() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = jamendo_graph.build_graph(WEIGHTS)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@pytest.fixture
def with_random_weights(network, monkeypatch):
    monkeypatch.setattr(jamendo, "session", lambda _: network)


def normalised(name: str, x: np.ndarray) -> np.ndarray:
    """Batch normalisation of maps, (maps, bands, hops)."""
    gamma, beta, mean, variance = (
        WEIGHTS[f"{name}.{part}"][:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def activations(number: int, x: np.ndarray) -> np.ndarray:
    """A block of the network before its maximum, with zeros around its input."""
    kernel, bias = (WEIGHTS[f"layer{number}.conv.{part}"] for part in ("weight", "bias"))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    y = np.einsum("ibtuv,oiuv->obt", windows, kernel, optimize=True) + bias[:, None, None]
    return np.maximum(normalised(f"layer{number}.bn", y), 0)


def pooled(number: int, x: np.ndarray) -> np.ndarray:
    """The maximum at the end of a block."""
    bands, hops = POOLS[number - 1]
    maps, n_bands, n_hops = x.shape
    x = x[:, :, : n_hops // hops * hops]
    return x.reshape(maps, n_bands // bands, bands, -1, hops).max(axis=(2, 4))


def reference(mel: np.ndarray, columns: int) -> np.ndarray:
    """The embedding after `columns` columns, computed at once and not as a stream."""
    x = normalised("spec_bn", mel.T[None])
    for number in (1, 2, 3):
        x = pooled(number, activations(number, x))
    x = x[:, :, :columns]
    third = x[:, :, -1].mean(axis=1)
    x = activations(4, x)[:, :, -WINDOW_COLUMNS:]
    x = pooled(4, np.pad(x, ((0, 0), (0, 0), (WINDOW_COLUMNS - x.shape[2], 0))))
    fifth = pooled(5, activations(5, x))
    return np.concatenate([third, x[:, :, -1].mean(axis=1), fifth[:, 0, 0]])


def streamed(network: ort.InferenceSession, mel: np.ndarray) -> list[np.ndarray]:
    """The embedding after each chunk."""
    nodes = network.get_inputs()[2:]
    state = [np.zeros(node.shape, np.float32) for node in nodes]
    before = CHUNK_HOPS - LAG_HOPS
    mel = np.concatenate([np.full((before, JAMENDO_MELS), -70, np.float32), mel])
    live = (np.arange(len(mel)) >= before).astype(np.float32)
    found = []
    for first in range(0, len(mel) - CHUNK_HOPS + 1, CHUNK_HOPS):
        hops = slice(first, first + CHUNK_HOPS)
        inputs = {"mel": mel[hops], "live": live[hops].reshape(1, 1, 1, -1)}
        names = [node.name for node in nodes]
        embedding, *state = network.run(None, inputs | dict(zip(names, state, strict=True)))
        found.append(embedding)
    return found


@pytest.mark.parametrize("columns", [1, 7, 23])
def test_stream_is_the_network(network, columns):
    """Each column, and the window behind it, are those of the whole network."""
    rng = np.random.default_rng(columns)
    mel = rng.normal(-30, 20, (columns * CHUNK_HOPS + LAG_HOPS, JAMENDO_MELS)).astype(np.float32)
    got = streamed(network, mel)
    assert len(got) == columns + 1  # The first chunk ends before the first column does.
    np.testing.assert_allclose(got[-1], reference(mel, columns), rtol=1e-3, atol=1e-4)


def test_filters_are_those_of_torchaudio():
    """Of a network's filters: a band has height 1 where its neighbours end."""
    filters = htk_mel_filters(16_000, 512, 96, 0.0, 8_000.0)
    assert filters.shape == (257, 96) and 0.9 < filters.max() <= 1
    other = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=96, htk=True, norm=None)
    np.testing.assert_allclose(filters, other.T, atol=1e-6)


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("sizes", [[441], [11_025], [7, 5000, 30_000]])
def test_stream_equals_file_whatever_the_chunks(sizes, music):
    whole, parts, at, state = FeatureExtractor(CONFIG).push(music), [], 0, None
    while at < len(music):
        stream = FeatureExtractor(CONFIG)  # another process each time
        if state is not None:
            stream.restore(state)
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(music[at : at + size]))
        state = stream.state()
        at += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert sum(value.size for value in state.values()) < 45_000  # it travels in a token


@pytest.mark.usefixtures("with_random_weights")
def test_a_frame_does_not_see_the_future(music):
    changed = music.copy()
    changed[8 * CONFIG.frame_samples :] = 0
    before, after = (FeatureExtractor(CONFIG).push(x) for x in (music, changed))
    np.testing.assert_array_equal(before[:8], after[:8])
    assert abs(before[8:] - after[8:]).max() > 0.01


@pytest.mark.usefixtures("with_random_weights")
def test_frames_keep_the_embedding_of_the_last_chunk():
    rows = FeatureExtractor(CONFIG).push(tone(6.0, 300))
    assert rows.shape == (12, EMBEDDING_DIM)
    assert not rows[:2].any()  # The first column needs 1.4 s.
    changes = abs(np.diff(rows, axis=0)).max(axis=1) > 0
    assert changes.sum() == 5  # columns are known at 1.4, 2.4, 3.4, 4.5 and 5.5 s


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0, 1e4])
def test_any_level_stays_finite(level):
    noise = np.random.default_rng(0).uniform(-level, level, 2 * SAMPLE_RATE).astype(np.float32)
    assert np.isfinite(FeatureExtractor(CONFIG).push(noise)).all()


def test_musicnn_and_the_fcn_share_spectra(with_random_weights, music):
    """Together they give what each gives alone."""
    both = FeatureConfig("jamendo_fcn,tonal")
    np.testing.assert_array_equal(
        FeatureExtractor(both).push(music)[:, both.columns(["jamendo_fcn"])],
        FeatureExtractor(CONFIG).push(music),
    )


def test_missing_weights_say_how_to_fetch_them(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path))
    weights.session.cache_clear()
    with pytest.raises(PretrainedWeightsError, match="run 'msr weights fetch jamendo_fcn'"):
        FeatureExtractor(CONFIG)
    other = tmp_path / "other.pth"
    other.write_bytes(b"another")
    done = CliRunner().invoke(main, ["weights", "fetch", "jamendo_fcn", "--file", str(other)])
    assert done.exit_code == 1 and "other.pth is not the file at https://" in done.output
    assert not (tmp_path / "Jamendo_FCN.onnx").exists()
    done = CliRunner().invoke(main, ["weights", "fetch", "nothing"])
    assert done.exit_code == 2 and "one of musicnn, jamendo_fcn" in done.output
    weights.session.cache_clear()


def test_the_graph_is_always_the_same():
    first, second = (hashlib.sha256(jamendo_graph.build_graph(WEIGHTS)).digest() for _ in range(2))
    assert first == second


@needs_data("weights")
def test_the_published_file_gives_the_graph(tmp_path, monkeypatch, music):
    """The real weights: the block with them is finite and follows the music."""
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path))
    weights.session.cache_clear()
    file = DATA / "weights" / "jamendo-fcn.pth"
    command = ["weights", "fetch", "jamendo_fcn", "--file", str(file)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0 and "MIT licence" in done.output
    rows = FeatureExtractor(CONFIG).push(music)
    assert np.isfinite(rows).all() and rows[3:].std(axis=0).max() > 0.1
    assert "nothing to be done" in CliRunner().invoke(main, command).output
    weights.session.cache_clear()
