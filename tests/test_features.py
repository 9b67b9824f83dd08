"""Features: what librosa computes, no look into the future, stream equals file."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import soundfile as sf
from conftest import tone

from msr_utils import audio
from msr_utils.constants import POWER_FLOOR, SAMPLE_RATE
from msr_utils.features import (
    BLOCKS,
    FeatureConfig,
    FeatureExtractor,
    extract,
    logmel_spectrogram,
    mel_filterbank,
)

ALL = FeatureConfig(blocks=tuple(BLOCKS))


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


@pytest.mark.parametrize("n_mels, n_fft", [(64, 1024), (96, 2048), (128, 2048)])
def test_filterbank_is_librosas(n_mels, n_fft):
    config = FeatureConfig(n_mels=n_mels, n_fft=n_fft)
    wanted = librosa.filters.mel(
        sr=config.sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=config.fmin, fmax=config.fmax
    )
    np.testing.assert_allclose(mel_filterbank(config), wanted.T, atol=1e-7)


@pytest.mark.parametrize("name", signals())
def test_logmel_is_librosas_on_what_has_been_heard(name):
    config, samples = FeatureConfig(), signals()[name]
    heard = np.concatenate([np.zeros(config.n_fft - config.hop_length, np.float32), samples])
    power = librosa.feature.melspectrogram(
        y=heard, sr=config.sample_rate, n_fft=config.n_fft, hop_length=config.hop_length,
        n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax, center=False,
    )  # fmt: skip
    wanted = librosa.power_to_db(power, ref=1.0, amin=POWER_FLOOR, top_db=None).T
    got = logmel_spectrogram(samples, config)
    assert got.shape == wanted.shape == (6 * config.steps, config.n_mels)
    # Far below the loudest band float32 rounding is all there is: compare power there.
    np.testing.assert_allclose(10 ** (got / 10), 10 ** (wanted / 10), rtol=1e-3, atol=1e-6)
    loud = wanted > wanted.max() - 60
    np.testing.assert_allclose(got[loud], wanted[loud], atol=0.02)


def test_blocks_summarise_the_frames_spectrogram():
    samples = signals()["chord"]
    mel_db = logmel_spectrogram(samples).reshape(6, 25, 128)
    got = FeatureExtractor(ALL).push(samples)
    assert got.shape == (6, ALL.dim) == (6, 128 + 32 + 128 * 5)
    np.testing.assert_allclose(got[:, :128], mel_db.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(
        got[:, 128:160], mel_db.std(axis=1).reshape(6, 32, 4).mean(axis=2), atol=1e-4
    )
    np.testing.assert_allclose(got[:, 160:288], mel_db[:, :5].mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(got[:, -128:], mel_db[:, 20:].mean(axis=1), atol=1e-4)


def test_a_frame_does_not_see_the_future():
    samples = signals()["full-scale noise"]
    changed = samples.copy()
    changed[2 * ALL.frame_samples :] = 0
    before, after = FeatureExtractor(ALL).push(samples), FeatureExtractor(ALL).push(changed)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.abs(before[2] - after[2]).max() > 1


@pytest.mark.parametrize("sizes", [[1], [441], [11_025], [7, 5000, 30_000]])
def test_stream_equals_file_whatever_the_chunks(sizes):
    samples = signals()["full-scale noise"]
    if sizes == [1]:
        samples = samples[: SAMPLE_RATE + 3]
    whole = FeatureExtractor(ALL).push(samples)
    stream, parts, at = FeatureExtractor(ALL), [], 0
    while at < len(samples):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(samples[at : at + size]))
        at += size
    # 1e-5 dB of a range of 100: the order of float32 sums is all that differs.
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_silence_stays_finite_at_the_floor():
    got = FeatureExtractor(FeatureConfig()).push(np.zeros(SAMPLE_RATE, np.float32))
    np.testing.assert_allclose(got, -100)
    got = FeatureExtractor(FeatureConfig(blocks=("logmel_sd",))).push(np.zeros(SAMPLE_RATE))
    np.testing.assert_allclose(got, 0)


def test_extract_drops_an_incomplete_frame(tmp_path):
    path = tmp_path / "tone.wav"
    sf.write(path, tone(1.7), SAMPLE_RATE)
    assert extract(path).shape == (3, 128)
    sf.write(path, tone(0.3), SAMPLE_RATE)
    with pytest.raises(audio.AudioError, match=r"tone\.wav: shorter than the 500 ms"):
        extract(path)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"blocks": ("loudnes",)}, "unknown block 'loudnes'"),
        ({"blocks": ()}, "at least one block"),
        ({"hop_length": 500}, "hop_length 500"),
        ({"n_mels": 0}, "n_mels"),
        ({"n_mels": 40, "blocks": ("logmel_sd",)}, "logmel_sd needs n_mels"),
        ({"patch_steps": 4}, "patch_steps 4"),
        ({"fmax": 20_000.0}, "fmax"),
        ({"n_fft": 256}, "n_fft"),
    ],
)
def test_wrong_parameters_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        FeatureConfig(**change)


def test_json_round_trip_and_a_hash_that_does_not_match():
    assert FeatureConfig.from_json(ALL.to_json()) == ALL
    assert FeatureConfig(n_mels=96).hash != FeatureConfig().hash
    with pytest.raises(ValueError, match="export again"):
        FeatureConfig.from_json({**ALL.to_json(), "n_mels": 96})
