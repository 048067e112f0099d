"""Worker processes of data loaders: those of the sweep are separate, and end with it."""

import functools
from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader


class SweepWorkers:
    """The iterators that data loaders make during a sweep, with their worker processes.

    A loader with persistent workers sets its running iterator aside, so that the processes keep the
    random state they hold. What is set here on a loader is an attribute, restored with the others.
    """

    def __init__(self) -> None:
        self._iterators: list[object] = []

    def separate(self, loaders: Iterable[DataLoader[Any]]) -> None:
        """Let loaders make new iterators, and record these."""
        for loader in loaders:
            loader._iterator = None
            vars(loader)["_get_iterator"] = functools.partial(self._make_iterator, loader)

    def end(self) -> None:
        """End the processes, also where a traceback still holds their iterator."""
        for iterator in self._iterators:
            getattr(iterator, "_shutdown_workers", lambda: None)()
        self._iterators.clear()

    def _make_iterator(self, loader: DataLoader[Any]) -> object:
        """Make and record an iterator of a loader."""
        self._iterators.append(type(loader)._get_iterator(loader))
        return self._iterators[-1]
