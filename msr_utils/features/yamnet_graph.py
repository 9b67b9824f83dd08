"""YAMNet as an ONNX graph: which of 521 kinds of sound is in 0.96 s of audio.

YAMNet is a MobileNet (Howard and others 2017) that was trained on AudioSet (Gemmeke and others
2017). Its file has whole numbers of 8 bits as weights, with a scale for each. The graph has their
values as float32.

References
----------
Gemmeke and others (2017), Audio Set: an ontology and human-labeled dataset for audio events,
ICASSP.
Howard and others (2017), MobileNets: efficient convolutional neural networks for mobile vision
applications. arXiv:1704.04861.
Plakal and Ellis (2020), YAMNet, in the TensorFlow model garden.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from msr_utils.features.onnx_graph import GraphBuilder

YAMNET_NAME = "YAMNet"
"""Name of the network here."""

YAMNET_SHA256 = "4086f7946a65f00ddc6a479f08c5251cc3e78d0b852a7c45a61e1235e1b6d89e"
"""SHA-256 of the ONNX graph that `build_graph` makes."""

YAMNET_FILE_SHA256 = "10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de"
"""SHA-256 of the file of weights."""

YAMNET_URL = (
    "https://storage.googleapis.com/download.tensorflow.org/models/tflite/task_library/"
    "audio_classification/android/lite-model_yamnet_classification_tflite_1.tflite"
)
"""Address of the weights."""

YAMNET_TERMS = "weights of YAMNet, Manoj Plakal and Dan Ellis, Google, Apache License 2.0"
"""Name, author and licence of the weights."""

YAMNET_RATE = 16_000
"""Sample rate of its input, Hz."""

FRAME_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
"""Samples of a spectrum, from one to the next, and of the transform: 25, 10 and 32 ms."""

PATCH_FRAMES = 96
"""Spectra of one input."""

PATCH_SAMPLES = (PATCH_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES
"""Samples of one input: 0.975 s."""

CLASSES = 521
"""Kinds of sound."""

_WINDOW, _MEL, _MEL_OFFSET = 11, 22, 23
"""Numbers of tensors in the file: the window, the mel filters, and what is added before the
logarithm."""

_LAYERS = range(33, 114, 3)
"""Numbers of the weights of the convolutions. The bias follows, then the output."""

_DENSE = 116
"""Number of the weights of the last layer. The bias follows."""

_DEPTHWISE_AXIS = 3
"""Weights that have a scale for each value of this axis are of a depthwise convolution. They are
(1, 3, 3, maps); others are (out, rows, columns, in)."""

_STRIDES_OF_2 = frozenset({33, 42, 54, 66, 102})
"""Convolutions that skip every second row and column."""


def build_graph(file: Path) -> bytes:
    """The network as an ONNX graph.

    The input is ``frames``, (N, PATCH_FRAMES, FRAME_SAMPLES): audio at `YAMNET_RATE` in [-1, 1].
    The output is ``scores``, (N, CLASSES), each in [0, 1].

    Parameters
    ----------
    file : Path
        ``yamnet.tflite``. Only its numbers are read.

    Returns
    -------
    bytes
        A serialised ONNX model.
    """
    model = _Tflite(file)
    graph = GraphBuilder(YAMNET_NAME, YAMNET_TERMS, "")
    x = graph.add("Mul", "frames", graph.constant(model.tensor(_WINDOW)))
    angles = 2 * np.pi * np.outer(np.arange(FRAME_SAMPLES), np.arange(FFT_SAMPLES // 2 + 1))
    parts = [
        graph.add("MatMul", x, graph.constant(wave(angles / FFT_SAMPLES)))
        for wave in (np.cos, np.sin)
    ]
    powers = [graph.add("Mul", part, part) for part in parts]
    x = graph.add("Sqrt", graph.add("Add", *powers))
    x = graph.add("MatMul", x, graph.constant(model.tensor(_MEL).T))
    x = graph.add("Log", graph.add("Add", x, graph.constant(model.tensor(_MEL_OFFSET))))
    x = graph.add("Unsqueeze", x, graph.integers(1))
    for number in _LAYERS:
        x = _convolve(graph, x, model, number)
    x = graph.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    x = graph.add("MatMul", x, graph.constant(model.tensor(_DENSE).T))
    x = graph.add("Add", x, graph.constant(model.tensor(_DENSE + 1)))
    graph.add("Sigmoid", x, output="scores")
    return graph.serialise(
        {"frames": ("N", PATCH_FRAMES, FRAME_SAMPLES)}, {"scores": ("N", CLASSES)}
    )


def _convolve(graph: GraphBuilder, x: str, model: _Tflite, number: int) -> str:
    """One convolution with its bias and ReLU6."""
    weights = model.tensor(number)
    depthwise = model.scaled_axis(number) == _DEPTHWISE_AXIS
    kernel = weights.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    stride = 2 if number in _STRIDES_OF_2 else 1
    x = graph.add(
        "Conv",
        x,
        graph.constant(kernel),
        graph.constant(model.tensor(number + 1)),
        auto_pad="SAME_UPPER",
        strides=[stride, stride],
        group=len(kernel) if depthwise else 1,
    )
    return graph.add("Clip", x, graph.constant(0.0), graph.constant(6.0))


class _Tflite:
    """Tensors of a TensorFlow Lite file. Nothing in it is run."""

    def __init__(self, file: Path) -> None:
        from tf2onnx.tflite.Model import Model

        self._model = Model.GetRootAsModel(file.read_bytes(), 0)
        self._graph = self._model.Subgraphs(0)

    def scaled_axis(self, number: int) -> int:
        """The axis along which the scale of a tensor changes."""
        return int(self._graph.Tensors(number).Quantization().QuantizedDimension())

    def tensor(self, number: int) -> np.ndarray:
        """The values of a tensor, float32."""
        from tf2onnx.tflite.TensorType import TensorType

        tensor = self._graph.Tensors(number)
        kinds = {TensorType.FLOAT32: "<f4", TensorType.INT32: "<i4", TensorType.INT8: "i1"}
        data = self._model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        values = np.frombuffer(data, kinds[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
        scale = tensor.Quantization()
        if scale is None or not scale.ScaleLength():
            return values.astype(np.float32)
        shape = np.ones(values.ndim, int)
        if scale.ScaleLength() > 1:
            shape[scale.QuantizedDimension()] = -1
        # All zero points in this file are zero.
        scaled: np.ndarray = values * scale.ScaleAsNumpy().reshape(shape)
        return scaled.astype(np.float32)


def class_names(file: Path) -> list[str]:
    """Names of the classes. They are in a ZIP archive at the end of the file."""
    with zipfile.ZipFile(file) as archive:
        return archive.read("yamnet_label_list.txt").decode().splitlines()
