"""What an object holds: the elements of a container, attributes and slots, restored in place.

A subclass may redefine iteration, item access and attribute access, so the methods of the built-in
types and the descriptors of the slots are used throughout.
"""

import collections
import enum
import logging
import types
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

ATOMS = (
    type(None), bool, int, float, complex, str, bytes, range, slice, enum.Enum, np.generic,
    np.dtype, torch.dtype, torch.device, torch.Size, types.ModuleType, types.CodeType,
    logging.Logger, weakref.ref, weakref.ProxyType, weakref.CallableProxyType,
)  # fmt: skip
"""The types of objects that hold no state, or none that belongs to a training."""

CONTAINERS = (list, dict, set, frozenset, collections.deque, bytearray, tuple)
"""The types of objects that have elements."""

# An ordered dict is a dict too, but keeps its order with separate methods, so it comes first.
_KINDS = (collections.OrderedDict, *CONTAINERS)
_IMMUTABLE = (tuple, frozenset)

UNSET = object()
"""The value of a slot that has none."""


def elements_of(obj: Any) -> list[Any]:
    """Return the elements of a container in their order: for a dict, its items."""
    if isinstance(obj, bytearray):
        return [bytes(obj)]
    kind = _kind_of(obj)
    return list(kind.items(obj) if isinstance(obj, dict) else kind.__iter__(obj))


def members_of(obj: Any) -> list[Any]:
    """Return the objects in a container: for a dict, its keys and values."""
    elements = elements_of(obj)
    return [part for item in elements for part in item] if isinstance(obj, dict) else elements


def restore_elements(obj: Any, elements: list[Any]) -> None:
    """Give a container its former elements back, unless it still holds the same objects."""
    if isinstance(obj, _IMMUTABLE) or _is_same(elements_of(obj), elements):
        return
    kind = _kind_of(obj)
    if isinstance(obj, bytearray):
        kind.__setitem__(obj, slice(None), elements[0])
    elif isinstance(obj, list):
        kind.__setitem__(obj, slice(None), elements)
    else:
        kind.clear(obj)
        for element in elements:
            if isinstance(obj, dict):
                kind.__setitem__(obj, *element)
            elif isinstance(obj, set):
                kind.add(obj, element)
            else:
                kind.append(obj, element)


def _is_same(now: Sequence[Any], then: Sequence[Any]) -> bool:
    """Return whether two contents are the same objects in the same order."""
    return len(now) == len(then) and all(map(_is_same_element, now, then))


def _is_same_element(now: Any, then: Any) -> bool:
    """Return whether two elements are the same object; the items of a dict are new each time."""
    if now is then:
        return True
    if type(now) is tuple and type(then) is tuple and len(now) == len(then) == 2:
        return now[0] is then[0] and now[1] is then[1]
    return type(now) is type(then) is bytes and now == then


def _kind_of(obj: object) -> Any:
    """Return the built-in type that a container is of."""
    kind = type(obj)
    return kind if kind in _KINDS else next(k for k in _KINDS if issubclass(kind, k))


def attributes_of(obj: object) -> Mapping[str, Any]:
    """Return the `__dict__` of an object: the mapping itself, empty for an object without one."""
    attributes = getattr(obj, "__dict__", None)
    return attributes if isinstance(attributes, Mapping) else {}


def slots_of(cls: type) -> list[types.MemberDescriptorType]:
    """Return the descriptors of the slots that classes written in Python give their instances."""
    slots = []
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            is_mangled = name.startswith("__") and not name.endswith("__")
            stored = f"_{base.__name__.lstrip('_')}{name}" if is_mangled else name
            descriptor = base.__dict__.get(stored)
            if isinstance(descriptor, types.MemberDescriptorType):
                slots.append(descriptor)
    return slots


def slot_value(slot: types.MemberDescriptorType, obj: object) -> object:
    """Return the value of a slot, or `UNSET`."""
    try:
        return slot.__get__(obj)
    except AttributeError:
        return UNSET


def restore_slot(slot: types.MemberDescriptorType, obj: object, value: object) -> None:
    """Give a slot its former value back, also in a frozen dataclass."""
    if slot_value(slot, obj) is value:
        return
    if value is UNSET:
        slot.__delete__(obj)
    else:
        slot.__set__(obj, value)
