"""What a train step refers to: other optimizers, networks, gradient scalers, graphs."""

import functools
import inspect
import types
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch

from ignite_lrfinder.attributes import attributes_of
from ignite_lrfinder.random_state import closed_over
from ignite_lrfinder.stepping import GradScalerLike, GraphLike
from ignite_lrfinder.sweep import OptimizerLike

# A dict of networks or of optimizers has fewer items than a list of batches.
_MAX_ITEMS = 100


def scalers_among(*objects: object) -> list[GradScalerLike]:
    """Return the gradient scalers among some objects, each once."""
    found = {id(obj): cast(GradScalerLike, obj) for obj in objects if _is_scaler(type(obj))}
    return list(found.values())


def graphs_among(objects: Iterable[object]) -> list[GraphLike]:
    """Return the CUDA graphs among some objects, each once."""
    found = {id(obj): obj for obj in objects if isinstance(obj, torch.cuda.CUDAGraph)}
    return [cast(GraphLike, graph) for graph in found.values()]


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


def _is_scaler(cls: type) -> bool:
    """Tell a gradient scaler by what only a gradient scaler can do."""
    return all(hasattr(cls, name) for name in ("step", "update", "unscale_"))
