"""Which learning rate to try next.

A trial trains a few steps at one fixed learning rate, from the starting state and on the same
batches as every other trial. Short trials around the edge of the sweep find the region, long trials
measure it, and the verdict corrects the known bias of short runs::

    sweep -> short trials -> long trials -> verdict -> suggested_lr

All functions are pure, so that all processes of a distributed run take the same decision. Learning
rates belong to the reference parameter group; x is the logarithm of a rate.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ignite_lrfinder.errors import LRFinderError, integer, wrong_type, wrong_value
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import (
    Scores,
    Trial,
    are_paired,
    compare,
    is_worse,
    leading,
    parabola,
    usable_points,
)
from ignite_lrfinder.suggest.certainty import is_behind, is_certain
from ignite_lrfinder.suggest.curve import Refusal
from ignite_lrfinder.suggest.methods import auto
from ignite_lrfinder.suggest.reading import Reading
from ignite_lrfinder.suggest.verdict import loss_before, verdict_of

# Short runs tolerate higher rates than whole ones, so the first trial is at `_FIRST_FACTOR` times
# what the curve suggests. If that is nothing, it is at the last rate of the sweep divided by
# `_END_DIVISOR`. Three short trials reach from a quarter of the first rate to four times it.
_FIRST_FACTOR = 2.5
_END_DIVISOR = 6.0
_SHORT_STEP = math.log(4.0)
_CHANGED = 2.0  # standard errors
_NUM_SHORT = 3

# The best rate falls as runs get longer, so long trials begin below the best short one. A factor of
# 2 brackets the parabola; closer neighbors measure noise, farther ones miss its bottom.
_FIRST_LONG = math.log(0.6)
_LONG_STEP = math.log(2.0)
_MIN_LONG = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The training budget of the trials after a sweep; `verify=True` means the defaults.

    Attributes:
        max_iter: the iterations of all trials together, enough for three short ones. Without room
            for three long ones there are none.
        short_iter: the iterations of each trial that looks for the region, at least 10.
        long_iter: the iterations of each trial that measures it, more than `short_iter`.
        early_stopping: whether to leave out the long trials if the short ones are certain, as
            `verify="auto"` does.

    Raises:
        TypeError: if a number is not an integer, or `early_stopping` not a bool.
        ValueError: if one is too small.

    Example:
        >>> Trials(max_iter=1400, short_iter=80, long_iter=260).early_stopping
        False
    """

    max_iter: int = 700
    short_iter: int = 60
    long_iter: int = 130
    early_stopping: bool = False

    def __post_init__(self) -> None:
        """Check that the budget leaves room for trials."""
        remedy = "Leave it out for the default."
        for name, least in (("max_iter", 1), ("short_iter", 10), ("long_iter", 1)):
            value = integer(name, getattr(self, name), least=least, remedy=remedy)
            object.__setattr__(self, name, value)
        if not isinstance(self.early_stopping, bool):
            raise wrong_type("early_stopping", "True or False", self.early_stopping, remedy)
        if self.long_iter <= self.short_iter:
            requirement = f"greater than short_iter={self.short_iter}"
            raise wrong_value("long_iter", requirement, self.long_iter, "Raise it.")
        least = _NUM_SHORT * self.short_iter
        if self.max_iter < least:
            remedy = "Raise it, or lower short_iter."
            raise wrong_value("max_iter", f"at least {least}", self.max_iter, remedy)

    @property
    def reserved_iter(self) -> int:
        """The iterations kept for long trials while short ones run; 0 if there is no room."""
        reserved = _MIN_LONG * self.long_iter
        return reserved if _NUM_SHORT * self.short_iter + reserved <= self.max_iter else 0

    @property
    def max_trials(self) -> int:
        """The most trials that `max_iter` allows: as many short ones as leave room for long."""
        num_long = self.reserved_iter // self.long_iter
        return num_long + (self.max_iter - self.reserved_iter) // self.short_iter


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial to run: `num_iter` optimizer steps at `lr`, from the snapshot."""

    lr: float
    num_iter: int


def next_trial(settings: Trials, reading: Reading, trials: Sequence[Trial]) -> PlannedTrial | None:
    """Return the trial to run next, given the sweep and the trials so far.

    Three short trials a factor of 4 apart begin above what the curve suggests, and more follow
    while the best is the lowest or the highest. Then come long trials a factor of 2 apart: the best
    gets a neighbor on either side, and one more beyond the better of them. With `early_stopping`
    there are no long trials if the short ones are certain, see `is_certain`.

    Args:
        settings: how much may be trained.
        reading: the reading of the sweep; one that supports no suggestion is allowed.
        trials: the trials so far.

    Returns:
        The next trial; None if the trials are done, no iterations are left, or the last trial was
        cut short, because the next one would be too.

    Raises:
        LRFinderError: if no point of the sweep has a finite loss and a positive learning rate.
    """
    if not trials:
        return PlannedTrial(_first_lr(reading), settings.short_iter)
    if trials[-1].is_cut_short:
        return None
    left = settings.max_iter - sum(len(trial.losses) for trial in trials)
    if all(trial.num_iter < settings.long_iter for trial in trials):
        scores = compare(trials, settings.short_iter)
        x = _next_short(scores, reading)
        if x is not None and left >= settings.short_iter + settings.reserved_iter:
            return PlannedTrial(math.exp(x), settings.short_iter)
        if settings.reserved_iter == 0:
            return None
        if settings.early_stopping and _are_enough(reading, trials, scores):
            return None
        x = _first_long(scores)
    else:
        x = _next_long(compare(trials, settings.long_iter))
    if x is None or left < settings.long_iter:
        return None
    return PlannedTrial(math.exp(x), settings.long_iter)


def _are_enough(reading: Reading, trials: Sequence[Trial], scores: Scores) -> bool:
    """Return whether long trials would add nothing to the short ones."""
    record = dataclasses.replace(reading.record, trials=tuple(trials))
    verdict = verdict_of(record, scores, is_paired=are_paired(trials))
    return is_certain(verdict, scores, reading.descent)


def _first_lr(reading: Reading) -> float:
    """Return a rate above what the curve suggests, or some way below where the sweep ended."""
    if not isinstance(reading.descent, Refusal):
        return _FIRST_FACTOR * auto(reading.descent)
    record = reading.record
    lr = record.lr[usable_points(record), reading.group]
    if not len(lr):
        raise LRFinderError(
            "The sweep must have a point with a finite loss and a positive learning rate, got "
            "none. Lower start_lr, or check the model and its data."
        )
    return float(lr[-1]) / _END_DIVISOR


def _next_short(scores: Scores, reading: Reading) -> float | None:
    """Return the x of the next short trial; None if the best has neighbors on both sides."""
    x, best = scores.x, leading(scores)
    if best == 0 or not np.isfinite(scores.mean[best]) or _are_too_high(scores, best, reading):
        return float(x[0]) - _SHORT_STEP
    return float(x[-1]) + _SHORT_STEP if best == len(x) - 1 else None


def _are_too_high(scores: Scores, best: int, reading: Reading) -> bool:
    """Return whether all trials seem to be at rates at which training explodes or outputs die.

    The best is worse than before training, or not better although the curve says nothing. Or it is
    far behind the sweep and no better than the lowest, which has changed the loss.
    """
    start = loss_before(reading.record, scores)
    change = _change(scores.tails[scores.best], start)
    if change > 0 or (change == 0 and isinstance(reading.descent, Refusal)):
        return True
    return (
        is_behind(scores, reading.descent)
        and _change(scores.tails[0], start) != 0
        and not is_worse(scores.tails[0], scores.tails[best])
    )


def _change(tail: Array, start: float) -> int:
    """Return -1 if losses are below a start by more than noise explains, 1 if above, 0 if not."""
    change, error = float(tail.mean()) - start, float(tail.std(ddof=1)) / math.sqrt(len(tail))
    return 0 if abs(change) <= _CHANGED * error else int(math.copysign(1, change))


def _first_long(scores: Scores) -> float:
    """Return the x of the first long trial: below the best short one, or the best two."""
    best, lead = scores.best, leading(scores)
    middle = parabola(scores) if lead == best else (scores.x[best] + scores.x[lead]) / 2
    return float(middle) + _FIRST_LONG


def _next_long(scores: Scores) -> float | None:
    """Return the x of the next long trial; None if the best has enough neighbors."""
    x, mean, lead = scores.x, scores.mean, leading(scores)
    if not np.isfinite(mean[lead]):
        return float(x[0]) - 2 * _LONG_STEP
    # Upwards first: if that is too high, the trial diverges and costs little.
    for side in (1, -1):
        if not _is_tried(x, x[lead] + side * _LONG_STEP):
            return float(x[lead]) + side * _LONG_STEP
    better = -1 if mean[lead - 1] < mean[lead + 1] else 1
    for side in (better, -better):
        beyond = float(x[lead]) + 2 * side * _LONG_STEP
        if np.isfinite(mean[lead + side]) and not _is_tried(x, beyond):
            return beyond
    return None


def _is_tried(x: Array, at: float) -> bool:
    """Return whether a trial was run close to this x."""
    return bool(np.any(np.abs(x - at) < _LONG_STEP / 2))
