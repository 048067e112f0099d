"""The counters and flags of handlers that run, by which they steer the training.

What a handler collects stays with the user: lists, dicts and what else holds elements. But a
number, a flag or a name that its code assigns says what it does next, such as how far an annealing
is.
"""

import argparse
import enum
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import numpy as np

from ignite_lrfinder.snapshot.capture import Entry
from ignite_lrfinder.snapshot.contents import (
    UNSET,
    attributes_of,
    restore_slot,
    slot_value,
    slots_of,
)
from ignite_lrfinder.snapshot.functions import (
    attributes_stored_in,
    cells_stored_by,
    globals_stored_by,
    restore_cell,
    restore_variables,
)
from ignite_lrfinder.snapshot.libraries import is_library, is_user_module
from ignite_lrfinder.snapshot.live import is_trained

# What these assign is there before a handler runs.
_SET_UP = ("__init__", "__new__", "__post_init__", "__setstate__")
_SIMPLE = (bool, int, float, complex, str, types.NoneType, enum.Enum, np.number, np.bool_)
_OF_CELL = frozenset({""})
_NAMESPACES = (argparse.Namespace, types.SimpleNamespace)


def counters_of(used: Iterable[object]) -> Iterator[Entry]:
    """Iterate over what restores the counters and flags among what handlers use.

    These are the variables and the attributes that their functions assign, of a simple type. A
    model or the like that took the place of one is dropped, to be made again.

    Args:
        used: what the handlers refer to, directly or not.
    """
    found = list(used)
    functions = [f for f in found if type(f) is types.FunctionType and not is_library(f)]
    assigning = [f for f in functions if f.__name__ not in _SET_UP]
    names = frozenset(n for f in assigning for n in attributes_stored_in(f.__code__))
    for function in functions:
        for cell in cells_stored_by(function):
            yield _entry(cell, _OF_CELL)
        if stored := globals_stored_by(function):
            yield _entry(function.__globals__, frozenset(stored))
    is_counting = _of_functions(set(map(id, assigning)))
    for obj in found if names else ():
        cls = type(obj)
        if is_user_module(obj):
            yield _entry(vars(obj), names)
        elif issubclass(cls, (type, types.FunctionType)):
            if not is_library(obj):  # type: ignore[arg-type]  # a class or a function
                yield _entry(obj, names)
        elif _is_plain(cls) and (is_counting(cls) or _values(obj, names)):
            yield _entry(obj, names)


class Counters:
    """The counters and flags of one object, or the variables of a module, as they were.

    Args:
        owner: the object, the namespace of a module, or a closure variable.
        names: the names that handlers assign.
    """

    def __init__(self, owner: object, names: frozenset[str]) -> None:
        self._owner, self._names = owner, names
        self._was = _values(owner, names)
        self._seen: dict[str, Any] | None = None

    def observe(self) -> None:
        """Look at them after a run: what differs when they are restored was set by the user."""
        self._seen = _values(self._owner, self._names)

    def restore(self) -> None:
        """Restore those that the run has changed."""
        now = _values(self._owner, self._names)
        for name in self._was.keys() | now.keys():
            value, before = now.get(name, UNSET), self._was.get(name, UNSET)
            is_of_run = self._seen is None or self._seen.get(name, UNSET) is value
            if is_of_run and _is_restorable(before, value):
                _set(self._owner, name, before)


def _entry(owner: object, names: frozenset[str]) -> Entry:
    """Return what restores the counters of an object."""
    return _restore, owner, Counters(owner, names)


def _restore(owner: object, was: Counters) -> None:
    """Restore the counters of an object."""
    was.restore()


def _of_functions(ids: Set[int]) -> Callable[[type], bool]:
    """Return a function that returns whether a class has one of some functions as a method."""

    @functools.cache
    def has_one(cls: type) -> bool:
        return any(id(value) in ids for base in cls.__mro__ for value in vars(base).values())

    return has_one


def _is_restorable(before: object, now: object) -> bool:
    """Return whether a value replaces another one as a counter, a flag or what is made once."""
    is_simple = (before is UNSET or _is_simple(before)) and (
        now is UNSET or _is_simple(now) or is_trained(now)
    )
    return is_simple and before is not now


def _is_plain(cls: type) -> bool:
    """Return whether a class is a user's own, without a base from a library that has state."""
    return cls in _NAMESPACES or all(
        base is object or not is_library(base) or vars(base).get("__slots__") == ()
        for base in cls.__mro__
    )


def _values(owner: object, names: Set[str]) -> dict[str, Any]:
    """Return what an owner holds by some names: attributes, slots included, or variables."""
    if type(owner) is types.CellType:
        value = _content(owner)
        return {} if value is UNSET else {"": value}
    held: Any = owner if type(owner) is dict else attributes_of(owner)
    # A class shows its own attributes by a proxy.
    is_known = type(held) is dict or issubclass(type(owner), type)
    found = {name: held[name] for name in names & held.keys()} if is_known else {}
    for slot in () if issubclass(type(owner), type) else slots_of(type(owner)):
        if slot.__name__ in names and (value := slot_value(slot, owner)) is not UNSET:
            found[slot.__name__] = value
    return found


def _set(owner: Any, name: str, value: object) -> None:
    """Set an attribute or a variable of an owner, or delete it."""
    if type(owner) is types.CellType:
        restore_cell(owner, value)
        return
    slots = {} if issubclass(type(owner), type) else {s.__name__: s for s in slots_of(type(owner))}
    if name in slots:
        restore_slot(owner, (slots[name], value))
    elif issubclass(type(owner), type) or type(owner) is dict:
        restore_variables(owner, ({} if value is UNSET else {name: value}, {name}))
    elif value is UNSET:
        del owner.__dict__[name]
    else:
        owner.__dict__[name] = value


def _content(cell: types.CellType) -> object:
    """Return the value of a closure variable, or `UNSET`."""
    try:
        return cell.cell_contents
    except ValueError:
        return UNSET


def _is_simple(value: object) -> bool:
    """Return whether a value is a number, a flag, a name or nothing."""
    return issubclass(type(value), _SIMPLE)
