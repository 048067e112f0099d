"""The points, settings and trials of one sweep, as they were measured."""

import dataclasses

import numpy as np

from ignite_lrfinder.errors import wrong_value
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record.plan import Plan
from ignite_lrfinder.record.stop_reason import StopReason
from ignite_lrfinder.record.trial import Trial


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """The settings of a sweep.

    Attributes:
        start_lr: the first learning rate of each parameter group.
        end_lr: the last learning rate of each parameter group.
        num_iter: the number of points asked for.
        step_mode: "exp" or "linear".
        smooth_f: the weight of the newest loss in the causal average, in [0, 1).
        diverge_th: the divergence threshold, in [1, inf].
        plan: the training that the learning rate is for.
    """

    start_lr: tuple[float, ...]
    end_lr: tuple[float, ...]
    num_iter: int
    step_mode: str
    smooth_f: float
    diverge_th: float
    plan: Plan = dataclasses.field(default_factory=Plan)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """What a sweep measured: T points over G parameter groups, and the trials after it.

    Attributes:
        lr: the learning rate of each point and parameter group, bit for bit as the optimizer used
            it; float64, shape (T, G), read-only.
        losses: the loss of each point as the trainer returned it; float64, shape (T,), read-only.
        smoothed_losses: the causal moving average of `losses` that decided when to stop; float64,
            shape (T,), read-only. Suggestions do not use it, because it lags.
        stop_reason: why the sweep ended.
        settings: the settings of the sweep.
        trials: the short training runs at fixed rates that followed the sweep, in order.
        non_finite_batch: the batch of its epoch, counted from 1, on which the loss became NaN or
            infinite; None if it did not, or if the batch is unknown.
        not_restored: paths to what the training uses and could not be restored after the block,
            such as `train_step.<closure>.replay`.
        num_batches: the number of batches in the data; None if it has no length, or if
            there are several processes.

    Raises:
        ValueError: if the shapes of the arrays do not match.
    """

    lr: Array
    losses: Array
    smoothed_losses: Array
    stop_reason: StopReason
    settings: SweepSettings
    trials: tuple[Trial, ...] = ()
    non_finite_batch: int | None = None
    not_restored: tuple[str, ...] = ()
    num_batches: int | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only and check their shapes."""
        for name in ("lr", "losses", "smoothed_losses"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        num_groups = len(self.settings.start_lr)
        num_points = len(self.lr)
        if num_points == 0:
            object.__setattr__(self, "lr", self.lr.reshape(0, num_groups))
        _check_shape("lr", self.lr, (num_points, num_groups))
        _check_shape("losses", self.losses, (num_points,))
        _check_shape("smoothed_losses", self.smoothed_losses, (num_points,))

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.losses)


def usable_points(record: Record) -> slice:
    """Return the points before the first non-finite loss, from the first positive lr on."""
    finite = np.isfinite(record.losses)
    stop = len(record) if finite.all() else int(np.argmin(finite))
    # A linear sweep may start at 0, which has no logarithm.
    positive = record.lr[:stop, reference_group(record)] > 0
    start = int(np.argmax(positive)) if positive.any() else stop
    return slice(start, stop)


def reference_group(record: Record) -> int:
    """Return the first parameter group that trains; one frozen at a learning rate of 0 does not."""
    return int(np.argmax(np.any(record.lr > 0, axis=0)))


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Check the shape of an array."""
    if array.shape != shape:
        remedy = "Pass one row for each point and one column for each parameter group."
        raise wrong_value(name, f"of shape {shape}", array.shape, remedy)
