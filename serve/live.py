"""Predict live audio over requests that share nothing but a state, which the client carries.

Everything that the next answer depends on is signed and sent to the client, and comes back with
the next chunk. Any process with the same key can answer it. The state of soxr's resampler cannot
be read. Therefore the last input samples are carried instead and resampled again, in the same
blocks. The result is the same to the last bit.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

import numpy as np
import soxr

from msr_utils.audio.decode import MAX_SAMPLE, mix
from msr_utils.constants import FRAME_SECONDS
from msr_utils.inference.model import Model, Stream
from serve.request_errors import RequestError
from serve.states import INT16_SCALE, SAMPLE_FORMATS, StateError

FILTER_HALF_LENGTH = 128
"""Half the length of soxr's HQ filter, in samples of the lower rate, with a margin: at all rates
allowed here its impulse response is below 1e-6 of its peak from 106 samples on."""

MAX_RESTART_DISTANCE = 2**20
"""Longest distance between the input samples at which a resampler may restart."""


# ------------------------------------------------------------------------------ samples


def read_samples(
    data: bytes, sample_format: str, channels: int, rate: int, max_s: float
) -> np.ndarray:
    """Read a chunk of interleaved PCM and mix it to mono, as a file is.

    Parameters
    ----------
    data : bytes
    sample_format : str
        Key of `SAMPLE_FORMATS`.
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
    RequestError
        If the chunk is longer, ends within a sample, or has values that are not audio.
    """
    dtype = SAMPLE_FORMATS[sample_format]
    if len(data) % (channels * dtype.itemsize):
        raise _chunk_error(
            f"{len(data)} bytes are not a whole number of samples; one sample of {channels} "
            f"channel(s) in {sample_format} has {channels * dtype.itemsize} bytes"
        )
    samples = np.frombuffer(data, dtype).reshape(-1, channels)
    if len(samples) > max_s * rate:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "chunk",
            f"longer than the limit of {max_s:g} s; send shorter chunks",
        )
    if sample_format == "s16le":
        samples = samples.astype(np.float32) / INT16_SCALE
    if not np.isfinite(samples).all():
        first = int(np.argmin(np.isfinite(samples).all(axis=1)))
        raise _chunk_error(
            f"NaN or infinite sample at {first / rate:.3f} s; the previous state is still valid"
        )
    peak = np.abs(samples).max(initial=0)
    if peak > MAX_SAMPLE:
        raise _chunk_error(
            f"samples reach {peak:.3g}, full scale is 1; the previous state is still valid"
        )
    return mix(samples, rate)[0]


def _chunk_error(message: str) -> RequestError:
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "chunk", message)


# ------------------------------------------------------------------------------ resampling


@cache
def block_samples(rate: int, target_rate: int) -> int:
    """Number of input samples that soxr's resampler processes at a time (it filters by FFT)."""
    stream = soxr.ResampleStream(rate, target_rate, num_channels=1, dtype="float32")
    one_sample = np.zeros(1, np.float32)
    block_ends: list[int] = []
    n_input = 0
    while len(block_ends) < 2:
        n_input += 1
        if len(stream.resample_chunk(one_sample)):
            block_ends.append(n_input)
    return block_ends[1] - block_ends[0]


class ResumableResampler:
    """`msr_utils.audio.decode.Resampler` that another process can resume.

    Each call creates a new soxr resampler. It starts where a resampler that never stopped would
    start a block with the same phase. It gets silence up to the carried samples, then these
    samples, then the new ones. Output that depends on the silence was returned before and is
    dropped.

    Parameters
    ----------
    rate, target_rate : int > 0
        Sample rates in Hz.
    n_input, n_output : int >= 0
        Samples that were put in and returned so far.
    history : np.ndarray [shape=(n,), dtype=float32], optional
        The last input samples.

    Notes
    -----
    At the usual rates the output is the same to the last bit. It is the same to float32 rounding
    where soxr's blocks do not all have the same length (4000 Hz), or where a block with the same
    phase comes only after `MAX_RESTART_DISTANCE` samples (44 101 Hz).
    """

    def __init__(
        self,
        rate: int,
        target_rate: int,
        n_input: int = 0,
        n_output: int = 0,
        history: np.ndarray | None = None,
    ) -> None:
        self._rate, self._target_rate = rate, target_rate
        self.n_input, self.n_output = n_input, n_output
        self.history = np.zeros(0, np.float32) if history is None else history

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample the next samples; with ``last=True`` also return what the filter delays."""
        if self._rate == self._target_rate:
            self.n_input += len(samples)
            self.n_output += len(samples)
            return samples
        block = block_samples(self._rate, self._target_rate)
        period = self._rate // math.gcd(self._rate, self._target_rate)
        restart_distance = math.lcm(block, period)
        if restart_distance > MAX_RESTART_DISTANCE:
            restart_distance = period
        history_start = self.n_input - len(self.history)
        start = history_start // restart_distance * restart_distance
        stream = soxr.ResampleStream(self._rate, self._target_rate, num_channels=1)
        silence = np.zeros(history_start - start, np.float32)
        known = np.concatenate([self.history, samples])
        parts = [stream.resample_chunk(silence), stream.resample_chunk(known)]
        if last:
            parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
        # soxr compensates its delay: output k belongs to input k * rate / target_rate.
        already_returned = self.n_output - start * self._target_rate // self._rate
        new = np.concatenate(parts)[already_returned:]
        self.n_input += len(samples)
        self.n_output += len(new)
        # The next output needs its own block, the block before, and the length of the filter.
        reach = math.ceil(FILTER_HALF_LENGTH * max(1, self._rate / self._target_rate))
        keep_from = self.n_output * self._rate // self._target_rate - block - 3 * reach
        self.history = known[max(keep_from - history_start, 0) :].copy()
        return new


# ------------------------------------------------------------------------------ stream and state


@dataclass(frozen=True)
class LiveFrames:
    """Frames that a chunk completes.

    Parameters
    ----------
    times_s : np.ndarray [shape=(frames,)]
        Seconds since the first chunk.
    values : np.ndarray [shape=(frames, 2), dtype=float32]
        (valence, arousal).
    """

    times_s: np.ndarray
    values: np.ndarray


class LiveStream:
    """Prediction of audio that arrives in chunks.

    Parameters
    ----------
    model : Model
        A causal model.
    rate : int > 0
        Sample rate of the chunks in Hz.
    """

    def __init__(self, model: Model, rate: int) -> None:
        self.model, self.rate, self.frames = model, rate, 0
        self._resampler = ResumableResampler(rate, model.features.sample_rate)
        self._stream = Stream(model)

    @property
    def seconds(self) -> float:
        """Seconds of audio received so far."""
        return self._resampler.n_input / self.rate

    def push(self, samples: np.ndarray, last: bool = False) -> LiveFrames:
        """Take the next mono samples and return the frames that they complete."""
        values = self._stream.push(self._resampler.push(samples, last))
        first = self.frames + 1
        self.frames += len(values)
        return LiveFrames(np.arange(first, self.frames + 1) * FRAME_SECONDS, values)

    def pack(self) -> bytes:
        """Everything that the next answer depends on.

        The names in it are a format: states that clients hold must stay valid.
        """
        arrays = {"past": self._resampler.history, **self._stream.state()}
        header = {
            "model": self.model.name,
            **fingerprint(self.model),
            "rate": self.rate,
            "taken": self._resampler.n_input,
            "made": self._resampler.n_output,
            "frames": self.frames,
            "arrays": {name: array.shape for name, array in arrays.items()},
        }
        text = json.dumps(header).encode()
        data = [array.astype("<f4").tobytes() for array in arrays.values()]
        return b"".join([struct.pack("<I", len(text)), text, *data])

    @classmethod
    def unpack(cls, state: bytes, models: Mapping[str, Model]) -> LiveStream:
        """Resume a stream.

        Parameters
        ----------
        state : bytes
            Result of `pack`. Its signature must have been verified, see `StateSigner`.
        models : mapping of str to Model
            Models of the service by name.

        Raises
        ------
        StateError
            If the model is not served here, or the state comes from another version.
        """
        header_end = struct.unpack_from("<I", state)[0] + 4
        header = json.loads(state[4:header_end])
        model = models.get(header["model"])
        if model is None:
            raise StateError(
                f"made by the model {header['model']!r}, which is not served here; start again"
            )
        for key, value in fingerprint(model).items():
            if header[key] != value:
                raise StateError(
                    f"made by another version of the model {model.name!r} ({key} "
                    f"{header[key][:12]}..., here {value[:12]}...); start again"
                )
        numbers = np.frombuffer(state[header_end:], "<f4")
        arrays, start = {}, 0
        for name, shape in header["arrays"].items():
            end = start + math.prod(shape)
            arrays[name] = np.reshape(numbers[start:end], shape)
            start = end
        live = cls(model, header["rate"])
        live.frames = header["frames"]
        live._resampler = ResumableResampler(
            live.rate,
            model.features.sample_rate,
            header["taken"],
            header["made"],
            arrays.pop("past"),
        )
        try:
            live._stream.restore(arrays)
        except ValueError as error:
            raise StateError(
                f"made by another version of the service ({error}); start again"
            ) from None
        return live


def resume(models: Mapping[str, Model], state: bytes, name: str | None, rate: int) -> LiveStream:
    """Resume the stream of a state, or start one if the state is empty.

    Parameters
    ----------
    models : mapping of str to Model
    state : bytes
        Verified content.
    name : str, optional
        Model that the client asks for; without a state it must be given.
    rate : int > 0
        Sample rate of the chunk in Hz.

    Raises
    ------
    StateError
        If the state is not of this model and rate.
    """
    if not state:
        assert name is not None, "the front chooses the model of the first chunk"
        return LiveStream(models[name], rate)
    stream = LiveStream.unpack(state, models)
    if name not in (None, stream.model.name):
        raise StateError(
            f"made by the model {stream.model.name!r}, but this chunk is for {name!r}; start again"
        )
    if rate != stream.rate:
        raise StateError(
            f"made from audio at {stream.rate} Hz, but this chunk has {rate} Hz; start again"
        )
    return stream


def fingerprint(model: Model) -> dict[str, str]:
    """Hashes of the network and of its features. A state can be resumed only if both match."""
    return {"model_sha256": model.card.model_sha256, "feature_hash": model.features.hash}
