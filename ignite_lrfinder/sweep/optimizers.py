"""Which optimizer takes the steps of another, and in which calls."""

import functools
import inspect
from typing import Any, TypeGuard, cast

import torch

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.snapshot import attributes_of
from ignite_lrfinder.sweep.calls import Undo


def stepping_optimizers(optimizer: OptimizerLike) -> list[OptimizerLike]:
    """Return the optimizers that take the steps: the wrapped ones, or the optimizer itself.

    A wrapper shares the parameter groups of the optimizer it wraps. It may call that optimizer's
    step under another name, only in some calls, or wrap another wrapper.
    """
    found, pending = [], [optimizer]
    seen = {id(optimizer)}
    while pending:
        outer = pending.pop()
        wrapped = [inner for inner in _wrapped_by(outer) if id(inner) not in seen]
        seen.update(map(id, wrapped))
        pending += wrapped
        if not wrapped:
            found.append(outer)
    return found


def _wrapped_by(optimizer: OptimizerLike) -> list[OptimizerLike]:
    """Return the optimizers in an optimizer's attributes that share parameter groups with it."""
    groups = {id(group) for group in optimizer.param_groups}
    attributes = list(attributes_of(optimizer).values())
    for value in tuple(attributes):
        if isinstance(value, (list, tuple)):
            attributes += value
        elif isinstance(value, dict):
            attributes += value.values()
    return [cast(OptimizerLike, obj) for obj in attributes if _has_groups(obj, groups)]


def _has_groups(obj: object, groups: set[int]) -> bool:
    """Return whether an object is an optimizer of any of the given parameter groups."""
    own = getattr(obj, "param_groups", ()) if is_optimizer(obj) else ()
    return any(id(group) in groups for group in own)


def is_optimizer(obj: object) -> bool:
    """Return whether an object is an optimizer: it has a method `step` and parameter groups."""
    has_step = callable(getattr(type(obj), "step", None))
    return has_step and isinstance(getattr(obj, "param_groups", None), (list, tuple))


def calls_hooks(optimizer: OptimizerLike) -> TypeGuard[torch.optim.Optimizer]:
    """Return whether an optimizer calls hooks around its step.

    Torch marks the `step` methods that do; a wrapper that inherits from `Optimizer` without
    calling its `__init__` has none.
    """
    is_torchs = isinstance(optimizer, torch.optim.Optimizer)
    return is_torchs and getattr(getattr(type(optimizer), "step", None), "hooked", False)


def decides_itself(optimizer: OptimizerLike) -> bool:
    """Return whether a subclass calls its parent's `step`, perhaps only in some calls.

    Horovod's optimizers do.
    """
    own, *parents = _step_definitions(type(optimizer))
    code = getattr(inspect.unwrap(vars(own)["step"]), "__code__", None)
    return code is not None and bool(parents) and "step" in code.co_names


def make_parents_call_hooks(optimizer: OptimizerLike) -> list[Undo]:
    """Make the `step` of each parent class call hooks; return the functions that undo it.

    Torch does the same to a class when it is instantiated.
    """
    undo: list[Undo] = []
    for cls in _step_definitions(type(optimizer))[1:]:
        step: Any = vars(cls)["step"]
        if not getattr(step, "hooked", False):
            hooked: Any = torch.optim.Optimizer.profile_hook_step(step)
            hooked.hooked = True
            undo.append(functools.partial(setattr, cls, "step", step))
            cls.step = hooked
    return undo


def _step_definitions(cls: type) -> list[type]:
    """Return the classes that define the `step` of a class, the most derived first."""
    defining: list[type] = []
    codes: list[object] = [None, inspect.unwrap(torch.optim.Optimizer.step).__code__]
    for base in cls.__mro__:
        step: Any = vars(base).get("step")
        code = getattr(inspect.unwrap(step), "__code__", None)
        if code not in codes:
            codes.append(code)
            defining.append(base)
    return defining


def versions(optimizer: OptimizerLike) -> list[int]:
    """Return how often each parameter was written in place, without waiting for a device."""
    parameters = [p for group in optimizer.param_groups for p in group.get("params", ())]
    return [p._version for p in parameters if isinstance(p, torch.Tensor)]
