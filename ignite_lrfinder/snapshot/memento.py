"""One object graph captured and restored in place.

A state dict says what an object thinks its state is. "Not one bit changed" needs what it was:
buffers that are not persistent, gradients, train/eval flags, variables that a train step assigns.
So a memento walks the Python objects themselves, captures each mutable one once, and restores the
very same objects. What it cannot restore it names.
"""

import contextlib
import gc
import types
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from ignite_lrfinder.snapshot import live
from ignite_lrfinder.snapshot.capture import Capture, Entry
from ignite_lrfinder.snapshot.contents import forget_classes
from ignite_lrfinder.snapshot.counters import Counters, counters_of
from ignite_lrfinder.snapshot.extension import Irreversible
from ignite_lrfinder.snapshot.kinds import visit_of
from ignite_lrfinder.snapshot.libraries import is_library
from ignite_lrfinder.snapshot.paths import paths_to
from ignite_lrfinder.snapshot.storage import on_device
from ignite_lrfinder.snapshot.tensors import Keep
from ignite_lrfinder.snapshot.watches import Watch


class Memento:
    """The content of everything mutable that some objects refer to.

    Args:
        keep: copies the values of a tensor, and returns a function that returns them.
        opaque: objects to leave alone, with all that only they refer to.
        base: an earlier memento, whose copies of what has not changed since then are shared.
    """

    def __init__(
        self,
        *,
        keep: Keep = on_device,
        opaque: Iterable[object] = (),
        base: "Memento | None" = None,
    ) -> None:
        earlier = None if base is None else base._captured
        self._captured = Capture(visit_of, keep=keep, opaque=opaque, base=earlier)
        self._roots: list[tuple[str, object]] = []
        self._left: list[Entry] = []
        self._counters: list[Counters] = []

    @property
    def loaders(self) -> list[DataLoader[Any]]:
        """The data loaders that were captured."""
        return self._captured.loaders

    def capture(self, name: str, *roots: object, is_data: bool = False) -> None:
        """Capture the content of `roots` and of all that they refer to.

        Args:
            name: what a user calls them.
            roots: where the walk begins.
            is_data: whether they are data, of which only what is small is copied.
        """
        self._roots += [(name, root) for root in roots]
        with _without_garbage_collection():
            self._captured.add(name, roots, is_data=is_data)

    def add_handlers(self, used: Iterable[object]) -> None:
        """Capture the counters of handlers, and add their functions, which may assign variables."""
        found = list(used)
        entries = list(counters_of(found))
        self._counters = [was for _, _, was in entries]
        self._captured.add_entries("counters", entries)
        for obj in found:
            if type(obj) is types.FunctionType and not is_library(obj):
                self._captured.variables.add_handler(obj)

    def observe_counters(self) -> None:
        """Look at the counters of handlers, which the user may set from now on."""
        for counters in self._counters:
            counters.observe()

    def add_roots(self, handlers: Iterable[object]) -> None:
        """Add handlers to where paths may begin, by their names."""
        for handler in handlers:
            name = getattr(handler, "__qualname__", type(handler).__qualname__)
            self._roots.append((name.rpartition("<locals>.")[2], handler))

    def seen(self) -> Collection[object]:
        """Return the objects that were visited."""
        return self._captured.walk.seen.values()

    def restore(self, names: Collection[str] | None = None) -> dict[str, BaseException]:
        """Restore the content of the same objects, each separately.

        Args:
            names: restore only what was captured under these names; default, everything.

        Returns:
            For each name of which something could not be restored, the first error.
        """
        failures: dict[str, BaseException] = {}
        left = self._find_what_to_leave()
        self._left.clear()
        with torch.no_grad(), _without_garbage_collection():
            for section in self._captured.sections:
                if names is not None and section.name not in names:
                    continue
                for restore, obj, was in section.changes():
                    if id(obj) in left:
                        self._left.append((restore, obj, was))
                        continue
                    try:
                        restore(obj, was)
                    except Irreversible:
                        self._captured.not_restored[id(obj)] = obj
                    except BaseException as error:  # the others must be restored all the same
                        failures.setdefault(section.name, error)
            for error in self._captured.copies.values.restore():
                failures.setdefault("tensors", error)
        return failures

    def not_restored(self) -> list[tuple[str, object]]:
        """Return what may not be as it was, each by its path and a weak reference if it has one."""
        objects = [*_changed(self._captured.live), *_changed(self._captured.watched)]
        objects += self._captured.not_restored.values()
        paths = paths_to(objects, self._roots) if objects else {}
        # What only a frame refers to has no path.
        unnamed = (f"<{type(obj).__qualname__}>" for obj in objects)
        return [
            (paths.get(id(obj), other), _weak(obj))
            for obj, other in zip(objects, unnamed, strict=True)
        ]

    def leftovers(self) -> "Leftovers":
        """Return what the last restore left to frames and live threads."""
        return Leftovers(tuple(self._left), tuple(map(_weak, _changed(self._captured.live))))

    def forget(self) -> None:
        """Free everything that was captured."""
        self._left.clear()
        self._counters.clear()
        self._captured.forget()
        self._roots.clear()
        forget_classes()

    def _find_what_to_leave(self) -> set[int]:
        """Return by their ids the objects that a frame or a live thread goes on working with."""
        captured = self._captured
        moved = _changed(captured.live)
        in_frames = [variable for obj in moved for variable in live.frame_variables(obj)]
        by_threads = [obj for obj in live.used_by_threads() if id(obj) in captured.walk.seen]
        lasting = (obj for obj in by_threads if not live.is_trained(obj))
        captured.not_restored.update((id(obj), obj) for obj in lasting)
        _, left = live.used_by([*in_frames, *by_threads])
        return set(map(id, left))


class Leftovers(NamedTuple):
    """Objects that were left to frames and live threads, some of which may end with a sweep.

    Attributes:
        entries: what restores the objects.
        users: what goes on working with them, as weak references where there are any.
    """

    entries: tuple[Entry, ...]
    users: tuple[object, ...]

    def restore(self) -> tuple[dict[str, BaseException], list[object]]:
        """Restore the objects with which nothing works any longer.

        A generator that was only the data of the sweep is gone once the sweep releases it.

        Returns:
            The first error, if something failed, and the objects that cannot be restored.
        """
        failures: dict[str, BaseException] = {}
        irreversible: list[object] = []
        if not self.entries:
            return failures, irreversible
        gc.collect()
        users = [obj() if isinstance(obj, weakref.ref) else obj for obj in self.users]
        in_frames = [variable for obj in users for variable in live.frame_variables(obj)]
        _, left = live.used_by([*in_frames, *live.used_by_threads()])
        kept = set(map(id, left))
        with torch.no_grad(), _without_garbage_collection():
            for restore, obj, was in self.entries:
                if id(obj) in kept:
                    continue
                try:
                    restore(obj, was)
                except Irreversible:
                    irreversible.append(obj)
                except BaseException as error:  # the others must be restored all the same
                    failures.setdefault("data", error)
        return failures, irreversible


def _changed(watched: Iterable[tuple[object, Watch]]) -> list[object]:
    """Return the objects that may have changed."""
    return [obj for obj, may_have_changed in watched if may_have_changed()]


def _weak(obj: object) -> object:
    """Return a weak reference to an object, or the object where it has none."""
    try:
        return weakref.ref(obj)
    except TypeError:
        return obj


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep the garbage collector from walking many new objects again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
