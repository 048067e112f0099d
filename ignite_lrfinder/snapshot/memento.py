"""One object graph remembered and put back in place.

A state dict says what an object thinks its state is. "Not one bit changed" needs what it was:
buffers that are not persistent, gradients, train/eval flags, a tensor that stays the same tensor.
So a memento walks the Python objects themselves (attributes, lists, dicts, tensors, arrays, random
generators), notes each mutable one once, and writes the noted content back into the very same
objects. What it cannot put back (a file, a lock, a process) it leaves alone.
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

# A list of transforms or of loaders is shorter, a list of samples is longer.
_MAX_ITEMS = 1000
# The order of more samples than this is not kept in memory as one array.
_MAX_ORDER = 10_000_000


class Memento:
    """Remember the content of everything mutable that hangs on some objects, and put it back.

    Args:
        keep: keep the values of a tensor, and return a function that returns them.
        is_opaque: tell which objects to leave alone, with all that hangs on them.
        is_data: whether the objects are sources of data. Then samples, which are large and which
            nobody writes, are not copied, and random generators are looked for in functions too.
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

    def remember(self, name: str, *roots: object) -> None:
        """Note the content of `roots` and of all that hangs on them, under one name."""
        self._name = name
        pending = list(reversed(roots))
        while pending:
            obj = pending.pop()
            if issubclass(type(obj), _ATOMS) or obj is UNSET or id(obj) in self._seen:
                continue
            if self._is_opaque(obj):
                continue
            self._seen[id(obj)] = obj
            pending.extend(reversed(list(self._note(obj))))

    def seen(self) -> Collection[object]:
        """Return the objects that were noted."""
        return self._seen.values()

    def restore(self, names: Collection[str] | None = None) -> dict[str, BaseException]:
        """Write the noted content back into the same objects, each on its own.

        Args:
            names: restore only what was remembered under these names; default, all.

        Returns:
            For each name of which something could not be put back, the first error.
        """
        failures: dict[str, BaseException] = {}
        with torch.no_grad():
            for name, put_back in self._restorers:
                if names is None or name in names:
                    try:
                        put_back()
                    except BaseException as error:  # the others must come back, whatever it was
                        failures.setdefault(name, error)
        return failures

    def forget(self) -> None:
        """Let go of everything that was noted."""
        self._restorers.clear()
        self._kept.clear()
        self._seen.clear()

    def _add(self, put_back: Callable[..., object], *args: object) -> None:
        """Keep the call that will put one object back."""
        self._restorers.append((self._name, functools.partial(put_back, *args)))

    def _note(self, obj: object) -> Iterable[object]:
        """Note one object and return what hangs on it."""
        if isinstance(obj, torch.Tensor):
            return self._note_tensor(obj)
        if isinstance(obj, CONTAINERS):
            return [*self._note_container(obj), *self._note_attributes(obj)]
        if isinstance(obj, np.ndarray):
            return self._note_array(obj)
        if (restorer := generator_restorer(obj)) is not None:
            self._add(restorer)
            return ()
        if isinstance(obj, _CALLABLES):
            return _generators_behind(obj) if self._is_data else ()
        if isinstance(obj, types.GeneratorType):
            return inspect.getgeneratorlocals(obj).values() if self._is_data else ()
        return () if _is_foreign(obj) else self._note_attributes(obj)

    def _note_tensor(self, tensor: torch.Tensor) -> Iterable[object]:
        """Note a tensor's values, its storage, whether it requires a gradient, and the gradient."""
        if is_lazy(tensor):
            raise LRFinderError(
                f"{self._name} must be initialised, got a lazy parameter. Pass one batch through "
                "the model before attaching the finder."
            )
        if not tensors.has_values(tensor) or (self._is_data and _is_bulk(tensor)):
            return ()
        self._add(tensors.restorer(tensor, self._keep_once))
        return [tensor.grad if tensor.is_leaf else None, *self._note_attributes(tensor)]

    def _keep_once(self, tensor: torch.Tensor) -> Kept:
        """Keep the values of a tensor, but once for all tensors that are of the same memory."""
        place = tensors.place_of(tensor)
        if place is None:
            return self._keep(tensor)
        if place not in self._kept:
            self._kept[place] = self._keep(tensor)
        return self._kept[place]

    def _note_array(self, array: np.ndarray) -> Iterable[object]:
        """Note an array's values, and the mask of a masked one among its attributes."""
        is_fixed = isinstance(array, np.memmap) or not array.flags.writeable
        if is_fixed or (self._is_data and _is_bulk(array)):
            return ()
        plain = array.view(np.ndarray)
        self._add(_restore_array, array, plain.copy())
        held = list(plain.flat) if array.dtype == object else []
        return [*held, *self._note_attributes(array)]

    def _note_container(self, obj: object) -> Iterable[object]:
        """Note what a container holds, in its order."""
        held = elements_of(obj)
        self._add(restore_elements, obj, held)
        if isinstance(obj, collections.defaultdict):
            self._add(setattr, obj, "default_factory", obj.default_factory)
        if self._is_data and len(held) > _MAX_ITEMS:
            return ()
        return held if not isinstance(obj, dict) else [part for item in held for part in item]

    def _note_attributes(self, obj: object) -> Iterable[object]:
        """Note the attributes of an instance, in its `__dict__` and in its slots."""
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

    Besides those of the standard library: what torch keeps to talk to other processes, such as the
    communication of sharded modules.
    """
    module = type(obj).__module__
    if module.startswith("torch.distributed"):
        return not isinstance(obj, torch.nn.Module)
    return module.partition(".")[0] in _FOREIGN_PACKAGES


def _restore_array(array: np.ndarray, content: np.ndarray) -> None:
    """Put back the values of an array, and its size."""
    if array.shape != content.shape:
        array.resize(content.shape, refcheck=False)
    np.copyto(array.view(np.ndarray), content)


def _is_bulk(array: torch.Tensor | np.ndarray) -> bool:
    """Tell samples from orders and indices, which are one-dimensional."""
    return array.ndim > 1 or math.prod(array.shape) > _MAX_ORDER
