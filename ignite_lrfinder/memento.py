"""One object graph remembered and put back in place.

A state dict says what an object thinks its state is. "Not one bit changed" needs what it was:
buffers that are not persistent, gradients, train/eval flags, a tensor that stays the same tensor.
So a memento walks the Python objects themselves (attributes, lists, dicts, tensors, arrays, random
generators), notes each mutable one once, and writes the noted content back into the very same
objects. What it cannot put back (a file, a lock, a process) it leaves alone.
"""

import collections
import enum
import functools
import logging
import sys
import types
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.random_state import Restorer, generator_restorer

_ATOMS = (
    type(None), bool, int, float, complex, str, bytes, range, slice, frozenset, enum.Enum,
    np.generic, torch.dtype, torch.device, torch.Size, type, types.ModuleType, types.FunctionType,
    types.BuiltinFunctionType, types.MethodType, functools.partial, logging.Logger,
    weakref.ref, weakref.ProxyType, weakref.CallableProxyType,
)  # fmt: skip
# Files, locks, threads, queues, processes: of the standard library, only plain holders of data are
# noted.
_FOREIGN_PACKAGES = sys.stdlib_module_names - {"argparse", "collections", "types"}


class Memento:
    """Remember the content of everything mutable that hangs on some objects, and put it back.

    Args:
        keep: make the copy of a tensor that is kept.
        is_opaque: tell which objects to leave alone, with all that hangs on them.
        is_bulk: tell which tensors and arrays are mere data that nobody writes, to save their
            copies.
        max_items: a container with more elements is noted, but its elements are not looked into.
    """

    def __init__(
        self,
        *,
        keep: Callable[[torch.Tensor], torch.Tensor] = torch.clone,
        is_opaque: Callable[[object], bool] = lambda obj: False,
        is_bulk: Callable[[torch.Tensor | np.ndarray], bool] = lambda array: False,
        max_items: float = float("inf"),
    ) -> None:
        self._keep = keep
        self._is_opaque = is_opaque
        self._is_bulk = is_bulk
        self._max_items = max_items
        self._restorers: list[tuple[str, Restorer]] = []
        self._name = ""
        # Beside its id each object is held itself: an id is unique only while its object lives.
        self._seen: dict[int, object] = {}

    def remember(self, name: str, *roots: object) -> None:
        """Note the content of `roots` and of all that hangs on them, under one name."""
        self._name = name
        pending = list(reversed(roots))
        while pending:
            obj = pending.pop()
            if issubclass(type(obj), _ATOMS) or id(obj) in self._seen or self._is_opaque(obj):
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
        self._seen.clear()

    def _add(self, put_back: Callable[..., object], *args: object) -> None:
        """Keep the call that will put one object back."""
        self._restorers.append((self._name, functools.partial(put_back, *args)))

    def _note(self, obj: object) -> Iterable[object]:
        """Note one object and return what hangs on it."""
        if isinstance(obj, torch.Tensor):
            return self._note_tensor(obj)
        if isinstance(obj, np.ndarray):
            return self._note_array(obj)
        if (restorer := generator_restorer(obj)) is not None:
            self._add(restorer)
            return ()
        if isinstance(obj, (list, dict, set, collections.deque, bytearray, tuple)):
            return [*self._note_container(obj), *self._note_attributes(obj)]
        if type(obj).__module__.partition(".")[0] in _FOREIGN_PACKAGES:
            return ()
        return self._note_attributes(obj)

    def _note_tensor(self, tensor: torch.Tensor) -> Iterable[object]:
        """Note a tensor's values, its storage, whether it requires a gradient, and the gradient."""
        if is_lazy(tensor):
            raise LRFinderError(
                f"{self._name} must be initialised, got a lazy parameter. Pass one batch through "
                "the model before attaching the finder."
            )
        if tensor.is_meta or self._is_bulk(tensor):
            return ()
        alias = tensor.detach()
        if not tensor.is_leaf:
            self._add(_restore_result, alias, self._keep(alias))
            return ()
        self._add(
            _restore_leaf, tensor, alias, self._keep(alias), tensor.grad, tensor.requires_grad
        )
        return [tensor.grad, *self._note_attributes(tensor)]

    def _note_array(self, array: np.ndarray) -> Iterable[object]:
        """Note an array's values."""
        if isinstance(array, np.memmap) or not array.flags.writeable or self._is_bulk(array):
            return ()
        self._add(np.copyto, array, array.copy())
        return list(array.flat) if array.dtype == object else ()

    def _note_container(self, obj: Collection[object]) -> Iterable[object]:
        """Note what a container holds, in its order."""
        held = list(obj)
        if isinstance(obj, dict):
            self._add(_restore_dict, obj, list(obj.items()))
            held += obj.values()
        elif isinstance(obj, (list, bytearray)):
            self._add(obj.__setitem__, slice(None), held)
        elif isinstance(obj, set):
            self._add(_restore_by, obj.clear, obj.update, held)
        elif isinstance(obj, collections.deque):
            self._add(_restore_by, obj.clear, obj.extend, held)
        return held if len(obj) <= self._max_items else ()

    def _note_attributes(self, obj: object) -> Iterable[object]:
        """Note the attributes of an instance, in its `__dict__` and in its slots."""
        held: list[object] = []
        attributes = getattr(obj, "__dict__", None)
        if isinstance(attributes, dict):
            self._add(_restore_dict, attributes, list(attributes.items()))
            held += attributes.values()
        for name in _slots(type(obj)):
            if hasattr(obj, name):
                value = getattr(obj, name)
                self._add(_restore_slot, obj, name, value)
                held.append(value)
        return held


def _slots(cls: type) -> Iterator[str]:
    """Iterate over the names of the slots that classes written in Python give their instances."""
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                is_mangled = name.startswith("__") and not name.endswith("__")
                yield f"_{base.__name__.lstrip('_')}{name}" if is_mangled else name


def _restore_dict(obj: dict[object, object], items: list[tuple[object, object]]) -> None:
    """Put back the items of a dict, in their order, unless they are the same objects still."""
    is_same = len(obj) == len(items) and all(
        key is old_key and value is old_value
        for (key, value), (old_key, old_value) in zip(obj.items(), items, strict=True)
    )
    if not is_same:
        obj.clear()
        for key, value in items:
            obj[key] = value


def _restore_by(
    clear: Restorer, refill: Callable[[list[object]], object], held: list[object]
) -> None:
    """Put back the elements of a container that is emptied and filled by its own methods."""
    clear()
    refill(held)


def _restore_slot(obj: object, name: str, value: object) -> None:
    """Put back one slot, of a frozen dataclass too."""
    if getattr(obj, name, None) is not value:
        object.__setattr__(obj, name, value)


def _restore_leaf(
    tensor: torch.Tensor,
    alias: torch.Tensor,
    content: torch.Tensor,
    grad: torch.Tensor | None,
    requires_grad: bool,
) -> None:
    """Put back a tensor's values into the storage it had, and its gradient."""
    if _has_moved(tensor, alias):
        tensor.data = alias
    _write(alias, content)
    if tensor.requires_grad != requires_grad:
        tensor.requires_grad_(requires_grad)
    if tensor.grad is not grad:
        tensor.grad = grad


def _restore_result(alias: torch.Tensor, content: torch.Tensor) -> None:
    """Put back the values of a tensor inside an autograd graph, only where they changed.

    Writing marks the tensor as stale, and a graph through it can then not be differentiated.
    """
    if not torch.equal(alias, content.to(alias.device)):
        _write(alias, content)


def _has_moved(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Tell whether `tensor.data` was given another storage since `alias` was made of it."""
    if (tensor.dtype, tensor.device, tensor.shape) != (alias.dtype, alias.device, alias.shape):
        return True
    if tensor.layout != torch.strided:
        return False
    return tensor.data_ptr() != alias.data_ptr() or tensor.stride() != alias.stride()


def _write(alias: torch.Tensor, content: torch.Tensor) -> None:
    """Copy values into a tensor: one made in inference mode, or expanded, as well as any other."""
    if alias.layout == torch.strided and 0 in alias.stride():
        distinct = tuple(slice(None if stride else 1) for stride in alias.stride())
        alias, content = alias[distinct], content[distinct]
    with torch.inference_mode(alias.is_inference()):
        alias.copy_(content)
