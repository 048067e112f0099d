"""A result drawn on matplotlib Axes; matplotlib is imported when a plot is asked for."""

import importlib
import numbers
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ignite_lrfinder.advice import suggest
from ignite_lrfinder.curve import Curve, curve_of, reference_group
from ignite_lrfinder.errors import NoSuggestionError, wrong_type, wrong_value
from ignite_lrfinder.result import LRFinderResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion: told apart by the colour-blind, and dark and light in grey.
_CURVE_COLOR = "#0072B2"
_SUGGESTION_COLOR = "#D55E00"
_MAX_GROUPS_IN_LEGEND = 6


def require_matplotlib() -> None:
    """Import matplotlib, or say how to get it.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise ModuleNotFoundError(
            "This method requires matplotlib to be installed. Install it with "
            "`pip install matplotlib`."
        ) from error


def plot_result(
    result: LRFinderResult,
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
    _check_skip("skip_start", skip_start)
    _check_skip("skip_end", skip_end)
    if ax is not None and not hasattr(ax, "has_data"):
        raise wrong_type("ax", "a matplotlib Axes or None", ax, "Leave it out for a new figure.")
    if len(result) == 0:
        raise NoSuggestionError("The curve has too few points to be drawn: none. Raise num_iter.")
    shown = _shown_points(len(result), skip_start, skip_end)
    ax = _new_axes(kwargs) if ax is None else ax
    is_new = not ax.has_data()
    if log_lr:
        ax.set_xscale("log")
    _draw_losses(ax, result, shown)
    if is_new:
        _limit_losses(ax, result.losses)
    if display_suggestion:
        _draw_suggestion(ax, result)
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Loss")
    ax.legend()
    return ax


def _check_skip(name: str, skip: object) -> None:
    """Refuse to leave out something else than a number of points."""
    if not isinstance(skip, numbers.Integral):
        raise wrong_type(name, "an integer", skip, "Pass a number of points.")
    if skip < 0:
        remedy = f"{name} cannot be negative; 0 leaves out nothing."
        raise wrong_value(name, "at least 0", skip, remedy)


def _new_axes(kwargs: Mapping[str, Any]) -> "Axes":
    """Make a figure with one Axes."""
    from matplotlib import pyplot as plt

    return plt.subplots(**kwargs)[1]


def _shown_points(num_points: int, skip_start: int, skip_end: int) -> slice:
    """Return the points to draw; all of them where the trimming would leave no curve."""
    if num_points - skip_start - skip_end >= 2:
        return slice(skip_start, num_points - skip_end)
    warnings.warn(
        f"skip_start={skip_start} and skip_end={skip_end} leave no curve of {num_points} points, "
        "so all are shown. Lower them.",
        UserWarning,
        stacklevel=4,
    )
    return slice(0, num_points)


def _draw_losses(ax: "Axes", result: LRFinderResult, shown: slice) -> None:
    """Draw raw losses as faint points, the smoothed ones as a line."""
    lr = result.lr[:, reference_group(result)]
    ax.plot(
        lr[shown],
        result.losses[shown],
        linestyle="none",
        marker=".",
        color=_CURVE_COLOR,
        alpha=0.35,
        label="loss of each point",
    )
    smoothed = _smoothed(result)
    if smoothed is not None:
        is_shown = (smoothed.lr >= lr[shown][0]) & (smoothed.lr <= lr[shown][-1])
        ax.plot(
            smoothed.lr[is_shown],
            smoothed.smoothed[is_shown],
            color=_CURVE_COLOR,
            linewidth=2,
            label="smoothed loss",
        )


def _smoothed(result: LRFinderResult) -> Curve | None:
    """Return the zero-phase curve, or None where there are too few points for one."""
    try:
        return curve_of(result)
    except NoSuggestionError:
        return None


def _limit_losses(ax: "Axes", losses: np.ndarray) -> None:
    """Keep losses beyond the cliff from flattening the valley: they leave at the top."""
    finite = losses[np.isfinite(losses)]
    if len(finite) == 0:
        return
    start, lowest = np.median(finite[: max(3, len(finite) // 10)]), finite.min()
    ceiling = start + (start - lowest)
    if finite.max() > ceiling > lowest:
        margin = 0.05 * (ceiling - lowest)
        ax.set_ylim(lowest - margin, ceiling + margin)


def _draw_suggestion(ax: "Axes", result: LRFinderResult) -> None:
    """Mark the suggestion on the curve, with one line in the legend for each parameter group."""
    try:
        lrs = suggest(result)
    except NoSuggestionError as error:
        warnings.warn(f"No suggestion is shown. {error}", UserWarning, stacklevel=4)
        ax.plot([], [], linestyle="none", label="no suggestion")
        return
    if result.interval is not None:
        ax.axvspan(
            *result.interval,
            color=_SUGGESTION_COLOR,
            alpha=0.12,
            linewidth=0,
            label="trials as good as the best",
        )
    curve = curve_of(result)
    lr = lrs[reference_group(result)]
    loss = float(np.interp(np.log(lr), np.log(curve.lr), curve.smoothed))
    ax.axvline(lr, color=_SUGGESTION_COLOR, linestyle="--", linewidth=1)
    ax.plot(
        [lr],
        [loss],
        linestyle="none",
        marker="o",
        markersize=9,
        color=_SUGGESTION_COLOR,
        zorder=3,
        label=_suggestion_label(lrs),
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
