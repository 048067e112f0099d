"""The counters and flags of handlers that run, by which they steer the training.

What a handler collects stays with the user. But a number, a flag or a name that its code assigns
says what it does next, such as how far an annealing is.
"""

import enum
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np

from ignite_lrfinder.snapshot.capture import Entry
from ignite_lrfinder.snapshot.contents import (
    CONTAINERS,
    UNSET,
    attributes_of,
    elements_of,
    restore_slot,
    slot_value,
    slots_of,
)
from ignite_lrfinder.snapshot.functions import (
    attributes_stored_in,
    cells_stored_by,
    closure_variables,
    globals_stored_by,
    restore_cell,
    restore_variables,
)
from ignite_lrfinder.snapshot.libraries import is_library, is_user_module

# What these assign is there before a handler runs.
_SET_UP = ("__init__", "__new__", "__post_init__", "__setstate__")
_SIMPLE = (bool, int, float, complex, str, types.NoneType, enum.Enum, np.number, np.bool_)


def counters_of(used: Iterable[object]) -> Iterator[Entry]:
    """Iterate over what restores the counters and flags among what handlers use.

    These are the variables and the attributes that their functions assign, if they are of a simple
    type before and after. What is kept beside a container that has grown is part of a record, and
    stays.

    Args:
        used: what the handlers refer to, directly or not.
    """
    found = list(used)
    functions = [f for f in found if type(f) is types.FunctionType and not is_library(f)]
    assigning = [f for f in functions if f.__name__ not in _SET_UP]
    names = {name for f in assigning for name in attributes_stored_in(f.__code__)}
    for function in functions:
        cells = [cell for cell in cells_stored_by(function) if _is_simple(_content(cell))]
        held = _simple(function.__globals__, globals_stored_by(function))
        if cells or held:
            size = _size(closure_variables(function))
            yield _restore_variables, function, ([(c, c.cell_contents) for c in cells], held, size)
    is_counting = _of_functions(set(map(id, assigning)))
    for obj in found if names else ():
        cls = type(obj)
        if is_user_module(obj) or (issubclass(cls, type) and not is_library(obj)):  # type: ignore[arg-type]  # a class
            values = _simple(vars(obj), names)
            if values:
                yield _restore_namespace, obj, values
        elif _is_plain(cls):
            attributes = _attributes(obj, names)
            if attributes or is_counting(cls):
                yield _restore_attributes, obj, (attributes, names, _size_of(obj))


def _of_functions(ids: Set[int]) -> Callable[[type], bool]:
    """Return a function that returns whether a class has one of some functions as a method."""

    @functools.cache
    def has_one(cls: type) -> bool:
        return any(id(value) in ids for base in cls.__mro__ for value in vars(base).values())

    return has_one


def _restore_variables(function: types.FunctionType, was: tuple[Any, dict[str, Any], int]) -> None:
    """Restore the variables that a function assigns."""
    cells, held, size = was
    if _size(closure_variables(function)) > size:
        return
    for cell, value in cells:
        if _is_simple(_content(cell)):
            restore_cell(cell, value)
    for name in _simple(function.__globals__, held):
        function.__globals__[name] = held[name]


def _restore_namespace(owner: types.ModuleType | type, was: dict[str, Any]) -> None:
    """Restore variables of a module, or attributes of a class."""
    now = _simple(vars(owner), was.keys())
    restored = {name: was[name] for name in now}
    restore_variables(owner if isinstance(owner, type) else vars(owner), (restored, set()))


def _restore_attributes(obj: object, was: tuple[dict[str, Any], Set[str], int]) -> None:
    """Restore the attributes of an object that functions assign; delete those that are new."""
    held, names, size = was
    if _size_of(obj) > size:
        return
    slots = {slot.__name__: slot for slot in slots_of(type(obj))}
    attributes: Any = attributes_of(obj)
    for name, value in _attributes(obj, names).items():
        before = held.get(name, UNSET)
        if before is value or not (_is_simple(value) and (before is UNSET or _is_simple(before))):
            continue
        if name in slots:
            restore_slot(obj, (slots[name], before))
        elif before is UNSET:
            del attributes[name]
        else:
            attributes[name] = before


def _is_plain(cls: type) -> bool:
    """Return whether a class is a user's own, without a base from a library that has state."""
    is_own = all(base is object or not is_library(base) for base in cls.__mro__)
    return is_own and not issubclass(cls, type)


def _attributes(obj: object, names: Set[str]) -> dict[str, Any]:
    """Return the attributes of an object, slots included, that have one of these names."""
    held = attributes_of(obj)
    found = {name: held[name] for name in names & held.keys()}
    for slot in slots_of(type(obj)):
        if slot.__name__ in names:
            found[slot.__name__] = slot_value(slot, obj)
    return found


def _size_of(obj: object) -> int:
    """Return how many elements the containers hold that an object has as attributes."""
    slots = {slot.__name__: slot_value(slot, obj) for slot in slots_of(type(obj))}
    return _size({**slots, **attributes_of(obj)})


def _size(values: Mapping[str, object]) -> int:
    """Return how many elements the containers among some values hold, and those in these."""
    size = 0
    for value in values.values():
        for element in (value, *_elements(value)):
            size += len(_elements(element))
    return size


def _elements(value: object) -> list[Any]:
    """Return the elements of a container, of a mapping its values; none of another object."""
    if not issubclass(type(value), CONTAINERS):
        return []
    elements = elements_of(value)
    return list(elements.values() if isinstance(elements, dict) else elements)


def _simple(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the values with some names that have a simple type."""
    return {name: values[name] for name in names if name in values and _is_simple(values[name])}


def _content(cell: types.CellType) -> object:
    """Return the value of a closure variable, or `UNSET`."""
    try:
        return cell.cell_contents
    except ValueError:
        return UNSET


def _is_simple(value: object) -> bool:
    """Return whether a value is a number, a flag, a name or nothing."""
    return issubclass(type(value), _SIMPLE)
