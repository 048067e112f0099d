"""Where the copies of tensors are held: in host memory, beside the originals, or on disk."""

import contextlib
import ctypes
import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from ignite_lrfinder.errors import LRFinderError

Kept = Callable[[], torch.Tensor]
"""Returns the values that were copied."""


def in_host_memory(tensor: torch.Tensor) -> Kept:
    """Copy a tensor to host memory."""
    return _constant(tensor.to("cpu", copy=True))


def on_device(tensor: torch.Tensor) -> Kept:
    """Copy a tensor beside itself."""
    return _constant(tensor.clone())


class OnDisk:
    """A file with the bytes of tensors, one after the other.

    The file has no name where the system allows it, and nobody else can open it: it is gone even if
    the process is killed. Only one tensor at a time is in memory twice. A tensor without plain
    bytes, such as a sparse one, is copied to host memory.

    Args:
        directory: where there is room for the file.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.fspath(directory)
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)

    def __call__(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, or of a process's part of a sharded tensor.

        Raises:
            LRFinderError: if the disk is full or cannot be written.
        """
        if hasattr(tensor, "to_local"):
            return functools.partial(_with_local, tensor, self(tensor.to_local()))  # type: ignore[operator]  # a DTensor
        if not is_plain(tensor):
            return in_host_memory(tensor)
        plain = tensor.resolve_conj().resolve_neg().cpu().contiguous()
        offset = self._file.seek(0, os.SEEK_END)
        try:
            left = _bytes_of(plain)
            while len(left):  # an unbuffered file may write less than it is given
                left = left[self._file.write(left) :]
        except OSError as error:
            # What was written before can still be read.
            self._file.truncate(offset)
            raise LRFinderError(
                f"The directory of the snapshot must have room for all state, got {error} in "
                f"{self._directory!r}. Free some room, or choose another."
            ) from error
        return functools.partial(self._read, offset, plain.dtype, plain.shape)

    def close(self) -> None:
        """Free the space."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _read(self, offset: int, dtype: torch.dtype, shape: torch.Size) -> torch.Tensor:
        """Return the values at an offset of the file."""
        tensor = torch.empty(shape, dtype=dtype)
        left = _bytes_of(tensor)
        self._file.seek(offset)
        while len(left):
            num_read = self._file.readinto(left)
            if not num_read:
                raise EOFError(f"the file of the snapshot in {self._directory!r} was cut short")
            left = left[num_read:]
        return tensor


def _constant(copy: torch.Tensor) -> Kept:
    """Return a function that returns a copy."""
    return lambda: copy


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the host."""
    # Through NumPy it would be the same memory, but then never resizable again.
    memory = ctypes.c_byte * (tensor.numel() * tensor.element_size())
    return memoryview(memory.from_address(tensor.data_ptr())).cast("B")


def _with_local(sharded: Any, local: Kept) -> torch.Tensor:
    """Return a sharded tensor like another, with this process's part as it was copied."""
    return type(sharded).from_local(
        local().to(sharded.device),
        sharded.device_mesh,
        sharded.placements,
        run_check=False,
        shape=sharded.shape,
        stride=sharded.stride(),
    )


def is_dense(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is no more than a view of its memory."""
    is_usual = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return is_usual and tensor.layout == torch.strided and not tensor.is_nested


def is_plain(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is fully described by its bytes."""
    return is_dense(tensor) and not tensor.is_quantized
