"""MusiCNN as a causal stream, its former name, and errors when its weights are missing."""

from __future__ import annotations

import shutil
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
from msr_utils.features import hops_16k, musicnn_graph, weights
from msr_utils.features.blocks import musicnn
from msr_utils.features.cache import compute_or_read
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor, extract
from msr_utils.features.musicnn_graph import STATE_PREFIX
from msr_utils.features.spectrum import FeatureConfigError
from msr_utils.features.weights import PretrainedWeightsError
from msr_utils.inference.model import load
from msr_utils.io import read_json, write_json
from msr_utils.paths import MODELS_DIR

CONFIG = FeatureConfig("musicnn")
GOLDEN = Path(__file__).parent / "golden" / "musicnn.npz"
"""Results of the package's own graph for ``mel``, a generated spectrogram of 187 hops: some rows of
the live filters' maps, their maximum and mean, and the embedding."""

SUMS, PEAKS = f"{STATE_PREFIX}sums", f"{STATE_PREFIX}peaks"


def run(mel: np.ndarray, state: dict[str, np.ndarray], pooled: int = 1) -> tuple:
    """The graph's embedding and next state."""
    inputs = [node.name for node in weights.session(weights.MUSICNN).get_inputs()[2:]]
    given = {name: state[name] for name in inputs}
    embedding, *after = weights.session(weights.MUSICNN).run(
        None, {"mel": mel, "pooled": np.float32([pooled]), **given}
    )
    return embedding, dict(zip(inputs, after, strict=True))


def by_hop(mel: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict]:
    """The maps, hop by hop. With one hop, the sum over hops is the map's value."""
    rows = []
    for hop in range(len(mel)):
        _, state = run(mel[hop : hop + 1], state)
        rows.append(state[SUMS][-1])
    return np.array(rows), state


def delays(state: dict[str, np.ndarray]) -> np.ndarray:
    """Delay of each map in hops."""
    n = [state[f"{STATE_PREFIX}{name}"].shape[1] for name in ("timbral", "temporal", "layer1")]
    reach = musicnn_graph.LOOKAHEAD_HOPS
    return np.repeat([3, reach, reach + 3, reach + 6, reach + 9], [n[0], n[1], n[2], n[2], n[2]])


@needs_pretrained_weights
def test_maps_are_those_of_a_patch_away_from_its_edges():
    with np.load(GOLDEN) as golden:
        mel, hops, wanted = (golden[name] for name in ("mel", "hops", "maps"))
    state = musicnn.initial_state()
    got, _ = by_hop(mel.astype(np.float32), state)
    delay = delays(state)
    # MusiCNN pads a patch with zeros. Before the patch this equals a stream's start, but after it
    # a stream goes on. So only hops away from the edges are compared.
    assert (hops.min() > 70) and (hops.max() + delay.max() < len(mel))
    for hop, row in zip(hops, wanted, strict=True):
        np.testing.assert_allclose(got[hop + delay, np.arange(len(delay))], row, atol=1e-4)
    assert wanted.std(axis=0).max() > 1


@needs_pretrained_weights
def test_embedding_is_that_of_a_patch_with_the_same_pools():
    with np.load(GOLDEN) as golden:
        mel, peaks, means = (golden[name] for name in ("mel", "peaks", "means"))
        embedding = golden["embedding"]
    mel = mel.astype(np.float32)
    _, state = by_hop(mel[:-1], musicnn.initial_state())
    _, after = run(mel[-1:], state)
    # Set the carried pools so that they equal the patch's pools after the last hop.
    state[SUMS][:] = 0
    state[SUMS][0] = means * len(mel) - after[SUMS][-1]
    state[PEAKS][:] = peaks
    assert (after[PEAKS][-1] <= peaks + 1e-4).all()
    got, _ = run(mel[-1:], state, len(mel))
    np.testing.assert_allclose(got, embedding, atol=1e-4)


def test_spectrogram_is_librosas(music):
    samples = soxr.resample(music, SAMPLE_RATE, hops_16k.RATE)
    power = librosa.feature.melspectrogram(
        y=samples, sr=hops_16k.RATE, n_fft=512, hop_length=256, n_mels=96, center=False
    )
    whole = samples[: 512 + 256 * (power.shape[1] - 1)]
    np.testing.assert_allclose(musicnn.log_mel(whole), np.log10(1 + 10_000 * power.T), atol=1e-4)


@pytest.mark.parametrize("hz", [50, 440, 3000, 7000])
def test_resampler_keeps_frequencies_below_its_cutoff(hz):
    got = hops_16k.resample(tone(2.0, hz)[: hops_16k.TAPS + 90 * hops_16k.BLOCK_IN])
    t = np.arange(len(got)) / hops_16k.RATE + hops_16k.TAPS / 2 / SAMPLE_RATE
    np.testing.assert_allclose(got, 0.3 * np.sin(2 * np.pi * hz * t), atol=2e-5)


@pytest.mark.parametrize("hz", [8200, 9000, 10_900])
def test_resampler_removes_frequencies_that_would_alias(hz):
    assert (
        abs(hops_16k.resample(tone(2.0, hz)[: hops_16k.TAPS + 90 * hops_16k.BLOCK_IN])).max() < 2e-5
    )


@needs_pretrained_weights
def test_embeddings_agree_with_soxrs_resampler(music):
    """Embeddings change with a shift of a fifth of a hop, so both signals are aligned first."""
    samples = music[: len(music) // CONFIG.frame_samples * CONFIG.frame_samples]
    own = hops_16k.resample(np.concatenate([np.zeros(hops_16k.TAPS, np.float32), samples]))
    delay = round(hops_16k.TAPS / 2 / SAMPLE_RATE * hops_16k.RATE)
    other = soxr.resample(samples, SAMPLE_RATE, hops_16k.RATE)
    other = np.concatenate([np.zeros(delay, np.float32), other])[: len(own)]
    rows = []
    for samples_16k in (own, other):
        state, mine = musicnn.initial_state(), []
        samples_16k = np.concatenate([np.zeros(hops_16k.HOP, np.float32), samples_16k])
        for frame in range(len(samples) // CONFIG.frame_samples):
            first, end = hops_16k.hops_until(frame), hops_16k.hops_until(frame + 1)
            mel = musicnn.log_mel(samples_16k[first * 256 : end * 256 + 256])
            pooled = end - hops_16k.hops_until(max(frame + 1 - musicnn_graph.POOL_FRAMES, 0))
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
def test_frame_count_stays_small_and_embeddings_repeat():
    """The state counts frames only up to a small number. Repeated audio repeats its embedding."""
    loop = np.tile(tone(2.0, 300, level=0.5), 12)  # 2 s: four frames, 125 hops
    rows = FeatureExtractor(CONFIG).push(loop)
    np.testing.assert_allclose(rows[24:28], rows[40:44], atol=1e-5)
    extractor = FeatureExtractor(CONFIG)
    extractor.push(loop)
    assert extractor.state()[hops_16k.FRAME_COUNT] < 3 * musicnn_graph.POOL_FRAMES


@needs_pretrained_weights
@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0, 1e4])
def test_any_level_stays_finite(level):
    noise = np.random.default_rng(0).uniform(-level, level, 2 * SAMPLE_RATE).astype(np.float32)
    assert np.isfinite(FeatureExtractor(CONFIG).push(noise)).all()


def test_a_configuration_names_its_pretrained_network():
    values = CONFIG.to_json()
    network = f"{musicnn_graph.MUSICNN_NAME} {musicnn_graph.MUSICNN_SHA256}"
    assert values["pretrained"] == {"musicnn": network}
    assert FeatureConfig.from_json(values) == CONFIG
    assert CONFIG.dim == musicnn_graph.EMBEDDING_DIM
    other = {**values, "hash": "0" * 64, "pretrained": {"musicnn": "another 0123"}}
    with pytest.raises(
        FeatureConfigError, match=f"needs .*another.*, this version has {network}"
    ) as error:
        FeatureConfig.from_json(other)
    assert error.value.field == "pretrained"
    with pytest.raises(
        FeatureConfigError, match="pretrained networks need a sample_rate of 22050"
    ) as error:
        FeatureConfig("musicnn", sample_rate=16_000, hop_length=320, fmax=8000.0)
    assert error.value.field == "sample_rate"


@pytest.fixture
def former() -> dict:
    """Features of the bundle ``full`` as version 0.1 wrote them, with the block's former name."""
    blocks = "logmel,logmel_sd,mfcc,mfcc_delta,chroma,tonal,contrast,onset,tempogram,loudness,ear"
    return {
        "version": 1, "blocks": blocks.split(","), "sample_rate": 22050, "n_fft": 2048,
        "hop_length": 441, "n_mels": 128, "fmin": 20.0, "fmax": 11025.0, "patch_steps": 5,
        "memory_s": [3.0, 10.0, 40.0], "memory_sd_s": [10.0],
        "pretrained": {
            "ear": "MSD_musicnn f27e8f5cf87794848ff4286025f55926f59edc7b55a0ace458cd15be36dc5ae1"
        },
        "hash": "09f999007cb1dbd6f71422d47a7119c863c88d82a0b198be9857a35546acf536",
    }  # fmt: skip


def test_the_former_name_is_accepted_with_a_warning(former):
    with pytest.warns(FutureWarning, match="'ear' is now called 'musicnn'"):
        assert FeatureConfig("logmel, ear") == FeatureConfig("logmel,musicnn")
    with pytest.raises(FeatureConfigError, match="named twice"), pytest.warns(FutureWarning):
        FeatureConfig("ear,musicnn")
    with pytest.warns(FutureWarning):
        config = FeatureConfig.from_json(former)
    assert config.blocks[-1] == "musicnn"
    assert FeatureConfig.from_json(config.to_json()) == config
    with pytest.raises(FeatureConfigError, match="export again"), pytest.warns(FutureWarning):
        FeatureConfig.from_json({**former, "memory_sd_s": [11.0]})


@needs_pretrained_weights
def test_a_bundle_with_the_former_name_predicts_the_same(former, tmp_path):
    shutil.copytree(MODELS_DIR / "full", tmp_path / "full")
    write_json(tmp_path / "full" / "features.json", former)
    card = read_json(tmp_path / "full" / "card.json") | {"feature_hash": former["hash"]}
    write_json(tmp_path / "full" / "card.json", card)
    sf.write(tmp_path / "tone.wav", tone(3.0), SAMPLE_RATE)
    with pytest.warns(FutureWarning):
        bundle = load("full", tmp_path)
    curves = bundle.predict(tmp_path / "tone.wav")
    assert curves.to_csv() == load("full").predict(tmp_path / "tone.wav").to_csv()


@pytest.fixture
def no_weights(tmp_path, monkeypatch) -> Path:
    """An empty folder for weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("MSR_WEIGHTS", str(folder))
    weights.session.cache_clear()
    yield folder
    weights.session.cache_clear()


def test_missing_weights_say_how_to_fetch_them(no_weights, tmp_path):
    name = musicnn_graph.MUSICNN_NAME
    with pytest.raises(PretrainedWeightsError, match=f"{name}.*run 'msr weights fetch'"):
        FeatureExtractor(CONFIG)
    (no_weights / f"{name}.onnx").write_bytes(b"another")
    with pytest.raises(PretrainedWeightsError, match="has SHA-256 .*run 'msr weights fetch'"):
        FeatureExtractor(CONFIG)
    assert FeatureExtractor(FeatureConfig()).push(tone(1.0)).shape == (2, 128)
    done = CliRunner().invoke(main, ["weights", "fetch", "--wheel", str(tmp_path / "none.whl")])
    assert done.exit_code == 1 and "none.whl is not the wheel of musicnn==0.1.0" in done.output
    sf.write(tmp_path / "tone.wav", tone(1.0), SAMPLE_RATE)
    done = CliRunner().invoke(
        main, ["features", "--corpus", "audio", "--data", str(tmp_path), "--features", "musicnn",
               "--cache", str(tmp_path / "cache")]
    )  # fmt: skip
    assert done.exit_code == 1 and "run 'msr weights fetch'" in done.output


def test_weights_lie_in_one_folder_and_former_places_are_still_found(tmp_path, monkeypatch):
    file = f"{musicnn_graph.MUSICNN_NAME}.onnx"
    monkeypatch.delenv("MSR_WEIGHTS", raising=False)
    monkeypatch.delenv("MSR_EARS", raising=False)
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(weights, "FORMER_WEIGHTS", tmp_path / "ears")
    assert weights.weights_file(weights.MUSICNN) == tmp_path / "weights" / file
    for folder in ("ears", "weights"):  # the new place wins
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
        assert weights.weights_file(weights.MUSICNN) == tmp_path / folder / file
    monkeypatch.setenv("MSR_EARS", str(tmp_path / "former"))
    with pytest.warns(FutureWarning, match="MSR_EARS is now called MSR_WEIGHTS"):
        assert weights.weights_file(weights.MUSICNN) == tmp_path / "former" / file
    monkeypatch.setenv("MSR_WEIGHTS", str(tmp_path / "now"))
    assert weights.weights_file(weights.MUSICNN) == tmp_path / "now" / file


@needs_pretrained_weights
@pytest.mark.parametrize("command", ["weights", "ear"])
def test_fetch_again_does_nothing(command):
    done = CliRunner().invoke(main, [command, "fetch"])
    assert done.exit_code == 0 and "nothing to be done" in done.stdout
    assert ("'msr ear' is now called 'msr weights'" in done.stderr) == (command == "ear")


@needs_pretrained_weights
def test_embeddings_are_cached(tmp_path):
    path = tmp_path / "tone.wav"
    sf.write(path, tone(2.0), SAMPLE_RATE)
    _, made, computed = compute_or_read(path, CONFIG, tmp_path)
    _, cached, again = compute_or_read(path, CONFIG, tmp_path)
    assert computed and not again and made.shape == (4, musicnn_graph.EMBEDDING_DIM)
    np.testing.assert_array_equal(made, extract(path, CONFIG))
    np.testing.assert_array_equal(made, cached)
    np.testing.assert_array_equal(made, FeatureExtractor(CONFIG).push(decode.load(path)))


def test_features_load_no_runtime_without_the_block():
    heavy = "{'onnx', 'onnxruntime', 'tensorflow', 'librosa', 'scipy.signal'}"
    code = (
        "import sys\n"
        "from msr_utils.features import FeatureConfig, FeatureExtractor\n"
        "FeatureConfig('musicnn').hash\n"
        "FeatureExtractor(FeatureConfig())\n"
        f"print(*({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
