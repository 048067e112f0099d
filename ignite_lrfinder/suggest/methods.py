"""From a curve to a learning rate: one small pure function for each method.

`descent_of` finds where the loss falls, or why there is nothing to read. Each method takes this
`Descent` and returns a learning rate of the reference parameter group, within the tested range.
Methods only compare losses with one another, so adding a constant to the loss or scaling it
changes nothing.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import Plan
from ignite_lrfinder.suggest.curve import Curve, Refusal
from ignite_lrfinder.suggest.rules import rules_for

# In standard deviations of the smoothed loss. The lowest point of pure noise often lies this far
# below its level. A curve whose lowest point is near a cliff may fall by less, since noise is
# seldom lowest there: of 1,000 flat noisy curves of 50 to 200 points, 10 pass without a cliff, and
# 30 with one.
_SIGNIFICANT = 5.0
_SIGNIFICANT_BEFORE_CLIFF = 3.0
_TOLERANCE = 2.5
_CLEAR = 7.0
_CLIFF = 12.0
_NEAR_CLIFF = 0.3  # of all points

# Where the noise of neighbors is correlated, the smoothed loss of a flat curve wanders. A fall then
# counts if it is so many times, for a correlation of 1, as high as any rise before it and any fall
# after it, or beyond what such noise reaches. Of 1,000 flat curves of 100 points whose noise is
# correlated by 0.5 to 0.9, up to 70 pass; of 50 points, up to 270.
_WANDERING = 6.0
_MAX_WANDERING = 3.5
_BEYOND_WANDERING = 40.0

# Shares of the fall: from its top, where it has begun; from its bottom, where most of it is done,
# where the loss has turned and where it is nearly lowest; from its top again, where it is back.
_BEGUN = 0.1
_MOSTLY_DONE = 0.2
_TURNED = 0.1
_NEARLY = 0.001
_RETURNED = 0.9

_RESPONSE_POINTS = 4
_CONSTANT = Plan()
_MINIMUM_DIVISOR = 10.0
# fastai slides an interval of 15 points of 100 over eight decades.
_SLIDE_WIDTH = 16.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Descent:
    """Where the smoothed loss of a curve falls, and where it rises for good.

    Attributes:
        curve: the curve.
        top: the last point at which the loss is still as high as it was, within a tenth or noise.
        bottom: the point of the lowest smoothed loss, after `top`.
        fall: how far the loss falls, from its usual level before the bottom; positive.
        edge: the first point from which the loss stays above its lowest, by more than a tenth of
            the fall and by more than the noise; the last point if there is none.
    """

    curve: Curve
    top: int
    bottom: int
    fall: float
    edge: int

    @property
    def has_edge(self) -> bool:
        """Whether the sweep went far enough to see the loss rise for good."""
        return self.edge < len(self.curve.lr) - 1

    @property
    def start_lr(self) -> float:
        """The learning rate at which the loss starts to fall."""
        return float(self.curve.lr[self.top])

    @property
    def before_edge(self) -> int:
        """The last point before the edge whose step was still stable.

        The loss of a point is measured before its step, and an unstable step takes a few more to
        show.
        """
        return max(self.edge - _RESPONSE_POINTS, 0)


def descent_of(curve: Curve) -> Descent | Refusal:
    """Find the descent to the lowest smoothed loss.

    Args:
        curve: the curve of a sweep.

    Returns:
        Where the loss falls and how far; a refusal if the fall is within the noise, because the
        curve is flat or only rises.
    """
    broken = _breakdown(curve)
    until = min(_return(curve), broken)
    bottom = int(np.argmin(curve.smoothed[:until]))
    height = curve.smoothed - curve.smoothed[bottom]
    before = height[: bottom + 1]
    # The usual level, since the highest of many noisy points is always high. If the loss falls at
    # once and then stays low, the usual level is low; then take half of the highest.
    fall = max(float(np.median(before)), float(before.max()) / 2)
    noise = curve.smoothed_noise
    to_cliff = _first(height[bottom:] > _CLIFF * noise)
    has_cliff = bottom + to_cliff < len(height)
    is_near = has_cliff and to_cliff <= _NEAR_CLIFF * len(height)
    least = noise * (_SIGNIFICANT_BEFORE_CLIFF if is_near else _SIGNIFICANT)
    if fall <= least:
        return _refusal(fall, least, has_cliff)
    if fall <= _BEYOND_WANDERING * noise:
        ratio = min(max(_WANDERING * curve.correlation, 0.0), _MAX_WANDERING)
        least = ratio * _largest_countermove(curve.smoothed[:broken], bottom)
        if fall <= least:
            return _refusal_of_wandering(fall, least, curve.correlation)
    # Left of the fall, noise makes some points higher than others; take the last that is nearly as
    # high as the highest.
    highest = float(before.max())
    begun = min(max(_BEGUN * highest, 2 * _TOLERANCE * noise), highest / 2)
    return Descent(
        curve=curve,
        top=int(np.flatnonzero(before >= highest - begun)[-1]),
        bottom=bottom,
        fall=fall,
        edge=_edge(curve, bottom, max(_TURNED * fall, _TOLERANCE * noise), until),
    )


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
    if descent.fall <= _CLEAR * curve.smoothed_noise:
        return lr
    lr = min(lr, _divided(curve, _last_low(descent), rules.low_divisor))
    done = _mostly_done(descent)
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


def _breakdown(curve: Curve) -> int:
    """Return the first point at which the loss has broken down, or the number of points.

    There it is higher above its start than it ever falls below it, by at least the height of a
    cliff. A fall after that, such as when all outputs have died, is not a descent.
    """
    smoothed = curve.smoothed
    level = 2 * _start(curve) - float(smoothed.min()) + _CLIFF * curve.smoothed_noise
    return _first(smoothed > level)


def _return(curve: Curve) -> int:
    """Return the first point at which the loss is back near its start after most of its fall.

    If it falls again later, that is another training, which has lost what it had learned.
    """
    lowest = np.minimum.accumulate(curve.smoothed)
    fall, rise = _start(curve) - lowest, curve.smoothed - lowest
    least = max(_CLEAR * curve.smoothed_noise, fall[-1] / 2)
    return _first((np.minimum(fall, rise) > least) & (rise >= _RETURNED * fall))


def _start(curve: Curve) -> float:
    """Return the highest loss in the first tenth of the sweep."""
    return float(curve.smoothed[: max(3, len(curve.smoothed) // 10)].max())


def _first(holds: NDArray[np.bool_]) -> int:
    """Return the first point at which something holds, or the number of points."""
    return int(np.argmax(holds)) if holds.any() else len(holds)


def _largest_countermove(smoothed: Array, bottom: int) -> float:
    """Return how far the loss rises before its lowest point, or falls after it, at most."""
    before, after = smoothed[: bottom + 1], smoothed[bottom:]
    rise = before - np.minimum.accumulate(before)
    fall = np.maximum.accumulate(after) - after
    return float(max(rise.max(), fall.max()))


def _edge(curve: Curve, bottom: int, tolerance: float, until: int) -> int:
    """Return the point after the last one before the breakdown that is near the lowest loss."""
    low = np.flatnonzero(curve.smoothed[:until] <= curve.smoothed[bottom] + tolerance)
    return min(int(low[-1]) + 1, len(curve.lr) - 1)


def _last_low(descent: Descent) -> int:
    """Return the last point before the edge that is nearly as low as the lowest."""
    smoothed = descent.curve.smoothed[: descent.edge + 1]
    nearly = descent.curve.smoothed[descent.bottom] + _NEARLY * descent.fall
    return int(np.flatnonzero(smoothed <= nearly)[-1])


def _mostly_done(descent: Descent) -> int | None:
    """Return the point, before the edge, from which on most of the fall is done for good.

    None if it ends within the first tenth of the sweep, before the learning rate can have mattered.
    """
    curve = descent.curve
    height = curve.smoothed - curve.smoothed[descent.bottom]
    is_high = np.flatnonzero(height[: descent.before_edge] > _MOSTLY_DONE * descent.fall)
    done = int(is_high[-1]) + 1 if len(is_high) else 0
    return done if done > len(curve.lr) // 10 else None


def _refusal(fall: float, noise: float, has_cliff: bool) -> Refusal:
    """Explain why the curve has no descent, and what to change."""
    shape = "only rises" if has_cliff else "is flat"
    remedy = "Lower start_lr" if has_cliff else "Raise end_lr"
    return Refusal(
        f"The curve {shape}: the loss fell by {fall:.3g}, which is within its noise of "
        f"{noise:.3g}. {remedy}, raise num_iter for a slower sweep, or let trials decide with "
        'verify="auto".'
    )


def _refusal_of_wandering(fall: float, noise: float, correlation: float) -> Refusal:
    """Explain why the fall of a curve with correlated noise does not count, and what to change."""
    return Refusal(
        f"The curve wanders: the noise of neighboring points is correlated ({correlation:.2f}), "
        f"which explains falls up to {noise:.3g}, and the loss fell by {fall:.3g}. Shuffle the "
        "data, return the loss of each batch instead of a running average, or let trials decide "
        'with verify="auto".'
    )


def _divided(curve: Curve, point: int, divisor: float) -> float:
    """Return the learning rate of a point over a divisor, at least the lowest rate tested."""
    return max(float(curve.lr[point]) / divisor, float(curve.lr[0]))
