"""Smooth a loss without lag, and estimate its noise.

The loss of a sweep is noisy, and the moving average that decides on stopping lags: with Ignite's
factor of 0.05 by some 20 points, which on 100 points over eight decades is a factor of 30 in the
learning rate. Here the whole sweep is known, so the smoothing looks both ways and has no lag::

    losses -> running median -> local least squares over log(lr) -> smoothed

The median removes outliers (a glitch, a spike at the start), the local fit removes noise. Both
commute with adding a constant to the loss and with scaling it.
"""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ignite_lrfinder.protocols import Array

# The median looks a thirtieth of the curve to either side: a glitch or a spike is shorter, a valley
# longer. The line takes 15 % of the points, about a decade of eight; 10 to 30 % did equally well. A
# line through fewer than six points follows their noise.
_MEDIAN_SHARE = 30
_SPAN = 0.15
_MIN_NEIGHBORS = 6
# These bound the time that long curves take: of more points, the line is fitted at 200 and drawn
# through these, in parts of so many numbers.
_MAX_MEDIAN_REACH = 12
_MAX_ANCHORS = 200
_MAX_NUMBERS = 50_000

# In standard deviations of the noise; three are seldom exceeded by chance.
_CEILING_NOISE = 3.0
_ROUNDING = 1e-12  # relative, far above that of a double

# In standard deviations of the noise around the lowest point. A rise is a cliff if it is this high
# within half the window of the fit, and begins at the last point that is nearly as low as the
# lowest. Heights from 5 to 8 did equally well.
_CLIFF_NOISE = 6.0
_LOW_NOISE = 3.0

# Residuals beyond this many standard deviations are clipped before they are correlated.
_CLIPPED = 3.0
# Only the points up to the lowest are correlated, but at least this share of all.
_CORRELATED_SHARE = 0.4
_MAD_TO_SIGMA = 1.4826


def smooth(x: Array, y: Array) -> Array:
    """Smooth y over x without lag: a running median, then a local line through the neighbors.

    Args:
        x: where y was measured, strictly increasing, in any spacing; shape (T,), T at least 6.
        y: what was measured; shape (T,).

    Returns:
        The smoothed y; shape (T,).

    Example:
        >>> x = np.arange(9.0)
        >>> smooth(x, np.array([0, 1, 2, 3, 99, 5, 6, 7, 8.0])).round(1)
        array([1., 1., 2., 3., 5., 6., 6., 7., 7.])
    """
    level = float(np.median(y))
    cleaned = running_median(y - level)
    # A diverging loss climbs by orders of magnitude within a few points; limit what the fit sees.
    ceiling = _divergence_level(cleaned) + _CEILING_NOISE * noise_of(y)
    foot = _foot_of_cliff(y, cleaned)
    if foot < len(y):
        cleaned = _lowered(y - level, cleaned, foot)
    sides = (slice(None, foot), slice(foot, None))
    smoothed = [_smooth_side(x[side], cleaned[side], ceiling) for side in sides]
    return level + np.concatenate(smoothed)


def _smooth_side(x: Array, cleaned: Array, ceiling: float) -> Array:
    """Smooth the points on one side of a cliff; a few points stay as the median left them."""
    if len(x) < 2 * _MIN_NEIGHBORS:
        return cleaned
    fitted = local_line(x, np.minimum(cleaned, ceiling))
    return np.where(cleaned > ceiling, cleaned, fitted)


def _lowered(y: Array, cleaned: Array, foot: int) -> Array:
    """Return the running median, lowered before a cliff where its window reaches into the cliff.

    There windows shrink, to three points. Nothing is raised: a foot found too late has points of
    the cliff before it.
    """
    lowered = cleaned.copy()
    for reach in range(1, min(_median_reach(len(y)), foot // 2)):
        i = foot - 1 - reach
        lowered[i] = min(cleaned[i], np.median(y[i - reach : foot]))
    lowered[foot - 1] = min(cleaned[foot - 1], lowered[foot - 2])
    return lowered


def _foot_of_cliff(y: Array, cleaned: Array) -> int:
    """Return the first point of the cliff after the lowest point, or the number of points.

    A fit through both sides of a cliff would lift the curve before it, and with it the minimum.
    """
    has_diverged = cleaned > _divergence_level(cleaned)
    has_diverged[: max(3, len(y) // 10)] = False
    until = int(np.argmax(has_diverged)) if has_diverged.any() else len(y)
    bottom, k = int(np.argmin(cleaned[:until])), num_neighbors(len(y))
    noise = max(noise_of(y), noise_of(y[max(bottom - k, 0) : bottom + k // 2]))
    height = cleaned - cleaned[bottom]
    foot = int(np.flatnonzero(height[:until] <= _LOW_NOISE * noise)[-1]) + 1
    is_cliff = np.any(height[foot : foot + k // 2] > _CLIFF_NOISE * noise)
    return foot if is_cliff and foot >= 2 * _MIN_NEIGHBORS else len(y)


def noise_of(y: Array) -> float:
    """Estimate the standard deviation of each y about the curve, from the steps between neighbors.

    Only points that have not diverged count; in a linear sweep these may be a few of many. The
    estimate is robust, and at least as large as rounding errors, so that a fall of 1e-16 does not
    count on a curve without scatter.
    """
    cleaned = running_median(y)
    steps = np.diff(y[cleaned <= _divergence_level(cleaned)])
    deviation = float(np.median(np.abs(steps - np.median(steps)))) if len(steps) else 0.0
    return max(_MAD_TO_SIGMA * deviation / math.sqrt(2), _ROUNDING * float(np.median(np.abs(y))))


def correlation_of(losses: Array, smoothed: Array) -> float:
    """Estimate how far the noise of neighboring points is correlated.

    Only losses up to the lowest count: beyond it training becomes unstable, and losses correlated.
    Residuals about a local fit are anticorrelated by about 2 / k, which is corrected.
    """
    cleaned = running_median(losses)
    until = max(int(np.argmin(cleaned)) + 1, round(_CORRELATED_SHARE * len(losses)))
    has_not_diverged = cleaned <= _divergence_level(cleaned)
    residuals = (losses - smoothed)[:until][has_not_diverged[:until]]
    limit = _CLIPPED * _MAD_TO_SIGMA * float(np.median(np.abs(residuals)))
    clipped = np.clip(residuals, -limit, limit)
    variance = float(clipped @ clipped)
    if variance == 0:
        return 0.0
    correlation = float(clipped[1:] @ clipped[:-1]) / variance + 2 / num_neighbors(len(losses))
    return min(correlation, 1.0)


def running_median(y: Array) -> Array:
    """Return the median of the window around each value; at the ends, of the outermost window."""
    reach = _median_reach(len(y))
    windows = sliding_window_view(y, 2 * reach + 1)
    medians = [np.median(part, axis=1) for part in _parts(windows, 2 * reach + 1)]
    return np.pad(np.concatenate(medians), reach, mode="edge")


def _median_reach(num_points: int) -> int:
    """Return how many points the window of the median takes on either side."""
    return int(np.clip(num_points // _MEDIAN_SHARE, 1, _MAX_MEDIAN_REACH))


def local_line(x: Array, y: Array) -> Array:
    """Fit a line through the neighbors of each x, the near ones weighing more (LOWESS).

    The neighbors are a fixed share of all points, whatever their distances, so that a linear sweep
    is smoothed as well as an exponential one.

    Args:
        x: strictly increasing; shape (T,).
        y: shape (T,).

    Returns:
        The value of each line at its own x; shape (T,).

    References:
        Cleveland, Robust locally weighted regression and smoothing scatterplots, 1979. As in
        that paper, long input is fitted at anchors, with straight lines between them.
    """
    k = num_neighbors(len(x))
    anchors = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MAX_ANCHORS)).round().astype(int))
    fitted = []
    for part in _parts(anchors, k):
        neighbors = _nearest_window(x, x[part], k)[:, None] + np.arange(k)
        offset = x[neighbors] - x[part, None]
        # Slightly more than the largest distance, so that the farthest neighbor still counts.
        reach = np.abs(offset).max(axis=1, keepdims=True) * (1 + 1 / k)
        values = _line_at_zero(offset / reach, y[neighbors])
        # At an end of the input a line through a bend would leave the range of its neighbors.
        fitted.append(np.clip(values, y[neighbors].min(axis=1), y[neighbors].max(axis=1)))
    return np.interp(x, x[anchors], np.concatenate(fitted))


def _nearest_window(x: Array, at: Array, k: int) -> NDArray[np.intp]:
    """Return where the window of the k nearest x begins, for each value of `at`; x is sorted."""
    # The window moves right while the point it loses is farther than the point it gains.
    return np.searchsorted(x[:-k] + x[k:], 2 * at)


def num_neighbors(num_points: int) -> int:
    """Return the number of neighbors in the local fit."""
    return min(num_points, max(_MIN_NEIGHBORS, round(_SPAN * num_points)))


def _parts(rows: NDArray[Any], width: int) -> list[NDArray[Any]]:
    """Split rows into parts that need little memory when each row takes `width` numbers."""
    return np.array_split(rows, -(-len(rows) * width // _MAX_NUMBERS))


def _line_at_zero(u: Array, y: Array) -> Array:
    """Fit tricube-weighted lines, one for each row, and return their values at u = 0."""
    w = (1 - np.abs(u) ** 3) ** 3
    w /= w.sum(axis=1, keepdims=True)
    u_mean = (w * u).sum(axis=1, keepdims=True)
    y_mean = (w * y).sum(axis=1, keepdims=True)
    centred = w * (u - u_mean)
    slope = (centred * (y - y_mean)).sum(axis=1) / (centred * (u - u_mean)).sum(axis=1)
    return y_mean[:, 0] - slope * u_mean[:, 0]


def _divergence_level(cleaned: Array) -> float:
    """Return the level that is as far above the start of the loss as its minimum is below."""
    start = float(np.median(cleaned[: max(3, len(cleaned) // 10)]))
    return 2 * start - float(cleaned.min())
