"""One sweep: the loss curve with the suggestion, the bounds and the diverging range."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.errors import NoSuggestionError, warn
from ignite_lrfinder.plot.axes import (
    CURVE_COLOR,
    SKIPPED_ALPHA,
    SUGGESTION_COLOR,
    check_skip,
    legend_below,
    limit_losses,
    neutral_color,
    one_axes,
    require_matplotlib,
    set_lr_axis,
    shade,
    shown_points,
)
from ignite_lrfinder.suggest import Curve, Reading, Refusal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The names of the other methods in the legend, and their markers.
_METHODS = {
    "steepest": ("steepest", "^"),
    "valley": ("valley", "v"),
    "minimum": ("a tenth of the minimum", "s"),
    "slide": ("slide", "D"),
}
_MAX_GROUPS_IN_LEGEND = 6
_MAX_MARKER_SIZE, _MIN_MARKER_SIZE = 6.0, 1.5


def plot_sweep(
    reading: Reading,
    *,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    ax: "Axes | None" = None,
    methods: bool = False,
    legend: bool = True,
    **kwargs: object,
) -> "Axes":
    """Draw the loss of a sweep over the learning rate of its reference parameter group.

    See `LRFinderResult.plot` for the parameters.

    Raises:
        NoSuggestionError: if there is no point to draw.
    """
    shown = points_to_show(reading, skip_start, skip_end, display_suggestion=display_suggestion)
    ax = one_axes(ax, kwargs)
    draw_sweep(
        reading,
        shown,
        ax,
        log_lr=log_lr,
        display_suggestion=display_suggestion,
        methods=methods,
    )
    if legend:
        legend_below(ax)
    return ax


def sweep_figure(reading: Reading, figsize: tuple[float, float]) -> "Figure":
    """Draw a sweep in a figure that pyplot does not manage.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained")
    ax = figure.subplots()
    draw_sweep(reading, slice(None), ax)
    legend_below(ax)
    return figure


def points_to_show(
    reading: Reading, skip_start: int, skip_end: int, *, display_suggestion: bool
) -> slice:
    """Check what is to be drawn, warn of a suggestion that is missing, and return the points.

    Raises:
        NoSuggestionError: if there is no point.
    """
    check_skip("skip_start", skip_start)
    check_skip("skip_end", skip_end)
    num_points = len(reading.record)
    if num_points == 0:
        raise NoSuggestionError("A curve must have points to be drawn, got none. Raise num_iter.")
    shown = shown_points(num_points, skip_start, skip_end)
    lr = reading.suggest("auto", reading.plan)
    if display_suggestion and isinstance(lr, Refusal):
        warn(f"No suggestion is shown. {lr.reason}")
    return shown


def is_within(curve: Curve, reading: Reading, shown: slice) -> NDArray[np.bool_]:
    """Return which points of a curve lie within the rates of the points that are shown."""
    lr = reading.record.lr[:, reading.group][shown]
    return (curve.lr >= lr[0]) & (curve.lr <= lr[-1])


def draw_sweep(
    reading: Reading,
    shown: slice,
    ax: "Axes",
    *,
    log_lr: bool = True,
    display_suggestion: bool = True,
    methods: bool = False,
) -> None:
    """Draw a sweep with its suggestion; points outside `shown` are faint."""
    is_new = not ax.has_data()
    lr = reading.record.lr[:, reading.group]
    lr = lr[lr > 0] if log_lr else lr
    if len(lr):
        set_lr_axis(ax, log_lr=log_lr, low=float(lr[0]), high=float(lr[-1]))
    _draw_losses(ax, reading, shown)
    if is_new:
        limit_losses(ax, reading.record.losses[: shown.stop])
    if display_suggestion:
        _draw_cliff(ax, reading)
        _draw_suggestions(ax, reading, methods=methods, is_log=log_lr)
    ax.set_ylabel("Loss")
    if not (reading.record.lr == reading.record.lr[:, :1]).all():
        ax.set_xlabel(f"Learning rate of parameter group {reading.group}")


def _draw_losses(ax: "Axes", reading: Reading, shown: slice) -> None:
    """Draw the losses as points and the smoothed losses as a line."""
    lr, losses = reading.record.lr[:, reading.group], reading.record.losses
    size = float(np.clip(60 / np.sqrt(len(lr)), _MIN_MARKER_SIZE, _MAX_MARKER_SIZE))
    dots = {"linestyle": "none", "marker": ".", "markersize": size, "color": CURVE_COLOR}
    is_skipped = np.ones(len(lr), dtype=bool)
    is_skipped[shown] = False
    ax.plot(lr[shown], losses[shown], alpha=0.4, label="loss of each point", **dots)
    ax.plot(lr[is_skipped], losses[is_skipped], alpha=SKIPPED_ALPHA, **dots)
    curve = reading.curve
    if not isinstance(curve, Refusal):
        line = {"color": CURVE_COLOR, "linewidth": 2}
        is_shown = is_within(curve, reading, shown)
        ax.plot(curve.lr, curve.smoothed, alpha=SKIPPED_ALPHA, **line)
        ax.plot(curve.lr[is_shown], curve.smoothed[is_shown], label="smoothed loss", **line)


def _draw_cliff(ax: "Axes", reading: Reading) -> None:
    """Shade the rates beyond the edge, if the sweep reached it."""
    if isinstance(reading.descent, Refusal):
        return
    cliff = float(reading.descent.curve.lr[reading.descent.edge])
    end = float(reading.record.lr[-1, reading.group])
    if reading.interval is not None:  # rates that trials have shown to be good
        cliff = max(cliff, reading.interval[1])
    if cliff < end:
        shade(ax, cliff, end, color=neutral_color(ax), label="diverging")


def _draw_suggestions(ax: "Axes", reading: Reading, *, methods: bool, is_log: bool) -> None:
    """Mark the suggestion, its interval, the bounds, and if requested the other methods."""
    rates = reading.suggestions(reading.plan)
    if "auto" not in rates:
        ax.plot([], [], linestyle="none", label="no suggestion")
        return
    lr = rates.pop("auto")
    if reading.interval is not None:
        shade(
            ax, *reading.interval, color=SUGGESTION_COLOR, label="range of the best rate (trials)"
        )
    ax.axvline(lr, color=SUGGESTION_COLOR, linestyle="--", linewidth=1)
    _draw_mark(
        ax,
        reading,
        lr,
        is_log=is_log,
        marker="o",
        markersize=8,
        color=SUGGESTION_COLOR,
        zorder=3,
        label=_suggestion_label(reading.lrs_at(lr)),
    )
    _draw_bounds(ax, reading)
    for name, other in rates.items() if methods else ():
        words, marker = _METHODS[name]
        _draw_mark(
            ax,
            reading,
            other,
            is_log=is_log,
            marker=marker,
            markersize=5,
            color=neutral_color(ax),
            zorder=4,
            label=f"{words}: {other:.2e}",
        )


def _draw_mark(ax: "Axes", reading: Reading, lr: float, *, is_log: bool, **style: Any) -> None:
    """Mark a learning rate on the curve; without a curve, only in the legend."""
    curve = reading.curve
    if isinstance(curve, Refusal):
        ax.plot([], [], linestyle="none", **style)
    else:
        ax.plot([lr], [curve.loss_at(lr, is_log=is_log)], linestyle="none", **style)


def _draw_bounds(ax: "Axes", reading: Reading) -> None:
    """Draw the bounds as a bar at the bottom of the Axes."""
    bounds = reading.bounds(reading.plan)
    if isinstance(bounds, Refusal):
        return
    low, high = bounds
    ax.plot(
        [low, high],
        [0.0, 0.0],
        color=neutral_color(ax),
        linewidth=5,
        solid_capstyle="butt",
        transform=ax.get_xaxis_transform(),
        label=f"bounds: {low:.2e} to {high:.2e}",
    )


def _suggestion_label(lrs: tuple[float, ...]) -> str:
    """Return the suggestion with three digits."""
    if len({f"{lr:.2e}" for lr in lrs}) == 1:
        return f"suggested lr: {lrs[0]:.2e}"
    lines = [f"suggested lr, group {index}: {lr:.2e}" for index, lr in enumerate(lrs)]
    if len(lines) > _MAX_GROUPS_IN_LEGEND:
        num_left = len(lines) - _MAX_GROUPS_IN_LEGEND + 1
        lines = [*lines[: _MAX_GROUPS_IN_LEGEND - 1], f"and {num_left} more groups"]
    return "\n".join(lines)
