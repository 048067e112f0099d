"""One object graph captured and restored in place.

A state dict says what an object thinks its state is. "Not one bit changed" needs what it was:
buffers that are not persistent, gradients, train/eval flags, variables that a train step assigns.
So a memento walks the Python objects themselves, captures each mutable one once, and restores the
very same objects. What it cannot restore it names.
"""

import contextlib
import gc
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from ignite_lrfinder.snapshot import live
from ignite_lrfinder.snapshot.capture import Capture
from ignite_lrfinder.snapshot.contents import forget_classes
from ignite_lrfinder.snapshot.extension import Irreversible
from ignite_lrfinder.snapshot.kinds import visit_of
from ignite_lrfinder.snapshot.paths import paths_to
from ignite_lrfinder.snapshot.storage import on_device
from ignite_lrfinder.snapshot.tensors import Keep


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
        with torch.no_grad(), _without_garbage_collection():
            for section in self._captured.sections:
                if names is not None and section.name not in names:
                    continue
                for restore, obj, was in section.changes():
                    if id(obj) not in left:
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
        watched = (*self._captured.live, *self._captured.watched)
        objects = [obj for obj, may_have_changed in watched if may_have_changed()]
        objects += self._captured.not_restored.values()
        paths = paths_to(objects, self._roots) if objects else {}
        # What hangs on a frame has no path of its own.
        unnamed = (f"<{type(obj).__qualname__}>" for obj in objects)
        named = [paths.get(id(obj), other) for obj, other in zip(objects, unnamed, strict=True)]
        return [(path, _weak(obj)) for path, obj in dict(zip(named, objects, strict=True)).items()]

    def forget(self) -> None:
        """Free everything that was captured."""
        self._captured.forget()
        self._roots.clear()
        forget_classes()

    def _find_what_to_leave(self) -> set[int]:
        """Return by their ids the objects that a frame or a live thread goes on working with."""
        captured = self._captured
        moved = [obj for obj, may_have_changed in captured.live if may_have_changed()]
        in_frames = [variable for obj in moved for variable in live.frame_variables(obj)]
        by_threads = [obj for obj in live.used_by_threads() if id(obj) in captured.walk.seen]
        lasting = (obj for obj in by_threads if not live.is_trained(obj))
        captured.not_restored.update((id(obj), obj) for obj in lasting)
        _, left = live.used_by([*in_frames, *by_threads])
        return set(map(id, left))


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
