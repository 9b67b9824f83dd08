"""Altered copies of training tracks whose labels stay valid: altered audio, masked features.

Only training tracks are augmented. A copy's audio goes through the chosen transforms in the order
of `TRANSFORMS`. The values of a transform are drawn from a generator that depends on the seed,
track, copy and transform only, so they are the same in every process. Samples are not clipped:
they may exceed [-1, 1], as those of a loud MP3 do, and the features have no full scale.

It is an assumption that labels stay valid if a transform changes a musical cue. Level, timbre,
noise and coding are properties of the recording. Tempo and register are also cues to arousal and
valence [1]_, so the default ranges of stretch and pitch are narrow.

References
----------
.. [1] Juslin & Laukka (2004). Expression, perception, and induction of musical emotions: a review
   and a questionnaire study of everyday listening. J. New Music Research 33(3), 217-238.
.. [2] Park, Chan, Zhang, Chiu, Zoph, Cubuk & Le (2019). SpecAugment: a simple data augmentation
   method for automatic speech recognition. Interspeech, 2613-2617.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
import soundfile as sf

from msr_utils.constants import (
    FMIN_HZ,
    FRAME_RATE_HZ,
    SAMPLE_RATE,
    SD_BANDS,
)
from msr_utils.corpora.base import Track
from msr_utils.features.blocks.registry import ALL_BLOCKS
from msr_utils.features.config import FeatureConfig
from msr_utils.io import sha256_text

MASK = "mask"
"""Name of the transform of features, see `masked`. The others transform audio."""

MASK_PERIOD_FRAMES = 60
"""Frames (30 s) that get one mask in time and one in frequency."""

EQ_HZ = (200.0, 1000.0, 4000.0)
"""Corner of the low shelf, centre of the middle band and corner of the high shelf."""

EQ_Q = 0.7
"""Width of the three bands: shelves without overshoot, a middle band of two octaves."""

MP3_DELAY = 576 + 529
"""Delay of the LAME encoder and of a decoder in samples (LAME technical FAQ)."""

MPEG2_KBPS = (8.0, 160.0)
"""Lowest and highest bit rate of MP3 at sample rates of 16 to 24 kHz. libsndfile's compression
level runs from 0 at the highest to 1 at the lowest."""


@dataclass(frozen=True)
class Transform:
    """A transform of audio.

    Parameters
    ----------
    apply : callable
        (samples, values, rng) -> samples, all float32 (n,).
    option : str
        Parameter of `AugmentConfig` with the range of the values. They are drawn uniformly.
    limits : tuple of float
        Lowest and highest value that the range may include.
    draws : int
        Number of values.
    """

    apply: Callable[[np.ndarray, Sequence[float], np.random.Generator], np.ndarray]
    option: str
    limits: tuple[float, float]
    draws: int = 1


def _audiomentations(name: str, samples: np.ndarray, **parameters: Any) -> np.ndarray:
    """Apply a transform of audiomentations. Its ranges are single values, so nothing is drawn."""
    import audiomentations  # importing it takes a second

    with _global_random_state_restored():
        transform = getattr(audiomentations, name)(**parameters, p=1.0)
        altered: np.ndarray = transform(samples, SAMPLE_RATE)
    return altered


@contextmanager
def _global_random_state_restored() -> Iterator[None]:
    """Restore the states of the global generators, which audiomentations uses."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _stretch(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    (rate,) = values
    return _audiomentations(
        "TimeStretch", samples, min_rate=rate, max_rate=rate, leave_length_unchanged=False
    )


def _pitch(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    (shift,) = values
    return _audiomentations("PitchShift", samples, min_semitones=shift, max_semitones=shift)


def _eq(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    filters = ("LowShelfFilter", "PeakingFilter", "HighShelfFilter")
    for name, hz, gain in zip(filters, EQ_HZ, values, strict=True):
        samples = _audiomentations(
            name, samples, min_center_freq=hz, max_center_freq=hz, min_gain_db=gain,
            max_gain_db=gain, min_q=EQ_Q, max_q=EQ_Q,
        )  # fmt: skip
    return samples


def _noise(samples: np.ndarray, values: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Add noise between white and pink. Its power is relative to that of the whole track."""
    # audiomentations' AddColorNoise is not used: a third or more of its pink noise lies below
    # 20 Hz, where it changes no feature.
    n = scipy.fft.next_fast_len(len(samples), real=True)
    hz = scipy.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    slope = rng.uniform(0, 1)  # power falls with 1 / hz ** slope: 0 is white, 1 is pink
    spectrum = scipy.fft.rfft(rng.standard_normal(n, np.float32))
    spectrum *= np.where(hz < FMIN_HZ, 0, np.maximum(hz, FMIN_HZ) ** (-slope / 2))
    noise = scipy.fft.irfft(spectrum, n)[: len(samples)]
    target_rms = _rms(samples) * 10 ** (-values[0] / 20)
    noisy: np.ndarray = samples + (noise * (target_rms / max(_rms(noise), 1e-12))).astype(
        np.float32
    )
    return noisy


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _codec(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    """Encode as MP3 and decode, without the delay of both."""
    low, high = MPEG2_KBPS
    file = io.BytesIO()
    sf.write(
        file, samples, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT", compression_level=(high - values[0]) / (high - low),
    )  # fmt: skip
    file.seek(0)
    decoded: np.ndarray
    decoded, _rate = sf.read(file, dtype="float32")
    # The decoder removes the delay if LAME's header states it. Frames of less than 56 kbit/s are
    # too small for this header, so delay and padding remain.
    if len(decoded) > len(samples):
        decoded = decoded[MP3_DELAY:]
    return decoded[: len(samples)]


def _gain(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    louder: np.ndarray = samples * np.float32(10 ** (values[0] / 20))
    return louder


TRANSFORMS: dict[str, Transform] = {
    # Below a rate of 0.5 the stretcher uses a random generator that cannot be seeded.
    "stretch": Transform(_stretch, "stretch_rate", (0.6, 1.7)),
    "pitch": Transform(_pitch, "pitch_semitones", (-12.0, 12.0)),
    "eq": Transform(_eq, "eq_db", (-18.0, 18.0), draws=len(EQ_HZ)),
    "noise": Transform(_noise, "noise_snr_db", (-20.0, 100.0)),
    "codec": Transform(_codec, "codec_kbps", (16.0, 160.0)),
    "gain": Transform(_gain, "gain_db", (-60.0, 40.0)),
}
"""Transforms of audio by name, in the order of application: instrument, room, medium, level."""


class AugmentConfigError(ValueError):
    """Parameters of augmentation that are unknown or out of range.

    Parameters
    ----------
    message : str
    field : str
        Name of the parameter.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class AugmentConfig:
    """Chosen transforms, their ranges and the seed.

    Parameters
    ----------
    names : str or sequence of str
        Keys of `TRANSFORMS` and ``"mask"``. A string separates them by commas. Empty: no
        augmentation. Every copy goes through all of them, in the order of `TRANSFORMS`.
    copies : int >= 1
        Altered copies of each training track, numbered from 1. The original is used as well.
    seed : int
    stretch_rate : (float, float)
        Range of the playback rate. A rate of 1.25 shortens the track by a fifth.
    pitch_semitones : (float, float)
        Range of the shift in pitch in semitones.
    eq_db : (float, float)
        Range of the gains in dB of a low shelf, a middle band and a high shelf, see `EQ_HZ`.
    noise_snr_db : (float, float)
        Range of the signal-to-noise ratio in dB, over the whole track and above 20 Hz.
    codec_kbps : (float, float)
        Range of the MP3 bit rate in kbit/s. The encoder takes the nearest rate of the standard.
    gain_db : (float, float)
        Range of the change of level in dB.
    mask_share : (float, float)
        Range of the share of 30 s, and of the mel bands, that one mask hides.

    Raises
    ------
    AugmentConfigError
        If a name is unknown or a parameter is out of range; `field` is the parameter's name.
    """

    names: str | Sequence[str] = ()
    copies: int = 1
    seed: int = 7
    stretch_rate: tuple[float, float] = (0.9, 1.1)
    pitch_semitones: tuple[float, float] = (-1.0, 1.0)
    eq_db: tuple[float, float] = (-6.0, 6.0)
    noise_snr_db: tuple[float, float] = (15.0, 40.0)
    codec_kbps: tuple[float, float] = (24.0, 64.0)
    gain_db: tuple[float, float] = (-10.0, 10.0)
    mask_share: tuple[float, float] = (0.0, 0.2)

    def __post_init__(self) -> None:
        names = self.names.split(",") if isinstance(self.names, str) else self.names
        names = [name.strip() for name in names if name.strip()]
        known = (*TRANSFORMS, MASK)
        for name in names:
            if name not in known:
                raise AugmentConfigError(
                    f"augment: unknown transform {name!r}; known: {', '.join(known)}", "names"
                )
        object.__setattr__(self, "names", tuple(name for name in known if name in names))
        if not isinstance(self.copies, int) or self.copies < 1:
            raise AugmentConfigError(
                f"augment: copies must be a whole number from 1, not {self.copies}", "copies"
            )
        for transform in TRANSFORMS.values():
            self._check_range(transform.option, *transform.limits)
        self._check_range("mask_share", 0.0, 1.0)

    def _check_range(self, option: str, lowest: float, highest: float) -> None:
        value = getattr(self, option)
        try:
            low, high = (float(number) for number in value)
        except (TypeError, ValueError):
            raise AugmentConfigError(
                f"augment: {option} must be two numbers, not {value!r}", option
            ) from None
        if not lowest <= low <= high <= highest:
            raise AugmentConfigError(
                f"augment: {option} must be a range within {lowest:g} to {highest:g}, not "
                f"{low:g} to {high:g}",
                option,
            )
        object.__setattr__(self, option, (low, high))

    def key(self, track_id: str, copy: int) -> str:
        """Hash of everything that decides a copy's audio, besides the file. It names a cache.

        Masks are not included, because they apply to features from the cache. Empty if the audio
        is the original's.
        """
        ranges = {n: getattr(self, TRANSFORMS[n].option) for n in self.names if n != MASK}
        if not ranges:
            return ""
        return sha256_text(json.dumps([ranges, self.seed, track_id, copy]))[:16]


def _rng(config: AugmentConfig, track_id: str, copy: int, name: str) -> np.random.Generator:
    """Generator of one transform. Its values do not depend on other transforms."""
    text = json.dumps([config.seed, track_id, copy, name])
    return np.random.default_rng(int(sha256_text(text), 16))


def _draw(transform: Transform, config: AugmentConfig, rng: np.random.Generator) -> list[float]:
    low, high = getattr(config, transform.option)
    return [float(value) for value in rng.uniform(low, high, transform.draws)]


def drawn(track_id: str, config: AugmentConfig, copy: int) -> dict[str, list[float]]:
    """Values of a copy's audio transforms, in the units of `AugmentConfig`.

    Returns
    -------
    dict of str to list of float
        One value by name of the transform; three gains for ``"eq"``.
    """
    return {
        name: _draw(TRANSFORMS[name], config, _rng(config, track_id, copy, name))
        for name in config.names
        if name != MASK
    }


def augmented(
    track: Track, samples: np.ndarray, config: AugmentConfig, copy: int
) -> tuple[np.ndarray, Track]:
    """Make one altered copy of a training track.

    Parameters
    ----------
    track : Track
    samples : np.ndarray [shape=(n,), dtype=float32]
        The whole audio, mono at `SAMPLE_RATE`.
    config : AugmentConfig
    copy : int >= 1
        Number of the copy.

    Returns
    -------
    samples : np.ndarray [shape=(m,), dtype=float32]
        As many as before, unless the copy is stretched.
    track : Track
        As `relabelled` gives it.

    Raises
    ------
    ValueError
        If the audio is empty, not mono or not float32.
    """
    if samples.ndim != 1 or samples.dtype != np.float32 or not len(samples):
        raise ValueError(
            f"augment: track {track.id!r}: audio must be mono float32, not "
            f"{samples.dtype} of shape {samples.shape}"
        )
    for name in config.names:
        if name != MASK:
            rng = _rng(config, track.id, copy, name)
            transform = TRANSFORMS[name]
            samples = transform.apply(samples, _draw(transform, config, rng), rng)
    return samples, relabelled(track, config, copy)


def relabelled(track: Track, config: AugmentConfig, copy: int) -> Track:
    """Annotate a track as one of its copies. No audio is needed if features are cached.

    Returns
    -------
    Track
        The same track, unless the copy is stretched.
    """
    values = drawn(track.id, config, copy)
    return stretched(track, *values["stretch"]) if "stretch" in values else track


def stretched(track: Track, rate: float) -> Track:
    """Change a track's annotation as if its audio were played faster or slower.

    Each new frame takes the row of the old frame that its middle comes from. Nothing is
    interpolated. New frames without such a row have no annotation, and missing values stay
    missing.

    Parameters
    ----------
    track : Track
    rate : float > 0
        A rate of 2 halves the length.

    Notes
    -----
    Listeners respond one to three seconds late at any tempo. This delay is stretched as well, at
    rates of 0.9 to 1.1 by a third of a second at most, which is less than a frame.
    """
    frames = np.rint(track.times_s * FRAME_RATE_HZ).astype(int) - 1
    new = np.arange(int(np.ceil((frames.max(initial=-1) + 1) / rate)))
    source = np.floor((new + 0.5) * rate).astype(int)
    known = np.isin(source, frames)
    rows = np.searchsorted(frames, source[known])
    return replace(
        track,
        times_s=(new[known] + 1) / FRAME_RATE_HZ,
        valence=track.valence[rows],
        arousal=track.arousal[rows],
        ratings=None if track.ratings is None else track.ratings[:, rows],
    )


def masked(
    features: np.ndarray,
    features_config: FeatureConfig,
    track_id: str,
    config: AugmentConfig,
    copy: int,
) -> np.ndarray:
    """Mask a part of a copy's frames and mel bands, as SpecAugment does [2]_.

    Every 30 s get one mask in time and one in frequency. Masked values become the column's mean
    over the track. The authors use zero, which is the mean of their normalised spectrograms. The
    blocks logmel, logmel_sd and patch lose the same bands; other blocks lose none. Labels stay
    the same: the model has to predict a masked frame from its context.

    Parameters
    ----------
    features : np.ndarray [shape=(T, D), dtype=float32]
        Features of the copy's audio. They are not changed.
    features_config : FeatureConfig
        Configuration of these features.
    track_id : str
    config : AugmentConfig
    copy : int >= 1

    Returns
    -------
    np.ndarray [shape=(T, D), dtype=float32]
        `features` itself if ``"mask"`` is not chosen.
    """
    if MASK not in config.names:
        return features
    rng = _rng(config, track_id, copy, MASK)
    mean = features.mean(axis=0)
    group = _band_groups(features_config)
    result = features.copy()
    for start in range(0, len(features), MASK_PERIOD_FRAMES):
        part = result[start : start + MASK_PERIOD_FRAMES]
        first, end = _mask(rng, len(part), config.mask_share)
        part[first:end] = mean
        first, end = _mask(rng, SD_BANDS, config.mask_share)
        columns = (group >= first) & (group < end)
        part[:, columns] = mean[columns]
    return result


def _mask(rng: np.random.Generator, length: int, share: tuple[float, float]) -> tuple[int, int]:
    """First position of a mask, and the position after its last."""
    low, high = (int(s * length) for s in share)
    width = rng.integers(low, high + 1)
    first = rng.integers(0, length - width + 1)
    return int(first), int(first + width)


def _band_groups(config: FeatureConfig) -> np.ndarray:
    """Group of mel bands (of `SD_BANDS`) that each column shows, -1 for none, (D,)."""
    mels = np.arange(config.n_mels) * SD_BANDS // config.n_mels
    groups = {
        "logmel": mels,
        "logmel_sd": np.arange(SD_BANDS),
        "patch": np.tile(mels, config.patch_steps),
    }
    return np.concatenate(
        [groups.get(name, np.full(ALL_BLOCKS[name].dim(config), -1)) for name in config.blocks]
    )
