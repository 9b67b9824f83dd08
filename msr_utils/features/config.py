"""Feature configuration: names of blocks and their parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from msr_utils.features.blocks.registry import ALL_BLOCKS, BLOCKS, FORMER_NAMES, current_name
from msr_utils.features.running_stats import RunningStats
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig

FEATURE_VERSION = 1
"""Increase it when the numbers of all blocks change. Cached features and bundles made before are
then refused."""


@dataclass(frozen=True)
class FeatureConfig(SpectrumConfig):
    """All parameters that change the features, apart from `msr_utils.constants`.

    Parameters
    ----------
    blocks : tuple of str, or str
        Names from `ALL_BLOCKS`, in any combination. Their features are concatenated in this
        order. A string separates them by commas.
    memory_s, memory_sd_s : tuple of float > 0
        Time constants in s of `RunningStats`. Running means (`memory_s`) and running standard
        deviations (`memory_sd_s`) of every feature then replace the frame's own values. Both are
        empty by default: no running statistics. These names are part of hashes and files.
    sample_rate, n_fft, hop_length, n_mels, fmin, fmax, patch_steps
        As in `SpectrumConfig`, by keyword only.

    Raises
    ------
    FeatureConfigError
        If a parameter is out of range or a block cannot be computed with it; `field` is the
        parameter's name.
    """

    blocks: tuple[str, ...] | str = ("logmel",)
    memory_s: tuple[float, ...] = ()
    memory_sd_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "blocks", _block_names(self.blocks))
        for name in ("memory_s", "memory_sd_s"):
            seconds = tuple(float(s) for s in getattr(self, name))
            object.__setattr__(self, name, seconds)
            if not all(0 < s < np.inf for s in seconds) or len(set(seconds)) < len(seconds):
                raise FeatureConfigError(
                    f"features: {name} must be different positive seconds: {seconds}", name
                )
        for name in self.blocks:
            ALL_BLOCKS[name].check(self)

    @property
    def dim(self) -> int:
        """Length of one frame's feature vector."""
        return self.frame_dim * (len(self.memory_s) + len(self.memory_sd_s) or 1)

    @property
    def frame_dim(self) -> int:
        """Number of features computed from one frame, before any running statistics."""
        return sum(ALL_BLOCKS[name].dim(self) for name in self.blocks)

    @property
    def has_running_stats(self) -> bool:
        """True if running statistics replace the frames' own values."""
        return bool(self.memory_s or self.memory_sd_s)

    def without_running_stats(self) -> FeatureConfig:
        """The same blocks with the frames' own values."""
        return replace(self, memory_s=(), memory_sd_s=())

    def running_stats(self) -> RunningStats:
        """Running statistics in the state before a track's first frame."""
        return RunningStats(self.frame_dim, self.memory_s, self.memory_sd_s)

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Columns of some of the blocks, in the order of `names`.

        With running statistics, each time constant repeats them.

        Returns
        -------
        np.ndarray [shape=(d,), dtype=int]
        """
        ends = np.cumsum([ALL_BLOCKS[name].dim(self) for name in self.blocks])
        columns = {
            name: np.arange(end - ALL_BLOCKS[name].dim(self), end)
            for name, end in zip(self.blocks, ends, strict=True)
        }
        frame = np.concatenate([columns[name] for name in names])
        return np.concatenate([frame + start for start in range(0, self.dim, self.frame_dim)])

    @property
    def pretrained(self) -> dict[str, str]:
        """Name and SHA-256 of the networks that the blocks run, by block; often empty."""
        return {n: ALL_BLOCKS[n].weights for n in self.blocks if ALL_BLOCKS[n].weights}

    @property
    def hash(self) -> str:
        """SHA-256 of the parameters and versions. It names caches and identifies bundles."""
        return self._digest({})

    def _digest(self, former: Mapping[str, str]) -> str:
        """The hash with former names of some blocks: name now -> name in the hash."""
        names = {name: former.get(name, name) for name in self.blocks}
        values = {"version": FEATURE_VERSION, **self._parameters(), "blocks": [*names.values()]}
        versions = {names[n]: ALL_BLOCKS[n].version for n in names if ALL_BLOCKS[n].version > 1}
        if versions:
            values["block_versions"] = versions
        if self.pretrained:
            values["pretrained"] = {names[n]: weights for n, weights in self.pretrained.items()}
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _parameters(self) -> dict[str, Any]:
        """Parameters, blocks first.

        Running statistics appear only if there are any, so that older hashes stay valid.
        """
        values = {"blocks": self.blocks, **asdict(self)}
        if not self.has_running_stats:
            del values["memory_s"], values["memory_sd_s"]
        return values

    def to_json(self) -> dict[str, Any]:
        """Parameters, version, hash and, if any, pretrained networks as plain values."""
        needed = {"pretrained": self.pretrained} if self.pretrained else {}
        return {"version": FEATURE_VERSION, **self._parameters(), **needed, "hash": self.hash}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FeatureConfig:
        """Read what `to_json` wrote. Former names of blocks are accepted with a warning.

        Raises
        ------
        FeatureConfigError
            If the hash does not match. The values were then made by another feature version or
            with another pretrained network, or they were edited.
        """
        config = cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})
        for name, weights in values.get("pretrained", {}).items():
            if weights != (here := config.pretrained.get(FORMER_NAMES.get(name, name))):
                raise FeatureConfigError(
                    f"features: {name} needs the network {weights}, this version has {here}; "
                    "export again",
                    "pretrained",
                )
        former = {FORMER_NAMES[n]: n for n in values.get("blocks", ()) if n in FORMER_NAMES}
        if values.get("hash") not in (config.hash, config._digest(former)):
            raise FeatureConfigError(
                f"features: hash {values.get('hash')!r} was made by feature version "
                f"{values.get('version')}, this is version {FEATURE_VERSION}; export again",
                "hash",
            )
        return config


def _block_names(blocks: Sequence[str] | str) -> tuple[str, ...]:
    """Current names of blocks.

    Raises
    ------
    FeatureConfigError
        If there is none, one is unknown or one is named twice.
    """
    given = blocks.split(",") if isinstance(blocks, str) else blocks
    names = tuple(current_name(name.strip()) for name in given if name.strip())
    if not names:
        raise FeatureConfigError(
            f"features: name at least one block of {', '.join(ALL_BLOCKS)}", "blocks"
        )
    for name in names:
        if name not in ALL_BLOCKS:
            raise FeatureConfigError(
                f"features: unknown block {name!r}; known: {', '.join(ALL_BLOCKS)}", "blocks"
            )
    if len(set(names)) < len(names):
        raise FeatureConfigError(
            f"features: a block is named twice in {', '.join(names)}", "blocks"
        )
    return names


def block_table(config: FeatureConfig | None = None) -> list[dict[str, str | int]]:
    """Every block as a row for a table: ``name, dim, unit, what, source``.

    Parameters
    ----------
    config : FeatureConfig, optional
        The dimensions depend on it.
    """
    config = config or FeatureConfig()
    return [
        {"name": b.name, "dim": b.dim(config), "unit": b.unit, "what": b.what, "source": b.source}
        for b in BLOCKS.values()
    ]
