"""When a sweep must stop, decided one loss at a time."""

import itertools
import math
from array import array
from collections.abc import Iterable

from ignite_lrfinder.record import StopReason

# The noise is estimated from so many losses, as later ones may be unstable, and by a quantile that
# an outlier among them, which makes two large steps, does not reach.
_NUM_FIRST = 11
_NOISE_QUANTILE = 0.7


class DivergenceMonitor:
    """Smooth the losses as they arrive and find the first one at which the sweep must stop.

    The smoothed loss is Ignite's moving average, `s = smooth_f * loss + (1 - smooth_f) * s`. The
    sweep stops where `s > best + (diverge_th - 1) * max(|best|, first - best, noise)`: for a
    positive loss that has fallen little this is Ignite's `s > diverge_th * best`; unlike Ignite's
    rule it is right for negative losses and for losses near zero, and does not depend on the unit
    of the loss. The noise is the size of a large step, the 0.7 quantile, between the first eleven
    losses; it counts where the first of them happens to be near zero.
    With smoothing, two of the last four losses must also exceed that level, so that one outlier,
    which the average remembers for long, does not end a sweep.

    Args:
        smooth_f: the weight of the newest loss, in [0, 1); 0 turns smoothing off.
        diverge_th: how far the loss may rise, in [1, inf].

    Attributes:
        losses: the losses so far.
        smoothed: the smoothed losses.
    """

    def __init__(self, smooth_f: float, diverge_th: float) -> None:
        self.losses = array("d")
        self.smoothed = array("d")
        self._weight = smooth_f or 1.0
        self._diverge_th = diverge_th
        self._best = self._limit = math.inf
        self._noise = 0.0

    def update(self, losses: Iterable[float]) -> StopReason | None:
        """Add losses up to the first at which to stop.

        Returns:
            The reason to stop; None to go on.
        """
        for loss in losses:
            is_finite, smoothed = -math.inf < loss < math.inf, loss
            if is_finite and self.losses:
                smoothed = self._weight * loss + (1 - self._weight) * self.smoothed[-1]
            self.smoothed.append(smoothed)
            # Last, so that an interrupt leaves whole points.
            self.losses.append(loss)
            if not is_finite:
                return StopReason.NON_FINITE
            is_early = 1 < len(self.losses) <= _NUM_FIRST
            if is_early:
                steps = sorted(abs(b - a) for a, b in itertools.pairwise(self.losses))
                self._noise = steps[int(_NOISE_QUANTILE * len(steps))]
            if smoothed < self._best or is_early:
                self._best = min(self._best, smoothed)
                # An infinite threshold times a scale of 0 is NaN, and no loss is above NaN.
                scale = max(abs(self._best), self.smoothed[0] - self._best, self._noise)
                self._limit = self._best + (self._diverge_th - 1) * scale
            if smoothed > self._limit and (self._weight == 1 or self._are_high()):
                return StopReason.DIVERGED
        return None

    def _are_high(self) -> bool:
        """Return whether two of the last four losses are above the limit."""
        return sum(loss > self._limit for loss in self.losses[-4:]) >= 2
