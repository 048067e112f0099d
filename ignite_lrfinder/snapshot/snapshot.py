"""Everything that a sweep may change, as it was before: captured and restored."""

import functools
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from ignite.engine import Engine

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Saveable, SnapshotPlace
from ignite_lrfinder.snapshot import tensors
from ignite_lrfinder.snapshot.data_source import SweepWorkers
from ignite_lrfinder.snapshot.moment import Moment, attempt
from ignite_lrfinder.snapshot.storage import Kept, OnDisk, in_host_memory, on_device

_LENGTH_OF_RUN = ("epoch_length", "max_epochs", "max_iters", "dataloader")


class Snapshot:
    """The state of training: its trainer, the objects of `to_save`, all that they refer to.

    What the train step reaches belongs to it. Objects are captured and restored in place;
    `load_state_dict` is called too, for what lies outside Python.

    Args:
        trainer: the engine that will run the sweep.
        to_save: names to objects with `state_dict` and `load_state_dict`, or random generators.
        place: where copies of tensors are held: "cpu", in host memory; "device", beside the
            originals; or a directory.
        evaluators: further engines that will run.
        handlers: the user's handlers that will run, Ignite's among them, and the validation
            function. Of what they refer to, models, optimizers, other objects with `state_dict`,
            loaders and random generators are captured; what they observe stays.
        others: further objects to capture, such as Ignite's own handlers that will run.
        opaque: objects to leave alone, such as the trainer's table of handlers.
    """

    def __init__(
        self,
        trainer: Engine,
        to_save: Mapping[str, Saveable],
        place: SnapshotPlace,
        *,
        evaluators: Sequence[Engine] = (),
        handlers: Sequence[object] = (),
        others: tuple[object, ...] = (),
        opaque: tuple[object, ...] = (),
    ) -> None:
        self._trainer = trainer
        self._workers = SweepWorkers()
        self._keep = _storage(place)
        self._devices: set[torch.device] = set()
        self._not_restored: list[tuple[str, object]] = []
        self._capture = functools.partial(
            Moment,
            (trainer, *evaluators),
            to_save,
            self._copy_synchronized,
            handlers=handlers,
            others=others,
            opaque=opaque,
        )
        try:
            self._before = self._start = self._capture()
        except BaseException:
            self._close()
            raise
        try:
            self._workers.separate(self._before.memento.loaders)
        except BaseException:
            self.restore()
            raise

    def objects_of(self, is_wanted: Callable[[type], bool]) -> list[Any]:
        """Return the captured objects of the classes that are wanted, each once."""
        objects = self._before.memento.seen()
        wanted = set(filter(is_wanted, set(map(type, objects))))
        return [obj for obj in objects if type(obj) in wanted] if wanted else []

    @property
    def not_restored(self) -> tuple[str, ...]:
        """The paths to what may not be as it was, after `restore`, except what no longer exists."""
        return tuple(dict.fromkeys(path for path, obj in self._not_restored if not _has_ended(obj)))

    def add_data(self, data: object) -> None:
        """Capture what the sweep is about to draw batches from."""
        self._add(functools.partial(self._before.memento.capture, "data", data, is_data=True))

    def add_state(self) -> None:
        """Capture what handlers have set on the engines since the snapshot was taken."""
        self._add(self._before.add_state)

    def _add(self, capture: Callable[[], None]) -> None:
        """Capture more, and separate the workers of the loaders among it."""
        loaders = self._before.memento.loaders
        num_known = len(loaders)
        capture()
        self._workers.separate(loaders[num_known:])

    def observe(self) -> None:
        """Look at what handlers count, at the end of a run: the user may set it from now on."""
        self._before.memento.observe_counters()

    def mark(self) -> None:
        """Capture the present state as the one that `rewind` restores.

        What has not changed since the beginning is shared with it, so memory grows by the rest.
        """
        self._start = self._capture(base=self._before)

    def rewind(self) -> None:
        """Restore the state of the start in the middle of a run, whose first epoch comes next.

        Raises:
            LRFinderError: naming the objects of which something could not be restored.
        """
        attributes = vars(self._trainer.state)
        length = {name: attributes[name] for name in _LENGTH_OF_RUN if name in attributes}
        failures = self._restore(self._start)
        self._workers.separate(self._before.memento.loaders)
        attributes.update(length, iteration=0, epoch=0)
        if failures:
            _report(failures)

    def restore(self) -> None:
        """Restore everything, each object separately.

        Raises:
            LRFinderError: naming the objects of which something could not be restored.
        """
        for engine, attributes in self._before.attributes:
            vars(engine).clear()
            vars(engine).update(attributes)
        failures = self._restore(self._before)
        self._not_restored = self._before.memento.not_restored()
        leftovers = self._before.memento.leftovers()
        # A traceback may keep this object alive.
        for moment in (self._start, self._before):
            moment.memento.forget()
        self._close()
        more_failures, irreversible = leftovers.restore()
        failures |= more_failures
        self._not_restored += [(f"<{type(obj).__qualname__}>", obj) for obj in irreversible]
        if failures:
            _report(failures)

    def _restore(self, moment: Moment) -> dict[str, BaseException]:
        """Restore all but the engines' attributes, and return what failed."""
        failures: dict[str, BaseException] = {}
        # A train step may work on separate streams, before this and after it.
        attempt("device", failures, functools.partial(tensors.synchronize, self._devices))
        attempt("workers", failures, self._workers.end)
        failures |= moment.restore()
        attempt("device", failures, functools.partial(tensors.synchronize, self._devices))
        return failures

    def _close(self) -> None:
        """Free the room on disk."""
        if isinstance(self._keep, OnDisk):
            self._keep.close()

    def _copy_synchronized(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, which another stream of the train step may still write."""
        if tensor.device not in self._devices:
            self._devices.add(tensor.device)
            tensors.synchronize([tensor.device])
        return self._keep(tensor)


def _has_ended(obj: object) -> bool:
    """Return whether a weak reference is to an object that is gone."""
    return isinstance(obj, weakref.ref) and obj() is None


def _storage(place: SnapshotPlace) -> Callable[[torch.Tensor], Kept]:
    """Return what copies tensors to a place."""
    if place == "cpu":
        return in_host_memory
    return on_device if place == "device" else OnDisk(place)


def _report(failures: Mapping[str, BaseException]) -> None:
    """Raise one error for all that went wrong in a restore, or Ctrl-C if that was among it."""
    what = "; ".join(f"{name}: {error!r}" for name, error in failures.items())
    problem = LRFinderError(
        f"Not everything could be restored as it was before the sweep: {what}. "
        "All else is restored; load these objects from your own checkpoint before training on."
    )
    problem.__cause__ = next(iter(failures.values()))
    interrupts = [error for error in (sys.exc_info()[1], *failures.values()) if _is_exit(error)]
    if interrupts:
        raise interrupts[0] from problem
    raise problem


def _is_exit(error: BaseException | None) -> TypeGuard[BaseException]:
    """Return whether an exception is Ctrl-C or the end of the program."""
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))
