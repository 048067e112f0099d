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
_STEEPEST_FACTOR = 4.0
_MINIMUM_DIVISOR = 10.0
# fastai slides an interval of 15 points of 100 over eight decades.
_SLIDE_WIDTH = 16.0


def auto(descent: Descent, plan: Plan = _CONSTANT) -> float:
    """Return the lowest of three rates, none of which is right for every curve.

    ==================  =============  =============
    read off the curve  constant rate  decaying rate
    ==================  =============  =============
    edge                1 / 6          1 / 3
    valley              0.7            1
    steepest            4              4
    ==================  =============  =============

    The edge is the highest rate that training tolerates. With momentum, large targets or a bounded
    loss it comes too late, and the valley and the steepest fall, which say where training is fast,
    limit the suggestion. A rate that is too low costs less than one that is too high. Where the
    loss falls fastest within the first tenth of the sweep, perhaps before the learning rate
    mattered, only the edge counts, if there is one.

    The edge is read four points before it (see `Descent.before_edge`), so that one divisor serves
    sweeps of 50 to 400 points. On the curves of 54 training tasks, two seeds each, factors from 0.5
    to 1 of the valley and from 2 to 8 of the steepest fall did equally well.
    """
    rules, lr, fastest = rules_for(plan), descent.curve.lr, steepest(descent)
    lowest = float(lr[descent.before_edge]) / rules.edge_divisor
    if fastest > lr[len(lr) // 10] or not descent.has_edge:
        lowest = min(lowest, rules.valley_factor * valley(descent), _STEEPEST_FACTOR * fastest)
    return max(lowest, float(lr[0]))


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
