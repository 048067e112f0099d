"""Stop or go on, and why: the causal side of a sweep, decided one loss at a time."""

import math
import sys
from array import array

from ignite_lrfinder.record import StopReason

_ROUNDING = 1e-12


class DivergenceMonitor:
    """Smooth the losses as they come and tell the first at which the sweep must stop.

    The smoothed loss is Ignite's moving average, `s = smooth_f * loss + (1 - smooth_f) * s`. The
    sweep stops where `s > best + (diverge_th - 1) * max(|best|, first - best)`: for a positive
    loss that has fallen little this is Ignite's `s > diverge_th * best`; unlike it, it is right
    for negative losses and for losses near zero, and unmoved where the loss is scaled.

    Args:
        smooth_f: the weight of the newest loss, in [0, 1); 0 turns smoothing off.
        diverge_th: how far the loss may rise, in [1, inf].

    Attributes:
        smoothed: the smoothed losses.
        harmless: losses that are finite and at most this high cannot end the sweep, however many
            of them come before they are taken.
    """

    def __init__(self, smooth_f: float, diverge_th: float) -> None:
        self.smoothed = array("d")
        self.harmless = -math.inf
        self._weight = smooth_f or 1.0
        self._memory = 1 - self._weight
        self._diverge_th = diverge_th
        self._first = self._best = math.inf
        self._limit: float | None = None

    def update(self, loss: float) -> StopReason | None:
        """Take one more loss and return the reason to stop at it, or None to go on."""
        if not math.isfinite(loss):
            self.smoothed.append(loss)
            return StopReason.NON_FINITE
        smoothed = self.smoothed
        if smoothed:
            loss = self._weight * loss + self._memory * smoothed[-1]
        else:
            self._first = loss
            self.harmless = self._harmless_after(loss)
        smoothed.append(loss)
        if loss < self._best:
            self._best, self._limit = loss, None
            return None
        if self._limit is None:
            self._limit = self._limit_after(self._best)
        return StopReason.DIVERGED if loss > self._limit else None

    def _limit_after(self, best: float) -> float:
        """Return how far the loss may rise after the best one.

        An infinite threshold times a scale of zero is NaN, which no loss is above either.
        """
        return best + (self._diverge_th - 1) * max(abs(best), self._first - best)

    def _harmless_after(self, first: float) -> float:
        """Return how high losses may be that cannot end the sweep, given the first of it.

        The limit falls with the best loss at first, then rises: its lowest is at half the first
        loss, or at a first loss below zero. A moving average of what is below stays below.
        """
        if math.isinf(self._diverge_th):
            return sys.float_info.max
        if self._diverge_th < 2:
            return -math.inf
        lowest = max(self._diverge_th * (first / 2), (2 - self._diverge_th) * first)
        # The limits are rounded as well, the tiniest of them coarsely.
        slack = _ROUNDING * self._diverge_th * abs(first) + sys.float_info.min
        return lowest - slack
