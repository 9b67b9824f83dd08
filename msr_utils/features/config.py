"""What is computed from each frame: names of blocks and their parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import (
    asdict,
    dataclass,
    fields,
    replace,
)

import numpy as np

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
from msr_utils.features.blocks.registry import ALL_BLOCKS, BLOCKS
from msr_utils.features.blocks.spectral import CONTRAST_TOP_HZ
from msr_utils.features.running_stats import RunningStats

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

    def memory(self) -> RunningStats:
        """A fresh memory for one track."""
        return RunningStats(self.frame_dim, self.memory_s, self.memory_sd_s)

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
