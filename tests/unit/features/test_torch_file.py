"""Tensors of a file by PyTorch are read, and nothing else in it."""

import io
import os
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest

from msr_utils.features import torch_file
from msr_utils.features.torch_file import TorchFileError, read_tensors

A, B = np.arange(12, dtype="<f4").reshape(3, 4), np.array(7, "<i8")


@pytest.fixture
def torch(monkeypatch):
    """Names that a file by PyTorch refers to; pickle writes only names that exist."""
    names = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in torch_file.STORAGE_TYPES:
        setattr(names[0], name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_: object) -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    names[1]._rebuild_tensor_v2 = _rebuild_tensor_v2
    for module in names:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return names[0]


class Tensor:
    """Pickled as PyTorch pickles a tensor."""

    def __init__(self, key: str, kind: str, length: int, shape: tuple, strides: tuple, offset=0):
        self.values = (key, kind, length), offset, shape, strides

    def __reduce__(self):
        storage, *view = self.values
        utils = sys.modules["torch._utils"]
        return utils._rebuild_tensor_v2, (Storage(*storage), *view, False, OrderedDict())


class Storage:
    def __init__(self, key: str, kind: str, length: int) -> None:
        self.key, self.kind, self.length = key, kind, length


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = getattr(sys.modules["torch"], value.kind)
        return ("storage", kind, value.key, "cpu", value.length, None)


def saved(content, storages: dict[str, np.ndarray], magic: int = torch_file.MAGIC) -> bytes:
    """A file as ``torch.save`` wrote it before version 1.6."""
    out = io.BytesIO()
    for part in (magic, torch_file.VERSION, {"little_endian": True}, content, list(storages)):
        Pickler(out, protocol=2).dump(part)
    for values in storages.values():
        out.write(values.size.to_bytes(8, "little") + values.tobytes())
    return out.getvalue()


def two_tensors() -> dict[str, Tensor]:
    return OrderedDict(
        a=Tensor("1", "FloatStorage", 12, (3, 4), (4, 1)),
        turned=Tensor("1", "FloatStorage", 12, (4, 2), (1, 4), offset=4),
        b=Tensor("2", "LongStorage", 1, (), ()),
    )


def test_tensors_are_read(torch, tmp_path):
    file = tmp_path / "model.pth"
    file.write_bytes(saved(two_tensors(), {"1": A, "2": B}))
    tensors = read_tensors(file)
    np.testing.assert_array_equal(tensors["a"], A)
    np.testing.assert_array_equal(tensors["turned"], A[1:].T)
    assert tensors["b"] == 7 and tensors["b"].dtype == np.int64


class Call:
    """Calls a function when it is read by pickle itself."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_function_is_called(torch, tmp_path):
    file, made = tmp_path / "model.pth", tmp_path / "made"
    file.write_bytes(saved({"a": Call(made)}, {}))
    with pytest.raises(TorchFileError, match=r"model\.pth: the file names \w+\.mkdir"):
        read_tensors(file)
    assert not made.exists()


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (Tensor("1", "FloatStorage", 12, (3, 4), (4, 2)), "beyond its storage"),
        (Tensor("1", "FloatStorage", 12, (3, 4), (4, 1), offset=1), "beyond its storage"),
        (Tensor("1", "FloatStorage", 12, (3, 4), (-4, 1)), "beyond its storage"),
        (Tensor("1", "FloatStorage", 12, (10**6, 10**6), (0, 0)), "impossible shape"),
        (Tensor("1", "FloatStorage", 10**12, (3,), (1,)), "1000000000000 values"),
        (Tensor("1", "FloatStorage", 13, (3,), (1,)), "not whole"),
    ],
)
def test_views_lie_within_what_the_file_holds(torch, tmp_path, tensor, says):
    file = tmp_path / "model.pth"
    file.write_bytes(saved({"a": tensor}, {"1": A}))
    with pytest.raises(TorchFileError, match=rf"model\.pth: .*{says}.*get the file again"):
        read_tensors(file)


def test_other_files_are_refused(torch, tmp_path):
    file = tmp_path / "model.pth"
    whole = saved(two_tensors(), {"1": A, "2": B})
    for content in (b"", b"PK\3\4", whole[:-1], whole[:200], saved({}, {}, magic=1)):
        file.write_bytes(content)
        with pytest.raises(TorchFileError, match=r"model\.pth"):
            read_tensors(file)
