"""Paths by which a user finds an object, such as `train_step.<closure>.replay`."""

import collections
import functools
import itertools
import re
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from ignite.engine import Engine

from ignite_lrfinder.snapshot.contents import (
    CONTAINERS,
    attributes_of,
    elements_of,
    slot_value,
    slots_of,
)
from ignite_lrfinder.snapshot.functions import closure_variables
from ignite_lrfinder.snapshot.libraries import is_library
from ignite_lrfinder.snapshot.reachable import Walk

# A module has its submodules, parameters and buffers as attributes.
_OF_MODULE = re.compile(r"\._(?:modules|parameters|buffers)\['([^']*)'\]")

# Users look into these, or make them.
_KNOWN_INSIDE = (
    *CONTAINERS, torch.nn.Module, Engine, type, types.FunctionType,
    types.MethodType, types.ModuleType, functools.partial,
)  # fmt: skip


def paths_to(objects: Iterable[object], roots: Iterable[tuple[str, object]]) -> dict[int, str]:
    """Return by its id a path to each of some objects, such as `train_step.<closure>.replay`.

    Where the private attributes of a library lead on to what is looked for, a path ends at the
    first of its objects: at `writer`, as that is what a user can create again.

    Args:
        objects: the objects to look for.
        roots: where to look, each with its name.
    """
    wanted, paths, walk = {id(obj) for obj in objects}, dict[int, str](), Walk()
    for name, root in roots:

        def visit(obj: object, name: str = name) -> bool:
            if id(obj) in wanted:
                paths[id(obj)] = name + _path(walk.holders(), obj)
            return not issubclass(type(obj), Engine)

        walk.over([root], visit)
    return paths


def _path(holders: list[object], obj: object) -> str:
    """Return the steps from the first holder to an object, as far as a user knows them."""
    path, of_library = "", None
    for holder, held in itertools.pairwise([*holders, obj]):
        step, is_library_object = _label(holder, held), _is_library_object(holder)
        # The path to the first of the library objects that lead here.
        of_library = (path if of_library is None else of_library) if is_library_object else None
        if of_library is not None and step.startswith("._"):
            return _OF_MODULE.sub(r".\1", of_library)
        path += step
    return _OF_MODULE.sub(r".\1", path)


def _is_library_object(obj: object) -> bool:
    """Return whether a user knows an object by its public interface, as one of a library."""
    return is_library(type(obj)) and not issubclass(type(obj), _KNOWN_INSIDE)


def _label(holder: Any, held: object) -> str:
    """Return the step of a path from an object to one that it refers to."""
    steps = (step for step, value in _steps_from(holder) if value is held)
    return next(steps, "")


def _steps_from(holder: Any) -> Iterator[tuple[str, object]]:
    """Iterate over what an object refers to, each with the step of a path that leads there."""
    cls = type(holder)
    if issubclass(cls, types.FunctionType):
        for name, value in closure_variables(holder).items():
            yield f".<closure>.{name}", value
        for name, value in holder.__globals__.items():
            yield f".<global>.{name}", value
        defaults = (*(holder.__defaults__ or ()), *(holder.__kwdefaults__ or {}).values())
        yield from ((".<default>", value) for value in defaults)
    elif issubclass(cls, functools.partial):
        yield from ((".args", holder.args), (".keywords", holder.keywords))
    elif issubclass(cls, dict):
        yield from ((f"[{_shown(key)}]", value) for key, value in dict.items(holder))
    elif issubclass(cls, (list, tuple, collections.deque)):
        yield from ((f"[{i}]", value) for i, value in enumerate(elements_of(holder)))
    yield from ((f".{name}", value) for name, value in attributes_of(holder).items())
    yield from ((f".{slot.__name__}", slot_value(slot, holder)) for slot in slots_of(cls))


def _shown(key: object) -> str:
    """Return the key of a dict as a path shows it."""
    return f"{key!r:.40}" if issubclass(type(key), (str, int, float, bytes)) else type(key).__name__
