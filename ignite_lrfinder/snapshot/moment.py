"""The state of training at one moment: captured, and restored as often as needed."""

import copy
import decimal
import functools
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from ignite.engine import Engine
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder.protocols import Saveable
from ignite_lrfinder.snapshot.contents import UNSET, attributes_of, class_attribute
from ignite_lrfinder.snapshot.live import is_trained
from ignite_lrfinder.snapshot.memento import Memento
from ignite_lrfinder.snapshot.random_state import global_states, is_generator
from ignite_lrfinder.snapshot.reachable import reachable_from
from ignite_lrfinder.snapshot.tensors import Keep
from ignite_lrfinder.snapshot.visits import HANDLERS, RUN
from ignite_lrfinder.snapshot.watches import FILES, position_to_restore

# The train step is captured by that name, and handlers are the user's.
_NOT_CAPTURED = ("_process_function", HANDLERS, *RUN)
# What the sweep itself sets on the trainer.
_OURS = ("set_data",)
# All state of these is in attributes, containers and tensors.
_KNOWN = (nn.Module, torch.optim.Optimizer, Engine, DataLoader, Sampler, Dataset)


class Moment:
    """All state of training as it was at one moment.

    Args:
        engines: the engines that run, the trainer first.
        to_save: names to objects with `state_dict` and `load_state_dict`, or random generators.
        keep: copies the values of a tensor.
        handlers: see `Snapshot`.
        others: see `Snapshot`.
        opaque: see `Snapshot`.
        base: an earlier moment, whose copies of what has not changed since then are shared.

    Attributes:
        memento: the objects that were captured.
        attributes: the attributes of each engine.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        to_save: Mapping[str, Saveable],
        keep: Keep,
        *,
        handlers: Sequence[object],
        others: Iterable[object],
        opaque: Iterable[object],
        base: "Moment | None" = None,
    ) -> None:
        self.attributes = [(engine, dict(attributes_of(engine))) for engine in engines]
        earlier = None if base is None else base.memento
        self.memento = Memento(keep=keep, opaque=(*opaque, *engines), base=earlier)
        self._state_dicts: dict[str, tuple[Saveable, object]] = {}
        # First: a `state_dict` may draw random numbers.
        self._has_grad = torch.is_grad_enabled()
        self._random_states = global_states()
        handlers = [*handlers, *_global_hooks()]
        used = reachable_from(*handlers, is_end=_is_iterator)
        self.memento.add_handlers(used)
        try:
            for engine in engines:
                self.memento.capture("data", engine.state.dataloader, is_data=True)
            for name, obj in to_save.items():
                self.memento.capture(name, obj.state if isinstance(obj, Engine) else obj)
            for engine, attributes in self.attributes:
                self._capture_engine(engine, attributes)
            self.memento.capture("decimal context", decimal.getcontext())
            self.memento.add_roots(filter(None, handlers))
            self.memento.capture("handlers", *others, *filter(_is_state, used))
            self._capture_state_dicts(to_save)
        except BaseException:
            self.memento.restore()
            self.memento.forget()
            raise

    def add_state(self) -> None:
        """Capture what the handlers of the start have set on the engines since."""
        for engine, before in self.attributes:
            self.memento.capture("data", engine.state.dataloader, is_data=True)
            held = [
                value
                for name, value in attributes_of(engine).items()
                if before.get(name) is not value and name not in (*_NOT_CAPTURED, *_OURS)
            ]
            self.memento.capture("trainer.state", *held, *vars(engine.state).values())

    def restore(self) -> dict[str, BaseException]:
        """Restore all but the engines' attributes, and return what failed."""
        failures: dict[str, BaseException] = {}
        if self._state_dicts:
            # `load_state_dict` needs the content of its argument. What fails here fails below too.
            self.memento.restore([f"{name}.state_dict()" for name in self._state_dicts])
        for name, (obj, state_dict) in self._state_dicts.items():
            attempt(name, failures, functools.partial(obj.load_state_dict, state_dict))
        failures |= self.memento.restore()
        # Last, as what is called above may draw random numbers.
        for name, restore in self._random_states:
            attempt(name, failures, restore)
        torch.set_grad_enabled(self._has_grad)
        return failures

    def _capture_engine(self, engine: Engine, attributes: Mapping[str, object]) -> None:
        """Capture what an engine's train step and attributes refer to."""
        is_trainer = engine is self.attributes[0][0]
        name = "trainer" if is_trainer else "evaluator"
        step = "train_step" if is_trainer else f"{name}.process_function"
        self.memento.capture(step, attributes.get("_process_function"))
        for attribute, value in attributes.items():
            if attribute not in _NOT_CAPTURED:
                self.memento.capture(f"{name}.{attribute}", value)

    def _capture_state_dicts(self, to_save: Mapping[str, Saveable]) -> None:
        """Capture the state of the objects that only their state dict may show completely."""
        for name, obj in to_save.items():
            if not isinstance(obj, _KNOWN) and not is_generator(type(obj)):
                state_dict = _copy_containers(obj.state_dict())
                self._state_dicts[name] = (obj, state_dict)
                self.memento.capture(f"{name}.state_dict()", state_dict)


def attempt(name: str, failures: dict[str, BaseException], restore: Callable[[], object]) -> None:
    """Call `restore`, and record its error under `name`."""
    try:
        restore()
    except BaseException as error:  # the others must be restored, whatever it was
        failures.setdefault(name, error)


def _global_hooks() -> list[object]:
    """Return the global hooks of modules and optimizers, which are treated like handlers."""
    tables = [
        table
        for cls in (nn.Module, torch.optim.Optimizer)
        for name, table in vars(sys.modules[cls.__module__]).items()
        if name.startswith("_global_") and isinstance(table, dict)
    ]
    return [hook for table in tables for hook in table.values()]


def _is_state(obj: object) -> bool:
    """Return whether an object that a handler refers to belongs to the training by its kind."""
    cls = type(obj)
    is_known = is_trained(obj) or issubclass(cls, Dataset) or is_generator(cls)
    return is_known or _is_iterator(cls) or (cls in FILES and position_to_restore(obj) is not None)


def _is_iterator(cls: type) -> bool:
    """Return whether instances of a class are iterators, other than files."""
    return class_attribute(cls, "__next__") is not UNSET and not issubclass(cls, io.IOBase)


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
