"""Pretrained weights: where they are stored, how they are fetched and checked."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.features import jamendo_graph, musicnn_graph, yamnet_graph
from msr_utils.features.jamendo_graph import (
    JAMENDO_FILE_SHA256,
    JAMENDO_NAME,
    JAMENDO_SHA256,
    JAMENDO_TERMS,
    JAMENDO_URL,
)
from msr_utils.features.musicnn_graph import (
    MUSICNN_NAME,
    MUSICNN_PACKAGE,
    MUSICNN_SHA256,
    MUSICNN_TERMS,
    MUSICNN_WHEEL_SHA256,
)
from msr_utils.features.torch_file import TorchFileError, read_tensors
from msr_utils.features.yamnet_graph import (
    YAMNET_FILE_SHA256,
    YAMNET_NAME,
    YAMNET_SHA256,
    YAMNET_TERMS,
    YAMNET_URL,
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


@dataclass(frozen=True)
class PretrainedNetwork:
    """A pretrained network.

    Parameters
    ----------
    name : str
        Its file is called so.
    block : str
        Name of the feature block that runs it. YAMNet is run by `inference.content` instead.
    sha256 : str
        SHA-256 of the ONNX graph.
    terms : str
        Name, author and licence of the weights.
    build : callable
        Takes the file at hand, if there is one, and an empty folder; gives the graph.
    """

    name: str
    block: str
    sha256: str
    terms: str
    build: Callable[[Path | None, Path], bytes]


def weights_file(network: PretrainedNetwork) -> Path:
    """File of a network, whether it exists or not.

    It lies in the folder that ``MSR_WEIGHTS`` names, by default ``.cache/weights`` of the
    checkout. An installed package has it in the user's folder of caches.
    """
    name = f"{network.name}.onnx"
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
def session(network: PretrainedNetwork) -> ort.InferenceSession:
    """A network with one thread, loaded at the first call.

    Raises
    ------
    PretrainedWeightsError
        If the weights are missing or are not those that this version needs.
    """
    import onnxruntime as ort

    file = weights_file(network)
    command = fetch_command(network)
    if not file.is_file():
        raise PretrainedWeightsError(
            f"features: the block '{network.block}' needs the pretrained network {network.name}, "
            f"which is not in {file.parent}; run '{command}', or set {WEIGHTS_VARIABLE} to the "
            "folder that has it"
        )
    if (digest := sha256_file(file)) != network.sha256:
        raise PretrainedWeightsError(
            f"{network.block}: {file.name} in {file.parent} has SHA-256 {digest[:12]}..., this "
            f"version needs {network.sha256[:12]}...; run '{command}'"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def fetch_command(network: PretrainedNetwork) -> str:
    """The command that fetches a network."""
    return "msr weights fetch" + ("" if network is MUSICNN else f" {network.block}")


def fetch(network: PretrainedNetwork, file: Path | None = None) -> tuple[Path, bool]:
    """Make a network's graph from the weights that its authors published.

    No code that comes with the weights is run.

    Parameters
    ----------
    network : PretrainedNetwork
    file : Path, optional
        The published file. By default it is downloaded.

    Returns
    -------
    graph : Path
    made : bool
        False if it existed already.

    Raises
    ------
    PretrainedWeightsError
        If the weights cannot be downloaded or are not the expected ones.
    OSError
        If the graph cannot be written.
    """
    graph = weights_file(network)
    if graph.is_file() and sha256_file(graph) == network.sha256:
        return graph, False
    # The new file is opened first: without the right to write it, nothing is downloaded.
    with atomic_path(graph) as temporary, tempfile.TemporaryDirectory() as name:
        temporary.write_bytes(network.build(file, Path(name)))
        if (digest := sha256_file(temporary)) != network.sha256:
            raise PretrainedWeightsError(
                f"{network.block}: the graph that was made has SHA-256 {digest}, not "
                f"{network.sha256}; install the versions of numpy and onnx in requirements.lock"
            )
    session.cache_clear()
    return graph, True


def _build_musicnn(wheel: Path | None, folder: Path) -> bytes:
    """MusiCNN's graph from the wheel of its package."""
    wheel = wheel or _download(folder)
    if not wheel.is_file() or sha256_file(wheel) != MUSICNN_WHEEL_SHA256:
        raise PretrainedWeightsError(f"musicnn: {wheel.name} is not the wheel of {MUSICNN_PACKAGE}")
    return musicnn_graph.build_graph(_read_weights(wheel, folder))


def _build_jamendo(file: Path | None, folder: Path) -> bytes:
    """The graph of Jamendo's FCN from the file of its authors."""
    file = _published("jamendo_fcn", JAMENDO_URL, JAMENDO_FILE_SHA256, file, folder)
    try:
        return jamendo_graph.build_graph(read_tensors(file))
    except TorchFileError as error:
        raise PretrainedWeightsError(f"jamendo_fcn: {error}") from error


def _build_yamnet(file: Path | None, folder: Path) -> bytes:
    """The graph of YAMNet from the file of its authors."""
    file = _published("yamnet", YAMNET_URL, YAMNET_FILE_SHA256, file, folder)
    return yamnet_graph.build_graph(file)


def _published(name: str, url: str, sha256: str, file: Path | None, folder: Path) -> Path:
    """The file that a network's authors published: the one at hand, or downloaded."""
    import pooch
    import requests

    if file is None:
        try:
            return Path(pooch.retrieve(url, f"sha256:{sha256}", path=folder, progressbar=False))
        except (requests.RequestException, ValueError, OSError) as error:
            raise PretrainedWeightsError(
                f"{name}: {url} cannot be downloaded ({type(error).__name__}); try again, or get "
                f"the file elsewhere and run 'msr weights fetch {name} --file FILE'"
            ) from error
    if not file.is_file():
        raise PretrainedWeightsError(f"{name}: there is no file {file}; correct --file")
    if sha256_file(file) != sha256:
        raise PretrainedWeightsError(
            f"{name}: {file.name} is not the file at {url} whose SHA-256 begins with {sha256[:12]}"
        )
    return file


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


MUSICNN = PretrainedNetwork(MUSICNN_NAME, "musicnn", MUSICNN_SHA256, MUSICNN_TERMS, _build_musicnn)
JAMENDO = PretrainedNetwork(
    JAMENDO_NAME, "jamendo_fcn", JAMENDO_SHA256, JAMENDO_TERMS, _build_jamendo
)
YAMNET = PretrainedNetwork(YAMNET_NAME, "yamnet", YAMNET_SHA256, YAMNET_TERMS, _build_yamnet)
NETWORKS = {network.block: network for network in (MUSICNN, JAMENDO, YAMNET)}
"""Pretrained networks by the name under which they are fetched."""
