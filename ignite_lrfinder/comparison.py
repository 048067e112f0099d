"""Trials compared with one another: over the same iterations, up to the lowest that diverged."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ignite_lrfinder.curve import Array
from ignite_lrfinder.result import Trial

# A loss is worse where it lies this many standard errors of the batch noise above another. Noise
# hides what a higher rate does well later, so of two rates as good the higher one leads on.
_WORSE = 2.0
# Losses are compared by the means of so many blocks, of which each needs two of a trial at least.
NUM_BLOCKS = 5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Trials compared over the second half of one length, by rising x; one that diverged is inf."""

    x: Array
    tails: Array
    mean: Array

    @property
    def best(self) -> int:
        """The trial of the lowest mean loss."""
        return int(np.argmin(self.mean))


def compare(trials: Sequence[Trial], num_iter: int) -> Scores:
    """Compare the trials that are long enough, up to the lowest that diverged."""
    cliff = cliff_of(trials)
    tails = {
        trial.lr: trial.losses[num_iter // 2 : num_iter]
        for trial in trials
        if trial.lr < cliff and len(trial.losses) >= num_iter
    }
    if cliff < math.inf:
        tails[cliff] = np.full(num_iter - num_iter // 2, np.inf)
    lr = sorted(tails)
    rows = np.array([tails[key] for key in lr])
    return Scores(np.log(lr), rows, rows.mean(axis=1))


def cliff_of(trials: Sequence[Trial]) -> float:
    """Return the lowest rate that diverged, or infinity."""
    return min((trial.lr for trial in trials if trial.is_diverged), default=math.inf)


def is_worse(tail: Array, reference: Array) -> bool:
    """Tell whether losses lie above others by more than the noise of batches explains."""
    error = float(reference.std(ddof=1)) / math.sqrt(len(reference))
    return float(tail.mean() - reference.mean()) > _WORSE * error


def parabola(scores: Scores) -> float:
    """Return where the parabola through the best trial and its neighbours is lowest."""
    x, mean, best = scores.x, scores.mean, scores.best
    if not 0 < best < len(x) - 1 or not np.isfinite(mean[best + 1]):
        return float(x[best])
    below, above = x[best - 1] - x[best], x[best + 1] - x[best]
    rise_below, rise_above = mean[best - 1] - mean[best], mean[best + 1] - mean[best]
    curvature = rise_below * above - rise_above * below
    if curvature <= 0:
        return float(x[best])
    lowest = (rise_below * above**2 - rise_above * below**2) / (2 * curvature)
    return float(x[best] + np.clip(lowest, below / 2, above / 2))
