"""Mute the schedulers of torch that a training steps."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ignite_lrfinder.sweep.calls import Undo


def is_scheduler(cls: type) -> bool:
    """Return whether a class is one of torch's schedulers, or derived from one."""
    return issubclass(cls, torch.optim.lr_scheduler.LRScheduler)


def mute_steps(schedulers: Iterable[object], undo: list[Undo]) -> None:
    """Mute the steps that torch defines for some schedulers; code that overrides them still runs.

    The classes are patched, because the state dict of a scheduler contains all its attributes.
    Sweeps may overlap, and end in any order.

    Args:
        schedulers: the schedulers.
        undo: receives a function for each class, which ends the muting.
    """
    muted = frozenset(map(id, schedulers))
    for cls in {cls for each in schedulers for cls in _torch_classes_of(type(each))}:
        step = vars(cls)["step"]
        if getattr(step, "itself", None) is not step:  # a user's wrapper has a copy of it
            step = _unless_muted(step)
        # Stored first: Ctrl-C may arrive between the two.
        undo.append(functools.partial(_unmute, cls, step, muted))
        step.muted.append(muted)
        cls.step = step


def _unmute(cls: type, step: Any, muted: frozenset[int]) -> None:
    """End the muting of one sweep, and restore the step of a class after the last sweep."""
    if muted in step.muted:
        step.muted.remove(muted)
    if not step.muted and vars(cls)["step"] is step:
        cls.step = step.__wrapped__


def _unless_muted(step: Callable[..., object]) -> Any:
    """Return a step that does nothing for the schedulers whose ids are in a set of its `muted`."""
    by_sweep: list[frozenset[int]] = []

    @functools.wraps(step)
    def step_unless_muted(scheduler: object, *args: Any, **kwargs: Any) -> object:
        is_muted = any(id(scheduler) in muted for muted in by_sweep)
        return None if is_muted else step(scheduler, *args, **kwargs)

    step_unless_muted.muted = by_sweep  # type: ignore[attr-defined]  # functions have attributes
    step_unless_muted.itself = step_unless_muted  # type: ignore[attr-defined]
    return step_unless_muted


def _torch_classes_of(cls: type) -> list[type]:
    """Return the classes of torch that define the steps of a class of schedulers."""
    return [
        base
        for base in cls.__mro__
        if base.__module__.startswith("torch.") and "step" in vars(base)
    ]
