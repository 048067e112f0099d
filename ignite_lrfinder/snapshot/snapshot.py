"""Everything that a sweep may change, as it was before: captured and restored."""

import copy
import functools
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

import torch
from ignite.engine import Engine
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Saveable, SnapshotPlace
from ignite_lrfinder.snapshot import tensors
from ignite_lrfinder.snapshot.contents import attributes_of
from ignite_lrfinder.snapshot.data_source import SweepWorkers
from ignite_lrfinder.snapshot.memento import Memento
from ignite_lrfinder.snapshot.random_state import global_states, is_generator
from ignite_lrfinder.snapshot.reachable import reachable_from
from ignite_lrfinder.snapshot.storage import Kept, OnDisk, in_host_memory, on_device

_LENGTH_OF_RUN = ("epoch_length", "max_epochs", "max_iters", "dataloader")
# What a run in progress consists of; it is replaced during a sweep, not changed.
_RUN = ("_process_function", "_internal_run_generator", "_dataloader_iter", "_init_iter")
# All state of these is in attributes, containers and tensors.
_KNOWN = (nn.Module, torch.optim.Optimizer, Engine, DataLoader, Sampler, Dataset)


class Snapshot:
    """The state of a training: its trainer, the objects of `to_save`, all that they refer to.

    What the train step reaches belongs to it. Objects are captured and restored in place;
    `load_state_dict` is called too, for what lies outside Python.

    Args:
        trainer: the engine that will run the sweep.
        to_save: names to objects with `state_dict` and `load_state_dict`, or random generators.
        place: where copies of tensors are held: "cpu", in host memory; "device", beside the
            originals; or a directory.
        evaluators: further engines that will run.
        handlers: the user's handlers that will run. Of what they refer to, models, optimizers,
            other objects with `state_dict`, loaders and random generators are captured; what they
            observe stays.
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
        engines = (trainer, *evaluators)
        self._attributes = [(engine, dict(attributes_of(engine))) for engine in engines]
        self._workers = SweepWorkers()
        self._keep = _storage(place)
        self._state_dicts: dict[str, tuple[Saveable, object]] = {}
        self._memento = Memento(keep=self._keep_when_done, opaque=opaque)
        self._devices: set[torch.device] = set()
        self._not_restored: list[tuple[str, object]] = []
        # First: a `state_dict` may draw random numbers.
        self._has_grad = torch.is_grad_enabled()
        self._random_states = global_states()
        try:
            for engine in engines:
                self._memento.capture("data", engine.state.dataloader, is_data=True)
            for name, obj in to_save.items():
                self._memento.capture(name, obj.state if isinstance(obj, Engine) else obj)
            for engine, attributes in self._attributes:
                self._capture_engine(engine, attributes)
            self._memento.capture(
                "handlers", *others, *filter(_is_state, reachable_from(*handlers))
            )
            self._capture_state_dicts(to_save)
            self._workers.separate(self._memento.loaders)
        except BaseException:
            self._memento.restore()
            self._forget()
            raise

    @property
    def objects(self) -> list[object]:
        """All objects that were captured."""
        return list(self._memento.seen())

    @property
    def not_restored(self) -> tuple[str, ...]:
        """The paths to what may not be as it was, after `restore`; objects that ended count not."""
        return tuple(path for path, obj in self._not_restored if not _has_ended(obj))

    def add_data(self, data: object) -> None:
        """Capture what the sweep is about to draw batches from."""
        num_known = len(self._memento.loaders)
        self._memento.capture("data", data, is_data=True)
        self._workers.separate(self._memento.loaders[num_known:])

    def restore(self) -> None:
        """Restore everything, each object separately.

        Raises:
            LRFinderError: naming the objects of which something could not be restored.
        """
        for engine, attributes in self._attributes:
            vars(engine).clear()
            vars(engine).update(attributes)
        failures = self._restore_objects()
        self._not_restored = self._memento.not_restored()
        self._forget()
        if failures:
            _report(failures)

    def _forget(self) -> None:
        """Free the copies, as a traceback may keep this object alive."""
        self._memento.forget()
        if isinstance(self._keep, OnDisk):
            self._keep.close()

    def mark(self) -> None:
        """Make the present state the one that `rewind` restores."""

    def rewind(self) -> None:
        """Restore everything in the middle of a run, which starts again with its first epoch.

        Raises:
            LRFinderError: naming the objects of which something could not be restored.
        """
        attributes = vars(self._trainer.state)
        length = {name: attributes[name] for name in _LENGTH_OF_RUN if name in attributes}
        failures = self._restore_objects()
        self._workers.separate(self._memento.loaders)
        attributes.update(length, iteration=0, epoch=0)
        if failures:
            _report(failures)

    def _restore_objects(self) -> dict[str, BaseException]:
        """Restore all but the engines' attributes, and return what failed."""
        failures: dict[str, BaseException] = {}
        # A train step may work on separate streams, before this and after it.
        _attempt("device", failures, functools.partial(tensors.synchronize, self._devices))
        _attempt("workers", failures, self._workers.end)
        if self._state_dicts:
            # `load_state_dict` needs the content of its argument. What fails here fails below too.
            self._memento.restore([f"{name}.state_dict()" for name in self._state_dicts])
        for name, (obj, state_dict) in self._state_dicts.items():
            _attempt(name, failures, functools.partial(obj.load_state_dict, state_dict))
        failures |= self._memento.restore()
        # Last, as what is called above may draw random numbers.
        for name, restore in self._random_states:
            _attempt(name, failures, restore)
        torch.set_grad_enabled(self._has_grad)
        _attempt("device", failures, functools.partial(tensors.synchronize, self._devices))
        return failures

    def _keep_when_done(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, which another stream of the train step may still write."""
        if tensor.device not in self._devices:
            self._devices.add(tensor.device)
            tensors.synchronize([tensor.device])
        return self._keep(tensor)

    def _capture_engine(self, engine: Engine, attributes: Mapping[str, object]) -> None:
        """Capture what an engine's train step and attributes refer to."""
        name = "trainer" if engine is self._trainer else "evaluator"
        step = "train_step" if engine is self._trainer else f"{name}.process_function"
        self._memento.capture(step, attributes.get("_process_function"))
        for attribute, value in attributes.items():
            if attribute not in _RUN:
                self._memento.capture(f"{name}.{attribute}", value)

    def _capture_state_dicts(self, to_save: Mapping[str, Saveable]) -> None:
        """Capture the state of the objects that only their state dict may show completely."""
        for name, obj in to_save.items():
            if not isinstance(obj, _KNOWN) and not is_generator(type(obj)):
                state_dict = _copy_containers(obj.state_dict())
                self._state_dicts[name] = (obj, state_dict)
                self._memento.capture(f"{name}.state_dict()", state_dict)


def _is_state(obj: object) -> bool:
    """Return whether an object that a handler refers to belongs to the training by its kind."""
    is_stateful = all(hasattr(type(obj), name) for name in ("state_dict", "load_state_dict"))
    return is_stateful or issubclass(type(obj), _KNOWN) or is_generator(type(obj))


def _has_ended(obj: object) -> bool:
    """Return whether a weak reference is to an object that is gone."""
    return isinstance(obj, weakref.ref) and obj() is None


def _storage(place: SnapshotPlace) -> Callable[[torch.Tensor], Kept]:
    """Return what copies tensors to a place."""
    if place == "cpu":
        return in_host_memory
    return on_device if place == "device" else OnDisk(place)


def _copy_containers(state: object) -> object:
    """Copy the dicts and lists of a state dict, as `load_state_dict` may empty the originals."""
    if isinstance(state, dict):
        copied = copy.copy(state)
        for key, value in state.items():
            copied[key] = _copy_containers(value)
        return copied
    if isinstance(state, list):
        return [_copy_containers(item) for item in state]
    return state


def _attempt(name: str, failures: dict[str, BaseException], restore: Callable[[], object]) -> None:
    """Call `restore`, and record its error under `name`."""
    try:
        restore()
    except BaseException as error:  # the others must be restored, whatever it was
        failures.setdefault(name, error)


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
