"""One sweep: the loss curve with all that is read off it, and its slope."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.errors import NoSuggestionError, warn, wrong_type
from ignite_lrfinder.plot.axes import (
    CURVE_COLOR,
    GREY,
    SUGGESTION_COLOR,
    check_skip,
    limit_losses,
    new_axes,
    new_pair,
    shown_points,
    two_axes,
)
from ignite_lrfinder.suggest import Plan, Reading, Refusal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The shapes tell the other methods apart.
_MARKERS = {"steepest": "^", "valley": "v", "minimum": "s", "slide": "D"}
_MARK_COLOR = "0.25"
_MAX_GROUPS_IN_LEGEND = 6
_PLAN = Plan()


def plot_sweep(
    reading: Reading,
    *,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    ax: "Axes | None" = None,
    **kwargs: object,
) -> "Axes":
    """Draw the loss of a sweep over the learning rate of its reference parameter group.

    Args:
        reading: the reading of a sweep.
        skip_start: points to leave out at the start, at least 0.
        skip_end: points to leave out at the end, at least 0.
        log_lr: whether the learning rate has a logarithmic axis.
        display_suggestion: whether to mark the suggestion, and with trials the band of rates that
            they cannot tell apart; it is shown even among points left out.
        ax: the Axes to draw on; default, a new figure.
        kwargs: passed to `matplotlib.pyplot.subplots` if `ax` is not given.

    Returns:
        The Axes drawn on.

    Raises:
        TypeError: if `ax` is not a matplotlib Axes, or a number of points not an integer.
        ValueError: if skip_start or skip_end is negative.
        NoSuggestionError: if there is no point to draw.
    """
    check_skip("skip_start", skip_start)
    check_skip("skip_end", skip_end)
    if ax is not None and not hasattr(ax, "has_data"):
        raise wrong_type("ax", "a matplotlib Axes or None", ax, "Leave it out for a new figure.")
    num_points = len(reading.record)
    if num_points == 0:
        raise NoSuggestionError("A curve must have points to be drawn, got none. Raise num_iter.")
    shown = shown_points(num_points, skip_start, skip_end)
    if display_suggestion and isinstance(refusal := reading.suggest("auto", _PLAN), Refusal):
        warn(f"No suggestion is shown. {refusal.reason}")
    return draw_sweep(
        reading,
        shown,
        new_axes(kwargs) if ax is None else ax,
        log_lr=log_lr,
        display_suggestion=display_suggestion,
    )


def plot_derivative(
    reading: Reading,
    *,
    ax: "Sequence[Axes] | None" = None,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    **kwargs: object,
) -> "NDArray[Any]":
    """Draw the loss of a sweep, and below it how fast the loss changes.

    Args:
        reading: the reading of a sweep.
        ax: the two Axes to draw on, the upper first; default, a new figure.
        skip_start: as for `plot_sweep`.
        skip_end: as for `plot_sweep`.
        log_lr: as for `plot_sweep`.
        display_suggestion: as for `plot_sweep`.
        kwargs: passed to `matplotlib.pyplot.subplots` if `ax` is not given.

    Returns:
        The two Axes; shape (2,).

    Raises:
        TypeError: as for `plot_sweep`.
        ValueError: as for `plot_sweep`, or if there are not two Axes.
        NoSuggestionError: if there are too few points for a smooth curve.
    """
    curve = reading.curve
    if isinstance(curve, Refusal):
        raise curve.error()
    # A slope takes less room than the loss.
    layout = {"figsize": (6.4, 6.4), "height_ratios": (3, 2), "sharex": True}
    upper, lower = two_axes(new_pair(2, 1, {**layout, **kwargs}) if ax is None else ax)
    plot_sweep(
        reading,
        ax=upper,
        skip_start=skip_start,
        skip_end=skip_end,
        log_lr=log_lr,
        display_suggestion=display_suggestion,
    )
    shown = shown_points(len(curve.lr), skip_start, skip_end)
    slope = np.gradient(curve.smoothed, np.log10(curve.lr))
    lower.plot(curve.lr[shown], slope[shown], color=CURVE_COLOR, linewidth=2)
    lower.axhline(0.0, color=GREY, linewidth=0.8)
    # What falls is drawn in proportion, the cliff by its orders of magnitude.
    linear = float(np.abs(slope[slope < 0]).max(initial=0.0)) or float(np.abs(slope).max()) or 1.0
    lower.set_yscale("symlog", linthresh=linear, linscale=1.5)
    if log_lr:
        lower.set_xscale("log")
    lr = reading.suggest("auto", _PLAN)
    if display_suggestion and not isinstance(lr, Refusal):
        lower.axvline(lr, color=SUGGESTION_COLOR, linestyle="--", linewidth=1)
    upper.set_xlabel("")
    lower.set_xlabel("Learning rate")
    lower.set_ylabel("Change in loss\nper decade")
    return np.array([upper, lower], dtype=object)


def draw_sweep(
    reading: Reading,
    shown: slice,
    ax: "Axes",
    *,
    log_lr: bool = True,
    display_suggestion: bool = True,
) -> "Axes":
    """Draw some points of a sweep and all that is read off it, without warnings."""
    is_new = not ax.has_data()
    if log_lr:
        ax.set_xscale("log")
    _draw_losses(ax, reading, shown)
    if is_new:
        limit_losses(ax, reading.record.losses)
    if display_suggestion:
        _draw_cliff(ax, reading, shown)
        _draw_suggestions(ax, reading)
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Loss")
    ax.legend(fontsize="small")
    return ax


def _draw_losses(ax: "Axes", reading: Reading, shown: slice) -> None:
    """Draw raw losses as faint points, the smoothed ones as a line."""
    lr = reading.record.lr[:, reading.group]
    ax.plot(
        lr[shown],
        reading.record.losses[shown],
        linestyle="none",
        marker=".",
        color=CURVE_COLOR,
        alpha=0.35,
        label="loss of each point",
    )
    curve = reading.curve
    if not isinstance(curve, Refusal):
        is_shown = (curve.lr >= lr[shown][0]) & (curve.lr <= lr[shown][-1])
        ax.plot(
            curve.lr[is_shown],
            curve.smoothed[is_shown],
            color=CURVE_COLOR,
            linewidth=2,
            label="smoothed loss",
        )


def _draw_cliff(ax: "Axes", reading: Reading, shown: slice) -> None:
    """Shade the rates from which the loss no longer recovers, if the sweep reached them."""
    if isinstance(reading.descent, Refusal):
        return
    cliff = float(reading.descent.curve.lr[reading.descent.edge])
    end = float(reading.record.lr[shown, reading.group][-1])
    if cliff < end:
        ax.axvspan(cliff, end, color=GREY, alpha=0.15, linewidth=0, label="diverging")


def _draw_suggestions(ax: "Axes", reading: Reading) -> None:
    """Mark the suggestion, its interval, the other methods and the bounds on the curve."""
    rates = reading.suggestions(_PLAN)
    if "auto" not in rates:
        ax.plot([], [], linestyle="none", label="no suggestion")
        return
    lr = rates.pop("auto")
    if reading.interval is not None:
        ax.axvspan(
            *reading.interval,
            color=SUGGESTION_COLOR,
            alpha=0.12,
            linewidth=0,
            label="equally good in short trials",
        )
    ax.axvline(lr, color=SUGGESTION_COLOR, linestyle="--", linewidth=1)
    label = _suggestion_label(reading.lrs_at(lr))
    _draw_mark(ax, reading, lr, "o", markersize=9, color=SUGGESTION_COLOR, zorder=3, label=label)
    for name, other in rates.items():
        label = f"{name}: {other:.2e}"
        _draw_mark(ax, reading, other, _MARKERS[name], markersize=5, color=_MARK_COLOR, label=label)
    _draw_bounds(ax, reading)


def _draw_mark(ax: "Axes", reading: Reading, lr: float, marker: str, **kwargs: Any) -> None:
    """Mark a learning rate on the curve; without a curve, in the legend alone."""
    curve = reading.curve
    at = ([], []) if isinstance(curve, Refusal) else ([lr], [curve.loss_at(lr)])
    ax.plot(*at, linestyle="none", marker=marker, **kwargs)


def _draw_bounds(ax: "Axes", reading: Reading) -> None:
    """Draw the bounds as a bar at the bottom."""
    if isinstance(reading.bounds, Refusal):
        return
    low, high = reading.bounds
    ax.plot(
        [low, high],
        [0.02, 0.02],
        color=_MARK_COLOR,
        linewidth=4,
        solid_capstyle="butt",
        transform=ax.get_xaxis_transform(),
        label=f"bounds: {low:.2e} to {high:.2e}",
    )


def _suggestion_label(lrs: tuple[float, ...]) -> str:
    """Return the suggestion with three digits."""
    if len(lrs) == 1:
        return f"suggested lr: {lrs[0]:.2e}"
    lines = [f"suggested lr, group {index}: {lr:.2e}" for index, lr in enumerate(lrs)]
    if len(lines) > _MAX_GROUPS_IN_LEGEND:
        num_left = len(lines) - _MAX_GROUPS_IN_LEGEND + 1
        lines = [*lines[: _MAX_GROUPS_IN_LEGEND - 1], f"and {num_left} more groups"]
    return "\n".join(lines)
