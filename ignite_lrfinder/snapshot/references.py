"""What an object refers to, by its kind, apart from functions, classes and modules."""

import collections
import functools
import gc
import logging
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch

from ignite_lrfinder.snapshot.contents import (
    CONTAINERS,
    PLAIN,
    attributes_of,
    elements_of,
    once_for_each_class,
    slot_value,
    slots_of,
)
from ignite_lrfinder.snapshot.extension import hides_references
from ignite_lrfinder.snapshot.functions import is_bound
from ignite_lrfinder.snapshot.libraries import is_library

_ATOMS = (
    type(None), bool, int, float, complex, str, bytes, range, slice, np.number, np.bool_,
    np.character, np.datetime64, np.timedelta64, np.dtype, torch.dtype, torch.device, torch.Size,
    types.CodeType, types.FrameType, types.TracebackType,
    types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType,
    types.WrapperDescriptorType, types.ClassMethodDescriptorType, logging.Logger,
)  # fmt: skip

_BOUND_BUILTINS = (types.BuiltinMethodType, types.MethodWrapperType)

Rule = Callable[[Any, Any], list[Any]]
"""Lists what an object, the second argument, refers to; the first is the walk that asks."""


@once_for_each_class
def rule_of(cls: type) -> Rule | None:
    """Return the function that lists what an instance of a class refers to; None for an atom."""
    if cls in _BARE_RULES:
        return _BARE_RULES[cls]
    # A logger caches which levels are enabled, and its state is not the training's.
    is_plain = cls.__dictoffset__ == 0 or is_library(cls) or issubclass(cls, logging.Logger)
    if issubclass(cls, _ATOMS) and is_plain:
        return None
    for kinds, rule in _RULES:
        if issubclass(cls, kinds):
            return rule
    return _instance_rule(cls)


def _instance_rule(cls: type) -> Rule:
    """Return the function that lists what an instance of a class holds, and a user's class."""
    is_container = issubclass(cls, (*CONTAINERS, types.MappingProxyType))
    is_hiding = hides_references(cls) and not is_container
    slots, classes = slots_of(cls), () if is_library(cls) else (cls,)

    def rule(walk: object, obj: object) -> list[Any]:
        held = [v for v in attributes_of(obj).values() if type(v) not in PLAIN]
        held += classes
        if is_container:
            held += _members_of(obj)
        if slots:
            held += [slot_value(slot, obj) for slot in slots]
        if is_hiding:
            held += _of_list(None, gc.get_referents(obj))
        return held

    return rule


def _of_built_in(walk: object, method: Any) -> list[Any]:
    """List the object of a built-in method; of a function, that is what implements it."""
    owner = method.__self__
    return [owner] if hasattr(type(owner), method.__name__) else []


def _of_cached(walk: object, function: Any) -> list[Any]:
    """List what a function with a cache refers to; of a bounded cache the entries are linked."""
    held = list(vars(function).values())
    return held if function.cache_parameters()["maxsize"] else gc.get_referents(function)


def _of_proxy(walk: object, proxy: Any) -> list[Any]:
    """List what a weak proxy refers to."""
    try:
        return [proxy.__init__.__self__]
    except ReferenceError:
        return []


def _members_of(obj: Any) -> list[Any]:
    """List the elements of a container: for a mapping, its keys and values."""
    elements = obj if isinstance(obj, types.MappingProxyType) else elements_of(obj)
    return _of_dict(None, elements) if isinstance(elements, Mapping) else _of_list(None, elements)


def _of_dict(walk: object, obj: Mapping[Any, Any]) -> list[Any]:
    """List the keys and values of a mapping."""
    if not obj:  # as the tables of hooks of most modules
        return []
    return [part for part in chain(obj.values(), obj) if type(part) not in PLAIN]


def _of_list(walk: object, obj: Iterable[Any]) -> list[Any]:
    """List the elements of a container."""
    return [element for element in obj if type(element) not in PLAIN]


_BARE_RULES: dict[type, Rule] = {
    **dict.fromkeys((dict, collections.OrderedDict), _of_dict),
    **dict.fromkeys((list, tuple, set, frozenset, collections.deque), _of_list),
}


def _of_method(walk: object, method: types.MethodType) -> list[Any]:
    """List what a method refers to: its object or, for a class method, what user classes hold."""
    owner = method.__self__
    classes = owner.__mro__ if isinstance(owner, type) else ()
    held = [value for cls in classes if not is_library(cls) for value in vars(cls).values()]
    # Its class as well: where the object is an engine, that is not searched.
    return [owner, type(owner), method.__func__, *held]


def _of_array(walk: object, array: np.ndarray) -> list[Any]:
    """List the objects in an array, what a read-only array shows, and its attributes."""
    held = list(array.flat) if array.dtype == object else _object_fields(array)
    if not array.flags.writeable and isinstance(array.base, np.ndarray):
        held.append(array.base)
    return [*held, *attributes_of(array).values()]


def _object_fields(array: Any) -> list[Any]:
    """List the fields of a structured array, or of one of its elements, that hold objects."""
    return [array[name] for name in array.dtype.names or () if array.dtype[name].hasobject]


_RULES: tuple[tuple[Any, Rule], ...] = (
    (types.MethodType, _of_method),
    (_BOUND_BUILTINS, _of_built_in),
    (functools._lru_cache_wrapper, _of_cached),
    (functools.partial, lambda walk, p: [p.func, p.args, p.keywords, *vars(p).values()]),
    (types.CellType, lambda walk, cell: [cell.cell_contents] if is_bound(cell) else []),
    (weakref.ref, lambda walk, ref: [ref()]),
    ((weakref.ProxyType, weakref.CallableProxyType), _of_proxy),
    (memoryview, lambda walk, view: [view.obj]),
    (np.ndarray, _of_array),
    (np.void, lambda walk, record: _object_fields(record)),
)
