"""The optimizer's steps in a sweep: the learning rate each is taken with, and which are skipped."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import torch
from torch.utils.hooks import RemovableHandle

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.snapshot import attributes_of
from ignite_lrfinder.sweep.graphs import GraphLike, is_capturing, samples
from ignite_lrfinder.sweep.scheduler import LRSweep

_TRAIN_STEP = "the train step (a scheduler stepped in it?) or a handler added inside the block"


class GradScalerLike(Protocol):
    """A gradient scaler, which decides whether the optimizer takes its step."""

    step: Callable[..., object]


class StepWatch:
    """Force the learning rate immediately before each step, and notice steps and skipped ones.

    Args:
        optimizer: the optimizer that is swept.
        scalers: the gradient scalers that may skip its steps.
        graphs: the CUDA graphs of the train step. Where the learning rates are tensors, replaying
            the one that holds the optimizer's step is a step.

    Attributes:
        has_stepped: whether a step was taken since this was last set to False.
        is_skipped: whether a scaler skipped the step since this was last set to False.
        is_blind: whether steps cannot be seen, so that each iteration is taken for one.
    """

    def __init__(
        self,
        optimizer: OptimizerLike,
        scalers: Iterable[GradScalerLike],
        graphs: Iterable[GraphLike] = (),
    ) -> None:
        self.has_stepped = False
        self.is_skipped = False
        self.is_blind = False
        self._optimizer = optimizer
        self._scalers = list(scalers)
        self._graphs = list(graphs)
        self._stepping_graph: GraphLike | None = None
        self._has_own_steps = False
        self._sweep: LRSweep | None = None
        self._warned_of: set[str] = set()
        self._undo: list[Callable[[], object]] = []

    def follow(self, sweep: LRSweep) -> None:
        """Hold the learning rate at what a sweep says, until `remove`.

        The hooks are added only now, when the run starts, so that they come after those that the
        user added inside the block.
        """
        self._sweep = sweep
        sweep.write()
        for optimizer in (self._optimizer, *_inner_optimizers(self._optimizer)):
            handle = _add_step_hook(optimizer, self._before_step)
            if handle is not None:
                self._undo.append(handle.remove)
            elif hasattr(optimizer, "__dict__"):
                self._shadow(optimizer, "step", self._take_step)
            else:
                self.is_blind = True
        for scaler in self._scalers:
            self._shadow(scaler, "step", self._take_scaler_step)
        # A learning rate that is a number was captured with its value.
        for graph in self._graphs if all(sweep.is_tensor) else ():
            self._shadow(graph, "replay", functools.partial(self._replay, graph))

    def remove(self) -> None:
        """Take the hooks away."""
        self._sweep = None
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def hold_lr(self, writer: str = _TRAIN_STEP) -> None:
        """Set the learning rate again if `writer` wrote it since the last look, and warn of it."""
        if self._sweep is not None and self._sweep.is_overwritten():
            self._sweep.write()
            self.warn_of(writer)

    def warn_of(self, writer: str = _TRAIN_STEP) -> None:
        """Warn, once, of what wrote the learning rate."""
        if writer in self._warned_of:
            return
        self._warned_of.add(writer)
        effect = (
            "The optimizer hides its steps, so points from here on may have used that one."
            if self.is_blind
            else "Each point still used the learning rate of the sweep."
        )
        warnings.warn(
            "The learning rate must be left to the finder during a sweep, got one written by "
            f"{writer}. {effect} Mute what writes it (leave it out of keep_handlers), and put "
            "a scheduler in to_save to have it restored.",
            UserWarning,
            stacklevel=3,
        )

    def _shadow(self, obj: Any, name: str, stand_in: Callable[..., object]) -> None:
        """Let a method of an object go through another function, as torch's schedulers do."""
        attributes = vars(obj)
        had_own = name in attributes
        method = getattr(obj, name)
        attributes[name] = functools.partial(stand_in, method)
        undo = functools.partial(attributes.__setitem__, name, method)
        self._undo.append(undo if had_own else functools.partial(attributes.pop, name))

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Force the learning rate; runs twice where a subclass calls its parent's step."""
        # A fused optimizer is told here whether to skip. Knowing costs the wait that
        # GradScaler.step has for every other optimizer.
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or is_capturing() or not bool(found_inf):
            self.has_stepped = self._has_own_steps = True
        sweep = self._sweep
        if sweep is not None and (sweep.has_tensors or sweep.is_overwritten()):
            self._force_lr()
        # The first argument is the optimizer; hardly any step has another.
        if len(args) == 1 and not kwargs:
            return None
        return self._with_watched_closures(args, kwargs)

    def _take_step(self, step: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        """Take the step of an optimizer that has no hooks."""
        self.has_stepped = self._has_own_steps = True
        self._force_lr()
        args, kwargs = self._with_watched_closures(args, kwargs)
        return step(*args, **kwargs)

    def _take_scaler_step(
        self, step: Callable[..., object], optimizer: object, *args: Any, **kwargs: Any
    ) -> object:
        """Take the step of a scaler, and notice when it skipped the optimizer's."""
        output = step(optimizer, *args, **kwargs)
        if optimizer is self._optimizer:
            self.is_skipped = not self.has_stepped
        return output

    def _replay(self, graph: GraphLike, replay: Callable[[], object]) -> object:
        """Replay a CUDA graph, which reads the learning rate where the tensor is.

        As long as no step was seen, a look at what it changes tells whether it holds the step, or
        only what comes before one. The look waits for the device.
        """
        self._force_lr()
        if self._has_own_steps or self._stepping_graph is not None:
            output = replay()
        else:
            before = samples(self._optimizer)
            output = replay()
            if not all(map(torch.equal, before, samples(self._optimizer))):
                self._stepping_graph = graph
        self.has_stepped = self.has_stepped or graph is self._stepping_graph
        return output

    def _force_lr(self) -> None:
        """Set the learning rate; a tensor also if it looks untouched: `.data` leaves no mark."""
        if self._sweep is not None:
            if self._sweep.is_overwritten():
                self.hold_lr()
            if self._sweep.has_tensors and not is_capturing():
                self._sweep.write()

    def _with_watched_closures(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a step, whose closure may write the learning rate once more."""
        watched = tuple(self._watched(arg) for arg in args)
        return watched, {name: self._watched(arg) for name, arg in kwargs.items()}

    def _watched(self, argument: Any) -> Any:
        """Return a closure that is followed by a look at the learning rate; else the argument."""
        if not inspect.isroutine(argument):
            return argument

        @functools.wraps(argument)
        def closure(*args: Any, **kwargs: Any) -> Any:
            loss = argument(*args, **kwargs)
            self.hold_lr()
            return loss

        return closure


def _inner_optimizers(optimizer: OptimizerLike) -> list[torch.optim.Optimizer]:
    """Return the optimizers that one wraps and shares its groups with, whose step may be the real.

    Sharpness-aware minimisation, say, steps in two halves of other names, the last with these.
    """
    groups = {id(group) for group in optimizer.param_groups}
    attributes = attributes_of(optimizer).values()
    return [
        inner
        for inner in attributes
        if isinstance(inner, torch.optim.Optimizer)
        and inner is not optimizer
        and any(id(group) in groups for group in inner.param_groups)
    ]


def _add_step_hook(optimizer: OptimizerLike, hook: Callable[..., Any]) -> RemovableHandle | None:
    """Register a hook before the step, or return None for an optimizer that would not call it.

    Torch marks the `step` methods that call hooks; a wrapper that inherits from `Optimizer` without
    initialising it has none.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        return None
    if not getattr(type(optimizer).step, "hooked", False):
        return None
    return optimizer.register_step_pre_hook(hook)


def scalers_among(*objects: object) -> list[GradScalerLike]:
    """Return the gradient scalers among some objects, each once."""
    kinds = set(filter(_is_scaler, set(map(type, objects))))
    found = {id(obj): cast(GradScalerLike, obj) for obj in objects if type(obj) in kinds}
    return list(found.values())


def _is_scaler(cls: type) -> bool:
    """Tell a gradient scaler by what only a gradient scaler can do."""
    return all(hasattr(cls, name) for name in ("step", "update", "unscale_"))
