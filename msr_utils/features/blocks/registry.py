"""All feature blocks by name.

Modules of block families are listed in `FAMILIES`. A new family needs one module and one line
here.
"""

from __future__ import annotations

import warnings

from msr_utils.features.blocks import (
    cepstral,
    contrast,
    jamendo,
    loudness,
    musicnn,
    rhythm,
    spectral,
    tonal,
)
from msr_utils.features.blocks.base import Block

FAMILIES = (spectral, cepstral, tonal, contrast, rhythm, loudness, musicnn, jamendo)
"""Modules of block families. Each has a tuple `BLOCKS`. Tables list blocks in this order."""

ALL_BLOCKS: dict[str, Block] = {block.name: block for family in FAMILIES for block in family.BLOCKS}
"""Every block that a configuration may name."""

BLOCKS = {name: block for name, block in ALL_BLOCKS.items() if not block.weights}
"""Blocks that need nothing but this package."""

PRETRAINED = {name: block for name, block in ALL_BLOCKS.items() if block.weights}
"""Blocks that run a network whose weights must be fetched; see `msr_utils.features.weights`."""

FORMER_NAMES = {block.former_name: name for name, block in ALL_BLOCKS.items() if block.former_name}
"""Name in earlier versions -> name now."""


def current_name(name: str) -> str:
    """Name of a block; a former name is replaced, with a `FutureWarning`."""
    if name not in FORMER_NAMES:
        return name
    now = FORMER_NAMES[name]
    warnings.warn(
        f"the feature block {name!r} is now called {now!r}; the old name will be removed in the "
        "next version",
        FutureWarning,
        stacklevel=2,
    )
    return now
