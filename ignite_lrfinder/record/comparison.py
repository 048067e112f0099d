"""Compare trials over the same iterations, up to the lowest rate that diverged."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record.trial import Trial

# A loss is worse if it lies this many standard errors of the batch noise above another. Noise hides
# the later gain of a higher rate, so of two equally good rates the search follows the higher.
_WORSE = 2.0
# Losses are compared by the means of this many blocks; each needs at least two losses of a trial.
_NUM_BLOCKS = 5
_STUDENT_T = 2.13  # one-sided 95 % with 4 degrees of freedom, for five blocks of losses
_PAIRED_RTOL = 1e-3  # more than the rounding of half precision, less than another batch


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Trials compared over the second half of `num_iter`, by rising x = log(lr).

    Attributes:
        x: the logarithm of each rate, increasing; shape (n,).
        tails: the losses compared, one row for each trial, inf if it diverged; shape (n, k).
        mean: the mean of each row; shape (n,).
        num_iter: the number of iterations that all of these trials ran.
    """

    x: Array
    tails: Array
    mean: Array
    num_iter: int

    @property
    def best(self) -> int:
        """The trial with the lowest mean loss."""
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
    return Scores(np.log(lr), rows, rows.mean(axis=1), num_iter)


def cliff_of(trials: Sequence[Trial]) -> float:
    """Return the lowest rate that diverged, or infinity."""
    return min((trial.lr for trial in trials if trial.is_diverged), default=math.inf)


def is_worse(tail: Array, reference: Array) -> bool:
    """Return whether losses exceed the reference by more than batch noise explains."""
    error = float(reference.std(ddof=1)) / math.sqrt(len(reference))
    return float(tail.mean() - reference.mean()) > _WORSE * error


def leading(scores: Scores) -> int:
    """Return the best trial, or the one above it if that is equally good within the noise."""
    best, above = scores.best, scores.best + 1
    if above == len(scores.x) or not np.isfinite(scores.mean[above]):
        return best
    return best if is_worse(scores.tails[above], scores.tails[best]) else above


def parabola(scores: Scores) -> float:
    """Return the x at which the parabola through the best trial and its neighbors is lowest."""
    coefficients, x = parabola_around_best(scores), float(scores.x[scores.best])
    if coefficients is None:
        return x
    curvature, slope, _ = coefficients
    below, above = scores.x[scores.best - 1] - x, scores.x[scores.best + 1] - x
    return float(x + np.clip(-slope / (2 * curvature), below / 2, above / 2))


def parabola_around_best(scores: Scores) -> tuple[float, float, float] | None:
    """Return the parabola through the best trial and its neighbors, as coefficients of x - best.

    The highest power comes first. None if the best trial lacks a neighbor, or if they lie on a
    line.
    """
    x, mean, best = scores.x, scores.mean, scores.best
    if not 0 < best < len(x) - 1 or not np.isfinite(mean[best + 1]):
        return None
    below, above = x[best - 1] - x[best], x[best + 1] - x[best]
    rise_below, rise_above = mean[best - 1] - mean[best], mean[best + 1] - mean[best]
    scale = below * above * (below - above)
    curvature = (rise_below * above - rise_above * below) / scale
    slope = (rise_above * below**2 - rise_below * above**2) / scale
    return (curvature, slope, float(mean[best])) if curvature > 0 else None


def final_scores(trials: Sequence[Trial]) -> Scores | None:
    """Compare the longest trials; return None if no trial below the cliff has a loss."""
    cliff = cliff_of(trials)
    lengths = [len(trial.losses) for trial in trials if trial.lr < cliff]
    num_iter = max(lengths, default=0)
    return compare(trials, num_iter) if num_iter > 0 else None


def are_paired(trials: Sequence[Trial]) -> bool:
    """Return whether all trials were judged on the same batches.

    If so, they start with the same loss, because the first loss is measured before the first step.
    Validation losses always use the same data.
    """
    if all(trial.is_validation for trial in trials):
        return True
    first = np.array([trial.losses[0] for trial in trials if len(trial.losses)])
    return bool(np.allclose(first, first[:1], rtol=_PAIRED_RTOL, atol=0.0))


def interval_of(scores: Scores, is_paired: bool) -> tuple[float, float]:
    """Return the lowest and the highest rate that the trials cannot tell apart from the best."""
    low, high = level_range(scores, is_paired)
    best = parabola(scores)
    return math.exp(min(low, best)), math.exp(max(high, best))


def level_range(scores: Scores, is_paired: bool) -> tuple[float, float]:
    """Return the lowest and highest x around the best that are not significantly worse.

    Neighboring losses of a run are correlated, so the means of five blocks are compared.
    """
    x, best = scores.x, scores.best
    if scores.tails.shape[1] < _NUM_BLOCKS:
        return float(x[0]), float(x[-1])
    blocks = np.array(
        [part.mean(axis=1) for part in np.array_split(scores.tails, _NUM_BLOCKS, axis=1)]
    )
    low = high = best
    while low > 0 and _is_level(blocks[:, low - 1], blocks[:, best], is_paired):
        low -= 1
    while high < len(x) - 1 and _is_level(blocks[:, high + 1], blocks[:, best], is_paired):
        high += 1
    # The bound lies between two trials; take the middle.
    lower = x[low] if low == 0 else (x[low] + x[low - 1]) / 2
    upper = x[high] if high == len(x) - 1 else (x[high] + x[high + 1]) / 2
    return float(lower), float(upper)


def _is_level(blocks: Array, best: Array, is_paired: bool) -> bool:
    """Return whether a t-test cannot tell two trials apart, paired if they saw the same batches."""
    if not np.isfinite(blocks).all():
        return False
    spread = np.std(blocks - best, ddof=1)
    if not is_paired:
        spread = np.hypot(np.std(blocks, ddof=1), np.std(best, ddof=1))
    return bool(np.mean(blocks - best) <= _STUDENT_T * spread / math.sqrt(_NUM_BLOCKS))
