"""Capture the variables of code, and watch what cannot be captured: one function for each kind."""

import contextvars
import functools
import types
from collections.abc import Callable
from typing import Any

from ignite_lrfinder.snapshot import live, watches
from ignite_lrfinder.snapshot.capture import Capture
from ignite_lrfinder.snapshot.contents import UNSET
from ignite_lrfinder.snapshot.extension import Irreversible
from ignite_lrfinder.snapshot.functions import (
    function_state,
    is_bound,
    restore_cell,
    restore_function,
)
from ignite_lrfinder.snapshot.libraries import is_library
from ignite_lrfinder.snapshot.visits import visit_instance


def visit_partial(capture: Capture, function: functools.partial[Any]) -> bool:
    """Capture the attributes of a partial, which holds nothing else that changes."""
    capture.store_elements(vars(function), vars(function).copy())
    return True


def visit_function(capture: Capture, function: types.FunctionType) -> bool:
    """Capture the variables that a function assigns, and its attributes."""
    for cell in capture.variables.cells_of(function):
        capture.store(restore_cell, cell, cell.cell_contents if is_bound(cell) else UNSET)
    if not is_library(function):
        capture.store(restore_function, function, function_state(function))
        capture.variables.add_function(function)
    if vars(function) or not is_library(function):
        capture.store_elements(vars(function), vars(function).copy())
    return True


def visit_module(capture: Capture, module: types.ModuleType) -> bool:
    """Capture the variables of a module that functions assign."""
    capture.variables.add_module(module)
    return True


def visit_class(capture: Capture, cls: type) -> bool:
    """Capture the attributes of a class that functions assign."""
    capture.variables.add_class(cls)
    return True


def visit_cache(capture: Capture, function: Any) -> bool:
    """Clear a bounded cache if it was empty; a full one only saves computing again."""
    before = function.cache_info()
    if before.maxsize is None:
        return True  # it is a dict, restored as others are
    if before.currsize == 0:
        capture.store(_clear_cache, function, None)
    return visit_instance(capture, function)


def visit_live(watch: Callable[[Any], watches.Watch], capture: Capture, obj: object) -> bool:
    """Watch an object that cannot be restored, and capture the loaders and models it uses."""
    capture.live.append((obj, watch(obj)))
    used, _ = live.used_by(live.frame_variables(obj))
    capture.over(used)
    return False


def visit_file(capture: Capture, file: Any) -> bool:
    """Capture the position of a file that is only read, and watch any other."""
    position = watches.position_to_restore(file)
    if position is None:
        return visit_live(watches.watch_file, capture, file)
    capture.store(_restore_position, file, position)
    return False


def visit_communication(capture: Capture, obj: object) -> bool:
    """Watch an object by which others communicate, as far as its attributes show its state."""
    capture.live.append((obj, watches.watch_attributes(obj)))
    return False


def visit_context_variable(capture: Capture, variable: contextvars.ContextVar[Any]) -> bool:
    """Capture the value of a context variable; where it has none, watch whether it gets one."""
    try:
        value = variable.get()
    except LookupError:
        capture.live.append((variable, lambda: variable.get(UNSET) is not UNSET))
    else:
        capture.store(contextvars.ContextVar.set, variable, value)
        capture.over([value])
    return True


def _restore_position(file: Any, position: int) -> None:
    """Restore the position of a file.

    Raises:
        Irreversible: if it was closed.
    """
    try:
        file.seek(position)
    except (OSError, ValueError) as error:
        raise Irreversible("a closed file has no position") from error


def _clear_cache(function: Any, was: object) -> None:
    """Clear the cache of a function."""
    function.cache_clear()
