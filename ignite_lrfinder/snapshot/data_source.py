"""Capture and restore a loader's workers, generators and orders."""

import functools
from typing import Any

import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader

from ignite_lrfinder.snapshot.memento import Memento


class DataSource:
    """Capture a loader, and give the sweep separate workers.

    Remembered are the random generators, counters and orders (one-dimensional arrays) of the
    loader, its samplers, data sets and transforms; the data itself is not copied. Worker processes
    that the loader keeps between epochs are set aside, with the random state they hold, and come
    back untouched. Items that a one-shot iterator has given cannot be put back.

    Args:
        data: what the trainer runs on: a `DataLoader` or any other iterable, or None.
    """

    def __init__(self, data: object) -> None:
        self._memento = Memento(is_opaque=_is_not_data, is_data=True)
        self._memento.capture("the data loader", data)
        self._iterators: list[object] = []

    def separate_workers(self) -> None:
        """Make each loader create new iterators, with separate workers for the sweep."""
        for obj in self._memento.seen():
            if isinstance(obj, DataLoader):
                obj._iterator = None
                vars(obj)["_get_iterator"] = functools.partial(self._make_iterator, obj)

    def restore(self) -> dict[str, BaseException]:
        """End the sweep's workers and restore everything.

        Returns:
            What could not be restored, as from `Memento.restore`.
        """
        for iterator in self._iterators:
            # Now, even where a traceback still holds the iterator.
            getattr(iterator, "_shutdown_workers", lambda: None)()
        self._iterators.clear()
        return self._memento.restore()

    def _make_iterator(self, loader: DataLoader[Any]) -> object:
        """Create an iterator of a loader, whose workers belong to the sweep."""
        self._iterators.append(type(loader)._get_iterator(loader))
        return self._iterators[-1]


def is_loader_iterator(obj: object) -> bool:
    """Return whether an object is a running iterator of a `DataLoader`, which cannot be rewound."""
    return type(obj).__module__ == "torch.utils.data.dataloader" and hasattr(obj, "__next__")


def _is_not_data(obj: object) -> bool:
    """Return whether an object is not part of the data, although a loader may refer to it."""
    return isinstance(obj, (Engine, torch.optim.Optimizer)) or is_loader_iterator(obj)
