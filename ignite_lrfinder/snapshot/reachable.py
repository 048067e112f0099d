"""What a train step refers to: other optimizers, networks, gradient scalers, graphs."""

import functools
import inspect
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.snapshot.contents import attributes_of
from ignite_lrfinder.snapshot.random_state import generator_restorer

# A dict of networks or of optimizers has fewer items than a list of batches.
_MAX_ITEMS = 100


def trained_among(
    optimizer: OptimizerLike, objects: Iterable[object]
) -> list[torch.nn.Module | torch.optim.Optimizer]:
    """Return the optimizers among some objects, and the modules that these or another train.

    Args:
        optimizer: the one that is swept.
        objects: what a train step refers to.

    Returns:
        The other optimizers, which train on in the sweep, and the modules trained, if in part.
    """
    objects = list(objects)
    others = [obj for obj in objects if isinstance(obj, torch.optim.Optimizer)]
    groups = [group for each in (optimizer, *others) for group in each.param_groups]
    trained = {id(parameter) for group in groups for parameter in _params(group)}
    modules = [obj for obj in objects if isinstance(obj, torch.nn.Module)]
    return [*others, *(m for m in modules if any(id(p) in trained for p in m.parameters()))]


def _params(group: dict[str, Any]) -> Iterable[object]:
    """Return the parameters of a group, which a hand-written optimizer may keep elsewhere."""
    return group.get("params", ())


def objects_of(function: object) -> Iterator[object]:
    """Iterate over what a train step refers to outside itself.

    These are enclosed variables and globals, the arguments of a partial, and for a method, or for
    an object that is called, the attributes of the object; and what small containers of these hold.
    """
    for obj in _referred_to(function):
        yield obj
        if isinstance(obj, (dict, list, tuple)) and len(obj) <= _MAX_ITEMS:
            yield from obj.values() if isinstance(obj, dict) else obj


def _referred_to(function: object) -> Iterator[object]:
    """Iterate over what a function refers to, and not over what containers among it hold."""
    while isinstance(function, functools.partial):
        yield from (*function.args, *function.keywords.values())
        function = function.func
    if callable(function) and not inspect.isroutine(function):
        function = function.__call__
    if isinstance(function, types.MethodType):
        yield from attributes_of(function.__self__).values()
        function = function.__func__
    if isinstance(function, types.FunctionType):
        yield from closed_over(function)
        names = function.__code__.co_names
        yield from (function.__globals__[n] for n in names if n in function.__globals__)


def generators_behind(function: object) -> Iterator[object]:
    """Iterate over what a function draws random numbers from, as far as it shows.

    These are the object of a method, the arguments of a partial, and generators in a closure; other
    things in a closure, such as a list that is written to, are the user's.
    """
    if isinstance(function, functools.partial):
        yield from (function.func, *function.args, *function.keywords.values())
    elif isinstance(function, types.MethodType):
        yield function.__self__
    elif isinstance(function, types.FunctionType):
        yield from (obj for obj in closed_over(function) if generator_restorer(obj) is not None)


def closed_over(function: types.FunctionType) -> list[object]:
    """Return the variables that a function encloses, of those that have a value yet."""
    return [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]


def _is_filled(cell: types.CellType) -> bool:
    """Tell whether a variable of a closure has a value yet."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)


_LIBRARIES = sys.stdlib_module_names | {"torch", "ignite", "numpy"}


def reachable_from(function: object) -> Iterator[object]:
    """Iterate over what a function refers to, and what the user's own objects among it do."""
    pending, seen = list(objects_of(function)), set[int]()
    while pending:
        obj = pending.pop()
        if id(obj) in seen:
            continue
        seen.add(id(obj))
        yield obj
        if _is_of_a_library(obj):
            continue
        if isinstance(obj, _FUNCTIONS):
            pending += objects_of(obj)
        else:
            pending += attributes_of(obj).values()


def _is_of_a_library(obj: object) -> bool:
    """Tell what is not the user's own: classes, modules, and all that torch and others define."""
    if isinstance(obj, (type, types.ModuleType, functools.partial)):
        return not isinstance(obj, functools.partial)
    module = getattr(obj if isinstance(obj, _FUNCTIONS) else type(obj), "__module__", None) or ""
    return module.partition(".")[0] in _LIBRARIES
