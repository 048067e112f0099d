"""Exceptions by which a train step reacts to a training that has diverged.

At high learning rates a train step may raise before its loss is known: a distribution refuses NaN,
or a script exits if the loss is not finite. In a range test that is the end of the curve.
"""

import itertools
import signal
import traceback
import types
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

import ignite.distributed as idist
import torch
from ignite.engine import Engine

from ignite_lrfinder.errors import LRFinderError, warn
from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.snapshot import attributes_of
from ignite_lrfinder.sweep.engine import set_train_step, train_step_of
from ignite_lrfinder.sweep.measurement import Measurement

# Errors that say nothing about the loss, or must reach whoever waits for them.
_RAISED = (LRFinderError, MemoryError, torch.OutOfMemoryError, Warning)
_MAX_ELEMENTS = 100

_watches: "dict[int, FailureWatch]" = {}
"""The watches by the ids of their trainers."""


class FailureWatch:
    """A watch over the train step, whose exceptions end a measurement if training has diverged.

    The first one causes a warning. The processes of a distributed run would have to agree on it, so
    there all exceptions are raised.

    Args:
        trainer: the engine whose train step is watched.
        optimizer: the optimizer that is swept.

    Attributes:
        measurement: the measurement that an exception ends.
        has_failed: whether one has ended it in this iteration.
    """

    def __init__(self, trainer: Engine, optimizer: OptimizerLike) -> None:
        self.measurement: Measurement | None = None
        self.has_failed = False
        self._trainer = trainer
        self._optimizer = optimizer
        self._step: Any = train_step_of(trainer)
        self._has_warned = False

    def add(self) -> None:
        """Begin to watch."""
        step = self._step

        # It refers to the train step alone, so that all that is reachable from it is of training.
        def train_step(engine: Engine, batch: object) -> object:
            try:
                return step(engine, batch)
            except (Exception, SystemExit) as error:
                watch = _watches.get(id(engine))
                if watch is None or not watch.is_end(error):
                    raise
                return None

        _watches[id(self._trainer)] = self
        set_train_step(self._trainer, train_step)

    def remove(self) -> None:
        """Stop watching."""
        set_train_step(self._trainer, self._step)
        _watches.pop(id(self._trainer), None)

    def is_end(self, error: BaseException) -> bool:
        """End the measurement if an exception is a reaction to divergence."""
        measurement = self.measurement
        if measurement is None or not measurement.has_begun or idist.get_world_size() > 1:
            return False
        if not is_divergence(error, self._optimizer):
            return False
        if not self._has_warned:
            self._has_warned = True
            lr = float(measurement.table[measurement.num_closed].max())
            warn(
                f"The train step raised {type(error).__name__}({error!s:.200}) at the learning "
                f"rate {lr:.3g}, where training had diverged. That ends the sweep or the trial, as "
                "a loss of NaN does."
            )
        measurement.fail()
        self.has_failed = True
        return True


def is_divergence(error: BaseException, optimizer: OptimizerLike) -> bool:
    """Return whether a train step raised an exception because training has diverged.

    It has if a parameter of the optimizer is not finite, or what was computed from the parameters:
    a tensor with a gradient, among the variables of the functions that the exception came through.
    Data and constants may be NaN or infinite for other reasons.
    """
    if isinstance(error, _RAISED) or error.__traceback__ is None:
        return False
    frames, of_signals = _frames(error.__traceback__.tb_next), _signal_handlers()
    if any(frame.f_code in of_signals for frame in frames):
        return False
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    if any(_is_broken(parameter, is_parameter=True) for parameter in parameters):
        return True
    variables = itertools.chain.from_iterable(map(_variables, frames))
    return any(_is_broken(value, is_parameter=False) for value in variables if _is_computed(value))


def _frames(trace: types.TracebackType | None) -> list[types.FrameType]:
    """Return the frames of the functions that an exception came through."""
    return [frame for frame, _ in traceback.walk_tb(trace)]


def _signal_handlers() -> list[object]:
    """Return the code of the functions that handle signals, which end a program from outside."""
    handlers = filter(callable, map(signal.getsignal, signal.valid_signals()))
    return [getattr(handler, "__code__", None) for handler in handlers]


def _variables(frame: types.FrameType) -> Iterator[object]:
    """Iterate over the variables of a frame, and the first elements of containers."""
    for value in list(frame.f_locals.values()):
        yield value
        elements: Iterable[object] = ()
        if issubclass(type(value), dict):
            elements = dict.values(value)
        elif type(value) in (list, tuple):
            elements = value
        yield from itertools.islice(elements, _MAX_ELEMENTS)
    yield from list(attributes_of(frame.f_locals.get("self")).values())


def _is_computed(value: object) -> TypeGuard[torch.Tensor]:
    """Return whether a variable was computed from parameters."""
    try:
        return issubclass(type(value), torch.Tensor) and bool(value.requires_grad)  # type: ignore[attr-defined]  # a tensor
    except Exception:  # a class of tensors may raise anything
        return False


def _is_broken(tensor: torch.Tensor, *, is_parameter: bool) -> bool:
    """Return whether a tensor has NaN, or is a parameter or a number and has infinity."""
    try:
        values = tensor.detach()
        # Masks may hold infinity.
        is_whole = is_parameter or values.numel() == 1
        return bool((~values.isfinite() if is_whole else values.isnan()).any())
    except Exception:  # there are tensors without values, and devices that have failed
        return False
