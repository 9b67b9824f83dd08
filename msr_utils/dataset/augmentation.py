"""Altered copies of training tracks whose labels stay true: other audio, masked features.

Only training tracks are ever augmented. A copy's audio goes through the transforms that are
switched on, in the order of `TRANSFORMS`, each with values drawn for this track, copy and
transform alone: the same in any process, whatever else was drawn before. Nothing is clipped:
samples may leave [-1, 1], as those of a loud MP3 do, and features know no full scale.

That labels stay true is an assumption where a transform touches a musical cue. Level, timbre,
noise and coding belong to the recording. Tempo and register also tell listeners of arousal and
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

AUGMENT_VERSION = 1
"""Raise when the numbers change: features of copies made before are then not found."""

MASK = "mask"
"""Name of the transform that works on features instead of audio, see `masked`."""

MASK_EVERY = 60
"""Frames (30 s) that get one mask in time and one in frequency, however long the track."""

EQ_HZ = (200.0, 1000.0, 4000.0)
"""Corner of the low shelf, centre of the middle band, corner of the high shelf."""

EQ_Q = 0.7
"""Width of the three bands: shelves without a bump, a middle band of two octaves."""

MP3_DELAY = 576 + 529
"""Samples by which LAME and a decoder delay the audio (LAME technical FAQ)."""

MPEG2_KBPS = (8.0, 160.0)
"""Bit rates of MP3 at 16 to 24 kHz; libsndfile's compression level runs from the higher down."""


@dataclass(frozen=True)
class Transform:
    """One way to alter audio.

    Parameters
    ----------
    apply : callable
        (samples, values, rng) -> samples, all float32 (n,).
    option : str
        Parameter of `AugmentConfig` with the range that values are drawn from, evenly.
    limits : tuple of float
        What that range may lie in.
    draws : int
        How many values.
    """

    apply: Callable[[np.ndarray, Sequence[float], np.random.Generator], np.ndarray]
    option: str
    limits: tuple[float, float]
    draws: int = 1


def _audiomentations(name: str, samples: np.ndarray, **parameters: Any) -> np.ndarray:
    """Apply a transform of audiomentations whose ranges are single values: nothing is drawn."""
    import audiomentations  # takes a second

    with _global_random_kept():
        return getattr(audiomentations, name)(**parameters, p=1.0)(samples, SAMPLE_RATE)


@contextmanager
def _global_random_kept() -> Iterator[None]:
    """Leave the global generators, which audiomentations advances, as they were found."""
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
    """Noise between white and pink, its power relative to the whole track's."""
    # Not audiomentations' AddColorNoise: a third or more of its pink power lies below 20 Hz,
    # where no feature looks.
    n = scipy.fft.next_fast_len(len(samples), real=True)
    hz = scipy.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    slope = rng.uniform(0, 1)  # power falls with 1 / hz ** slope: 0 is white, 1 is pink
    spectrum = scipy.fft.rfft(rng.standard_normal(n, np.float32))
    spectrum *= np.where(hz < FMIN_HZ, 0, np.maximum(hz, FMIN_HZ) ** (-slope / 2))
    noise = scipy.fft.irfft(spectrum, n)[: len(samples)]
    wanted = _rms(samples) * 10 ** (-values[0] / 20)
    return samples + (noise * (wanted / max(_rms(noise), 1e-12))).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _codec(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    """MP3 there and back, without its delay."""
    low, high = MPEG2_KBPS
    file = io.BytesIO()
    sf.write(
        file, samples, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT", compression_level=(high - values[0]) / (high - low),
    )  # fmt: skip
    file.seek(0)
    decoded, _rate = sf.read(file, dtype="float32")
    # The decoder removes the delay where LAME's header tells it. Frames of less than 56 kbit/s
    # are too small for that header, and delay and padding remain.
    if len(decoded) > len(samples):
        decoded = decoded[MP3_DELAY:]
    return decoded[: len(samples)]


def _gain(samples: np.ndarray, values: Sequence[float], _: np.random.Generator) -> np.ndarray:
    return samples * np.float32(10 ** (values[0] / 20))


TRANSFORMS: dict[str, Transform] = {
    # Slower than half, the stretcher draws from a generator that cannot be seeded.
    "stretch": Transform(_stretch, "stretch_rate", (0.6, 1.7)),
    "pitch": Transform(_pitch, "pitch_semitones", (-12.0, 12.0)),
    "eq": Transform(_eq, "eq_db", (-18.0, 18.0), draws=len(EQ_HZ)),
    "noise": Transform(_noise, "noise_snr_db", (-20.0, 100.0)),
    "codec": Transform(_codec, "codec_kbps", (16.0, 160.0)),
    "gain": Transform(_gain, "gain_db", (-60.0, 40.0)),
}
"""Transforms of audio by name, in the order of their use: instrument, room, medium, level."""


@dataclass(frozen=True)
class AugmentConfig:
    """Which transforms are on, how far they go, and the seed.

    Parameters
    ----------
    names : str or sequence of str
        Keys of `TRANSFORMS` and ``"mask"``; a string separates them by commas. Empty: off.
        Every copy goes through all of them, in the order of `TRANSFORMS`.
    copies : int >= 1
        Altered copies of each training track, numbered from 1, beside the original.
    seed : int
    stretch_rate : (float, float)
        Range of the playback rate: 1.25 makes the track shorter by a fifth.
    pitch_semitones : (float, float)
        Range of the shift in pitch.
    eq_db : (float, float)
        Range of the gains in dB of a low shelf, a middle band and a high shelf, see `EQ_HZ`.
    noise_snr_db : (float, float)
        Range of the signal-to-noise ratio in dB, over the whole track and above 20 Hz.
    codec_kbps : (float, float)
        Range of the MP3 bit rate in kbit/s; the encoder takes the nearest that it knows.
    gain_db : (float, float)
        Range of the change of level in dB.
    mask_share : (float, float)
        Range of the share of 30 s, and of the mel bands, that one mask covers.

    Raises
    ------
    ValueError
        If a name is unknown or a parameter is out of range; the message names it.
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
                raise ValueError(f"augment: unknown transform {name!r}; known: {', '.join(known)}")
        object.__setattr__(self, "names", tuple(name for name in known if name in names))
        if not isinstance(self.copies, int) or self.copies < 1:
            raise ValueError(f"augment: copies must be a whole number from 1, not {self.copies}")
        for transform in TRANSFORMS.values():
            self._check_range(transform.option, *transform.limits)
        self._check_range("mask_share", 0.0, 1.0)

    def _check_range(self, option: str, lowest: float, highest: float) -> None:
        value = getattr(self, option)
        try:
            low, high = (float(number) for number in value)
        except (TypeError, ValueError):
            raise ValueError(f"augment: {option} must be two numbers, not {value!r}") from None
        if not lowest <= low <= high <= highest:
            raise ValueError(
                f"augment: {option} must be a range within {lowest:g} to {highest:g}, not "
                f"{low:g} to {high:g}"
            )
        object.__setattr__(self, option, (low, high))

    def key(self, track_id: str, copy: int) -> str:
        """What a copy's audio follows from, besides the file: names its features in a cache.

        Masks are not in it: they go over features that are already there. Empty where the
        audio is the original's.
        """
        ranges = {n: getattr(self, TRANSFORMS[n].option) for n in self.names if n != MASK}
        if not ranges:
            return ""
        return sha256_text(json.dumps([AUGMENT_VERSION, ranges, self.seed, track_id, copy]))[:16]


def _rng(config: AugmentConfig, track_id: str, copy: int, name: str) -> np.random.Generator:
    """A stream of its own: what else is on does not change what a transform draws."""
    text = json.dumps([config.seed, track_id, copy, name])
    return np.random.default_rng(int(sha256_text(text), 16))


def _draw(transform: Transform, config: AugmentConfig, rng: np.random.Generator) -> list[float]:
    low, high = getattr(config, transform.option)
    return rng.uniform(low, high, transform.draws).tolist()


def drawn(track_id: str, config: AugmentConfig, copy: int) -> dict[str, list[float]]:
    """Values that a copy's audio transforms use, in the units of `AugmentConfig`.

    Returns
    -------
    dict of str to list of float
        By name of the transform: one value, or three gains for ``"eq"``.
    """
    return {
        name: _draw(TRANSFORMS[name], config, _rng(config, track_id, copy, name))
        for name in config.names
        if name != MASK
    }


def augmented(
    track: Track, samples: np.ndarray, config: AugmentConfig, copy: int
) -> tuple[np.ndarray, Track]:
    """One altered copy of a training track.

    Parameters
    ----------
    track : Track
    samples : np.ndarray [shape=(n,), dtype=float32]
        All of its audio, mono at `SAMPLE_RATE`.
    config : AugmentConfig
    copy : int >= 1
        Number of the copy.

    Returns
    -------
    samples : np.ndarray [shape=(m,), dtype=float32]
        As long as before, unless stretched.
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
    """The track with the annotation of one copy; needs no audio, so cached features do.

    Returns
    -------
    Track
        The same one, unless stretched.
    """
    values = drawn(track.id, config, copy)
    return stretched(track, *values["stretch"]) if "stretch" in values else track


def stretched(track: Track, rate: float) -> Track:
    """A track's annotation when its audio plays faster or slower.

    Each new frame takes the row of the old frame that its middle comes from. Nothing is
    interpolated: new frames without such a row have no annotation, missing values stay missing.

    Parameters
    ----------
    track : Track
    rate : float > 0
        2 makes it half as long.

    Notes
    -----
    Listeners answer one to three seconds late, whatever the tempo. This delay is stretched with
    the rest: at rates of 0.9 to 1.1 by a third of a second at most, less than a frame.
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
    """Hide a part of a copy's frames and mel bands, as SpecAugment does [2]_.

    Every 30 s get one mask in time and one in frequency. What they cover takes the column's
    mean over the track, which is what zero is to the authors' normalised spectrograms. The
    blocks logmel, logmel_sd and patch lose the same bands, others none. Labels stay: a masked frame is to be
    told from its context.

    Parameters
    ----------
    features : np.ndarray [shape=(T, D), dtype=float32]
        Of the copy's audio; not changed.
    features_config : FeatureConfig
        What the columns are.
    track_id : str
    config : AugmentConfig
    copy : int >= 1

    Returns
    -------
    np.ndarray [shape=(T, D), dtype=float32]
        `features` itself if ``"mask"`` is off.
    """
    if MASK not in config.names:
        return features
    rng = _rng(config, track_id, copy, MASK)
    mean = features.mean(axis=0)
    group = _band_groups(features_config)
    result = features.copy()
    for start in range(0, len(features), MASK_EVERY):
        part = result[start : start + MASK_EVERY]
        first, end = _mask(rng, len(part), config.mask_share)
        part[first:end] = mean
        first, end = _mask(rng, SD_BANDS, config.mask_share)
        columns = (group >= first) & (group < end)
        part[:, columns] = mean[columns]
    return result


def _mask(rng: np.random.Generator, length: int, share: tuple[float, float]) -> tuple[int, int]:
    """Where one mask starts and ends."""
    low, high = (int(s * length) for s in share)
    width = rng.integers(low, high + 1)
    first = rng.integers(0, length - width + 1)
    return int(first), int(first + width)


def _band_groups(config: FeatureConfig) -> np.ndarray:
    """Which of the `SD_BANDS` groups of mel bands each column shows, -1 for none, (D,)."""
    mels = np.arange(config.n_mels) * SD_BANDS // config.n_mels
    groups = {
        "logmel": mels,
        "logmel_sd": np.arange(SD_BANDS),
        "patch": np.tile(mels, config.patch_steps),
    }
    return np.concatenate(
        [groups.get(name, np.full(ALL_BLOCKS[name].dim(config), -1)) for name in config.blocks]
    )
