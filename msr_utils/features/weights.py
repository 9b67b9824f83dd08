"""Pretrained weights: where they are stored, how they are fetched and checked."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
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
from msr_utils.paths import CACHE_DIR, WEIGHTS

if TYPE_CHECKING:
    import onnxruntime as ort

WEIGHTS_VARIABLE = "MSR_WEIGHTS"
"""Environment variable that names the folder of the weights."""

FORMER_VARIABLE = "MSR_EARS"
"""Its name in version 0.1. It is still read, with a warning."""

FORMER_WEIGHTS = CACHE_DIR / "ears"
"""Default folder in version 0.1. Weights are still found there."""


class PretrainedWeightsError(RuntimeError):
    """Pretrained weights that are missing, altered or cannot be fetched."""


def weights_file() -> Path:
    """File of MusiCNN's weights, whether it exists or not.

    It lies in the folder that ``MSR_WEIGHTS`` names, by default ``.cache/weights`` of the
    checkout. An installed package has it in the user's folder of caches.
    """
    name = f"{MUSICNN_NAME}.onnx"
    if folder := os.environ.get(WEIGHTS_VARIABLE):
        return Path(folder) / name
    if folder := os.environ.get(FORMER_VARIABLE):
        warnings.warn(
            f"the environment variable {FORMER_VARIABLE} is now called {WEIGHTS_VARIABLE}; the "
            "old name will be removed in the next version",
            FutureWarning,
            stacklevel=2,
        )
        return Path(folder) / name
    file, former = WEIGHTS / name, FORMER_WEIGHTS / name
    return former if former.is_file() and not file.is_file() else file


@cache
def session() -> ort.InferenceSession:
    """MusiCNN with one thread, loaded at the first call.

    Raises
    ------
    PretrainedWeightsError
        If the weights are missing or are not those that this version needs.
    """
    import onnxruntime as ort

    file = weights_file()
    if not file.is_file():
        raise PretrainedWeightsError(
            f"features: the block 'musicnn' needs the pretrained network {MUSICNN_NAME}, which is "
            f"not in {file.parent}; run 'msr weights fetch', or set {WEIGHTS_VARIABLE} to the "
            "folder that has it"
        )
    if (digest := sha256_file(file)) != MUSICNN_SHA256:
        raise PretrainedWeightsError(
            f"features: {file.name} in {file.parent} has SHA-256 {digest[:12]}..., this version "
            f"needs {MUSICNN_SHA256[:12]}...; run 'msr weights fetch'"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def fetch_musicnn(wheel: Path | None = None) -> tuple[Path, bool]:
    """Make MusiCNN's graph from the weights in its package. No code of the package is run.

    Parameters
    ----------
    wheel : Path, optional
        The package's wheel. By default pip downloads it.

    Returns
    -------
    file : Path
        The graph.
    made : bool
        False if it existed already.

    Raises
    ------
    PretrainedWeightsError
        If the package cannot be downloaded or is not the expected one.
    OSError
        If the graph cannot be written.
    """
    file = weights_file()
    if file.is_file() and sha256_file(file) == MUSICNN_SHA256:
        return file, False
    # The new file is opened first: without the right to write it, nothing is downloaded.
    with atomic_path(file) as temporary, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = wheel or _download(folder)
        if not wheel.is_file() or sha256_file(wheel) != MUSICNN_WHEEL_SHA256:
            raise PretrainedWeightsError(
                f"musicnn: {wheel.name} is not the wheel of {MUSICNN_PACKAGE}"
            )
        temporary.write_bytes(build_graph(_read_weights(wheel, folder)))
        if (digest := sha256_file(temporary)) != MUSICNN_SHA256:
            raise PretrainedWeightsError(
                f"musicnn: the graph that was made has SHA-256 {digest}, not {MUSICNN_SHA256}; "
                "install the versions of numpy and onnx in requirements.lock"
            )
    session.cache_clear()
    return file, True


def _download(folder: Path) -> Path:
    """Download the package's wheel with pip."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{MUSICNN_PACKAGE} --hash=sha256:{MUSICNN_WHEEL_SHA256}\n")
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
    ]
    # Its dependencies are of 2019 and are not needed for its weights.
    command += ["--no-deps", "--require-hashes", "--requirement", str(requirements)]
    command += ["--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PretrainedWeightsError(
            f"musicnn: pip cannot download {MUSICNN_PACKAGE} ({reason}); try again, or get its "
            "wheel elsewhere and run 'msr weights fetch --wheel FILE'"
        )
    return wheels[0]


def _read_weights(wheel: Path, folder: Path) -> dict[str, np.ndarray]:
    """Tensors of the checkpoint by name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    with zipfile.ZipFile(wheel) as package:
        # The names of its files consist of an extension only. tensorflow takes them for folders.
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
