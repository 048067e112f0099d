"""A sweep drawn: the curve with all that is read off it, and its slope."""

import contextlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.errors import NoSuggestionError, wrong_type
from ignite_lrfinder.plot.axes import (
    CURVE_COLOR,
    GREY,
    SUGGESTION_COLOR,
    check_skip,
    limit_losses,
    loss_at,
    new_axes,
    new_pair,
    shown_points,
    suggested_lr,
    two_axes,
)
from ignite_lrfinder.record import Record, reference_group
from ignite_lrfinder.suggest import Curve, curve_of, edge, suggest, suggest_all, suggest_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The other methods are told apart by shape.
_MARKERS = {"steepest": "^", "valley": "v", "minimum": "s", "slide": "D"}
_MARK_COLOR = "0.25"
_MAX_GROUPS_IN_LEGEND = 6


def plot_result(
    result: Record,
    *,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    ax: "Axes | None" = None,
    **kwargs: object,
) -> "Axes":
    """Draw the loss of a sweep over the learning rate of its first trained parameter group.

    Args:
        result: what to draw.
        skip_start: points to leave out at the start, at least 0.
        skip_end: points to leave out at the end, at least 0.
        log_lr: whether the learning rate has a logarithmic axis.
        display_suggestion: whether to mark the suggestion, and with trials the band of rates that
            they cannot tell apart; it is shown even among points left out.
        ax: the Axes to draw on; default, those of a new figure.
        kwargs: passed to `matplotlib.pyplot.subplots` where `ax` is not given.

    Returns:
        The Axes drawn on.

    Raises:
        ValueError: if skip_start or skip_end is negative.
        NoSuggestionError: if there is no point to draw.
    """
    check_skip("skip_start", skip_start)
    check_skip("skip_end", skip_end)
    if ax is not None and not hasattr(ax, "has_data"):
        raise wrong_type("ax", "a matplotlib Axes or None", ax, "Leave it out for a new figure.")
    if len(result) == 0:
        raise NoSuggestionError("The curve has too few points to be drawn: none. Raise num_iter.")
    shown = shown_points(len(result), skip_start, skip_end)
    ax = new_axes(kwargs) if ax is None else ax
    is_new = not ax.has_data()
    if log_lr:
        ax.set_xscale("log")
    _draw_losses(ax, result, shown)
    if is_new:
        limit_losses(ax, result.losses)
    if display_suggestion:
        _draw_cliff(ax, result, shown)
        _draw_suggestions(ax, result)
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Loss")
    ax.legend(fontsize="small")
    return ax


def plot_derivative(
    result: Record,
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
        result: what to draw.
        ax: the two Axes to draw on, the upper first; default, those of a new figure.
        skip_start: as for `plot_result`.
        skip_end: as for `plot_result`.
        log_lr: as for `plot_result`.
        display_suggestion: as for `plot_result`.
        kwargs: passed to `matplotlib.pyplot.subplots` where `ax` is not given.

    Returns:
        The two Axes; shape (2,).

    Raises:
        ValueError: as for `plot_result`, or if there are not two axes.
        NoSuggestionError: if there are too few points for a smooth curve.
    """
    curve = curve_of(result)
    # A slope takes less room than the loss.
    layout = {"figsize": (6.4, 6.4), "height_ratios": (3, 2), "sharex": True}
    upper, lower = two_axes(new_pair(2, 1, {**layout, **kwargs}) if ax is None else ax)
    plot_result(
        result,
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
    if display_suggestion and (lr := suggested_lr(result)) is not None:
        lower.axvline(lr, color=SUGGESTION_COLOR, linestyle="--", linewidth=1)
    upper.set_xlabel("")
    lower.set_xlabel("Learning rate")
    lower.set_ylabel("Change in loss\nper decade")
    return np.array([upper, lower], dtype=object)


def _draw_losses(ax: "Axes", result: Record, shown: slice) -> None:
    """Draw raw losses as faint points, the smoothed ones as a line."""
    lr = result.lr[:, reference_group(result)]
    ax.plot(
        lr[shown],
        result.losses[shown],
        linestyle="none",
        marker=".",
        color=CURVE_COLOR,
        alpha=0.35,
        label="loss of each point",
    )
    smoothed = _smoothed(result)
    if smoothed is not None:
        is_shown = (smoothed.lr >= lr[shown][0]) & (smoothed.lr <= lr[shown][-1])
        ax.plot(
            smoothed.lr[is_shown],
            smoothed.smoothed[is_shown],
            color=CURVE_COLOR,
            linewidth=2,
            label="smoothed loss",
        )


def _smoothed(result: Record) -> Curve | None:
    """Return the zero-phase curve, or None where there are too few points for one."""
    try:
        return curve_of(result)
    except NoSuggestionError:
        return None


def _draw_cliff(ax: "Axes", result: Record, shown: slice) -> None:
    """Shade the rates from which the loss no longer recovers, where the sweep came to them."""
    try:
        curve = curve_of(result)
        cliff = curve.lr[edge(curve)]
    except NoSuggestionError:
        return
    end = float(result.lr[shown, reference_group(result)][-1])
    if cliff < end:
        ax.axvspan(float(cliff), end, color=GREY, alpha=0.15, linewidth=0, label="diverging")


def _draw_suggestions(ax: "Axes", result: Record) -> None:
    """Mark the suggestion, its interval, the other methods and the bounds on the curve."""
    try:
        lrs = suggest(result)
    except NoSuggestionError as error:
        warnings.warn(f"No suggestion is shown. {error}", UserWarning, stacklevel=4)
        ax.plot([], [], linestyle="none", label="no suggestion")
        return
    curve, group = curve_of(result), reference_group(result)
    if result.interval is not None:
        ax.axvspan(
            *result.interval,
            color=SUGGESTION_COLOR,
            alpha=0.12,
            linewidth=0,
            label="equally good in short trials",
        )
    ax.axvline(lrs[group], color=SUGGESTION_COLOR, linestyle="--", linewidth=1)
    ax.plot(
        [lrs[group]],
        [loss_at(curve, lrs[group])],
        linestyle="none",
        marker="o",
        markersize=9,
        color=SUGGESTION_COLOR,
        zorder=3,
        label=_suggestion_label(lrs),
    )
    _draw_other_methods(ax, result, curve)


def _draw_other_methods(ax: "Axes", result: Record, curve: Curve) -> None:
    """Mark what the other methods suggest by small shapes, and the bounds by a bar below."""
    group = reference_group(result)
    for name, lrs in suggest_all(result).items():
        if name in _MARKERS:
            ax.plot(
                [lrs[group]],
                [loss_at(curve, lrs[group])],
                linestyle="none",
                marker=_MARKERS[name],
                markersize=5,
                color=_MARK_COLOR,
                label=f"{name}: {lrs[group]:.2e}",
            )
    with contextlib.suppress(NoSuggestionError):
        low, high = (bound[group] for bound in suggest_bounds(result))
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
    """Write the suggestion in three digits."""
    if len(lrs) == 1:
        return f"suggested lr: {lrs[0]:.2e}"
    lines = [f"suggested lr, group {index}: {lr:.2e}" for index, lr in enumerate(lrs)]
    if len(lines) > _MAX_GROUPS_IN_LEGEND:
        num_left = len(lines) - _MAX_GROUPS_IN_LEGEND + 1
        lines = [*lines[: _MAX_GROUPS_IN_LEGEND - 1], f"and {num_left} groups more"]
    return "\n".join(lines)
