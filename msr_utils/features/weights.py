"""Pretrained weights: where they are kept, how they are fetched and checked."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.features.musicnn_graph import (
    MUSICNN_NAME,
    MUSICNN_PACKAGE,
    MUSICNN_SHA256,
    MUSICNN_WHEEL_SHA256,
    build_graph,
)
from msr_utils.io import atomic_path, sha256_file
from msr_utils.paths import PROJECT_ROOT

if TYPE_CHECKING:
    import onnxruntime as ort


class PretrainedWeightsError(RuntimeError):
    """Weights that are not there, were altered, or cannot be fetched."""


def weights_file() -> Path:
    """Where the ear is kept: in the folder ``MSR_EARS``, or ``.cache/ears`` of the checkout."""
    return (
        Path(os.environ.get("MSR_EARS") or PROJECT_ROOT / ".cache" / "ears")
        / f"{MUSICNN_NAME}.onnx"
    )


@cache
def session() -> ort.InferenceSession:
    """The network, loaded when it is first needed; one thread.

    Raises
    ------
    EarError
        If it is not at hand or is not the one that this version knows.
    """
    import onnxruntime as ort

    file = weights_file()
    if not file.is_file():
        raise PretrainedWeightsError(
            f"features: the block 'ear' needs the pretrained network {MUSICNN_NAME}, which is not in "
            f"{file.parent}; run 'msr ear fetch', or set MSR_EARS to the folder that has it"
        )
    if (digest := sha256_file(file)) != MUSICNN_SHA256:
        raise PretrainedWeightsError(
            f"features: {file.name} in {file.parent} has SHA-256 {digest[:12]}..., this version "
            f"needs {MUSICNN_SHA256[:12]}...; run 'msr ear fetch'"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def fetch_musicnn(wheel: Path | None = None) -> tuple[Path, bool]:
    """Make the ear from the weights in its package; nothing of the package is run.

    Parameters
    ----------
    wheel : Path, optional
        The package's wheel, where it is at hand; else pip downloads it.

    Returns
    -------
    file : Path
    made : bool
        False where it was there already.

    Raises
    ------
    EarError
        If the package cannot be downloaded, or is another than expected.
    """
    file = weights_file()
    if file.is_file() and sha256_file(file) == MUSICNN_SHA256:
        return file, False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = wheel or _download(folder)
        if not wheel.is_file() or sha256_file(wheel) != MUSICNN_WHEEL_SHA256:
            raise PretrainedWeightsError(f"ear: {wheel.name} is not the wheel of {MUSICNN_PACKAGE}")
        graph = build_graph(_read_weights(wheel, folder))
    with atomic_path(file) as temporary:
        temporary.write_bytes(graph)
        if (digest := sha256_file(temporary)) != MUSICNN_SHA256:
            raise PretrainedWeightsError(
                f"ear: the graph that was made has SHA-256 {digest}, not {MUSICNN_SHA256}; install the "
                "versions of numpy and onnx in requirements.lock"
            )
    session.cache_clear()
    return file, True


def _download(folder: Path) -> Path:
    wanted = folder / "ear.txt"
    wanted.write_text(f"{MUSICNN_PACKAGE} --hash=sha256:{MUSICNN_WHEEL_SHA256}\n")
    # Without what it depends on: that is of 2019, and only its weights are used.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += [
        "--no-deps",
        "--require-hashes",
        "--requirement",
        str(wanted),
        "--dest",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PretrainedWeightsError(
            f"ear: pip cannot download {MUSICNN_PACKAGE} ({reason}); try again, or get its wheel "
            "elsewhere and run 'msr ear fetch --wheel FILE'"
        )
    return wheels[0]


def _read_weights(wheel: Path, folder: Path) -> dict[str, np.ndarray]:
    """The checkpoint's tensors by name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    with zipfile.ZipFile(wheel) as package:
        # Its files have nothing but an extension, which tensorflow takes for a folder.
        for suffix in (".index", ".data-00000-of-00001"):
            content = package.read(f"musicnn/{MUSICNN_NAME}/{suffix}")
            (folder / f"checkpoint{suffix}").write_bytes(content)
    reader = tf.train.load_checkpoint(str(folder / "checkpoint"))
    names = ("batch_normalization", "conv2d", "dense")
    return {
        name: reader.get_tensor(name).astype(np.float64)
        for name in sorted(reader.get_variable_to_shape_map())
        if name.startswith(names) and "Adam" not in name
    }
