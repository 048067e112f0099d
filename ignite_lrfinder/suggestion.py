"""From a curve to a learning rate: one small pure function for each method.

Each method takes a `Curve` and returns a learning rate of its reference parameter group, within the
tested range, or raises `NoSuggestionError`. All begin with `descent`, which says where the loss
falls, or why there is nothing to read. They only compare losses with one another, so adding a
constant to the loss or scaling it changes nothing.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ignite_lrfinder.curve import Curve, running_median, unexpected_shape
from ignite_lrfinder.errors import NoSuggestionError

# In standard deviations of the smoothed loss. The lowest point of pure noise often lies this far
# below its level, but noise does not climb a cliff afterwards: where one follows, the curve has an
# edge to read, and less is asked of the fall. Of 100 flat noisy curves one passes without a cliff,
# up to 16 with one; asking more there would refuse usable curves of small batches.
_SIGNIFICANT = 2.5
_SIGNIFICANT_WITHOUT_CLIFF = 5.0
_CLIFF = 12.0

# The shares of the fall from its top at which it has begun, and from its bottom at which it is
# over and at which the loss has turned.
_BEGUN = 0.1
_OVER = 0.1
_TURNED = 0.25

_RESPONSE_POINTS = 2
_EDGE_DIVISORS = MappingProxyType({"constant": 10.0, "decay": 4.0})
_MINIMUM_DIVISOR = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Descent:
    """Where the smoothed loss falls.

    Attributes:
        top: the last point at which the loss is still as high as it was, within a tenth or noise.
        bottom: the point of the lowest smoothed loss, after `top`.
        fall: how far the loss falls, from its usual level before the bottom; positive.
    """

    top: int
    bottom: int
    fall: float


def descent(curve: Curve) -> Descent:
    """Find the descent to the lowest smoothed loss.

    Args:
        curve: the curve of a sweep.

    Returns:
        Where the loss falls, and how far.

    Raises:
        NoSuggestionError: if the fall is within the noise: the curve is flat, or it only rises.
    """
    bottom = int(np.argmin(curve.smoothed))
    height = curve.smoothed - curve.smoothed[bottom]
    before = height[: bottom + 1]
    # The usual level, since the highest of many noisy points is always high. Where the loss falls
    # at once and then stays low, the usual level is low: there, half of the highest.
    fall = max(float(np.median(before)), float(before.max()) / 2)
    noise = curve.smoothed_noise
    has_cliff = float(height[bottom:].max()) > _CLIFF * noise
    least = noise * (_SIGNIFICANT if has_cliff else _SIGNIFICANT_WITHOUT_CLIFF)
    if fall <= least:
        raise _refusal(fall, least, has_cliff)
    # Left of the fall, noise makes some points higher than others: the last that is nearly as high.
    highest = float(before.max())
    begun = min(max(_BEGUN * highest, 2 * _SIGNIFICANT * noise), highest / 2)
    top = int(np.flatnonzero(before >= highest - begun)[-1])
    return Descent(top, bottom, fall)


def edge(curve: Curve) -> int:
    """Return the first point from which the loss stays above its lowest, or the last point of all.

    Above means: by more than a quarter of the fall, and by more than the noise.
    """
    found = descent(curve)
    tolerance = max(_TURNED * found.fall, _SIGNIFICANT * curve.smoothed_noise)
    low = np.flatnonzero(curve.smoothed <= curve.smoothed[found.bottom] + tolerance)
    return min(int(low[-1]) + 1, len(curve.lr) - 1)


def auto(curve: Curve, schedule: str = "constant") -> float:
    """Return a tenth of the learning rate of the edge: a safe choice for a constant rate.

    A rate that decays may peak higher, at a quarter of the edge.

    On a noisy curve the minimum has rivals, which may lie decades to the left; the edge has none.
    Two points are taken off it: the loss of a point is measured before its step, and an unstable
    step needs another to show. With them, one divisor serves sweeps of 30 to 400 points. In 22
    trainings at constant rate divisors from 8 to 12 did equally well; the same over the minimum, or
    slopes, did as well where the loss was clear, and far worse where it was noisy.
    """
    before_edge = max(edge(curve) - _RESPONSE_POINTS, 0)
    return _divided(curve, before_edge, _EDGE_DIVISORS[schedule])


def steepest(curve: Curve) -> float:
    """Return the tested learning rate of the descent at which the loss falls fastest over log(lr).

    The slope is taken over log(lr), in which an exponential sweep goes in equal steps: over lr
    itself the same fall is always steepest near `start_lr`.

    References:
        `steep` in fastai, https://docs.fast.ai/callback.schedule.html.
    """
    found = descent(curve)
    falling = slice(found.top, found.bottom + 1)
    slope = np.gradient(curve.smoothed[falling], np.log(curve.lr[falling]))
    return float(curve.lr[falling][np.argmin(slope)])


def valley(curve: Curve) -> float:
    """Return the learning rate two thirds down the longest falling stretch, over log(lr).

    On a smoothed curve the longest falling stretch is the descent, from its top to its bottom.

    References:
        `valley` in fastai, https://docs.fast.ai/callback.schedule.html.
    """
    found = descent(curve)
    top, bottom = curve.lr[found.top], curve.lr[found.bottom]
    return float(top * (bottom / top) ** (2 / 3))


def minimum(curve: Curve) -> float:
    """Return a tenth of the learning rate at which the loss is lowest, or the first one tested.

    References:
        `minimum` in fastai, https://docs.fast.ai/callback.schedule.html.
    """
    return _divided(curve, descent(curve).bottom, _MINIMUM_DIVISOR)


def bounds(curve: Curve) -> tuple[float, float]:
    """Return the tested learning rates at which the loss starts to fall, and at which it stops.

    It has stopped where nine tenths of the fall are done, or before that where the loss becomes
    ragged: where it lies farther from the smoothed line than a quarter of the fall and than four
    times its usual noise.

    References:
        Smith, Cyclical learning rates for training neural networks, 2015, section 3.3.
    """
    found = descent(curve)
    height = curve.smoothed - curve.smoothed[found.bottom]
    scatter = running_median(np.abs(curve.losses - curve.smoothed))
    is_ragged = scatter > max(_TURNED * found.fall, 4 * curve.noise)
    has_stopped = is_ragged | (height <= _OVER * found.fall)
    has_stopped[: found.top + 1] = False
    return float(curve.lr[found.top]), float(curve.lr[int(np.argmax(has_stopped))])


METHODS: Mapping[str, Callable[[Curve], float]] = MappingProxyType(
    {"auto": auto, "steepest": steepest, "valley": valley, "minimum": minimum}
)
"""The methods by their names, the default first."""


def _refusal(fall: float, noise: float, has_cliff: bool) -> NoSuggestionError:
    """Say in which way the curve has no descent, and what to change."""
    shape = "only rises" if has_cliff else "is flat"
    remedy = "Lower start_lr" if has_cliff else "Raise end_lr"
    return unexpected_shape(
        f"The curve {shape}: the loss fell by {fall:.3g}, which is within its noise of "
        f"{noise:.3g}. {remedy}, or raise num_iter for a slower sweep."
    )


def _divided(curve: Curve, point: int, divisor: float) -> float:
    """Return the learning rate of a point over a divisor, but none below those tested."""
    return max(float(curve.lr[point]) / divisor, float(curve.lr[0]))
