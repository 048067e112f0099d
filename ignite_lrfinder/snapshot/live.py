"""Objects whose state cannot be captured: frames, iterators, threads, files, processes, sockets."""

import inspect
import threading
import types
from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader, Sampler

from ignite_lrfinder.snapshot import watches
from ignite_lrfinder.snapshot.contents import UNSET, class_attribute
from ignite_lrfinder.snapshot.functions import closure_variables
from ignite_lrfinder.snapshot.reachable import Walk

# What belongs to training by its kind comes back, also where a frame or a thread refers to it.
_TRAINED = (torch.nn.Module, torch.optim.Optimizer, DataLoader, Sampler, Engine)
_CODE = (types.FunctionType, types.MethodType, type)
_STATEFUL = ("state_dict", "load_state_dict")


def is_live(cls: type) -> bool:
    """Return whether instances of a class go on by themselves, or cannot go back."""
    return watches.watch_of(cls) is not None


def watch(obj: Any) -> watches.Watch:
    """Return a function that returns whether an object may have changed since now."""
    start = watches.watch_of(type(obj))
    return (lambda: True) if start is None else start(obj)


def frame_variables(obj: object) -> list[object]:
    """Return the local variables of a generator, an empty list for other objects."""
    is_frame = isinstance(obj, types.GeneratorType)
    return list(inspect.getgeneratorlocals(obj).values()) if is_frame else []


def used_by_threads() -> list[object]:
    """Return the objects that the functions of other live threads refer to directly."""
    found: list[object] = []
    for thread in threading.enumerate():
        if thread is threading.main_thread() or thread is threading.current_thread():
            continue
        target = vars(thread).get("_target")
        found += [thread, getattr(target, "__self__", None), *vars(thread).get("_args", ())]
        found += (vars(thread).get("_kwargs") or {}).values()
        if isinstance(target, types.FunctionType):
            found += closure_variables(target).values()
    return [obj for obj in found if obj is not None]


def used_by(objects: Iterable[object]) -> tuple[list[object], list[object]]:
    """Return what a frame or a thread uses that comes back all the same, and what does not."""
    restored: list[object] = []
    left: list[object] = []

    def visit(obj: object) -> bool:
        is_restored = is_trained(obj)
        (restored if is_restored else left).append(obj)
        return not (is_restored or issubclass(type(obj), _CODE))

    Walk().over(objects, visit)
    return restored, left


def is_trained(obj: object) -> bool:
    """Return whether an object is restored even where a frame or a thread refers to it."""
    cls = type(obj)
    return issubclass(cls, _TRAINED) or all(
        class_attribute(cls, name) is not UNSET for name in _STATEFUL
    )


def is_loader_iterator(obj: object) -> bool:
    """Return whether an object is the running iterator of a `DataLoader`."""
    return watches.is_loader_iterator(type(obj))
