"""Exceptions by which a train step reacts to a training that has diverged.

At high learning rates a train step may raise before its loss is known: a distribution refuses NaN,
or a script exits if the loss is not finite. In a range test that is the end of the curve.
"""

import math
import types
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine

from ignite_lrfinder.errors import warn
from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.sweep.engine import set_train_step, train_step_of
from ignite_lrfinder.sweep.measurement import Measurement

_watches: "weakref.WeakKeyDictionary[Engine, FailureWatch]" = weakref.WeakKeyDictionary()


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
                if not _watches[engine].is_end(error):
                    raise
                return None

        _watches[self._trainer] = self
        set_train_step(self._trainer, train_step)

    def remove(self) -> None:
        """Stop watching."""
        set_train_step(self._trainer, self._step)
        _watches.pop(self._trainer, None)

    def is_end(self, error: BaseException) -> bool:
        """End the measurement if an exception is a reaction to divergence."""
        measurement = self.measurement
        if measurement is None or measurement.num_closed == 0 or idist.get_world_size() > 1:
            return False
        if not is_divergence(error, self._optimizer):
            return False
        if not self._has_warned:
            self._has_warned = True
            lr = float(measurement.table[measurement.num_closed].max())
            warn(
                f"The train step raised {type(error).__name__}({error!s:.200}) at the learning "
                f"rate {lr:.3g}, where training had diverged. That ends the sweep or the trial, as "
                "a loss of NaN does. If the reason is another one, lower end_lr to see the error."
            )
        measurement.end(StopReason.NON_FINITE)
        self.has_failed = True
        return True


def is_divergence(error: BaseException, optimizer: OptimizerLike) -> bool:
    """Return whether a train step that raised an exception has diverged.

    It has if a parameter of the optimizer is not finite, or one of the variables of the functions
    that the exception came through: a number that is not finite, or a tensor with NaN. Infinity
    alone is no sign in a tensor, as masks hold it.
    """
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    if any(not _is_finite(p.detach()) for p in parameters):
        return True
    return any(_has_diverged(value) for value in _variables(error.__traceback__))


def _variables(traceback: types.TracebackType | None) -> Iterator[object]:
    """Iterate over the variables of the frames of a traceback, and the elements of containers."""
    while traceback is not None:
        for value in traceback.tb_frame.f_locals.values():
            yield value
            if isinstance(value, Mapping):
                yield from value.values()
            elif isinstance(value, Sequence) and not isinstance(value, str):
                yield from value
        traceback = traceback.tb_next


def _has_diverged(value: object) -> bool:
    """Return whether a variable shows that training has diverged."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return not _is_finite(value) if value.numel() == 1 else bool(value.isnan().any())
    return isinstance(value, float) and not math.isfinite(value)


def _is_finite(tensor: torch.Tensor) -> bool:
    """Return whether all elements of a tensor are finite."""
    return bool(tensor.isfinite().all())
