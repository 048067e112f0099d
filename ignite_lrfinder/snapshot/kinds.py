"""Which kind an object is of, by its class."""

import contextvars
import functools
import threading
import types
import weakref
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader

from ignite_lrfinder.snapshot import arrays, code_visits, extension, visits, watches
from ignite_lrfinder.snapshot.capture import Visit
from ignite_lrfinder.snapshot.contents import CONTAINERS, once_for_each_class
from ignite_lrfinder.snapshot.libraries import is_standard_module
from ignite_lrfinder.snapshot.random_state import is_generator

# What others communicate by: locks, queues and signals must not be rewound.
_COMMUNICATION = ("threading", "multiprocessing", "concurrent", "asyncio", "subprocess", "socket")
_COMMUNICATION += ("ssl", "selectors", "signal", "logging", "weakref", "_thread", "importlib")
# Code without anything to capture, but with something that it refers to.
_REFERENCES = (
    types.MethodType, types.BuiltinMethodType, types.MethodWrapperType, types.MappingProxyType,
    types.CellType, functools.partial, memoryview, weakref.ref, weakref.ProxyType,
    weakref.CallableProxyType,
)  # fmt: skip
_IMMUTABLE = (tuple, frozenset)
_OWN = __name__.partition(".")[0]
_PROTOCOLS = f"{_OWN}.protocols"
# What these define counts and scales, and has no connection.
_STATE_OF_DISTRIBUTED = (
    "torch.distributed.algorithms", "torch.distributed.fsdp.sharded_grad_scaler"
)  # fmt: skip


@once_for_each_class
def visit_of(cls: type) -> Visit:
    """Return what captures an instance of a class, and returns whether to go on from it."""
    if is_generator(cls):
        return visits.visit_generator
    if cls in watches.FILES:
        return code_visits.visit_file
    watch = watches.watch_of(cls)
    if watch is not None and not issubclass(cls, (*arrays.BUFFERS, *_REFERENCES, type)):
        return functools.partial(code_visits.visit_live, watch)
    if cls in _IMMUTABLE:
        return visits.go_on
    for kind, visit in _VISITS:
        if issubclass(cls, kind):
            return visit
    if arrays.is_shared_value(cls):
        return visits.visit_shared_value
    if _is_left_alone(cls):
        return visits.leave
    if _is_communication(cls):
        return code_visits.visit_communication
    if extension.is_extension(cls):
        return visits.visit_extension
    if issubclass(cls, torch.jit.ScriptModule):
        return visits.visit_script_module
    return visits.visit_instance


def _is_left_alone(cls: type) -> bool:
    """Return whether instances of a class belong to this package, or connect processes."""
    modules = [base.__module__ for base in cls.__mro__ if base.__module__ != _PROTOCOLS]
    if any(module.partition(".")[0] == _OWN for module in modules):
        return True
    # A user class may inherit from a protocol of torch.distributed.
    is_distributed = cls.__module__.startswith("torch.distributed")
    is_state = cls.__module__.startswith(_STATE_OF_DISTRIBUTED)
    is_trained = issubclass(cls, (torch.nn.Module, torch.optim.Optimizer))
    return is_distributed and not (is_state or is_trained)


def _is_communication(cls: type) -> bool:
    """Return whether instances of a class are for communication."""
    modules = [base.__module__ for base in cls.__mro__]
    return any(m.partition(".")[0] in _COMMUNICATION and is_standard_module(m) for m in modules)


# The first kind counts.
_VISITS: tuple[tuple[Any, Visit], ...] = (
    (torch.Tensor, visits.visit_tensor),
    (torch.UntypedStorage, visits.visit_storage),
    (np.ndarray, visits.visit_array),
    (np.void, visits.visit_record),
    (types.FunctionType, code_visits.visit_function),
    (types.ModuleType, code_visits.visit_module),
    (type, code_visits.visit_class),
    (functools.partial, code_visits.visit_partial),
    (_REFERENCES, visits.go_on),
    (_IMMUTABLE, visits.visit_instance),
    (Engine, visits.visit_engine),
    (DataLoader, visits.visit_loader),
    (arrays.BUFFERS, visits.visit_buffer),
    (arrays.WEAK, visits.visit_weak),
    (CONTAINERS, visits.visit_container),
    (threading.local, visits.visit_instance),
    (contextvars.ContextVar, code_visits.visit_context_variable),
    (functools._lru_cache_wrapper, code_visits.visit_cache),
)
