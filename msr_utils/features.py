"""The one feature implementation: training and serving both compute frames here.

A frame is 500 ms of audio. Its STFT windows end inside the frame, so frame ``t`` sees no
audio after ``t`` and a stream gives the numbers that the whole file gives. No librosa here:
the service must not load it. The tests hold this module to librosa's results instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from msr_utils import audio
from msr_utils.blocks import ALL_BLOCKS, BLOCKS, CONTRAST_TOP_HZ
from msr_utils.constants import (
    CHROMA_N_FFT,
    CHROMA_STEPS,
    FMAX_HZ,
    FMIN_HZ,
    FRAME_RATE_HZ,
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    N_MFCC,
    PATCH_STEPS,
    SAMPLE_RATE,
    SD_BANDS,
)
from msr_utils.memory import LeakyMemory
from msr_utils.spectra import Frame, Memory, heard

FEATURE_VERSION = 1
"""Raise when the numbers change: cached features and bundles made before are then refused."""


@dataclass(frozen=True)
class FeatureConfig:
    """What is computed from each frame.

    Together with `msr_utils.constants`, which hold what is the same in every configuration,
    everything that changes the numbers is here.

    Parameters
    ----------
    blocks : tuple of str
        Names from `ALL_BLOCKS`, in any combination, concatenated in this order.
    sample_rate : int > 0
        Hz.
    n_fft : int > 0
        STFT window in samples.
    hop_length : int > 0
        STFT hop in samples; must divide a frame exactly.
    n_mels : int > 0
        Mel bands.
    fmin, fmax : float >= 0
        Edges of the mel filterbank in Hz.
    patch_steps : int > 0
        Time steps in a ``patch``; must divide the hops of a frame.
    memory_s, memory_sd_s : tuple of float > 0
        Time constants in s of a `LeakyMemory`: running means of every feature, and running
        standard deviations, in place of the frame's own values. Both empty: no memory.

    Raises
    ------
    ValueError
        If a parameter is out of range; the message names it.
    """

    blocks: tuple[str, ...] | str = ("logmel",)
    sample_rate: int = SAMPLE_RATE
    n_fft: int = N_FFT
    hop_length: int = HOP_LENGTH
    n_mels: int = N_MELS
    fmin: float = FMIN_HZ
    fmax: float = FMAX_HZ
    patch_steps: int = PATCH_STEPS
    memory_s: tuple[float, ...] = ()
    memory_sd_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = self.blocks.split(",") if isinstance(self.blocks, str) else self.blocks
        object.__setattr__(self, "blocks", tuple(name.strip() for name in names if name.strip()))
        if not self.blocks:
            raise ValueError(f"features: name at least one block of {', '.join(ALL_BLOCKS)}")
        for name in self.blocks:
            if name not in ALL_BLOCKS:
                raise ValueError(
                    f"features: unknown block {name!r}; known: {', '.join(ALL_BLOCKS)}"
                )
        if len(set(self.blocks)) < len(self.blocks):
            raise ValueError(f"features: a block is named twice in {', '.join(self.blocks)}")
        for name in ("memory_s", "memory_sd_s"):
            seconds = tuple(float(s) for s in getattr(self, name))
            object.__setattr__(self, name, seconds)
            if not all(0 < s < np.inf for s in seconds) or len(set(seconds)) < len(seconds):
                raise ValueError(f"features: {name} must be different positive seconds: {seconds}")
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "patch_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"features: {name} must be at least 1, not {getattr(self, name)}")
        if self.sample_rate % FRAME_RATE_HZ or self.frame_samples % self.hop_length:
            raise ValueError(
                f"features: hop_length {self.hop_length} does not divide a 500 ms frame "
                f"of {self.sample_rate} Hz audio"
            )
        if self.hop_length > self.n_fft:
            raise ValueError("features: hop_length must not exceed n_fft")
        if self.steps % self.patch_steps:
            raise ValueError(
                f"features: patch_steps {self.patch_steps} does not divide "
                f"the {self.steps} hops of a frame"
            )
        if "logmel_sd" in self.blocks and self.n_mels % SD_BANDS:
            raise ValueError(
                f"features: logmel_sd needs n_mels to be a multiple of {SD_BANDS}, "
                f"not {self.n_mels}"
            )
        if {"mfcc", "mfcc_delta"} & {*self.blocks} and self.n_mels < N_MFCC:
            raise ValueError(f"features: mfcc needs n_mels of at least {N_MFCC}, not {self.n_mels}")
        if {"chroma", "tonal"} & {*self.blocks} and (
            self.frame_samples % CHROMA_STEPS or self.frame_samples > CHROMA_N_FFT * CHROMA_STEPS
        ):
            raise ValueError(
                f"features: chroma needs a sample_rate that is a multiple of "
                f"{CHROMA_STEPS * FRAME_RATE_HZ} and at most "
                f"{CHROMA_N_FFT * CHROMA_STEPS * FRAME_RATE_HZ}, not {self.sample_rate}"
            )
        if "ear" in self.blocks and self.sample_rate != SAMPLE_RATE:
            raise ValueError(
                f"features: ear needs a sample_rate of {SAMPLE_RATE}, not {self.sample_rate}"
            )
        if "contrast" in self.blocks and self.sample_rate / 2 <= CONTRAST_TOP_HZ:
            raise ValueError(
                f"features: contrast needs a sample_rate above {2 * CONTRAST_TOP_HZ:g}, "
                f"not {self.sample_rate}"
            )
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError("features: need 0 <= fmin < fmax <= sample_rate / 2")

    @property
    def frame_samples(self) -> int:
        """Samples in one 500 ms frame."""
        return self.sample_rate // FRAME_RATE_HZ

    @property
    def steps(self) -> int:
        """STFT hops in one frame."""
        return self.frame_samples // self.hop_length

    @property
    def dim(self) -> int:
        """Length of one frame's feature vector."""
        return self.frame_dim * (len(self.memory_s) + len(self.memory_sd_s) or 1)

    @property
    def frame_dim(self) -> int:
        """Features that are computed from one frame, before any memory of them."""
        return sum(ALL_BLOCKS[name].dim(self) for name in self.blocks)

    @property
    def has_memory(self) -> bool:
        """True if running means or deviations stand in place of the frames' own values."""
        return bool(self.memory_s or self.memory_sd_s)

    def without_memory(self) -> FeatureConfig:
        """The same blocks, frame by frame."""
        return replace(self, memory_s=(), memory_sd_s=())

    def memory(self) -> LeakyMemory:
        """A fresh memory for one track."""
        return LeakyMemory(self.frame_dim, self.memory_s, self.memory_sd_s)

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Where the features of some of the blocks stand in a frame, in the order of `names`.

        With a memory, each of its time constants repeats them.

        Returns
        -------
        np.ndarray [shape=(d,), dtype=int]
        """
        ends = np.cumsum([ALL_BLOCKS[name].dim(self) for name in self.blocks])
        at = {
            n: np.arange(e - ALL_BLOCKS[n].dim(self), e)
            for n, e in zip(self.blocks, ends, strict=True)
        }
        own = np.concatenate([at[name] for name in names])
        return np.concatenate([own + start for start in range(0, self.dim, self.frame_dim)])

    def _values(self) -> dict:
        """Parameters; those of a memory only where there is one, as in files made before."""
        values = asdict(self)
        if not self.has_memory:
            del values["memory_s"], values["memory_sd_s"]
        return values

    @property
    def pretrained(self) -> dict[str, str]:
        """Name and SHA-256 of the networks that the blocks run, by block; often none."""
        return {n: ALL_BLOCKS[n].weights for n in self.blocks if ALL_BLOCKS[n].weights}

    @property
    def hash(self) -> str:
        """SHA-256 of the parameters and the feature version: names a cache or a bundle."""
        values = {"version": FEATURE_VERSION, **self._values()}
        versions = {n: ALL_BLOCKS[n].version for n in self.blocks if ALL_BLOCKS[n].version > 1}
        if versions:
            values["block_versions"] = versions
        if self.pretrained:
            values["pretrained"] = self.pretrained
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict:
        """Parameters, version, hash and, if any, pretrained networks as plain values."""
        needed = {"pretrained": self.pretrained} if self.pretrained else {}
        return {"version": FEATURE_VERSION, **self._values(), **needed, "hash": self.hash}

    @classmethod
    def from_json(cls, values: Mapping) -> FeatureConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If the hash does not match: made by another feature version, with another
            pretrained network, or edited.
        """
        config = cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})
        for name, weights in values.get("pretrained", {}).items():
            if weights != (here := config.pretrained.get(name)):
                raise ValueError(
                    f"features: {name} needs the network {weights}, this version has {here}; "
                    "export again"
                )
        if config.hash != values.get("hash"):
            raise ValueError(
                f"features: hash {values.get('hash')!r} was made by feature version "
                f"{values.get('version')}, this is version {FEATURE_VERSION}; export again"
            )
        return config


def block_table(config: FeatureConfig | None = None) -> list[dict[str, str | int]]:
    """Every block as a row for a table: ``name, dim, unit, what, source``.

    Parameters
    ----------
    config : FeatureConfig, optional
        Settles the dimensions.
    """
    config = config or FeatureConfig()
    return [
        {"name": b.name, "dim": b.dim(config), "unit": b.unit, "what": b.what, "source": b.source}
        for b in BLOCKS.values()
    ]


class FeatureExtractor:
    """Turn a stream of samples into feature frames.

    What it remembers is constant in size, and can be carried elsewhere: see `state`.

    Parameters
    ----------
    config : FeatureConfig
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._blocks = [ALL_BLOCKS[name] for name in config.blocks]
        # Before the first sample there was silence: the first windows reach into it.
        self._heard = max(heard(config), *(block.heard(config) for block in self._blocks))
        self._samples = np.zeros(self._heard, np.float32)
        self._memory: Memory = {}
        for block in self._blocks:
            self._memory |= block.memory(config)
        self._leaky = config.memory()

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and give the frames that they complete.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), dtype=float32]
            Mono audio at ``config.sample_rate``, any length.

        Returns
        -------
        np.ndarray [shape=(frames, config.dim), dtype=float32]
            Possibly no frame; what is left of the samples waits for the next call.

        Raises
        ------
        ValueError
            If the samples are not mono floating point, or not all finite: one NaN would stay in
            what blocks remember.
        """
        rows = [
            np.concatenate([block.compute(frame) for block in self._blocks])
            for frame in self._frames(samples)
        ]
        frames = np.array(rows, np.float32).reshape(len(rows), self.config.frame_dim)
        return self._leaky.push(frames) if self.config.has_memory else frames

    def push_logmel(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but give each frame's log-mel spectrogram; blocks hear nothing of it.

        Returns
        -------
        np.ndarray [shape=(frames, config.steps, n_mels), dtype=float32]
            dB relative to power 1.
        """
        rows = [frame.mel_db for frame in self._frames(samples)]
        return np.array(rows, np.float32).reshape(len(rows), self.config.steps, self.config.n_mels)

    def _frames(self, samples: np.ndarray) -> Iterator[Frame]:
        """The frames that `samples` complete, one at a time."""
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise ValueError(
                f"samples: need mono floating point, not {samples.dtype} of shape {samples.shape}"
            )
        if not np.isfinite(samples).all():
            raise ValueError("samples: NaN or infinite; leave out or repair what is damaged")
        known = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        size = self.config.frame_samples
        count = (len(known) - self._heard) // size
        self._samples = known[count * size :].copy()
        for start in range(0, count * size, size):
            yield Frame(known[start : start + self._heard + size], self.config, self._memory)

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on: copies, to hand to `restore`.

        Returns
        -------
        dict of str to np.ndarray [dtype=float32]
            ``samples``: the past that windows still cover and what waits for a whole frame;
            the rest by the names that blocks give it.
        """
        return {
            "samples": self._samples.copy(),
            **{name: value.copy() for name, value in self._memory.items()},
            **(self._leaky.state() if self.config.has_memory else {}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where an extractor of the same parameters stood.

        Raises
        ------
        ValueError
            If `state` is not one of an extractor with these parameters.
        """
        leaky = set(self._leaky.state()) if self.config.has_memory else set()
        if set(state) != {"samples", *self._memory, *leaky}:
            raise ValueError(
                f"features: a state of {', '.join(self.config.blocks)} holds "
                f"{', '.join(['samples', *self._memory, *sorted(leaky)])}, "
                f"not {', '.join(state) or 'nothing'}"
            )
        given = {name: np.array(value, np.float32) for name, value in state.items()}
        shortest, longest = self._heard, self._heard + self.config.frame_samples - 1
        if given["samples"].ndim != 1 or not shortest <= len(given["samples"]) <= longest:
            raise ValueError(
                f"features: samples of a state must be {shortest} to {longest}, "
                f"not {given['samples'].shape}"
            )
        for name, value in self._memory.items():
            if given[name].shape != value.shape:
                raise ValueError(
                    f"features: {name} of a state has shape {value.shape}, not {given[name].shape}"
                )
        if leaky:
            self._leaky.restore({name: given.pop(name) for name in leaky})
        self._samples = given.pop("samples")
        self._memory = given


def logmel_spectrogram(samples: np.ndarray, config: FeatureConfig | None = None) -> np.ndarray:
    """Log-mel spectrogram of whole frames, for pictures.

    Returns
    -------
    np.ndarray [shape=(frames * steps, n_mels), dtype=float32]
        dB; one row a hop (20 ms by default).
    """
    config = config or FeatureConfig()
    return FeatureExtractor(config).push_logmel(samples).reshape(-1, config.n_mels)


def extract(source: audio.AudioSource, config: FeatureConfig | None = None) -> np.ndarray:
    """Feature frames of an audio file.

    Parameters
    ----------
    source : path or binary file
    config : FeatureConfig, optional

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32]
        Frame ``i`` describes the audio in ``[i / 2, (i + 1) / 2)`` s. A last part shorter
        than a frame is left out.

    Raises
    ------
    audio.AudioError
        If the audio cannot be decoded or is shorter than one frame.
    """
    config = config or FeatureConfig()
    extractor = FeatureExtractor(config)
    frames = [extractor.push(block) for block in audio.stream(source, config.sample_rate)]
    result = np.concatenate(frames)
    if not len(result):
        raise audio.AudioError(
            f"{audio.source_name(source)}: shorter than the 500 ms that one prediction needs"
        )
    return result
