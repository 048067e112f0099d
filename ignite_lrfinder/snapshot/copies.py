"""Copies of the values of tensors and arrays: which are made, and which are shared."""

from collections.abc import Iterator

import numpy as np
import torch

from ignite_lrfinder.snapshot import tensors
from ignite_lrfinder.snapshot.arrays import num_bytes
from ignite_lrfinder.snapshot.storage import Kept
from ignite_lrfinder.snapshot.tensors import Keep, Values

# Data is not copied, but what says where in it training is. That is small: 128 MiB hold the order
# of 16 million samples.
_MAX_DATA_BYTES = 1 << 27


class Copies:
    """The copies of one capture, shared with an earlier one where nothing has changed since then.

    Args:
        keep: copies the values of a tensor, and returns a function that returns them.
        base: the copies of the earlier capture.

    Attributes:
        values: the values of tensors.
    """

    def __init__(self, keep: Keep, base: "Copies | None") -> None:
        self.values = Values(keep if base is None else self._keep_changed)
        self._keep = keep
        self._base = base
        self._arrays: dict[int, np.ndarray] = {}
        self._data: list[torch.Tensor | np.ndarray] = []
        self._num_data_bytes = 0

    def add_data(self, data: torch.Tensor | np.ndarray) -> None:
        """Add data, of which only what is small is copied."""
        self._data.append(data)

    def data_by_size(self) -> Iterator[tuple[torch.Tensor | np.ndarray, bool]]:
        """Iterate over the data that was added, and whether to copy it, the smallest first."""
        for data in sorted(self._data, key=num_bytes):
            self._num_data_bytes += num_bytes(data)
            yield data, self._num_data_bytes <= _MAX_DATA_BYTES and not isinstance(data, np.memmap)
        self._data.clear()

    def of_array(self, array: np.ndarray) -> np.ndarray:
        """Return a copy of the values of an array."""
        plain = array if type(array) is np.ndarray else array.view(np.ndarray)
        before = None if self._base is None else self._base._arrays.get(id(array))
        if before is None or not _is_same(before, plain):
            before = plain.copy()
        self._arrays[id(array)] = before
        return before

    def clear(self) -> None:
        """Free the copies."""
        self.values.clear()
        self._arrays.clear()
        self._data.clear()

    def _keep_changed(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, unless the earlier capture has the same."""
        kept = None if self._base is None else self._base.values.find(tensor)
        if kept is not None and tensors.is_same(tensor, kept()):
            return kept
        return self._keep(tensor)


def _is_same(before: np.ndarray, now: np.ndarray) -> bool:
    """Return whether two arrays without references are the same bit for bit."""
    if now.dtype.hasobject or (before.dtype, before.shape) != (now.dtype, now.shape):
        return False
    return np.array_equal(_bytes_of(before), _bytes_of(now))


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """Return the bytes of an array."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
