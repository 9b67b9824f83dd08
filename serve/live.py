"""Follow live audio over requests that share nothing but a state that the client carries.

All that the next chunk's answer depends on goes to the client, signed, and comes back with the
next chunk: any process that holds the same key can answer it. A resampler of soxr cannot be
taken out of its process, so the last samples of the input are carried instead and resampled
again, in the same blocks, which gives the same numbers to the last bit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
import time
from collections.abc import Mapping
from functools import cache

import numpy as np
import soxr
from itsdangerous import BadSignature, TimestampSigner

from msr_utils.audio.decode import MAX_SAMPLE, mono
from msr_utils.audio.source import AudioError, AudioTooLong
from msr_utils.constants import FRAME_SECONDS
from msr_utils.inference.model import Model, Stream

FORMATS = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Sample formats of a chunk, by their names in ffmpeg."""

RATES_HZ = (4_000, 192_000)
"""Lowest and highest sample rate of a chunk."""

MAX_CHANNELS = 8

FILTER_REACH = 128
"""Half the length of soxr's HQ filter, in samples of the lower rate, with room to spare: its
impulse response is below 1e-6 of its peak from 106 samples on, at any pair of rates here."""

MAX_GRID = 2**20
"""Longest distance between the places where a resampler may start again, in samples."""

_STATE = re.compile(r"live1\.(\d{1,9})\.(.*)", re.DOTALL)


class StateError(ValueError):
    """A state that cannot be continued; the message says why."""


# ------------------------------------------------------------------------------ samples


def read_samples(data: bytes, format: str, channels: int, rate: int, max_s: float) -> np.ndarray:
    """Read a chunk of interleaved PCM and mix it to mono.

    Parameters
    ----------
    data : bytes
    format : str
        Key of `FORMATS`.
    channels : int > 0
    rate : int > 0
        Hz.
    max_s : float > 0
        Longest chunk accepted in seconds.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        Full scale is [-1, 1].

    Raises
    ------
    AudioTooLong, AudioError
        If the chunk lasts longer, ends within a sample, or holds what no music holds.
    """
    dtype = FORMATS[format]
    if len(data) % (channels * dtype.itemsize):
        raise AudioError(
            f"chunk: {len(data)} bytes are no whole number of samples; one of {channels} "
            f"channel(s) in {format} has {channels * dtype.itemsize} bytes"
        )
    samples = np.frombuffer(data, dtype).reshape(-1, channels)
    if len(samples) > max_s * rate:
        raise AudioTooLong(f"chunk: longer than the {max_s:g} s that are accepted at a time")
    if format == "s16le":
        samples = samples.astype(np.float32) / 32768
    if not np.isfinite(samples).all():
        bad = int(np.argmin(np.isfinite(samples).all(axis=1)))
        raise AudioError(
            f"chunk: NaN or infinite sample at {bad / rate:.3f} s; the state before it still holds"
        )
    peak = np.abs(samples).max(initial=0)
    if peak > MAX_SAMPLE:
        raise AudioError(
            f"chunk: samples reach {peak:.3g}, full scale is 1; the state before it still holds"
        )
    return mono(samples)


# ------------------------------------------------------------------------------ resampling


@cache
def block_samples(rate: int, target_rate: int) -> int:
    """Input samples that soxr's resampler takes at a time (it filters by FFT)."""
    stream = soxr.ResampleStream(rate, target_rate, num_channels=1, dtype="float32")
    silence, ends = np.zeros(1, np.float32), []
    taken = 0
    while len(ends) < 2:
        taken += 1
        if len(stream.resample_chunk(silence)):
            ends.append(taken)
    return ends[1] - ends[0]


class CarriedResampler:
    """`msr_utils.audio.decode.Resampler` whose state can be carried elsewhere.

    Each call starts a new resampler where a block of the one that never stopped would start
    and its phase is the same, gives it silence up to the carried samples, then these, then the
    new ones. What depends on the silence came out before and is dropped.

    Parameters
    ----------
    rate, target_rate : int > 0
        Sample rates in Hz.
    taken, made : int >= 0
        Samples that went in and came out so far.
    past : np.ndarray [shape=(n,), dtype=float32], optional
        The last of those that went in.

    Notes
    -----
    To the last bit at the usual rates, to float32 rounding where soxr's blocks are not all of
    one length (4000 Hz) or meet its phase in no `MAX_GRID` samples (44 101 Hz).
    """

    def __init__(
        self,
        rate: int,
        target_rate: int,
        taken: int = 0,
        made: int = 0,
        past: np.ndarray | None = None,
    ) -> None:
        self._rate, self._target_rate = rate, target_rate
        self.taken, self.made = taken, made
        self.past = np.zeros(0, np.float32) if past is None else past

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample the next samples; with ``last=True`` also what the filter holds back."""
        if self._rate == self._target_rate:
            self.taken, self.made = self.taken + len(samples), self.made + len(samples)
            return samples
        block = block_samples(self._rate, self._target_rate)
        phase = self._rate // math.gcd(self._rate, self._target_rate)
        grid = math.lcm(block, phase)
        grid = grid if grid <= MAX_GRID else phase
        first = self.taken - len(self.past)
        start = first // grid * grid
        stream = soxr.ResampleStream(self._rate, self._target_rate, num_channels=1)
        silence = np.zeros(first - start, np.float32)
        known = np.concatenate([self.past, samples])
        parts = [stream.resample_chunk(silence), stream.resample_chunk(known)]
        if last:
            parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
        # soxr compensates its delay: output k stands at input k * rate / target_rate.
        new = np.concatenate(parts)[self.made - start * self._target_rate // self._rate :]
        self.taken += len(samples)
        self.made += len(new)
        # The block of the next output, the one before, and what their filters reach.
        reach = math.ceil(FILTER_REACH * max(1, self._rate / self._target_rate))
        keep = self.made * self._rate // self._target_rate - block - 3 * reach
        self.past = known[max(keep - first, 0) :].copy()
        return new


# ------------------------------------------------------------------------------ stream and state


class LiveStream:
    """Curve of audio that arrives in chunks.

    Parameters
    ----------
    model : inference.Model
        A causal one.
    rate : int > 0
        Sample rate of the chunks in Hz.
    """

    def __init__(self, model: Model, rate: int) -> None:
        self.model, self.rate, self.frames = model, rate, 0
        self._resampler = CarriedResampler(rate, model.features.sample_rate)
        self._stream = Stream(model)

    @property
    def seconds(self) -> float:
        """Audio taken so far."""
        return self._resampler.taken / self.rate

    def push(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Take the next samples, mono; give the frames that they complete.

        Returns
        -------
        times_s : np.ndarray [shape=(frames,)]
            Since the first chunk.
        values : np.ndarray [shape=(frames, 2), dtype=float32]
            (valence, arousal).
        """
        values = self._stream.push(self._resampler.push(samples, last))
        times_s = np.arange(self.frames + 1, self.frames + len(values) + 1) * FRAME_SECONDS
        self.frames += len(values)
        return times_s, values

    def pack(self) -> bytes:
        """All that the next chunk's answer depends on."""
        arrays = {"past": self._resampler.past, **self._stream.state()}
        head = {
            "model": self.model.name,
            **fingerprint(self.model),
            "rate": self.rate,
            "taken": self._resampler.taken,
            "made": self._resampler.made,
            "frames": self.frames,
            "arrays": {name: array.shape for name, array in arrays.items()},
        }
        text = json.dumps(head).encode()
        data = [array.astype("<f4").tobytes() for array in arrays.values()]
        return b"".join([struct.pack("<I", len(text)), text, *data])

    @classmethod
    def unpack(cls, state: bytes, models: Mapping[str, Model]) -> LiveStream:
        """Go on where another stream stood.

        Parameters
        ----------
        state : bytes
            What `pack` gave; it must be known to be ours, see `Seal`.
        models : mapping
            The models that are served, by name.

        Raises
        ------
        StateError
            If its model is not served, or it comes from another version.
        """
        size = struct.unpack_from("<I", state)[0] + 4
        head = json.loads(state[4:size])
        model = models.get(head["model"])
        if model is None:
            raise StateError(
                f"state: of the model {head['model']!r}, which is not served here; start again"
            )
        for key, value in fingerprint(model).items():
            if head[key] != value:
                raise StateError(
                    f"state: of another version of the model {model.name!r} ({key} "
                    f"{head[key][:12]}..., here {value[:12]}...); start again"
                )
        arrays, numbers = {}, np.frombuffer(state, "<f4", offset=size) if len(state) > size else []
        at = 0
        for name, shape in head["arrays"].items():
            arrays[name] = np.reshape(numbers[at : at + math.prod(shape)], shape)
            at += math.prod(shape)
        live = cls(model, head["rate"])
        live.frames = head["frames"]
        live._resampler = CarriedResampler(
            live.rate, model.features.sample_rate, head["taken"], head["made"], arrays.pop("past")
        )
        try:
            live._stream.restore(arrays)
        except ValueError as error:
            raise StateError(
                f"state: of another version of the service ({error}); start again"
            ) from None
        return live


def fingerprint(model: Model) -> dict[str, str]:
    """Hashes of the network and of its features: a state goes on only where both are the same."""
    return {"model_sha256": model.card.model_sha256, "feature_hash": model.features.hash}


class Seal:
    """Sign states, and tell those that are not ours: HMAC with SHA-256 and the time of issue.

    Parameters
    ----------
    key : str
        Secret; the same in every process that shall go on where another stood.
    max_age_s : float > 0
        Oldest state accepted.
    """

    def __init__(self, key: str, max_age_s: float) -> None:
        self._signer = TimestampSigner(
            key, salt="msr.live", key_derivation="hmac", digest_method=hashlib.sha256
        )
        self._max_age_s = max_age_s

    def close(self, content: bytes) -> str:
        """Make a state of what it holds."""
        signed = self._signer.sign(base64.urlsafe_b64encode(content)).decode()
        return f"live1.{len(signed)}.{signed}"

    def open(self, state: str) -> bytes:
        """Check a state and give what it holds.

        Raises
        ------
        StateError
            If it is no state, was cut short or altered, was signed with another key, or is
            too old.
        """
        match = _STATE.fullmatch(state.strip())
        if match is None:
            raise StateError("state: not one that this service gave; send the last answer's")
        length, signed = int(match[1]), match[2]
        if len(signed) < length:
            raise StateError(
                f"state: cut short, {len(signed)} of {length} characters came; send it whole"
            )
        try:
            content, issued = self._signer.unsign(signed, return_timestamp=True)
        except BadSignature:
            raise StateError(
                "state: altered, or signed with another key (MSR_SECRET_KEY); start again"
            ) from None
        # Not by the signer: it refuses what a clock that is ahead of ours has signed.
        age = time.time() - issued.timestamp()
        if age > self._max_age_s:
            raise StateError(
                f"state: given {age:.0f} s ago, {self._max_age_s:g} s are accepted; start again"
            )
        return base64.urlsafe_b64decode(content)
