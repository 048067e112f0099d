"""The optimizer's steps in a sweep: the learning rate each is taken with, and which are skipped."""

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Protocol

import torch

from ignite_lrfinder.muting import TRAIN_STEP
from ignite_lrfinder.sweep import LRSweep, OptimizerLike


class GradScalerLike(Protocol):
    """A gradient scaler, which decides whether the optimizer takes its step."""

    step: Callable[..., object]


class StepWatch:
    """Force the learning rate immediately before each step, and notice steps and skipped ones.

    An optimizer without hooks is taken to step once in each iteration.

    Args:
        optimizer: the optimizer that is swept.
        scalers: the gradient scalers that may skip its steps.

    Attributes:
        has_stepped: whether a step was taken since this was last set to False.
        is_skipped: whether a scaler skipped the step since this was last set to False.
    """

    def __init__(self, optimizer: OptimizerLike, scalers: Iterable[GradScalerLike]) -> None:
        self.has_stepped = False
        self.is_skipped = False
        self._optimizer = optimizer
        self._scalers = list(scalers)
        self._has_hooks = _has_step_hooks(optimizer)
        self._sweep: LRSweep | None = None
        self._warned_of: set[str] = set()
        self._undo: list[Callable[[], object]] = []

    def add(self) -> None:
        """Add the hooks to the optimizer and the scalers."""
        if isinstance(self._optimizer, torch.optim.Optimizer) and self._has_hooks:
            self._undo.append(self._optimizer.register_step_pre_hook(self._before_step).remove)
        for scaler in self._scalers:
            scaler.step = functools.partial(self._scaler_step, scaler.step)
            self._undo.append(functools.partial(vars(scaler).pop, "step"))

    def remove(self) -> None:
        """Take the hooks away."""
        self._sweep = None
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def follow(self, sweep: LRSweep) -> None:
        """Hold the learning rate at what a sweep says, from now on."""
        self._sweep = sweep
        sweep.write()

    def begin_iteration(self) -> None:
        """Set the learning rate around the iteration, for an optimizer that has no hooks."""
        self.check(TRAIN_STEP)
        if not self._has_hooks:
            self.has_stepped = True

    def check(self, writer: str) -> None:
        """Set the learning rate again if something wrote it since the last look, and warn of it."""
        if self._sweep is None or not self._sweep.is_overwritten():
            return
        self._sweep.write()
        if writer not in self._warned_of:
            self._warned_of.add(writer)
            warnings.warn(
                "The learning rate must be left to the finder during a sweep, got one written by "
                f"{writer}. Each point still used the learning rate of the sweep. Mute what writes "
                "it (leave it out of keep_handlers), and put a scheduler in to_save to have it "
                "restored.",
                UserWarning,
                stacklevel=2,
            )

    def _before_step(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        """Force the learning rate; runs twice where a subclass calls its parent's step."""
        self.check(TRAIN_STEP)
        # A fused optimizer is told here whether to skip. Knowing costs the wait that
        # GradScaler.step has for every other optimizer.
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or not bool(found_inf):
            self.has_stepped = True

    def _scaler_step(
        self, step: Callable[..., object], optimizer: object, *args: object, **kwargs: object
    ) -> object:
        """Take the step of a scaler, and notice when it skipped the optimizer's."""
        output = step(optimizer, *args, **kwargs)
        if optimizer is self._optimizer:
            self.is_skipped = not self.has_stepped
        return output


def _has_step_hooks(optimizer: OptimizerLike) -> bool:
    """Tell whether an optimizer calls hooks at its step: torch marks the `step` methods that do."""
    is_torch = isinstance(optimizer, torch.optim.Optimizer)
    return is_torch and getattr(type(optimizer).step, "hooked", False)


def scalers_among(*objects: object) -> list[GradScalerLike]:
    """Return the gradient scalers among some objects, each once."""
    names = ("step", "update", "unscale_")
    found = {id(obj): obj for obj in objects if all(hasattr(obj, name) for name in names)}
    return list(found.values())  # type: ignore[arg-type]  # they have the methods of one
