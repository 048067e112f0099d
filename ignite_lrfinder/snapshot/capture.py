"""Capture one object graph: each mutable object once, by what it is."""

import contextvars
import functools
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.snapshot import alike, arrays, contents, extension, live, tensors
from ignite_lrfinder.snapshot.contents import BARE, CONTAINERS, UNSET
from ignite_lrfinder.snapshot.functions import (
    cells_stored_by,
    globals_stored_by,
    is_bound,
    is_library,
    is_standard_module,
    is_user_module,
    names_in,
    restore_cell,
    restore_item,
)
from ignite_lrfinder.snapshot.random_state import generator_state, is_generator, restore_generator
from ignite_lrfinder.snapshot.reachable import Walk
from ignite_lrfinder.snapshot.storage import Kept
from ignite_lrfinder.snapshot.tensors import Keep, Values

# What others communicate by: locks, queues and signals are not ours to turn back.
_COMMUNICATION = ("threading", "multiprocessing", "concurrent", "asyncio", "subprocess", "socket")
_COMMUNICATION += ("ssl", "selectors", "signal", "logging", "weakref", "_thread", "importlib")
# Code without anything to capture, but with something that it refers to.
_REFERENCES = (
    types.MethodType, types.BuiltinMethodType, types.MethodWrapperType, types.MappingProxyType,
    types.CellType, functools.partial, memoryview, type, weakref.ref, weakref.ProxyType,
    weakref.CallableProxyType,
)  # fmt: skip
_IMMUTABLE = (tuple, frozenset)
# Data is not copied, but what says where in it a training is. That is small.
_MAX_DATA_BYTES = 1 << 27

# Handlers are the user's, and a run that has ended leaves nothing.
_NOT_IN_ENGINES = ("_event_handlers", "_internal_run_generator", "_dataloader_iter", "_init_iter")
_OWN = __name__.partition(".")[0]

Visit = Callable[[Any], bool]
Entry = tuple[Callable[[Any, Any], object], Any, Any]
"""What restores an object, the object, and what it was."""


class Section(NamedTuple):
    """What was captured under one name.

    Attributes:
        name: what a user calls it.
        entries: what was captured, in order.
        hashed: dicts and sets, restored after the others, as hashes may depend on these.
        empty: containers that have nothing besides their elements, and had none. Most containers
            of a model are tables of hooks without any.
    """

    name: str
    entries: list[Entry]
    hashed: list[Entry]
    empty: list[Any]

    def changes(self) -> Iterator[Entry]:
        """Iterate over what may have changed."""
        yield from self.entries
        yield from self.hashed
        for container in filter(None, self.empty):
            yield contents.restore_elements, container, type(container)()


class Capture:
    """A walk over object graphs that captures what it meets.

    Args:
        keep: copies the values of a tensor, and returns a function that returns them.
        opaque: objects to leave alone, with all that only they refer to.
        base: an earlier capture, whose copies of what has not changed since then are shared.

    Attributes:
        sections: what was captured, in order.
        values: the values of tensors.
        walk: the walk, which holds the objects that were visited.
        loaders: the data loaders that were captured.
        live: objects that cannot be restored, each with what tells whether it may have changed.
        not_restored: objects that could not be captured, by id.
    """

    def __init__(self, keep: Keep, opaque: Iterable[object], base: "Capture | None") -> None:
        self.sections: list[Section] = []
        self.values = Values(keep if base is None else self._keep_changed)
        self.walk = Walk(opaque)
        self.loaders: list[DataLoader[Any]] = []
        self.live: list[tuple[object, live.Watch]] = []
        self.not_restored: dict[int, object] = {}
        self._keep = keep
        self._base = base
        self._visits: dict[type, Visit] = {}
        self._instance_visits: dict[type, Visit] = {}
        self._is_data = False
        self._data: list[torch.Tensor | np.ndarray] = []
        self._num_data_bytes = 0
        self._array_copies: dict[int, np.ndarray] = {}
        self._modules: list[types.ModuleType] = []
        self._stored_attributes: set[str] = set()
        self._variables: set[tuple[int, str]] = set()

    def add(self, name: str, roots: Iterable[object], *, is_data: bool) -> None:
        """Capture the content of `roots` and of all that they refer to; see `Memento.capture`."""
        self.sections.append(Section(name, [], [], []))
        self._capture_as(roots, is_data=is_data)
        self._capture_variables()
        self._copy_data()
        self.values.copy()

    def forget(self) -> None:
        """Free everything that was captured."""
        self.values.clear()
        for held in (self.sections, self.walk.seen, self.loaders, self.live, self.not_restored):
            held.clear()
        self._data.clear()
        self._array_copies.clear()
        # These refer to this object, and would keep it alive until the next garbage collection.
        self._visits.clear()
        self._instance_visits.clear()

    def _add(self, restore: Callable[[Any, Any], object], obj: object, was: object) -> None:
        """Store what one object was."""
        self.sections[-1].entries.append((restore, obj, was))

    def _capture_as(self, roots: Iterable[object], *, is_data: bool) -> None:
        """Capture objects as data, or as the state of a training."""
        before, self._is_data = self._is_data, is_data
        self.walk.over(roots, self._visit)
        self._is_data = before

    def _visit(self, obj: object) -> bool:
        """Capture one object, and return whether to go on to what it refers to."""
        cls = type(obj)
        try:
            if cls not in self._visits:
                self._visits[cls] = self._find_visit(cls)
            return self._visits[cls](obj)
        except (LRFinderError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # an object may do anything when it is looked at
            self.not_restored[id(obj)] = obj
            return False

    def _find_visit(self, cls: type) -> Visit:
        """Return what captures an instance of a class."""
        kinds: tuple[tuple[Any, Visit], ...] = (
            (torch.Tensor, self._visit_tensor),
            (torch.UntypedStorage, self._visit_storage),
            (np.ndarray, self._visit_array),
            (np.void, lambda obj: self._add(arrays.restore_record, obj, obj.copy()) or True),
            (types.FunctionType, self._visit_function),
            (types.ModuleType, self._visit_module),
            (_REFERENCES, lambda obj: True),
            (_IMMUTABLE, (lambda obj: True) if cls in _IMMUTABLE else self._instance_visit(cls)),
            (Engine, self._visit_engine),
            (DataLoader, self._visit_loader),
            (arrays.BUFFERS, self._visit_buffer),
            (arrays.WEAK, self._visit_weak),
            (CONTAINERS, self._visit_container),
            (threading.local, self._instance_visit(cls)),
            (contextvars.ContextVar, self._visit_context_variable),
            (functools._lru_cache_wrapper, self._visit_cache),
        )
        if is_generator(cls):
            return self._visit_generator
        if live.is_live(cls) and not issubclass(cls, (*arrays.BUFFERS, *_REFERENCES)):
            return self._visit_live
        for kind, visit in kinds:
            if issubclass(cls, kind):
                return visit
        if arrays.is_shared_value(cls):
            return lambda obj: self.walk.over([obj.get_obj()], self._visit) is not None
        if _is_left_alone(cls):
            return lambda obj: False
        if extension.is_extension(cls):
            return self._visit_extension
        if issubclass(cls, torch.jit.ScriptModule):
            return self._visit_script_module
        return self._instance_visit(cls)

    def _visit_tensor(self, tensor: torch.Tensor) -> bool:
        """Capture a tensor's values, memory, gradient and hooks."""
        if is_lazy(tensor):
            name = self.sections[-1].name
            raise LRFinderError(
                f"{name} must be initialised, got a lazy parameter. Pass one batch through the "
                "model before attaching the finder."
            )
        if not tensors.has_values(tensor):
            return False
        if self._is_data:
            self._data.append(tensor)
        else:
            self._capture_tensor(tensor)
        visit = self._instance_visit(type(tensor))
        held = [tensor.grad if tensor.is_leaf else None, tensor._backward_hooks]
        self.walk.over([*held, getattr(tensor, "_post_accumulate_grad_hooks", None)], self._visit)
        return visit(tensor)

    def _capture_tensor(self, tensor: torch.Tensor) -> None:
        """Capture a tensor's values, and of a leaf more than these."""
        self.values.add(tensor)
        if tensor.is_leaf:
            self._add(tensors.restore_tensor, tensor, tensors.capture_tensor(tensor))

    def _visit_storage(self, storage: torch.UntypedStorage) -> bool:
        """Capture the bytes of a storage that an object holds itself."""
        (self._data.append if self._is_data else self.values.add)(tensors.of_storage(storage))
        return True

    def _keep_changed(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, unless the memento before this one has the same."""
        kept = None if self._base is None else self._base.values.find(tensor)
        if kept is not None and tensors.is_same(tensor, kept()):
            return kept
        return self._keep(tensor)

    def _copy_array(self, array: np.ndarray) -> np.ndarray:
        """Copy the values of an array, unless the memento before this one has the same."""
        plain = array.view(np.ndarray)
        before = {} if self._base is None else self._base._arrays()
        values = before.get(id(array))
        is_same = values is not None and not plain.dtype.hasobject and np.array_equal(values, plain)
        return values if values is not None and is_same else plain.copy()

    def _arrays(self) -> dict[int, np.ndarray]:
        """Return the copies of arrays by the ids of the originals."""
        if not self._array_copies:
            entries = chain.from_iterable(section.entries for section in self.sections)
            restored = (entry for entry in entries if entry[0] is arrays.restore_array)
            self._array_copies = {id(array): values for _, array, values in restored}
        return self._array_copies

    def _visit_array(self, array: np.ndarray) -> bool:
        """Capture an array's values."""
        if self._is_data or isinstance(array, np.memmap):
            self._data.append(array)
        elif array.flags.writeable:
            self._add(arrays.restore_array, array, self._copy_array(array))
        return self._instance_visit(type(array))(array)

    def _copy_data(self) -> None:
        """Capture what is small of the data, and watch whether the rest is written."""
        for data in sorted(self._data, key=arrays.num_bytes):
            self._num_data_bytes += arrays.num_bytes(data)
            if self._num_data_bytes > _MAX_DATA_BYTES or isinstance(data, np.memmap):
                self.live.append((data, arrays.watch_data(data)))
            elif isinstance(data, torch.Tensor):
                self._capture_tensor(data)
            elif data.flags.writeable:
                self._add(arrays.restore_array, data, self._copy_array(data))
        self._data.clear()

    def _visit_generator(self, generator: object) -> bool:
        """Capture the state of a random generator."""
        self._add(restore_generator, generator, generator_state(generator))
        return False

    def _visit_function(self, function: types.FunctionType) -> bool:
        """Capture the variables that a function assigns, and its attributes."""
        for cell in cells_stored_by(function):
            self._add(restore_cell, cell, cell.cell_contents if is_bound(cell) else UNSET)
        if not is_library(function):
            for name in globals_stored_by(function):
                self._add_variable(function.__globals__, name)
            self._stored_attributes |= names_in(function.__code__).stored_attributes
        if vars(function):
            self._add(contents.restore_elements, vars(function), vars(function).copy())
        return True

    def _visit_module(self, module: types.ModuleType) -> bool:
        """List a user module, whose variables may be assigned."""
        if is_user_module(module):
            self._modules.append(module)
        return True

    def _capture_variables(self) -> None:
        """Capture the variables of the listed modules that any user code may assign."""
        for module in self._modules:
            for name in self._stored_attributes:
                self._add_variable(vars(module), name)

    def _add_variable(self, namespace: dict[str, Any], name: str) -> None:
        """Capture a variable of a module, unless an earlier section has it."""
        if (id(namespace), name) not in self._variables:
            self._variables.add((id(namespace), name))
            self._add(restore_item, namespace, (name, namespace.get(name, UNSET)))

    def _visit_live(self, obj: object) -> bool:
        """Watch an object that cannot be restored, and capture the loaders and models it uses."""
        self.live.append((obj, live.watch(obj)))
        used, _ = live.used_by(live.frame_variables(obj))
        self.walk.over(used, self._visit)
        return False

    def _visit_container(self, obj: Any) -> bool:
        """Capture the elements of a container."""
        if not obj and type(obj) in BARE:
            self.sections[-1].empty.append(obj)
            return False
        elements = contents.elements_of(obj)
        section = self.sections[-1]
        entries = section.hashed if issubclass(type(obj), (dict, set)) else section.entries
        entries.append((contents.restore_elements, obj, elements))
        if len(elements) >= alike.MANY and self._capture_alike(obj, elements):
            return False
        if type(obj) in BARE:
            return True
        if hasattr(type(obj), "default_factory"):
            self._add(arrays.restore_default, obj, obj.default_factory)
        return self._instance_visit(type(obj))(obj)

    def _capture_alike(self, container: object, elements: contents.Elements) -> bool:
        """Capture the elements of a bare container together, and return whether they are alike."""
        objects = list(elements.values()) if isinstance(elements, dict) else elements
        if type(container) not in BARE or not alike.are_alike(objects):
            return False
        seen, is_dict = self.walk.seen, type(objects[0]) is dict
        if not is_dict and self._find_visit(type(objects[0])) is not self._instance_visit(
            type(objects[0])
        ):
            return False
        if not seen.keys().isdisjoint(map(id, objects)):
            return False
        seen.update(zip(map(id, objects), objects, strict=True))
        self._add(alike.restore, container, (objects, type(objects[0]), alike.capture(objects)))
        self.walk.over([type(objects[0]), *alike.members_of(objects)], self._visit)
        if isinstance(elements, dict):
            self.walk.over(elements, self._visit)
        return True

    def _visit_buffer(self, obj: Any) -> bool:
        """Capture the bytes of a buffer."""
        self._add(arrays.restore_buffer, obj, arrays.buffer_state(obj))
        return False

    def _visit_context_variable(self, variable: contextvars.ContextVar[Any]) -> bool:
        """Capture the value of a context variable; where it has none, watch whether it gets one."""
        try:
            value = variable.get()
        except LookupError:
            self.live.append((variable, lambda: variable.get(UNSET) is not UNSET))
        else:
            self._add(contextvars.ContextVar.set, variable, value)
            self.walk.over([value], self._visit)
        return True

    def _visit_cache(self, function: Any) -> bool:
        """Clear a bounded cache if it was empty; a full one only saves computing again."""
        before = function.cache_info()
        if before.maxsize is None:
            return True  # it is a dict, restored as others are
        if before.currsize == 0:
            self._add(_clear_cache, function, None)
        return self._instance_visit(type(function))(function)

    def _visit_weak(self, obj: Any) -> bool:
        """Capture a container of weak references, and what it refers to otherwise."""
        held = arrays.weak_elements(obj)
        self._add(arrays.restore_weak, obj, held)
        self.walk.over(held, self._visit)
        return False

    def _visit_engine(self, engine: Engine) -> bool:
        """Capture an engine that a train step may run, apart from its handlers."""
        attributes = vars(engine).copy()
        self._add(contents.restore_instance, engine, (type(engine), attributes))
        held = [value for name, value in attributes.items() if name not in _NOT_IN_ENGINES]
        self.walk.over([type(engine), *held], self._visit)
        return False

    def _visit_loader(self, loader: DataLoader[Any]) -> bool:
        """Capture a loader: its samplers as state, the rest as data."""
        self.loaders.append(loader)
        self._instance_visit(type(loader))(loader)
        iterator = vars(loader).get("_iterator")
        rest = [obj for obj in vars(loader).values() if obj is not iterator]
        self._capture_as([loader.batch_sampler, loader.sampler], is_data=False)
        self._capture_as([*rest, type(loader)], is_data=True)
        return False

    def _visit_script_module(self, module: Any) -> bool:
        """Capture a TorchScript module, whose tensors and attributes lie outside Python."""
        names = module._concrete_type.get_attributes() if "_concrete_type" in vars(module) else ()
        attributes = {name: module._c.getattr(name) for name in names}
        self._add(_restore_script_attributes, module, attributes)
        held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        self.walk.over([*held, *attributes.values()], self._visit)
        return self._instance_visit(type(module))(module)

    def _visit_extension(self, obj: Any) -> bool:
        """Capture an object of an extension type, as far as it has a way to copy its state."""
        restore, held = extension.capture(obj)
        if restore is None:
            if not (self._is_data or extension.is_known_extension(type(obj))):
                self.not_restored[id(obj)] = obj
        else:
            self._add(self._restore_extension, obj, (restore, held))
        self.walk.over(extension.references(obj), self._visit)
        return self._instance_visit(type(obj))(obj)

    def _restore_extension(self, obj: object, was: tuple[extension.Restore, Any]) -> None:
        """Restore an object of an extension type; what has no way back is named."""
        restore, held = was
        try:
            restore(obj, held)
        except TypeError:
            self.not_restored[id(obj)] = obj

    def _instance_visit(self, cls: type) -> Visit:
        """Return what captures the class, attributes and slots of an instance of a class."""
        if cls in self._instance_visits:
            return self._instance_visits[cls]
        slots = contents.slots_of(cls)
        is_data = True if issubclass(cls, Dataset) else None
        if issubclass(cls, (Sampler, torch.nn.Module, torch.optim.Optimizer)):
            is_data = False

        def visit(obj: Any) -> bool:
            attributes = getattr(obj, "__dict__", None)
            held = attributes.copy() if type(attributes) is dict else None
            self._add(contents.restore_instance, obj, (cls, held))
            for slot in slots:
                self._add(contents.restore_slot, obj, (slot, contents.slot_value(slot, obj)))
            if is_data is None or is_data is self._is_data:
                return True
            self._capture_as(self.walk.references(obj), is_data=is_data)
            return False

        self._instance_visits[cls] = visit
        return visit


def _is_left_alone(cls: type) -> bool:
    """Return whether instances of a class are for communication, or belong to this package."""
    modules = [base.__module__ for base in cls.__mro__]
    if any(module.partition(".")[0] == _OWN for module in modules):
        return True
    if any(module.startswith("torch.distributed") for module in modules):
        return not issubclass(cls, (torch.nn.Module, torch.optim.Optimizer))
    return any(m.partition(".")[0] in _COMMUNICATION and is_standard_module(m) for m in modules)


def _clear_cache(function: Any, was: object) -> None:
    """Clear the cache of a function."""
    function.cache_clear()


def _restore_script_attributes(module: Any, attributes: dict[str, Any]) -> None:
    """Restore the attributes of a TorchScript module."""
    for name, value in attributes.items():
        module._c.setattr(name, value)
