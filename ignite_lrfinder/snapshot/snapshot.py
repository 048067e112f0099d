"""Capture everything that a sweep may change, and restore it."""

import copy
import functools
import sys
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
from ignite_lrfinder.snapshot.data_source import DataSource, is_loader_iterator
from ignite_lrfinder.snapshot.memento import Memento
from ignite_lrfinder.snapshot.random_state import global_states
from ignite_lrfinder.snapshot.storage import Kept, OnDisk, in_host_memory, on_device

_LENGTH_OF_RUN = ("epoch_length", "max_epochs", "max_iters", "dataloader")


class Snapshot:
    """The state of a trainer, of the objects in `to_save` and of all random generators.

    Modules, optimizers and engines are captured object by object, in place; so are the
    attributes of other objects, whose `load_state_dict` is called too, for what lies outside
    Python.

    Args:
        trainer: the engine that will run the sweep.
        to_save: names to objects with `state_dict` and `load_state_dict`.
        place: where copies of tensors are held: "cpu", in host memory; "device", beside the
            originals; or a directory.
        evaluators: further engines that will run.
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
        others: tuple[object, ...] = (),
        opaque: tuple[object, ...] = (),
    ) -> None:
        self._trainer = trainer
        engines = (trainer, *evaluators)
        self._attributes = [(engine, dict(attributes_of(engine))) for engine in engines]
        self._sources: list[DataSource] = []
        self._keep = _storage(place)
        self._state_dicts: dict[str, tuple[Saveable, object]] = {}
        self._opaque = {id(obj): obj for obj in (*opaque, trainer.state.dataloader)}
        self._memento = Memento(
            keep=self._keep_when_done,
            is_opaque=self._is_opaque,
        )
        self._met_data: list[object] = [trainer.state.dataloader]
        self._devices: set[torch.device] = set()
        try:
            self._capture_saved(to_save)
            for _, attributes in self._attributes:
                self._memento.capture("trainer", *attributes.values())
            self._memento.capture("handlers", *others)
            self._has_grad = torch.is_grad_enabled()
            self._random_states = global_states()
            for data in self._met_data:
                self.add_data(data)
        except BaseException:
            for source in reversed(self._sources):
                source.restore()
            self._forget()
            raise

    def add_data(self, data: object) -> None:
        """Capture what the sweep is about to draw batches from."""
        source = DataSource(data)
        self._sources.append(source)
        source.separate_workers()

    def restore(self) -> None:
        """Restore everything, each object separately.

        Raises:
            LRFinderError: naming the objects of which something could not be restored.
        """
        for engine, attributes in self._attributes:
            vars(engine).clear()
            vars(engine).update(attributes)
        failures = self._restore_objects()
        self._forget()
        self._sources.clear()
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
        for source in self._sources:
            source.separate_workers()
        attributes.update(length, iteration=0, epoch=0)
        if failures:
            _report(failures)

    def _restore_objects(self) -> dict[str, BaseException]:
        """Restore all but the engines' attributes, and return what failed."""
        failures: dict[str, BaseException] = {}
        # A train step may use separate streams, before this and after it.
        _attempt("device", failures, functools.partial(tensors.wait_for, self._devices))
        for source in reversed(self._sources):
            failures |= source.restore()
        # What fails here fails again below; `load_state_dict` needs the content of its argument.
        self._memento.restore(self._state_dicts)
        for name, (obj, state_dict) in self._state_dicts.items():
            _attempt(name, failures, functools.partial(obj.load_state_dict, state_dict))
        failures |= self._memento.restore()
        # Last: what is called above may draw random numbers.
        for name, restore in self._random_states:
            _attempt(name, failures, restore)
        torch.set_grad_enabled(self._has_grad)
        _attempt("device", failures, functools.partial(tensors.wait_for, self._devices))
        return failures

    def _keep_when_done(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, which another stream of the train step may still write."""
        if tensor.device not in self._devices:
            self._devices.add(tensor.device)
            tensors.wait_for([tensor.device])
        return self._keep(tensor)

    def _is_opaque(self, obj: object) -> bool:
        """Return whether the memento leaves an object alone, and collect sources of data."""
        if id(obj) in self._opaque:
            return True
        if isinstance(obj, (DataLoader, Dataset, Sampler)):
            self._met_data.append(obj)
            return True
        return isinstance(obj, Engine) or is_loader_iterator(obj)

    def _capture_saved(self, to_save: Mapping[str, Saveable]) -> None:
        """Capture the objects in `to_save`; objects that need their `state_dict` come first."""
        known = {name: obj for name, obj in to_save.items() if _is_known(obj)}
        for name, obj in to_save.items():
            if name not in known:
                state_dict = _copy_containers(obj.state_dict())
                self._state_dicts[name] = (obj, state_dict)
                self._memento.capture(name, state_dict, obj)
        for name, obj in known.items():
            self._memento.capture(name, *_parts(obj))


def _is_known(obj: object) -> bool:
    """Return whether a memento sees all state of an object in its attributes and tensors."""
    return isinstance(obj, (nn.Module, torch.optim.Optimizer, Engine))


def _parts(obj: object) -> tuple[object, ...]:
    """Return where the state of a known object is."""
    if isinstance(obj, nn.Module):
        # A scripted module has its tensors outside Python's attributes.
        return (obj, *obj.parameters(), *obj.buffers())
    return (obj.state,) if isinstance(obj, Engine) else (obj,)


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
    """Call `restore`, and store its error under `name`."""
    try:
        restore()
    except BaseException as error:  # the others must be restored, whatever it was
        failures.setdefault(name, error)


def _report(failures: Mapping[str, BaseException]) -> None:
    """Raise one error for all failures of a restore; Ctrl-C stays Ctrl-C."""
    what = "; ".join(f"{name}: {error!r}" for name, error in failures.items())
    problem = LRFinderError(
        f"Not everything could be restored to its state before the sweep: {what}. "
        "Everything else is restored; load these objects from a checkpoint before you continue."
    )
    problem.__cause__ = next(iter(failures.values()))
    interrupts = [error for error in (sys.exc_info()[1], *failures.values()) if _is_exit(error)]
    if interrupts:
        raise interrupts[0] from problem
    raise problem


def _is_exit(error: BaseException | None) -> TypeGuard[BaseException]:
    """Return whether an exception is Ctrl-C or the end of the program, not an error."""
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))
