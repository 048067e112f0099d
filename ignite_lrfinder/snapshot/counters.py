"""The counters and flags of handlers that run, by which they steer the training.

What a handler collects stays with the user: lists, dicts and all that holds elements. But a number,
a flag or a name that it keeps says what it does next, such as how far an annealing is.
"""

import enum
import types
from collections.abc import Iterable, Iterator, Set
from typing import Any

from ignite_lrfinder.snapshot.capture import Entry
from ignite_lrfinder.snapshot.contents import (
    BARE,
    UNSET,
    attributes_of,
    elements_of,
    slot_value,
    slots_of,
)
from ignite_lrfinder.snapshot.functions import (
    cells_stored_by,
    globals_stored_by,
    is_bound,
    names_in,
    restore_cell,
    restore_variables,
)
from ignite_lrfinder.snapshot.libraries import is_library, is_user_module

_SIMPLE = (bool, int, float, complex, str, bytes, types.NoneType, enum.Enum)


def counters_of(used: Iterable[object]) -> Iterator[Entry]:
    """Iterate over what restores the counters and flags among what handlers use.

    These are the variables that their functions assign, and the attributes of user objects, of a
    simple type. An object that collects something during the sweep is a record, and stays whole.

    Args:
        used: what the handlers refer to, directly or not.
    """
    found = list(used)
    functions = [f for f in found if isinstance(f, types.FunctionType) and not is_library(f)]
    names = {name for f in functions for name in names_in(f.__code__).stored_attributes}
    for function in functions:
        for cell in cells_stored_by(function):
            if is_bound(cell) and isinstance(cell.cell_contents, _SIMPLE):
                yield restore_cell, cell, cell.cell_contents
        yield _variables(function.__globals__, globals_stored_by(function))
    for obj in found:
        if is_user_module(obj):
            yield _variables(vars(obj), names)
        elif isinstance(obj, type):
            if not is_library(obj):
                yield _variables(obj, names)
        elif not isinstance(obj, types.FunctionType) and not is_library(type(obj)):
            attributes = _attributes(obj)
            yield restore_counters, obj, (_simple(attributes), attributes.keys(), _sizes(obj))


def restore_counters(obj: object, was: tuple[dict[str, Any], Set[str], dict[str, Any]]) -> None:
    """Restore the attributes of an object that have a simple type, unless it is a record."""
    values, names, sizes = was
    now = _attributes(obj)
    if sizes != {name: size for name, size in _sizes(obj).items() if name in names}:
        return
    for name, value in values.items():
        if now.get(name, UNSET) is not value:
            object.__setattr__(obj, name, value)
    for name in _simple(now).keys() - names:
        object.__delattr__(obj, name)


def _variables(owner: dict[str, Any] | type, names: Set[str]) -> Entry:
    """Return what restores some of the variables of a module or a class."""
    namespace = vars(owner) if isinstance(owner, type) else owner
    values = _simple({name: namespace[name] for name in names if name in namespace})
    return restore_variables, owner, (values, values.keys())


def _attributes(obj: object) -> dict[str, Any]:
    """Return the attributes of an object, slots included."""
    slots = {slot.__name__: slot_value(slot, obj) for slot in slots_of(type(obj))}
    held = {name: value for name, value in slots.items() if value is not UNSET}
    return {**held, **attributes_of(obj)}


def _simple(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that have a simple type."""
    return {name: value for name, value in values.items() if isinstance(value, _SIMPLE)}


def _sizes(obj: object) -> dict[str, tuple[int, int]]:
    """Return the identity and the number of elements of each container that an object holds."""
    return {
        name: (id(value), len(elements_of(value)))
        for name, value in _attributes(obj).items()
        if type(value) in BARE
    }
