"""Where the loss of a curve falls and where it rises for good, or why there is nothing to read."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.protocols import Array
from ignite_lrfinder.suggest.curve import Curve, Refusal

# In standard deviations of the smoothed loss. The lowest point of pure noise often lies this far
# below its level. A curve whose lowest point is near a cliff may fall by less, since noise is
# seldom lowest there: of 1,000 flat noisy curves of 50 to 200 points, 10 pass without a cliff, and
# 30 with one.
_SIGNIFICANT = 4.5
_SIGNIFICANT_BEFORE_CLIFF = 3.0
_TOLERANCE = 2.5
_CLEAR = 7.0
_CLIFF = 12.0
_NEAR_CLIFF = 0.3  # of all points

# Where the noise of neighbors is correlated, the smoothed loss of a flat curve wanders. A fall then
# counts if it is so many times, for a correlation of 1, as high as any rise before it and any fall
# after it, or beyond what such noise reaches. A small correlation is within its own noise. Of
# 1,000 flat curves of 100 points whose noise is correlated by 0.5 to 0.9, up to 53 pass; of 50
# points, up to 280.
_WANDERING = 12.0
_LITTLE_CORRELATION = 0.1
_BEYOND_WANDERING = 60.0

# Shares of the fall: from its top, where it has begun; from its bottom, where the loss has turned;
# from its top again, where it is back.
_BEGUN = 0.1
_TURNED = 0.1
_RETURNED = 0.9

_RESPONSE_POINTS = 4
_LET_TRIALS_DECIDE = 'or let trials decide with verify="auto".'


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
        ratio = _WANDERING * max(curve.correlation - _LITTLE_CORRELATION, 0.0)
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

    If it falls again later, that is training from scratch: what had been learned is lost.
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


def _refusal(fall: float, noise: float, has_cliff: bool) -> Refusal:
    """Explain why the curve has no descent, and what to change."""
    shape = "only rises" if has_cliff else "is flat"
    change = f"fell by {fall:.3g}, which is within its noise of {noise:.3g}"
    if fall <= 0:
        change = "did not fall"
    remedy = "Lower start_lr"
    if not has_cliff:
        remedy = "Check that the optimizer holds the parameters of the model, raise end_lr"
    return Refusal(
        f"The curve {shape}: the loss {change}. {remedy}, raise num_iter for a slower sweep, "
        f"{_LET_TRIALS_DECIDE}"
    )


def _refusal_of_wandering(fall: float, noise: float, correlation: float) -> Refusal:
    """Explain why the fall of a curve with correlated noise does not count, and what to change."""
    return Refusal(
        f"The curve wanders: the noise of neighboring points is correlated ({correlation:.2f}), "
        f"which explains falls up to {noise:.3g}, and the loss fell by {fall:.3g}. Shuffle the "
        "data, return the loss of each batch instead of a running average, "
        f"{_LET_TRIALS_DECIDE}"
    )
