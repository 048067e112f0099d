"""One sweep with the slope of its loss over the learning rate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.plot.axes import (
    CURVE_COLOR,
    SKIPPED_ALPHA,
    SUGGESTION_COLOR,
    legend_below,
    neutral_color,
    set_lr_axis,
    two_axes,
)
from ignite_lrfinder.plot.sweep import draw_sweep, is_within, points_to_show
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.suggest import Reading, Refusal

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_derivative(
    reading: Reading,
    *,
    ax: "Sequence[Axes] | None" = None,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    methods: bool = False,
    legend: bool = True,
    **kwargs: object,
) -> "NDArray[Any]":
    """Draw the loss of a sweep, and its change for each decade below.

    See `LRFinderResult.plot` for the parameters.

    Raises:
        NoSuggestionError: if there are too few points for a smooth curve.
    """
    curve = reading.curve
    if isinstance(curve, Refusal):
        raise curve.error()
    shown = points_to_show(reading, skip_start, skip_end, display_suggestion=display_suggestion)
    # The slope needs less room than the loss.
    layout = {"figsize": (6.4, 6.4), "height_ratios": (3, 2), "sharex": True}
    upper, lower = two_axes(ax, 2, 1, {**layout, **kwargs})
    draw_sweep(
        reading,
        shown,
        upper,
        log_lr=log_lr,
        display_suggestion=display_suggestion,
        methods=methods,
    )
    slope = np.gradient(curve.smoothed, np.log10(curve.lr))
    is_shown = is_within(curve, reading, shown)
    lower.plot(curve.lr, slope, color=CURVE_COLOR, linewidth=2, alpha=SKIPPED_ALPHA)
    lower.plot(curve.lr[is_shown], slope[is_shown], color=CURVE_COLOR, linewidth=2)
    lower.axhline(0.0, color=neutral_color(lower), alpha=0.5, linewidth=0.8)
    _scale_slope(lower, slope)
    set_lr_axis(lower, log_lr=log_lr, low=float(curve.lr[0]), high=float(curve.lr[-1]))
    lr = reading.suggest("auto", reading.plan)
    if display_suggestion and not isinstance(lr, Refusal):
        lower.axvline(lr, color=SUGGESTION_COLOR, linestyle="--", linewidth=1)
    upper.set_xlabel("")
    lower.set_ylabel("Change in loss\nper decade")
    if legend:
        legend_below(lower, upper)
    return np.array([upper, lower], dtype=object)


def _scale_slope(ax: "Axes", slope: Array) -> None:
    """Show the fall of the loss; where the loss diverges, its slope leaves the axis at the top."""
    steepest = float(np.abs(slope[slope < 0]).max(initial=0.0)) or float(np.abs(slope).max()) or 1.0
    ax.set_ylim(-1.2 * steepest, steepest)
