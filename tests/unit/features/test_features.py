"""Features: equal to librosa's, without future audio, the same for a stream and a file."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
from conftest import MUSIC, cadences, ten_seconds, tone

from msr_utils.audio.source import AudioError
from msr_utils.constants import (
    CHROMA_N_FFT,
    CHROMA_STEPS,
    DELTA_HOPS,
    KEY_WINDOWS_S,
    N_MFCC,
    SAMPLE_RATE,
    TEMPO_BANDS,
)
from msr_utils.experiments import librosa_parity
from msr_utils.experiments.librosa_parity import per_frame
from msr_utils.features import blocks as block_package
from msr_utils.features.blocks.cepstral import mfcc_slopes
from msr_utils.features.blocks.registry import ALL_BLOCKS, BLOCKS, FAMILIES, PRETRAINED
from msr_utils.features.blocks.rhythm import autocorrelation, tempo_window
from msr_utils.features.blocks.tonal import key_strengths
from msr_utils.features.config import FEATURE_VERSION, FeatureConfig, block_table
from msr_utils.features.extractor import FeatureExtractor, extract, logmel_spectrogram
from msr_utils.features.filterbanks import chroma_filterbank, mel_filterbank
from msr_utils.features.frame import Frames
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig

ALL = FeatureConfig(blocks=tuple(BLOCKS))
GOLDEN = Path(__file__).parent / "golden" / "features.npz"


def signals() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    clicks = np.zeros(3 * SAMPLE_RATE, np.float32)
    clicks[:: SAMPLE_RATE // 4] = 1
    return {
        "tone": tone(3.0),
        "chord": tone(3.0, 261.6) + tone(3.0, 329.6) + tone(3.0, 392.0),
        "clicks": clicks,
        "silence": np.zeros(3 * SAMPLE_RATE, np.float32),
        "full-scale noise": rng.uniform(-1, 1, 3 * SAMPLE_RATE).astype(np.float32),
    }


NAMES = [*signals(), *MUSIC]


def signal(name: str) -> np.ndarray:
    """One of `NAMES`, (n,) float32."""
    made = signals()
    return made[name] if name in made else ten_seconds(name)


def frames_of(samples: np.ndarray, *blocks: str) -> tuple[FeatureExtractor, list]:
    """An extractor and its batches of frames, for values that blocks share."""
    extractor = FeatureExtractor(FeatureConfig(blocks=blocks))
    return extractor, extractor._frames(samples)


@pytest.mark.parametrize("n_mels, n_fft", [(64, 1024), (96, 2048), (128, 2048)])
def test_filterbank_is_librosas(n_mels, n_fft):
    config = FeatureConfig(n_mels=n_mels, n_fft=n_fft)
    wanted = librosa.filters.mel(
        sr=config.sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=config.fmin, fmax=config.fmax
    )
    np.testing.assert_allclose(mel_filterbank(config), wanted.T, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_logmel_is_librosas_after_a_silent_past(name):
    config, samples = FeatureConfig(), signal(name)
    wanted = librosa_parity.mel_spectrogram(samples, config).T
    got = logmel_spectrogram(samples, config)
    assert got.shape == wanted.shape == (len(samples) // config.hop_length, config.n_mels)
    # Far below the loudest band float32 rounding is all there is: compare power there.
    np.testing.assert_allclose(10 ** (got / 10), 10 ** (wanted / 10), rtol=1e-3, atol=1e-6)
    loud = wanted > wanted.max() - 60
    np.testing.assert_allclose(got[loud], wanted[loud], atol=0.02)


def test_blocks_summarise_the_frames_spectrogram():
    samples = signal("chord")
    mel_db = logmel_spectrogram(samples).reshape(6, 25, 128)
    config = FeatureConfig(blocks=("logmel", "logmel_sd", "patch"))
    got = FeatureExtractor(config).push(samples)
    assert got.shape == (6, config.dim) == (6, 128 + 32 + 128 * 5)
    np.testing.assert_allclose(got[:, :128], mel_db.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(
        got[:, 128:160], mel_db.std(axis=1).reshape(6, 32, 4).mean(axis=2), atol=1e-4
    )
    np.testing.assert_allclose(got[:, 160:288], mel_db[:, :5].mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(got[:, -128:], mel_db[:, 20:].mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_mfcc_and_slopes_are_librosas(name):
    samples = signal(name)
    wanted = librosa.feature.mfcc(S=logmel_spectrogram(samples).T, n_mfcc=N_MFCC)
    got = FeatureExtractor(FeatureConfig(blocks=("mfcc",))).push(samples)
    np.testing.assert_allclose(got, per_frame(wanted, ALL.steps), atol=2e-3)
    _, frames = frames_of(samples, "mfcc_delta")
    slopes = np.concatenate([mfcc_slopes(some).reshape(-1, N_MFCC, 2) for some in frames])
    slopes = np.moveaxis(slopes, 2, 0)
    late = DELTA_HOPS // 2
    for order in (1, 2):
        centred = librosa.feature.delta(wanted, width=DELTA_HOPS, order=order, mode="nearest")
        np.testing.assert_allclose(slopes[order - 1, late:], centred.T[:-late], atol=2e-3)
    got = FeatureExtractor(FeatureConfig(blocks=("mfcc_delta",))).push(samples)
    np.testing.assert_allclose(
        got[:, :N_MFCC], per_frame(np.abs(slopes[0]).T, ALL.steps), atol=1e-5
    )
    np.testing.assert_allclose(
        got[:, N_MFCC:], per_frame(np.abs(slopes[1]).T, ALL.steps), atol=1e-5
    )


@pytest.mark.parametrize("n_fft", [2048, CHROMA_N_FFT])
def test_chroma_filterbank_is_librosas(n_fft):
    wanted = librosa.filters.chroma(sr=SAMPLE_RATE, n_fft=n_fft, tuning=0.0)
    np.testing.assert_allclose(chroma_filterbank(SAMPLE_RATE, n_fft), wanted.T, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_chroma_is_librosas(name):
    wanted = librosa_parity.chroma(signal(name), ALL)
    got = FeatureExtractor(FeatureConfig(blocks=("chroma",))).push(signal(name))
    np.testing.assert_allclose(got, per_frame(wanted, CHROMA_STEPS), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_contrast_is_librosas(name):
    wanted = per_frame(librosa_parity.contrast(signal(name), ALL), ALL.steps)
    got = FeatureExtractor(FeatureConfig(blocks=("contrast",))).push(signal(name))
    np.testing.assert_allclose(got, wanted, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_onset_and_tempogram_are_librosas(name):
    samples = signal(name)
    wanted = librosa.onset.onset_strength(S=logmel_spectrogram(samples).T, center=False)
    _, frames = frames_of(samples, "onset", "tempogram")
    found = [(some.onset.ravel(), autocorrelation(some)) for some in frames]
    strength, rows = map(np.concatenate, zip(*found, strict=True))
    np.testing.assert_allclose(strength, wanted, atol=1e-4)
    got = FeatureExtractor(FeatureConfig(blocks=("onset",))).push(samples)
    hops = wanted.reshape(-1, ALL.steps)
    means = np.stack([hops.mean(axis=1), hops.max(axis=1), hops.std(axis=1)], axis=1)
    np.testing.assert_allclose(got, means, atol=1e-4)
    length = rows.shape[1]
    known = np.concatenate([np.zeros(length - ALL.steps), wanted])
    tempogram = librosa.feature.tempogram(
        onset_envelope=known,
        win_length=length,
        window=tempo_window(ALL),
        center=False,
        norm=None,
    )
    tempogram = tempogram[:, :: ALL.steps] / np.maximum(tempogram[0, :: ALL.steps], 1)
    np.testing.assert_allclose(rows, tempogram.T, atol=1e-4)


def test_tempo_of_clicks_stands_out():
    clicks = np.zeros(12 * SAMPLE_RATE, np.float32)
    clicks[:: SAMPLE_RATE // 2] = 1  # 120 beats per minute
    config = FeatureConfig(blocks=("tempogram",))
    bands = FeatureExtractor(config).push(clicks)[-1]
    noise = FeatureExtractor(config).push(signal("full-scale noise"))[-1]
    assert bands[:TEMPO_BANDS].argmax() == int(TEMPO_BANDS * np.log(120 / 30) / np.log(10))
    assert bands[-1] > noise[-1] + 0.3


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
def test_loudness_of_the_standards_sine(rate):
    config = FeatureConfig(blocks=("loudness",), sample_rate=rate, hop_length=rate // 50)
    got = FeatureExtractor(config).push(tone(4.0, 997, rate=rate, level=1.0))
    np.testing.assert_allclose(got[-1], -3.01, atol=0.03)
    assert got[0, 1] < got[0, 0] - 5  # only half a second of three has sounded


def test_loudness_is_that_of_the_standards_filters():
    from scipy.signal import lfilter

    rate, rng = 48_000, np.random.default_rng(3)
    samples = np.cumsum(rng.normal(size=8 * rate) * 0.01)  # low frequencies prevail
    samples = lfilter([1, -1], [1, -0.999], samples).astype(np.float32)
    shelf = lfilter(
        [1.53512485958697, -2.69169618940638, 1.19839281085285],
        [1.0, -1.69065929318241, 0.73248077421585],
        samples,
    )
    weighted = lfilter([1, -2, 1], [1.0, -1.99004745483398, 0.99007225036621], shelf)
    config = FeatureConfig(
        blocks=("loudness",), sample_rate=rate, hop_length=960, n_fft=4096, fmax=11_025.0
    )
    got = FeatureExtractor(config).push(samples)
    short_term = -0.691 + 10 * np.log10(np.mean(weighted[-3 * rate :] ** 2))
    assert got[-1, 1] == pytest.approx(short_term, abs=0.3)


def tonal(samples: np.ndarray) -> dict[str, np.ndarray]:
    """The last frame's tonal block: per average, and stability."""
    row = FeatureExtractor(FeatureConfig(blocks=("tonal",))).push(samples)[-1]
    averages = row[:-3].reshape(len(KEY_WINDOWS_S), 25)
    return {
        "chroma": averages[:, :12], "best": averages[:, 12], "mode": averages[:, 13],
        "all": row, "stability": row[-3:],
    }  # fmt: skip


def test_keys_are_found():
    for third, best in ((4, 0), (3, 12)):
        for tonic in (60, 65):
            _, frames = frames_of(cadences(tonic, third), "chroma")
            chroma = sum(some.chroma.sum(axis=(0, 1)) for some in frames)
            assert key_strengths(chroma[None]).argmax() == best + tonic % 12
    np.testing.assert_array_equal(key_strengths(np.zeros((1, 12), np.float32)), 0)


def test_tonal_tells_major_from_minor_in_every_transposition():
    major, minor = tonal(cadences(60)), tonal(cadences(60, third=3))
    # Over 2 s the fifth's chord, major in both, still sounds.
    assert (major["mode"][1:] > 0.1).all() and (minor["mode"][1:] < -0.1).all()
    assert (major["chroma"][1:].argmax(axis=1) == 0).all()
    np.testing.assert_allclose(major["chroma"].sum(axis=1), 1, atol=1e-5)
    moved = tonal(cadences(62))
    np.testing.assert_allclose(moved["best"], major["best"], atol=0.03)
    np.testing.assert_allclose(moved["all"], major["all"], atol=0.2)
    # All twelve keys: nearly alike over 6 and 20 s.
    for key in range(61, 72):
        for third, home in ((4, major), (3, minor)):
            there = tonal(cadences(key, third=third))
            np.testing.assert_allclose(there["mode"][1:], home["mode"][1:], atol=0.15)
            np.testing.assert_allclose(there["chroma"][1:], home["chroma"][1:], atol=0.05)
    assert major["stability"].min() > 0.9
    moves = tonal(np.concatenate([cadences(60, times=10), cadences(66, times=1)]))
    assert moves["stability"][2] < 0.3


@pytest.mark.parametrize("block", BLOCKS)
def test_a_frame_does_not_see_the_future(block, music):
    samples = music[: 3 * SAMPLE_RATE]
    changed = samples.copy()
    changed[2 * ALL.frame_samples :] = signal("full-scale noise")[2 * ALL.frame_samples :]
    config = FeatureConfig(blocks=(block,))
    before, after = FeatureExtractor(config).push(samples), FeatureExtractor(config).push(changed)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.abs(before[2] - after[2]).max() > 0.01


@pytest.mark.parametrize("sizes", [[1], [441], [1000], [11_025], [12_345], [7, 5000, 30_000]])
def test_stream_equals_file_whatever_the_chunks(sizes, music):
    samples = np.concatenate([music[: 4 * SAMPLE_RATE], np.zeros(SAMPLE_RATE, np.float32)])
    if sizes == [1]:
        samples = samples[: SAMPLE_RATE + 3]
    whole = FeatureExtractor(ALL).push(samples)
    stream, parts, at = FeatureExtractor(ALL), [], 0
    while at < len(samples):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(samples[at : at + size]))
        at += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_restored_state_goes_on_exactly(block, music):
    samples, config = music, FeatureConfig(blocks=(block,))
    whole = FeatureExtractor(config).push(samples)
    first, at = FeatureExtractor(config), 3 * SAMPLE_RATE + 17
    done = first.push(samples[:at])
    state = first.state()
    kept = {name: value.copy() for name, value in state.items()}
    first.push(samples[at:])  # a state is a copy: going on does not change it
    second = FeatureExtractor(config)
    second.restore(state)
    rest = second.push(samples[at:])
    np.testing.assert_array_equal(np.concatenate([done, rest]), whole)
    for name, value in kept.items():
        np.testing.assert_array_equal(state[name], value)


def test_a_state_is_constant_in_size_and_of_its_blocks():
    extractor = FeatureExtractor(ALL)
    shapes = {name: value.shape for name, value in extractor.state().items()}
    extractor.push(signal("full-scale noise"))
    assert {name: value.shape for name, value in extractor.state().items()} == shapes
    with pytest.raises(ValueError, match="a state of logmel holds samples, not samples, mfcc"):
        FeatureExtractor(FeatureConfig()).restore(
            FeatureExtractor(FeatureConfig(blocks=("mfcc_delta",))).state()
        )
    state = extractor.state()
    with pytest.raises(ValueError, match="tonal of a state has shape"):
        FeatureExtractor(ALL).restore({**state, "tonal": state["tonal"][:1]})
    with pytest.raises(ValueError, match="samples of a state"):
        FeatureExtractor(ALL).restore({**state, "samples": state["samples"][1:]})


@pytest.mark.parametrize(
    "samples, words",
    [
        (np.array([0.0, np.nan], np.float32), "NaN or infinite"),
        (np.array([np.inf]), "NaN or infinite"),
        (np.zeros(4, np.int16), "need mono floating point, not int16"),
        (np.zeros((4, 2), np.float32), r"of shape \(4, 2\)"),
    ],
)
def test_what_would_spoil_a_stream_is_refused(samples, words):
    extractor = FeatureExtractor(ALL)
    with pytest.raises(ValueError, match=words):
        extractor.push(samples)
    # Nothing of it was taken in.
    got = extractor.push(tone(1.0))
    np.testing.assert_array_equal(got, FeatureExtractor(ALL).push(tone(1.0)))


def test_versions_of_blocks_name_what_they_gave():
    plain = FeatureConfig("logmel")
    assert plain.from_json(plain.to_json()) == plain
    old = {**FeatureConfig("contrast").to_json(), "hash": "0" * 64}
    with pytest.raises(ValueError, match="export again"):
        FeatureConfig.from_json(old)
    # Another block's version leaves this one's hash alone.
    assert plain.hash[:8] == "b11ea187"


@pytest.mark.parametrize("block", BLOCKS)
def test_silence_stays_finite(block):
    config = FeatureConfig(blocks=(block,))
    for samples in (
        np.zeros(2 * SAMPLE_RATE, np.float32),
        np.concatenate([signal("full-scale noise"), np.zeros(60 * SAMPLE_RATE, np.float32)]),
        np.full(2 * SAMPLE_RATE, 1e-30, np.float32),
    ):
        with np.errstate(all="raise", under="ignore"):
            got = FeatureExtractor(config).push(samples)
        assert np.isfinite(got).all()
    silent = {"logmel": -100, "loudness": -100.691, "patch": -100}.get(block, 0)
    if block != "mfcc":
        got = FeatureExtractor(config).push(np.zeros(2 * SAMPLE_RATE, np.float32))
        np.testing.assert_allclose(got, silent, atol=1e-3)


def test_golden_values():
    """Numbers of one clip as they were published: a change needs another version of its block."""
    samples = np.concatenate([cadences(60, times=1), cadences(57, third=3, times=1)])
    got = FeatureExtractor(ALL).push(samples)
    at = 0
    with np.load(GOLDEN) as golden:
        assert set(golden.files) == {f"{n} {b.version}" for n, b in BLOCKS.items()}
        assert FEATURE_VERSION == 1  # of all blocks at once
        for name, block in BLOCKS.items():
            part = got[:, at : at + block.dim(ALL)]
            np.testing.assert_allclose(
                part, golden[f"{name} {block.version}"], atol=2e-3, err_msg=name
            )
            at += block.dim(ALL)


def test_features_load_nothing_heavy():
    """The service imports the features. Each of these libraries takes half a second or more."""
    heavy = "{'librosa', 'scipy.signal', 'scipy.sparse', 'sklearn', 'pandas', 'tensorflow'}"
    code = f"import sys, msr_utils.features.config; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_block_table_names_unit_and_source_of_every_block():
    table = block_table()
    assert [row["name"] for row in table] == list(BLOCKS)
    assert sum(row["dim"] for row in table) == ALL.dim
    assert all(row["unit"] and row["what"] and row["source"] for row in table)


def test_extract_drops_an_incomplete_frame(tmp_path):
    path = tmp_path / "tone.wav"
    sf.write(path, tone(1.7), SAMPLE_RATE)
    assert extract(path).shape == (3, 128)
    sf.write(path, tone(0.3), SAMPLE_RATE)
    with pytest.raises(AudioError, match=r"tone\.wav: shorter than the 500 ms"):
        extract(path)


@pytest.mark.parametrize(
    "change, field, words",
    [
        ({"blocks": ("loudnes",)}, "blocks", "unknown block 'loudnes'"),
        ({"blocks": ()}, "blocks", "at least one block"),
        ({"blocks": ("onset", "logmel", "onset")}, "blocks", "named twice"),
        ({"hop_length": 500}, "hop_length", "hop_length 500"),
        ({"n_mels": 0}, "n_mels", "n_mels must be at least 1"),
        ({"n_mels": 40, "blocks": ("logmel_sd",)}, "n_mels", "logmel_sd needs n_mels"),
        ({"patch_steps": 4}, "patch_steps", "patch_steps 4"),
        ({"fmax": 20_000.0}, "fmax", "fmax 20000 at 22050 Hz"),
        ({"fmin": -1.0}, "fmin", "fmin -1"),
        ({"n_fft": 256}, "n_fft", "n_fft 256"),
        ({"n_mels": 16, "blocks": ("mfcc",)}, "n_mels", "mfcc needs n_mels"),
        ({"n_mels": 16, "blocks": ("mfcc_delta",)}, "n_mels", "mfcc needs n_mels"),
        (
            {"sample_rate": 8000, "hop_length": 160, "fmax": 4000.0, "blocks": ("contrast",)},
            "sample_rate",
            "contrast needs a sample_rate",
        ),
        (
            {"sample_rate": 96_000, "hop_length": 1920, "blocks": ("tonal",)},
            "sample_rate",
            "chroma needs a sample_rate",
        ),
    ],
)
def test_wrong_parameters_are_named(change, field, words):
    with pytest.raises(FeatureConfigError, match=words) as error:
        FeatureConfig(**change)
    assert error.value.field == field


def test_every_module_of_blocks_is_registered_and_every_name_is_unique():
    modules = {m.name for m in pkgutil.iter_modules(block_package.__path__)} - {"base", "registry"}
    assert {family.__name__.rpartition(".")[2] for family in FAMILIES} == modules
    assert len(ALL_BLOCKS) == sum(len(family.BLOCKS) for family in FAMILIES)
    assert {**BLOCKS, **PRETRAINED} == ALL_BLOCKS


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_depends_on_the_spectrum_alone(name):
    """Blocks are given a `SpectrumConfig`; its numbers, not its class, decide the features."""
    block, spectrum, config = BLOCKS[name], SpectrumConfig(n_mels=96), FeatureConfig(n_mels=96)
    block.check(spectrum)
    assert block.dim(spectrum) == block.dim(config)
    states = block.initial_state(spectrum), block.initial_state(config)
    samples = tone(0.5 + block.context_samples(spectrum) / SAMPLE_RATE)[-20_000:]
    rows = [
        block.compute(Frames(samples, 1, which, state))
        for which, state in zip((spectrum, config), states, strict=True)
    ]
    assert rows[0].shape == (1, block.dim(spectrum))
    np.testing.assert_array_equal(*rows)


def test_json_round_trip_and_a_hash_that_does_not_match():
    assert FeatureConfig.from_json(ALL.to_json()) == ALL
    assert FeatureConfig(n_mels=96).hash != FeatureConfig().hash
    with pytest.raises(ValueError, match="export again"):
        FeatureConfig.from_json({**ALL.to_json(), "n_mels": 96})
