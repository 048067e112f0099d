"""Capture one object graph and restore it in place.

A state dict says what an object thinks its state is. "Not one bit changed" needs what it was:
buffers that are not persistent, gradients, train/eval flags, a tensor that stays the same tensor.
So a memento walks the Python objects themselves (attributes, lists, dicts, tensors, arrays, random
generators), captures each mutable one once, and restores the content of the very same objects. It
leaves alone what it cannot restore (a file, a lock, a process).
"""

import collections
import functools
import inspect
import math
import sys
import types
from collections.abc import Callable, Collection, Iterable

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.snapshot import tensors
from ignite_lrfinder.snapshot.contents import (
    ATOMS,
    CONTAINERS,
    UNSET,
    attributes_of,
    elements_of,
    restore_elements,
    restore_slot,
    slot_value,
    slots_of,
)
from ignite_lrfinder.snapshot.random_state import Restorer, generator_restorer
from ignite_lrfinder.snapshot.reachable import closure_variables
from ignite_lrfinder.snapshot.storage import Kept, on_device

_ATOMS = (*ATOMS, frozenset, type, types.BuiltinFunctionType)
_WITHOUT_ATTRIBUTES = {list, dict, set, tuple, bytearray, collections.deque}
_CALLABLES = (types.FunctionType, types.MethodType, functools.partial)
# Files, locks, threads, queues, processes: of the standard library, only plain holders of data.
_FOREIGN_PACKAGES = sys.stdlib_module_names - {"argparse", "collections", "types"}

# Lists of transforms or loaders are shorter, lists of samples are longer.
_MAX_ITEMS = 1000
# The order of more samples than this is not held in memory as one array.
_MAX_ORDER = 10_000_000


class Memento:
    """The content of everything mutable that some objects refer to.

    Args:
        keep: copies the values of a tensor, and returns a function that returns the copy.
        is_opaque: returns whether to leave an object alone, with everything it refers to.
        is_data: whether the objects are sources of data. Then samples, which are large and not
            written, are not copied, and functions are searched for random generators too.
    """

    def __init__(
        self,
        *,
        keep: Callable[[torch.Tensor], Kept] = on_device,
        is_opaque: Callable[[object], bool] = lambda obj: False,
        is_data: bool = False,
    ) -> None:
        self._keep = keep
        self._is_opaque = is_opaque
        self._is_data = is_data
        self._restorers: list[tuple[str, Restorer]] = []
        self._name = ""
        self._slots: dict[type, list[types.MemberDescriptorType]] = {}
        self._kept: dict[object, Kept] = {}
        # Beside its id each object is held itself: an id is unique only while its object lives.
        self._seen: dict[int, object] = {}

    def capture(self, name: str, *roots: object) -> None:
        """Capture the content of `roots` and of everything they refer to, under one name."""
        self._name = name
        pending = list(reversed(roots))
        while pending:
            obj = pending.pop()
            if issubclass(type(obj), _ATOMS) or obj is UNSET or id(obj) in self._seen:
                continue
            if self._is_opaque(obj):
                continue
            self._seen[id(obj)] = obj
            pending.extend(reversed(list(self._capture(obj))))

    def seen(self) -> Collection[object]:
        """Return the objects that were visited."""
        return self._seen.values()

    def restore(self, names: Collection[str] | None = None) -> dict[str, BaseException]:
        """Restore the content of the same objects, each separately.

        Args:
            names: restore only what was captured under these names; default, everything.

        Returns:
            For each name of which something could not be restored, the first error.
        """
        failures: dict[str, BaseException] = {}
        with torch.no_grad():
            for name, restore in self._restorers:
                if names is None or name in names:
                    try:
                        restore()
                    except BaseException as error:  # the others must be restored, whatever it was
                        failures.setdefault(name, error)
        return failures

    def forget(self) -> None:
        """Free everything that was captured."""
        self._restorers.clear()
        self._kept.clear()
        self._seen.clear()

    def _add(self, restore: Callable[..., object], *args: object) -> None:
        """Store the call that restores one object."""
        self._restorers.append((self._name, functools.partial(restore, *args)))

    def _capture(self, obj: object) -> Iterable[object]:
        """Capture one object and return what it refers to."""
        if isinstance(obj, torch.Tensor):
            return self._capture_tensor(obj)
        if isinstance(obj, CONTAINERS):
            return [*self._capture_container(obj), *self._capture_attributes(obj)]
        if isinstance(obj, np.ndarray):
            return self._capture_array(obj)
        if (restorer := generator_restorer(obj)) is not None:
            self._add(restorer)
            return ()
        if isinstance(obj, _CALLABLES):
            return _generators_behind(obj) if self._is_data else ()
        if isinstance(obj, types.GeneratorType):
            return inspect.getgeneratorlocals(obj).values() if self._is_data else ()
        return () if _is_foreign(obj) else self._capture_attributes(obj)

    def _capture_tensor(self, tensor: torch.Tensor) -> Iterable[object]:
        """Capture a tensor's values, storage, gradient and whether it requires one."""
        if is_lazy(tensor):
            raise LRFinderError(
                f"{self._name} must be initialised, got a lazy parameter. Pass one batch through "
                "the model before attaching the finder."
            )
        if not tensors.has_values(tensor) or (self._is_data and _is_bulk(tensor)):
            return ()
        self._add(tensors.restorer(tensor, self._keep_once))
        return [tensor.grad if tensor.is_leaf else None, *self._capture_attributes(tensor)]

    def _keep_once(self, tensor: torch.Tensor) -> Kept:
        """Copy the values of a tensor, once for all tensors that view the same memory."""
        place = tensors.place_of(tensor)
        if place is None:
            return self._keep(tensor)
        if place not in self._kept:
            self._kept[place] = self._keep(tensor)
        return self._kept[place]

    def _capture_array(self, array: np.ndarray) -> Iterable[object]:
        """Capture an array's values, and the mask of a masked one among its attributes."""
        is_fixed = isinstance(array, np.memmap) or not array.flags.writeable
        if is_fixed or (self._is_data and _is_bulk(array)):
            return ()
        plain = array.view(np.ndarray)
        self._add(_restore_array, array, plain.copy())
        held = list(plain.flat) if array.dtype == object else []
        return [*held, *self._capture_attributes(array)]

    def _capture_container(self, obj: object) -> Iterable[object]:
        """Capture the elements of a container, in order."""
        held = elements_of(obj)
        self._add(restore_elements, obj, held)
        if isinstance(obj, collections.defaultdict):
            self._add(setattr, obj, "default_factory", obj.default_factory)
        if self._is_data and len(held) > _MAX_ITEMS:
            return ()
        return held if not isinstance(obj, dict) else [part for item in held for part in item]

    def _capture_attributes(self, obj: object) -> Iterable[object]:
        """Capture the attributes of an instance, in its `__dict__` and in its slots."""
        if type(obj) in _WITHOUT_ATTRIBUTES:
            return ()
        held: list[object] = []
        attributes = attributes_of(obj)
        if isinstance(attributes, dict):
            self._add(restore_elements, attributes, elements_of(attributes))
            held += attributes.values()
        cls = type(obj)
        if cls not in self._slots:
            self._slots[cls] = slots_of(cls)
        for slot in self._slots[cls]:
            value = slot_value(slot, obj)
            self._add(restore_slot, slot, obj, value)
            held.append(value)
        return held


def _generators_behind(function: object) -> Iterable[object]:
    """Return the objects behind a function that may be random generators."""
    if isinstance(function, functools.partial):
        return (function.func, *function.args, *function.keywords.values())
    if isinstance(function, types.MethodType):
        return (function.__self__,)
    if isinstance(function, types.FunctionType):
        enclosed = closure_variables(function).values()
        return [obj for obj in enclosed if generator_restorer(obj) is not None]
    return ()


def _is_foreign(obj: object) -> bool:
    """Tell the objects whose attributes are not for us to write.

    In addition to the standard library: what torch uses to talk to other processes, such as the
    communication of sharded modules.
    """
    module = type(obj).__module__
    if module.startswith("torch.distributed"):
        return not isinstance(obj, torch.nn.Module)
    return module.partition(".")[0] in _FOREIGN_PACKAGES


def _restore_array(array: np.ndarray, content: np.ndarray) -> None:
    """Restore the values of an array, and its size."""
    if array.shape != content.shape:
        array.resize(content.shape, refcheck=False)
    np.copyto(array.view(np.ndarray), content)


def _is_bulk(array: torch.Tensor | np.ndarray) -> bool:
    """Return whether an array holds samples; orders and indices are one-dimensional."""
    return array.ndim > 1 or math.prod(array.shape) > _MAX_ORDER
