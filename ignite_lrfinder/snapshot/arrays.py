"""Arrays, buffers and containers of weak references: captured as values, restored in place."""

import array
import ctypes
import functools
import io
import weakref
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

BUFFERS = (
    array.array, bytearray, io.BytesIO, io.StringIO,
    ctypes._SimpleCData, ctypes.Array, ctypes.Structure, ctypes.Union,
)  # fmt: skip
"""The types of objects whose state is a run of bytes."""

WEAK = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)
"""The types of containers of weak references."""

# Of a file that NumPy maps, so many pages are looked at; other arrays are read in parts of 16 MiB.
_NUM_SAMPLES = 64
_MAX_PART = 1 << 24


def restore_array(obj: np.ndarray, values: np.ndarray) -> None:
    """Restore the values of an array, and its size."""
    if obj.shape != values.shape:
        obj.resize(values.shape, refcheck=False)
    np.copyto(obj.view(np.ndarray), values)


def restore_record(obj: np.void, values: np.void) -> None:
    """Restore the fields of an element of a structured array."""
    for name in obj.dtype.names or ():
        obj[name] = values[name]


def num_bytes(data: torch.Tensor | np.ndarray) -> int:
    """Return the size of an array in bytes."""
    return data.nbytes if isinstance(data, np.ndarray) else data.numel() * data.element_size()


def watch_data(data: torch.Tensor | np.ndarray) -> Callable[[], bool]:
    """Return a function that returns whether an array was written since this call.

    Arrays in host memory are compared by checksum, files that NumPy maps by a sample of their
    values, and tensors on a device by their version counter.
    """
    before = _checksum(data)
    return lambda: _checksum(data) != before


def _checksum(data: torch.Tensor | np.ndarray) -> object:
    """Return a number that changes with an array."""
    if isinstance(data, torch.Tensor):
        if data.device.type != "cpu" or data.layout != torch.strided:
            return None if data.is_inference() else data._version
        parts = torch.atleast_1d(data).detach().tensor_split(_num_parts(data))
        return functools.reduce(_add_tensor, parts, 0)
    array = data.view(np.ndarray)
    if _is_mapped(array) or array.dtype.hasobject:
        step = max(1, array.size // _NUM_SAMPLES)
        return array.flat[::step].tobytes()
    whole = map(np.ascontiguousarray, np.array_split(np.atleast_1d(array), _num_parts(array)))
    parts = (part.reshape(-1).view(np.uint8) for part in whole)
    return functools.reduce(lambda checksum, part: zlib.crc32(part.data, checksum), parts, 0)


def _num_parts(data: torch.Tensor | np.ndarray) -> int:
    """Return the number of parts of an array, each of which may be copied."""
    return 1 + num_bytes(data) // _MAX_PART


def _add_tensor(checksum: int, tensor: torch.Tensor) -> int:
    """Return a checksum to which the bytes of a tensor are added."""
    whole = tensor.contiguous()
    # An array of NumPy would make the tensor's storage one that cannot be resized.
    content = (ctypes.c_ubyte * num_bytes(whole)).from_address(whole.data_ptr())
    return zlib.crc32(content, checksum)


def _is_mapped(array: Any) -> bool:
    """Return whether an array shows a file that NumPy maps."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def buffer_state(obj: Any) -> tuple[Any, int]:
    """Return the content of a buffer, and the position in it."""
    if isinstance(obj, (io.BytesIO, io.StringIO)):
        return (None, 0) if obj.closed else (obj.getvalue(), obj.tell())
    return bytes(obj), 0


def restore_buffer(obj: Any, was: tuple[Any, int]) -> None:
    """Restore the content of a buffer, and the position in it."""
    content, position = was
    if content is None or buffer_state(obj) == was:
        return
    if isinstance(obj, (io.BytesIO, io.StringIO)):
        obj.seek(0)
        obj.truncate()
        obj.write(content)
        obj.seek(position)
    elif isinstance(obj, array.array):
        obj[:] = array.array(obj.typecode, content)
    elif isinstance(obj, bytearray):
        obj[:] = content
    else:
        memoryview(obj).cast("B")[:] = content


def is_shared_value(cls: type) -> bool:
    """Return whether instances of a class show shared memory, as `multiprocessing.Value` does."""
    return any(base.__module__ == "multiprocessing.sharedctypes" for base in cls.__mro__)


def weak_elements(obj: Any) -> list[Any]:
    """Return what a container of weak references holds."""
    return list(obj) if isinstance(obj, weakref.WeakSet) else list(obj.items())


def restore_weak(obj: Any, elements: list[Any]) -> None:
    """Restore what a container of weak references held."""
    if list(map(id, _flat(weak_elements(obj)))) == list(map(id, _flat(elements))):
        return
    obj.clear()
    obj.update(elements)


def _flat(elements: list[Any]) -> list[Any]:
    """Return the parts of pairs."""
    return [part for e in elements for part in (e if isinstance(e, tuple) else (e,))]


def restore_default(obj: Any, factory: object) -> None:
    """Restore what makes the missing values of a dict."""
    obj.default_factory = factory
