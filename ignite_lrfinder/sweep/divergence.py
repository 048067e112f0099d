"""When a sweep must stop, decided one loss at a time."""

import math
from array import array

from ignite_lrfinder.record import StopReason


class DivergenceMonitor:
    """Smooth the losses as they arrive and find the first one at which the sweep must stop.

    The smoothed loss is Ignite's moving average, `s = smooth_f * loss + (1 - smooth_f) * s`. The
    sweep stops where `s > best + (diverge_th - 1) * max(|best|, first - best)`: for a positive
    loss that has fallen little this is Ignite's `s > diverge_th * best`; unlike Ignite's rule it is
    right for negative losses and for losses near zero, and does not depend on the unit of the loss.

    Args:
        smooth_f: the weight of the newest loss, in [0, 1); 0 turns smoothing off.
        diverge_th: how far the loss may rise, in [1, inf].

    Attributes:
        smoothed: the smoothed losses.
    """

    def __init__(self, smooth_f: float, diverge_th: float) -> None:
        self.smoothed = array("d")
        self._weight = smooth_f or 1.0
        self._diverge_th = diverge_th
        self._first = self._best = self._limit = math.inf

    def update(self, loss: float) -> StopReason | None:
        """Add one loss and return the reason to stop at it, or None to go on."""
        if not math.isfinite(loss):
            self.smoothed.append(loss)
            return StopReason.NON_FINITE
        if self.smoothed:
            loss = self._weight * loss + (1 - self._weight) * self.smoothed[-1]
        else:
            self._first = loss
        self.smoothed.append(loss)
        if loss < self._best:
            self._best, self._limit = loss, self._limit_after(loss)
        return StopReason.DIVERGED if loss > self._limit else None

    def _limit_after(self, best: float) -> float:
        """Return how high the smoothed loss may rise after the best one.

        An infinite threshold times a scale of zero is NaN, and no loss is greater than NaN.
        """
        return best + (self._diverge_th - 1) * max(abs(best), self._first - best)
