"""Enforce the learning rate at each optimizer step; detect taken and skipped steps."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch

from ignite_lrfinder.errors import warn
from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.sweep.calls import Undo, shadow, with_closures_watched
from ignite_lrfinder.sweep.graphs import GraphLike, GraphWatch, is_capturing
from ignite_lrfinder.sweep.optimizers import (
    calls_hooks,
    decides_itself,
    make_parents_call_hooks,
    stepping_optimizers,
    versions,
)
from ignite_lrfinder.sweep.scheduler import LRSweep
from ignite_lrfinder.sweep.torch_schedulers import mute_steps

_TRAIN_STEP = "the train step (a custom scheduler?) or a handler added inside the block"
_OPTIMIZER = "the optimizer's own step"


class GradScalerLike(Protocol):
    """A gradient scaler, which may skip the optimizer's step."""

    step: Callable[..., object]


class StepWatch:
    """Force the learning rate immediately before each step, and detect taken and skipped steps.

    Args:
        optimizer: the optimizer that is swept.
        scalers: the gradient scalers that may skip its steps.
        graphs: the CUDA graphs of the train step. If the learning rates are tensors, a replay of
            the graph that contains the optimizer's step is a step.
        schedulers: torch's schedulers, subclasses included. The steps that torch defines are
            muted: a sweep sets the rates itself, and may be longer than a schedule.

    Attributes:
        has_stepped: whether a step was taken since this was last set to False.
        is_skipped: whether a scaler skipped the step since this was last set to False.
        is_blind: whether steps cannot be detected, so that each iteration counts as one.
    """

    def __init__(
        self,
        optimizer: OptimizerLike,
        scalers: Iterable[GradScalerLike],
        graphs: Iterable[GraphLike] = (),
        schedulers: Iterable[object] = (),
    ) -> None:
        self.has_stepped = False
        self.is_skipped = False
        self.is_blind = False
        self._optimizer = optimizer
        self._stepping = stepping_optimizers(optimizer)
        self._scalers = tuple(scalers)
        self._schedulers = tuple(schedulers)
        self._graphs = GraphWatch(optimizer, graphs, self._force_lr, self._count_step)
        self._num_nested = 0
        self._sweep: LRSweep | None = None
        self._warned_of: set[str] = set()
        self._undo: list[Undo] = []

    def follow(self, sweep: LRSweep) -> None:
        """Hold the learning rate at the current point of a sweep, until `remove`.

        The hooks are registered when the run starts, so that they run after the user's hooks.
        """
        self._sweep = sweep
        sweep.write()
        for optimizer in self._stepping:
            self._watch(optimizer)
        if self._optimizer not in self._stepping:
            self._watch_calls(self._optimizer)
        self._undo += [shadow(scaler, "step", self._scaler_step) for scaler in self._scalers]
        mute_steps(self._schedulers, self._undo)
        # A graph has captured the value of a learning rate that is a number.
        if all(sweep.is_tensor):
            self._undo += self._graphs.follow()

    def _watch(self, optimizer: OptimizerLike) -> None:
        """Watch the steps of an optimizer that does not delegate them."""
        if not calls_hooks(optimizer):
            if hasattr(optimizer, "__dict__"):
                self._undo.append(shadow(optimizer, "step", self._step))
            else:
                self.is_blind = True
            return
        before = self._before_step
        if decides_itself(optimizer):
            self._undo += make_parents_call_hooks(optimizer)
            self._watch_calls(optimizer)
            before = self._before_nested_step
        # Disabled for the compiler, which would otherwise trace the hooks at one point.
        for register, hook in (
            (optimizer.register_step_pre_hook, before),
            (optimizer.register_step_post_hook, self._after_step),
        ):
            uncompiled: Any = torch.compiler.disable(hook)
            self._undo.append(register(uncompiled).remove)

    def _watch_calls(self, optimizer: OptimizerLike) -> None:
        """Watch the calls of a `step` that may delegate to another one, or take no step."""
        if hasattr(optimizer, "__dict__"):
            call = functools.partial(self._call_step, optimizer)
            self._undo.append(shadow(optimizer, "step", call))

    def remove(self) -> None:
        """Remove the hooks."""
        self._sweep = None
        while self._undo:
            self._undo.pop()()

    def hold_lr(self, writer: str = _TRAIN_STEP, *, is_handler: bool = False) -> None:
        """Restore the learning rate if `writer` has overwritten it, and warn once."""
        sweep = self._sweep
        if sweep is not None and sweep.is_overwritten():
            sweep.write(writer if is_handler else None)
            self._warn_of(writer, is_handler=is_handler)

    def _warn_of(self, writer: str, *, is_handler: bool) -> None:
        """Warn once of the code that wrote the learning rate."""
        if writer in self._warned_of:
            return
        self._warned_of.add(writer)
        effect = "Each point still used the learning rate of the sweep."
        if writer == _OPTIMIZER:
            effect = "Its steps may have used that learning rate."
        elif self.is_blind:
            effect = "The optimizer hides its steps, so later points may have used that value."
        remedy = f" Pass mute_handlers=[{writer}] to mute the handler." if is_handler else ""
        warn(
            "The learning rate must be left to the finder during a sweep, got one written by "
            f"{writer}. {effect}{remedy}"
        )

    def _before_step(
        self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Prepare a step; called twice where a subclass calls its parent's step."""
        if getattr(optimizer, "found_inf", None) is None or not _is_skipping(optimizer):
            self.has_stepped = self._graphs.has_eager_steps = True
        sweep = self._sweep
        if sweep is not None and (sweep.has_tensors or sweep.is_overwritten()):
            self._force_lr()
        # The first argument is the optimizer; few steps take another.
        if not args[1:] and not kwargs:
            return None
        return with_closures_watched(self.hold_lr, args, kwargs)

    def _before_nested_step(
        self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Prepare a step in a subclass, which counts once the subclass calls its parent's step."""
        self._num_nested += 1
        if self._num_nested > 1:
            return self._before_step(optimizer, args, kwargs)
        self._force_lr()
        return with_closures_watched(self.hold_lr, args, kwargs)

    def _call_step(
        self,
        optimizer: OptimizerLike,
        step: Callable[..., object],
        *args: Any,
        **kwargs: Any,
    ) -> object:
        """Call a `step` that may delegate to another one; detect whether it takes a step itself."""
        self._num_nested = 0
        before = versions(optimizer)
        output = step(*args, **kwargs)
        self.has_stepped = self.has_stepped or versions(optimizer) != before
        return output

    def _step(self, step: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        """Take the step of an optimizer that calls no hooks."""
        self.has_stepped = self._graphs.has_eager_steps = True
        self._force_lr()
        args, kwargs = with_closures_watched(self.hold_lr, args, kwargs)
        output = step(*args, **kwargs)
        self._after_step()
        return output

    def _after_step(self, *_: object) -> None:
        """Warn if the step itself has written the learning rate."""
        if self._sweep is not None and self._sweep.is_overwritten():
            self.hold_lr(_OPTIMIZER)

    def _scaler_step(
        self, step: Callable[..., object], optimizer: object, *args: Any, **kwargs: Any
    ) -> object:
        """Call the step of a scaler, and detect that it skipped the optimizer's."""
        output = step(optimizer, *args, **kwargs)
        if optimizer is self._optimizer or optimizer in self._stepping:
            self.is_skipped = not self.has_stepped
        return output

    def _count_step(self) -> None:
        """Count a step in a CUDA graph."""
        self.has_stepped = True

    def _force_lr(self) -> None:
        """Set the learning rate; always if it is a tensor, whose `.data` hides writes."""
        self.hold_lr()
        if self._sweep is not None and self._sweep.has_tensors and not is_capturing():
            self._sweep.write()


def _is_skipping(optimizer: Any) -> bool:
    """Return whether a gradient scaler makes a fused optimizer skip its step.

    This waits for the device, as `GradScaler.step` does for every other optimizer.
    """
    return not is_capturing() and bool(optimizer.found_inf)


def is_scaler(cls: type) -> bool:
    """Return whether a class has the methods that only a gradient scaler has."""
    return all(hasattr(cls, name) for name in ("step", "update", "unscale_"))
