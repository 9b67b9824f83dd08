"""Read the tensors of a file that PyTorch saved. Nothing in the file is executed.

Such a file holds pickles, which may call any function when they are read. Here only the names of
tensors and ordered dictionaries are known. Everything else is refused.

References
----------
PyTorch, torch/serialization.py, function ``_legacy_load``: format of ``torch.save`` before version
1.6. A file holds four pickles (a magic number, a version, facts about the system, the object), one
with the keys of the storages, and then each storage: its length and its values.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001

STORAGE_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
"""Class of a storage -> type of its values."""

MAX_VALUES = 10**8
"""Most values of a storage."""


class TorchFileError(ValueError):
    """A file that is not one of tensors alone, or is damaged."""


@dataclass(frozen=True)
class _Storage:
    """A storage that a tensor refers to. Its values follow later in the file."""

    key: str
    dtype: str
    length: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: Any, strides: Any, *_: object
) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows tensors, their storages and ordered dictionaries."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        raise TorchFileError(f"the file names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or dtype not in STORAGE_TYPES.values():
            raise TorchFileError("the file refers to something that is no storage")
        if not 0 <= length <= MAX_VALUES:
            raise TorchFileError(f"a storage has {length} values")
        return _Storage(str(key), dtype, int(length))


def read_tensors(file: Path) -> dict[str, np.ndarray]:
    """Tensors of a file by name.

    Parameters
    ----------
    file : Path
        A dictionary of tensors, as ``torch.save(model.state_dict(), file)`` wrote it before
        PyTorch 1.6.

    Raises
    ------
    TorchFileError
        If the file holds something else, or is cut short.
    OSError
        If it cannot be read.
    """
    stream = io.BytesIO(file.read_bytes())
    try:
        found = _read(stream)
    except TorchFileError as error:
        raise TorchFileError(f"{file.name}: {error}; get the file again") from error
    except Exception as error:  # A pickle that is damaged may fail in any way.
        raise TorchFileError(
            f"{file.name}: no file of tensors, or a damaged one ({error}); get the file again"
        ) from error
    return found


def _read(stream: BinaryIO) -> dict[str, np.ndarray]:
    """Tensors of an open file."""
    magic, version, _, tensors, keys = (_RestrictedUnpickler(stream).load() for _ in range(5))
    if magic != MAGIC or version != VERSION or not isinstance(tensors, dict):
        raise TorchFileError("no dictionary of tensors by PyTorch")
    storages = {t.storage.key: t.storage for t in tensors.values() if isinstance(t, _Tensor)}
    values: dict[str, np.ndarray] = {}
    for key in keys:
        storage = storages[key]
        size = np.dtype(storage.dtype).itemsize
        length = int.from_bytes(stream.read(8), "little")
        content = stream.read(size * storage.length)
        if length != storage.length or len(content) != size * length:
            raise TorchFileError(f"storage {key} is not whole")
        values[key] = np.frombuffer(content, storage.dtype)
    return {
        name: _view(values[tensor.storage.key], tensor)
        for name, tensor in tensors.items()
        if isinstance(tensor, _Tensor)
    }


def _view(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """Values of a tensor. Its shape must lie within its storage."""
    count = math.prod(tensor.shape)
    if len(tensor.shape) != len(tensor.strides) or not 0 <= count <= len(values):
        raise TorchFileError("a tensor has an impossible shape")
    last = tensor.offset + sum(
        (n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)
    )
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= max(len(values), 1):
        raise TorchFileError("a tensor reaches beyond its storage")
    strides = [step * values.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides)
    return np.array(view)
