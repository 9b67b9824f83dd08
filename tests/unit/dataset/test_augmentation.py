"""Augmentation: labels stay true, nothing else changes, and every draw can be repeated."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import tone

from msr_utils.constants import SAMPLE_RATE, SD_BANDS
from msr_utils.corpora.base import Track
from msr_utils.dataset.augmentation import (
    MASK_PERIOD_FRAMES,
    TRANSFORMS,
    AugmentConfig,
    AugmentConfigError,
    augmented,
    drawn,
    masked,
    relabelled,
    stretched,
)
from msr_utils.dataset.sequences import align
from msr_utils.features.blocks.registry import BLOCKS
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor

ALL = ",".join((*TRANSFORMS, "mask"))
STEP_S, LONG_S = 8.0, 14.0


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(0, level, int(seconds * SAMPLE_RATE)).astype(np.float32)


def stepped(samples: np.ndarray) -> np.ndarray:
    """Thirty dB louder from `STEP_S` on."""
    quiet = np.arange(len(samples)) < STEP_S * SAMPLE_RATE
    return np.where(quiet, samples / 32, samples).astype(np.float32)


def track(times_s, valence, ratings=None) -> Track:
    valence = np.array(valence, np.float32)
    return Track(
        "x", Path("x.wav"), np.array(times_s, float), valence, -valence, "g", ratings=ratings
    )


def step_track() -> Track:
    times_s = np.arange(1, LONG_S * 2 + 1) / 2
    return track(times_s, np.where(times_s > STEP_S, 0.5, -0.5))


def copy_of(samples, names, copy=1, of=None, **ranges):
    """Augment with ranges that are single values: ``gain_db=6``."""
    ranges = {k: v if isinstance(v, tuple) else (v, v) for k, v in ranges.items()}
    return augmented(of or step_track(), samples, AugmentConfig(names, **ranges), copy)


def step_s(samples: np.ndarray) -> float:
    """When the audio gets louder."""
    power = np.convolve(samples.astype(float) ** 2, np.ones(441) / 441, "same")
    ends = power[: 4 * SAMPLE_RATE].mean(), power[-3 * SAMPLE_RATE :].mean()
    return int(np.argmax(power > np.sqrt(ends[0] * ends[1]))) / SAMPLE_RATE


def spectrum_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Mean power density between two frequencies."""
    power = np.abs(np.fft.rfft(samples.astype(float))) ** 2 / len(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return 10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].mean())


@pytest.mark.parametrize("rate", [0.8, 0.93, 1.25])
def test_stretch_moves_audio_and_labels_together(rate):
    samples, stretched_track = copy_of(stepped(noise(LONG_S)), "stretch", stretch_rate=rate)
    assert len(samples) == pytest.approx(LONG_S * SAMPLE_RATE / rate, abs=1)
    assert step_s(samples) == pytest.approx(STEP_S / rate, abs=0.02)
    got = align(stretched_track, FeatureExtractor(FeatureConfig()).push(samples))
    # The end of the audio may lack the last label, the rest has one each.
    assert got.mask[:-1].all()
    loud = got.features.mean(axis=1)
    first_loud = int(np.argmax(loud > (loud[2] + loud[-3]) / 2))
    assert abs(first_loud - int(np.argmax(got.target("valence") > 0))) <= 1
    np.testing.assert_array_equal(got.target("arousal"), -got.target("valence"))


def test_stretched_rows_are_those_that_the_middles_come_from():
    rows = np.arange(8) / 10
    original = track(np.arange(1, 9) / 2, rows, np.stack([rows, rows], 1)[None])
    np.testing.assert_allclose(stretched(original, 1.0).valence, rows)
    fast = stretched(original, 2.0)
    np.testing.assert_array_equal(fast.times_s, [0.5, 1, 1.5, 2])
    np.testing.assert_allclose(fast.valence, [0.1, 0.3, 0.5, 0.7])
    np.testing.assert_allclose(fast.ratings[0, :, 1], fast.valence)
    slow = stretched(original, 0.8)
    np.testing.assert_allclose(slow.valence, rows[[0, 1, 2, 2, 3, 4, 5, 6, 6, 7]])
    np.testing.assert_allclose(slow.times_s, np.arange(1, 11) / 2)


def test_stretch_keeps_late_starts_gaps_and_missing_values():
    # Labels from 1.5 s on, none at 3.0 s, one value missing at 3.5 s, none after 4.0 s.
    original = track([1.5, 2, 2.5, 3.5, 4], [0.1, 0.2, 0.3, np.nan, 0.5])
    slow = stretched(original, 0.5)
    np.testing.assert_array_equal(slow.times_s, [2.5, 3, 3.5, 4, 4.5, 5, 6.5, 7, 7.5, 8])
    np.testing.assert_array_equal(slow.mask, [1, 1, 1, 1, 1, 1, 0, 0, 1, 1])
    np.testing.assert_allclose(slow.valence[slow.mask], np.repeat([0.1, 0.2, 0.3, 0.5], 2))
    assert stretched(track([], []), 0.9).times_s.shape == (0,)


@pytest.mark.parametrize("semitones", [-3.0, 0.5, 4.0])
def test_pitch_moves_a_tone_and_not_its_loudness_in_time(semitones):
    original = stepped(tone(LONG_S, 440.0))
    labels = step_track()
    samples, same = copy_of(original, "pitch", of=labels, pitch_semitones=semitones)
    assert same is labels
    assert len(samples) == len(original)
    loud = samples[9 * SAMPLE_RATE : 13 * SAMPLE_RATE]
    peak_hz = np.argmax(np.abs(np.fft.rfft(loud * np.hanning(len(loud))))) / 4
    assert peak_hz == pytest.approx(440 * 2 ** (semitones / 12), abs=1)
    assert step_s(samples) == pytest.approx(STEP_S, abs=0.03)


def test_eq_changes_each_band_by_its_gain_and_nothing_in_time():
    original = stepped(noise(LONG_S))
    config = AugmentConfig("eq")
    for copy in (1, 2, 3):
        samples, _ = augmented(step_track(), original, config, copy)
        for (low, high), gain in zip(
            [(20, 50), (950, 1050), (9000, 11_000)], drawn("x", config, copy)["eq"], strict=True
        ):
            change = spectrum_db(samples, low, high) - spectrum_db(original, low, high)
            assert change == pytest.approx(gain, abs=1.5)
        assert len(samples) == len(original)
        assert step_s(samples) == pytest.approx(STEP_S, abs=0.01)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_has_the_power_that_was_drawn(snr_db):
    original = tone(5.0)
    samples, _ = copy_of(original, "noise", noise_snr_db=snr_db)
    added = samples - original
    assert 10 * np.log10(np.mean(original**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.1)
    # Almost all of the noise is above 20 Hz.
    audible = np.fft.rfftfreq(len(added), 1 / SAMPLE_RATE) >= 20
    power = np.abs(np.fft.rfft(added)) ** 2
    assert power[audible].sum() > 0.97 * power.sum()


def test_noise_lies_between_white_and_pink():
    slopes = []
    for copy in range(1, 9):
        added = copy_of(tone(5.0), "noise", copy, noise_snr_db=0)[0] - tone(5.0)
        low, high = spectrum_db(added, 100, 200), spectrum_db(added, 3200, 6400)
        slopes.append((high - low) / 5)
    assert -3.4 < min(slopes) < -1.8 < -1.2 < max(slopes) < 0.4  # dB an octave


@pytest.mark.parametrize("kbps", [16.0, 24.0, 48.0, 56.0, 64.0, 160.0])
def test_codec_alters_audio_but_not_when_it_happens(kbps):
    original = noise(3.3, level=0.001)
    original[2 * SAMPLE_RATE] = 0.9
    samples, _ = copy_of(original, "codec", codec_kbps=kbps)
    assert len(samples) == len(original)
    assert abs(int(np.argmax(np.abs(samples))) - 2 * SAMPLE_RATE) < 0.01 * SAMPLE_RATE
    assert 1e-5 < np.abs(samples - original).max() < 0.9


def test_gain_changes_the_level_and_nothing_else():
    original = noise(5.0)
    config = AugmentConfig("gain")
    labels = step_track()
    samples, same = augmented(labels, original, config, 2)
    (gain_db,) = drawn("x", config, 2)["gain"]
    assert abs(gain_db) > 0.1
    features = [FeatureExtractor(FeatureConfig()).push(s) for s in (original, samples)]
    np.testing.assert_allclose(features[1] - features[0], gain_db, atol=1e-3)
    assert same is labels


def test_nothing_is_clipped():
    loud = tone(2.0, level=1.0)
    samples, _ = copy_of(loud, "gain", gain_db=12)
    assert np.abs(samples).max() == pytest.approx(10 ** (12 / 20), rel=1e-3)
    samples, _ = copy_of(3 * loud, "codec", codec_kbps=64)
    assert np.abs(samples).max() > 2.7


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_mask_covers_the_stated_share_of_time_and_bands(share):
    blocks = FeatureConfig(blocks=("logmel", "logmel_sd", "patch", "onset"))
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (3 * MASK_PERIOD_FRAMES, blocks.dim)).astype(np.float32)
    before = features.copy()
    config = AugmentConfig("mask", mask_share=(share, share))
    got = masked(features, blocks, "x", config, 1)
    np.testing.assert_array_equal(features, before)
    hidden = got != features
    np.testing.assert_array_equal(got[hidden], np.tile(features.mean(axis=0), (180, 1))[hidden])
    for part in np.split(hidden, 3):
        frames = part.all(axis=1)
        assert frames.sum() == int(share * MASK_PERIOD_FRAMES)
        if share < 1:
            columns = part.all(axis=0)
            # What is not made of mel bands is hidden in time alone.
            of_mels, others = np.split(columns, [-BLOCKS["onset"].dim(blocks)])
            assert not others.any()
            assert of_mels.sum() == pytest.approx(share * len(of_mels), rel=0.1)
            # One run of frames; one run of bands, the same in every block and patch step.
            assert np.diff(frames.astype(int), prepend=0).clip(0).sum() == (share > 0)
            mels, sd, patch = np.split(of_mels, [blocks.n_mels, blocks.n_mels + SD_BANDS])
            np.testing.assert_array_equal(mels, np.repeat(sd, 4))
            np.testing.assert_array_equal(patch, np.tile(mels, blocks.patch_steps))
            assert np.diff(mels.astype(int), prepend=0).clip(0).sum() == (share > 0)
            assert not (part & ~frames[:, None] & ~columns).any()


def test_masks_differ_and_stay_below_the_share():
    features = np.arange(100 * 128, dtype=np.float32).reshape(100, 128)
    config = AugmentConfig("mask", mask_share=(0.0, 0.3))
    hidden = [masked(features, FeatureConfig(), "x", config, c) != features for c in range(1, 9)]
    assert len({h.tobytes() for h in hidden}) > 6
    for part in hidden:
        assert part.all(axis=1).sum() <= 0.3 * 100


def test_every_name_at_once_still_aligns():
    config = AugmentConfig(ALL)
    assert config.names == (*TRANSFORMS, "mask")
    blocks = FeatureConfig(blocks=tuple(BLOCKS))
    for copy in (1, 2):
        samples, copied = augmented(step_track(), stepped(noise(LONG_S)), config, copy)
        features = masked(FeatureExtractor(blocks).push(samples), blocks, "x", config, copy)
        got = align(copied, features)
        rate = drawn("x", config, copy)["stretch"][0]
        assert len(got.features) == int(LONG_S / rate * 2)
        assert got.mask[:-1].all()
        # What a cache of features needs of the labels comes without the audio.
        again = relabelled(step_track(), config, copy)
        np.testing.assert_array_equal(again.times_s, copied.times_s)
        np.testing.assert_array_equal(again.valence, copied.valence)


def test_off_changes_nothing():
    original, labels, features = noise(1.0), step_track(), np.ones((4, 128), np.float32)
    for names in ("", (), " , "):
        config = AugmentConfig(names)
        samples, same = augmented(labels, original, config, 1)
        assert samples is original and same is labels
        assert masked(features, FeatureConfig(), "x", config, 1) is features
        assert config.key("x", 1) == ""


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("samples", [np.zeros(SAMPLE_RATE, np.float32), noise(0.7), noise(0.001)])
def test_silence_and_short_audio_stay_finite_float32(name, samples):
    before = samples.copy()
    got, _ = augmented(step_track(), samples, AugmentConfig(name), 1)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(samples, before)
    if name != "stretch":
        assert got.shape == samples.shape
    if not samples.any():
        assert np.abs(got).max() < 1e-6


SCRIPT = """
import hashlib, random, sys
import numpy as np
random.seed(int(sys.argv[1])); np.random.seed(int(sys.argv[1]))
sys.path.insert(0, sys.argv[2])
from test_augmentation import fingerprints
print(*fingerprints())
"""


def fingerprints() -> list[str]:
    """What each transform makes of the same audio, at its limits where they are hardest."""
    samples = noise(3.0)
    configs = [AugmentConfig(name) for name in TRANSFORMS]
    configs += [AugmentConfig("stretch", stretch_rate=(0.6, 0.6)), AugmentConfig(ALL)]
    made = [augmented(step_track(), samples, config, 1)[0] for config in configs]
    features = np.arange(128 * 90, dtype=np.float32).reshape(90, 128)
    made.append(masked(features, FeatureConfig(), "x", configs[-1], 1))
    return [hashlib.sha256(m.tobytes()).hexdigest() for m in made]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_copy_in_another_process():
    here = Path(__file__).parent
    folders = [str(here.parents[1]), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(folders)
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, "5", str(here)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == fingerprints()


def test_the_global_generators_are_left_alone():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    wanted = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    augmented(step_track(), noise(1.0), AugmentConfig(ALL), 1)
    assert (random.random(), np.random.random()) == wanted  # noqa: NPY002


def test_draws_follow_seed_track_and_copy_and_nothing_else():
    config = AugmentConfig("gain,stretch")
    first = drawn("x", config, 1)
    assert first["gain"] == drawn("x", AugmentConfig("gain"), 1)["gain"]
    others = [
        drawn("x", config, 2),
        drawn("y", config, 1),
        drawn("x", AugmentConfig("gain,stretch", seed=8), 1),
    ]
    for other in others:
        assert other["gain"] != first["gain"] and other["stretch"] != first["stretch"]
    many = [drawn("x", config, copy)["gain"][0] for copy in range(1, 200)]
    assert -10 <= min(many) < -9 and 9 < max(many) <= 10


def test_draws_are_those_that_were_published():
    # Published results rest on these draws.
    got = drawn("x", AugmentConfig("gain,stretch"), 1)
    np.testing.assert_allclose(got["stretch"], 1.0856830177955135)
    np.testing.assert_allclose(got["gain"], 9.483432690223012)


def test_a_key_follows_what_changes_the_audio():
    base = AugmentConfig("gain,noise")
    keys = {
        base.key("x", 1),
        base.key("x", 2),
        base.key("y", 1),
        AugmentConfig("gain").key("x", 1),
        AugmentConfig("gain,noise", seed=8).key("x", 1),
        AugmentConfig("gain,noise", gain_db=(-1, 1)).key("x", 1),
    }
    assert len(keys) == 6
    for same in (
        AugmentConfig(("noise", "gain"), copies=3),
        AugmentConfig("gain, noise,mask"),
        AugmentConfig("gain,noise", stretch_rate=(1, 1)),
    ):
        assert same.key("x", 1) == base.key("x", 1)
    assert AugmentConfig("mask").key("x", 1) == ""


@pytest.mark.parametrize(
    "change, words",
    [
        ({"names": "gain,strech"}, "unknown transform 'strech'; known: stretch, pitch"),
        ({"copies": 0}, "copies must be a whole number from 1, not 0"),
        ({"copies": 1.5}, "copies must be a whole number"),
        ({"stretch_rate": (0.4, 1.0)}, "stretch_rate must be a range within 0.6 to 1.7"),
        ({"gain_db": (3, -3)}, "gain_db must be a range within -60 to 40, not 3 to -3"),
        ({"noise_snr_db": (float("nan"), 3)}, "noise_snr_db"),
        ({"codec_kbps": (8, 64)}, "codec_kbps must be a range within 16 to 160"),
        ({"eq_db": 3}, "eq_db must be two numbers, not 3"),
        ({"pitch_semitones": ("a", 3)}, "pitch_semitones must be two numbers"),
        ({"mask_share": (0, 1.1)}, "mask_share"),
    ],
)
def test_wrong_parameters_are_named(change, words):
    with pytest.raises(AugmentConfigError, match=words) as error:
        AugmentConfig(**change)
    assert [error.value.field] == list(change)


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 100), np.float32), np.zeros(100), np.zeros(0, np.float32)]
)
def test_wrong_audio_is_refused(samples):
    with pytest.raises(ValueError, match="track 'x': audio must be mono float32"):
        augmented(step_track(), samples, AugmentConfig("gain"), 1)
