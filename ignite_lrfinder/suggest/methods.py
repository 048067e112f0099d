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

from ignite_lrfinder.record import Plan
from ignite_lrfinder.suggest.curve import Curve, Refusal
from ignite_lrfinder.suggest.rules import rules_for

# In standard deviations of the smoothed loss. The lowest point of pure noise often lies this far
# below its level, but noise does not climb a cliff afterwards: a curve with a cliff has an edge to
# read, so its fall may be smaller. Of 100 flat noisy curves, one passes without a cliff and up to
# 16 pass with one; a stricter limit would refuse usable curves of small batches.
_SIGNIFICANT = 2.5
_SIGNIFICANT_WITHOUT_CLIFF = 5.0
_CLIFF = 12.0

# Shares of the fall: from its top, where it has begun; from its bottom, where most of it is done,
# and where the loss has turned.
_BEGUN = 0.1
_MOSTLY_DONE = 0.2
_TURNED = 0.1

_RESPONSE_POINTS = 2
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

        The loss of a point is measured before its step, and an unstable step takes another to show.
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
    until = _breakdown(curve)
    bottom = int(np.argmin(curve.smoothed[:until]))
    height = curve.smoothed - curve.smoothed[bottom]
    before = height[: bottom + 1]
    # The usual level, since the highest of many noisy points is always high. If the loss falls at
    # once and then stays low, the usual level is low; then take half of the highest.
    fall = max(float(np.median(before)), float(before.max()) / 2)
    noise = curve.smoothed_noise
    has_cliff = float(height[bottom:].max()) > _CLIFF * noise
    least = noise * (_SIGNIFICANT if has_cliff else _SIGNIFICANT_WITHOUT_CLIFF)
    if fall <= least:
        return _refusal(fall, least, has_cliff)
    # Left of the fall, noise makes some points higher than others; take the last that is nearly as
    # high as the highest.
    highest = float(before.max())
    begun = min(max(_BEGUN * highest, 2 * _SIGNIFICANT * noise), highest / 2)
    return Descent(
        curve=curve,
        top=int(np.flatnonzero(before >= highest - begun)[-1]),
        bottom=bottom,
        fall=fall,
        edge=_edge(curve, bottom, max(_TURNED * fall, _SIGNIFICANT * noise), until),
    )


def auto(descent: Descent, plan: Plan = _CONSTANT) -> float:
    """Return a sixth of the learning rate of the edge: a safe choice for a constant rate.

    A rate that decays may peak higher, at a third of the edge. If the fall is clear, the suggestion
    is at most twice the rate (four times for a decaying rate) at which four fifths of it are done.

    On a noisy curve the minimum has rivals, which may lie decades to the left; the edge has none.
    The rate is read two points before the edge (see `Descent.before_edge`), so that one divisor
    serves sweeps of 30 to 400 points. On the curves of 53 training tasks, two to four seeds each,
    divisors from 6 to 8 and from 2.5 to 3 did equally well; dividing the minimum, or reading
    slopes, did as well on clear losses and far worse on noisy ones. The second limit is for losses
    that stop falling long before they rise, as in fine-tuning; factors up to 6 and 12 did nearly as
    well.
    """
    rules = rules_for(plan)
    lr = _divided(descent.curve, descent.before_edge, rules.edge_divisor)
    done = _mostly_done(descent)
    return lr if done is None else min(lr, rules.fall_factor * float(descent.curve.lr[done]))


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
    start = float(smoothed[: max(3, len(smoothed) // 10)].max())
    level = 2 * start - float(smoothed.min()) + _CLIFF * curve.smoothed_noise
    is_broken = smoothed > level
    return int(np.argmax(is_broken)) if is_broken.any() else len(smoothed)


def _edge(curve: Curve, bottom: int, tolerance: float, until: int) -> int:
    """Return the point after the last one before the breakdown that is near the lowest loss."""
    low = np.flatnonzero(curve.smoothed[:until] <= curve.smoothed[bottom] + tolerance)
    return min(int(low[-1]) + 1, len(curve.lr) - 1)


def _mostly_done(descent: Descent) -> int | None:
    """Return the point, before the edge, from which on most of the fall is done for good.

    None if the fall is not clear, or if it ends within the first tenth of the sweep, before the
    learning rate can have mattered.
    """
    curve = descent.curve
    if descent.fall <= _SIGNIFICANT_WITHOUT_CLIFF * curve.smoothed_noise:
        return None
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


def _divided(curve: Curve, point: int, divisor: float) -> float:
    """Return the learning rate of a point over a divisor, at least the lowest rate tested."""
    return max(float(curve.lr[point]) / divisor, float(curve.lr[0]))
