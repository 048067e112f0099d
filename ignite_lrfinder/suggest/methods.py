"""From a descent to a learning rate: one small pure function for each method.

Each method takes a `Descent` and returns a learning rate of the reference parameter group, within
the tested range. Methods only compare losses with one another, so adding a constant to the loss or
scaling it changes nothing.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ignite_lrfinder.record import Plan
from ignite_lrfinder.suggest.curve import Curve
from ignite_lrfinder.suggest.descent import Descent
from ignite_lrfinder.suggest.rules import rules_for

_CONSTANT = Plan()
_MINIMUM_DIVISOR = 10.0
# fastai slides an interval of 15 points of 100 over eight decades.
_SLIDE_WIDTH = 16.0


def auto(descent: Descent, plan: Plan = _CONSTANT) -> float:
    """Return a sixth of the learning rate of the edge: a safe choice for a constant rate.

    A rate that decays may peak higher, at a third of the edge. If the fall is clear, the suggestion
    is also at most a third of the rate of the lowest loss (half of it for a decaying rate), and at
    most twice the rate at which four fifths of the fall are done (four times for a decaying rate).

    On a noisy curve the minimum has rivals, which may lie decades to the left; the edge has none.
    The rate is read four points before the edge (see `Descent.before_edge`), so that one divisor
    serves sweeps of 50 to 400 points. On the curves of 53 training tasks, two to four seeds each,
    divisors from 6 to 8 and from 2.5 to 3 did equally well.

    The limits are for losses that stop falling long before they rise. With momentum and a large
    target, training becomes unstable decades before the loss shows it: on house prices the peak of
    a decaying rate was ten times too high without the first limit. Divisors from 2 to 4 of the
    lowest loss, and factors up to 6 and 12 of the fall, did nearly as well.
    """
    rules, curve = rules_for(plan), descent.curve
    lr = _divided(curve, descent.before_edge, rules.edge_divisor)
    if not descent.is_clear:
        return lr
    lr = min(lr, _divided(curve, descent.last_low, rules.low_divisor))
    done = descent.mostly_done
    return lr if done is None else min(lr, rules.fall_factor * float(curve.lr[done]))


def steepest(descent: Descent) -> float:
    """Return the tested learning rate of the descent at which the loss falls fastest over log(lr).

    The slope is taken over log(lr), in which an exponential sweep goes in equal steps: over lr
    itself the same fall is always steepest near `start_lr`.

    References:
        `steep` in fastai, https://docs.fast.ai/callback.schedule.html.
    """
    curve, falling = descent.curve, slice(descent.top, descent.bottom + 1)
    slope = np.gradient(curve.smoothed[falling], np.log(curve.lr[falling]))
    return float(curve.lr[falling][np.argmin(slope)])


def valley(descent: Descent) -> float:
    """Return the learning rate two thirds down the longest falling stretch, over log(lr).

    On a smoothed curve the longest falling stretch is the descent, from its top to its bottom.

    References:
        `valley` in fastai, https://docs.fast.ai/callback.schedule.html.
    """
    top, bottom = descent.curve.lr[descent.top], descent.curve.lr[descent.bottom]
    return float(top * (bottom / top) ** (2 / 3))


def minimum(descent: Descent) -> float:
    """Return a tenth of the learning rate at which the loss is lowest, or the first one tested.

    References:
        `minimum` in fastai, https://docs.fast.ai/callback.schedule.html.
    """
    return _divided(descent.curve, descent.bottom, _MINIMUM_DIVISOR)


def slide(descent: Descent) -> float:
    """Return the low end of an interval, a factor of 16 wide, that slid down from the lowest loss.

    It stops where the loss, over log(lr), falls no faster at its low end than at its high end, or
    at the first rate tested.

    References:
        `slide` in fastai, https://docs.fast.ai/callback.schedule.html; there the interval begins at
        the last point, and stops at a difference of 0.005, in whatever unit the loss has.
    """
    curve, until = descent.curve, descent.bottom + 1
    x, smoothed = np.log(curve.lr[:until]), curve.smoothed[:until]
    slope = np.gradient(smoothed, x)
    low_end = x - math.log(_SLIDE_WIDTH)
    bends = slope > np.interp(low_end, x, slope)
    stops = np.flatnonzero(~bends & (low_end >= x[0]))
    return _divided(curve, int(stops[-1]), _SLIDE_WIDTH) if len(stops) else float(curve.lr[0])


METHODS: Mapping[str, Callable[[Descent], float]] = MappingProxyType(
    {"auto": auto, "steepest": steepest, "valley": valley, "minimum": minimum, "slide": slide}
)
"""The methods by their names, the default first."""


def _divided(curve: Curve, point: int, divisor: float) -> float:
    """Return the learning rate of a point over a divisor, at least the lowest rate tested."""
    return max(float(curve.lr[point]) / divisor, float(curve.lr[0]))
