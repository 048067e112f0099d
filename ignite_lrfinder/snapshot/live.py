"""Objects whose state cannot be captured: frames, iterators, threads, files, processes, sockets."""

import inspect
import threading
import types
from collections.abc import Iterable

import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader, Sampler

from ignite_lrfinder.snapshot.contents import UNSET, class_attribute
from ignite_lrfinder.snapshot.functions import closure_variables
from ignite_lrfinder.snapshot.reachable import Walk

# What belongs to training by its kind comes back, also where a frame or a thread refers to it.
_TRAINED = (torch.nn.Module, torch.optim.Optimizer, DataLoader, Sampler, Engine)
_CODE = (types.FunctionType, types.MethodType, type)
_STATEFUL = ("state_dict", "load_state_dict")


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
    """Return what is restored although a frame or a thread uses it, and what is not."""
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
