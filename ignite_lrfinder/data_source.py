"""What a sweep draws its batches from: a loader's workers, generators and orders."""

import numpy as np
import torch
from ignite.engine import Engine
from torch import nn
from torch.utils.data import DataLoader

from ignite_lrfinder.memento import Memento

# A list of transforms or of loaders is shorter, a list of samples is longer.
_MAX_ITEMS = 1000


class DataSource:
    """Keep a loader as it is now, and lend the sweep workers of its own.

    Remembered are the random generators, counters and orders (one-dimensional arrays) of the
    loader, its samplers, data sets and transforms; the data itself is not copied. Worker processes
    that the loader keeps between epochs are set aside, with the random state they hold, and come
    back untouched. Items that a one-shot iterator has given cannot be put back.

    Args:
        data: what the trainer runs on: a `DataLoader` or any other iterable, or None.
    """

    def __init__(self, data: object) -> None:
        self._memento = Memento(is_opaque=_is_not_data, is_bulk=_is_bulk, max_items=_MAX_ITEMS)
        self._memento.remember("the data loader", data)
        self._loaders = [obj for obj in self._memento.seen() if isinstance(obj, DataLoader)]
        for loader in self._loaders:
            loader._iterator = None

    def restore(self) -> dict[str, BaseException]:
        """End the workers that the sweep started and put everything back.

        Returns:
            What could not be put back, as `Memento.restore`.
        """
        for loader in self._loaders:
            _end_workers(loader._iterator)
        return self._memento.restore()


def is_loader_iterator(obj: object) -> bool:
    """Tell whether an object is the running iterator of a `DataLoader`, which cannot be rewound."""
    return type(obj).__module__ == "torch.utils.data.dataloader" and hasattr(obj, "__next__")


def _is_not_data(obj: object) -> bool:
    """Tell which objects a loader may refer to without drawing batches from them."""
    return isinstance(obj, (Engine, nn.Module, torch.optim.Optimizer)) or is_loader_iterator(obj)


def _is_bulk(array: torch.Tensor | np.ndarray) -> bool:
    """Tell samples from orders and indices."""
    return array.ndim > 1


def _end_workers(iterator: object) -> None:
    """End the worker processes of an iterator now, even where a traceback still holds it."""
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if shut_down is not None:
        shut_down()
