"""Mute the schedulers of torch that a training steps."""

import functools
from collections.abc import Iterable
from typing import Any

import torch

from ignite_lrfinder.sweep.calls import Undo


def is_scheduler(cls: type) -> bool:
    """Return whether a class is one of torch's schedulers, or derived from one."""
    return issubclass(cls, torch.optim.lr_scheduler.LRScheduler)


def mute_steps(schedulers: Iterable[object], undo: list[Undo]) -> None:
    """Let schedulers take none of the steps that torch defines; what overrides them runs.

    The classes are changed, because the state dict of a scheduler has all its attributes.

    Args:
        schedulers: the schedulers.
        undo: gets a function for each class that restores it.
    """
    muted = set(map(id, schedulers))
    for cls in {cls for each in schedulers for cls in _torch_classes_of(type(each))}:
        step = vars(cls)["step"]
        # Stored first: Ctrl-C may arrive between the two.
        undo.append(functools.partial(setattr, cls, "step", step))
        cls.step = _unless(muted, step)


def _unless(muted: set[int], step: Any) -> Any:
    """Return a step that does nothing for the objects with these ids."""

    @functools.wraps(step)
    def step_unless_muted(scheduler: object, *args: Any, **kwargs: Any) -> Any:
        return None if id(scheduler) in muted else step(scheduler, *args, **kwargs)

    return step_unless_muted


def _torch_classes_of(cls: type) -> list[type]:
    """Return the classes of torch that define the steps of a class of schedulers."""
    return [
        base
        for base in cls.__mro__
        if base.__module__.startswith("torch.") and "step" in vars(base)
    ]
