"""What all plots share: importing matplotlib, making and limiting Axes, choosing points."""

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ignite_lrfinder.errors import integer, warn, wrong_type, wrong_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The first two colors of the user's style.
CURVE_COLOR, SUGGESTION_COLOR = "C0", "C1"
SKIPPED_ALPHA = 0.15
_SHADE_ON_LIGHT, _SHADE_ON_DARK = 0.14, 0.22
# The percentile of the losses that is always visible.
_VISIBLE_PERCENTILE = 60
# The distance between an Axes and the legend below it, in points: room for the axis labels.
_LEGEND_OFFSET = 38
# The approximate widths of a legend handle and of a letter, in inches.
_HANDLE_WIDTH, _LETTER_WIDTH = 0.5, 0.06
# Lower Axes, in inches, have room for the entries with a number, or for the first of these.
_SMALL_HEIGHT, _TINY_HEIGHT = 2.7, 1.9


def require_matplotlib() -> None:
    """Import matplotlib.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise ModuleNotFoundError(
            "matplotlib must be installed to plot, got none. Install it with `pip install "
            "matplotlib`."
        ) from error


def check_skip(name: str, skip: object) -> None:
    """Check a number of points to skip."""
    integer(name, skip, least=0, remedy="Pass 0 to skip no point.")


def one_axes(ax: "Axes | None", kwargs: Mapping[str, Any]) -> "Axes":
    """Return the Axes to draw on: the given one, or the Axes of a new figure."""
    if ax is None:
        return _new_axes(kwargs)
    if not hasattr(ax, "has_data"):
        raise wrong_type("ax", "a matplotlib Axes or None", ax, "Leave it out for a new figure.")
    return ax


def two_axes(
    axes: object, rows: int, columns: int, kwargs: Mapping[str, Any]
) -> "tuple[Axes, Axes]":
    """Return the two Axes to draw on: the given ones, or the Axes of a new figure."""
    if axes is None:
        axes = _new_axes({"nrows": rows, "ncols": columns, **kwargs})
    remedy = "Leave it out for a new figure."
    if not isinstance(axes, (Sequence, np.ndarray)):
        raise wrong_type("ax", "two matplotlib Axes", axes, remedy)
    if len(axes) != 2 or not all(hasattr(ax, "has_data") for ax in axes):
        raise wrong_value("ax", "two matplotlib Axes", axes, remedy)
    return axes[0], axes[1]


def _new_axes(kwargs: Mapping[str, Any]) -> Any:
    """Return the Axes of a new figure."""
    from matplotlib import pyplot as plt

    return plt.subplots(**{"layout": "constrained", **kwargs})[1]


def neutral_color(ax: "Axes") -> Any:
    """Return the color of the axis labels, which is visible in any style."""
    return ax.xaxis.label.get_color()


def is_dark(ax: "Axes") -> bool:
    """Return whether an Axes has a dark background."""
    from matplotlib.colors import to_rgb

    return float(np.mean(to_rgb(ax.get_facecolor()))) < 0.5


def shade(ax: "Axes", low: float, high: float, *, color: Any, label: str) -> None:
    """Shade a range of learning rates."""
    alpha = _SHADE_ON_DARK if is_dark(ax) else _SHADE_ON_LIGHT
    ax.axvspan(low, high, color=color, alpha=alpha, linewidth=0, label=label)


def set_lr_axis(ax: "Axes", *, log_lr: bool, low: float, high: float) -> None:
    """Set up the axis of the learning rate, with ticks that do not collide if it is logarithmic."""
    ax.set_xlabel("Learning rate")
    if not log_lr:
        return
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    if 0 < high < 100 * low:
        # Powers of ten alone would give one or two labels.
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        ax.xaxis.set_major_formatter(
            LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(np.inf, np.inf))
        )


def legend_below(ax: "Axes", *sources: "Axes", title: str | None = None) -> None:
    """Place the legend below an Axes, where it hides nothing.

    Args:
        ax: the Axes to place it below.
        sources: the Axes whose lines it names; default, `ax`.
        title: the title of the legend.
    """
    from matplotlib.figure import Figure
    from matplotlib.transforms import ScaledTranslation

    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)  # an Axes that is drawn on belongs to one
    handles, labels = [], []
    for source in sources or (ax,):
        more_handles, more_labels = source.get_legend_handles_labels()
        handles, labels = handles + more_handles, labels + more_labels
    shares = [each.get_position().height for each in dict.fromkeys((ax, *sources))]
    height = figure.get_figheight() * sum(shares)
    pairs = [pair for pair in zip(handles, labels, strict=True) if ":" in pair[1]]
    if height < _SMALL_HEIGHT and pairs:
        handles, labels = map(list, zip(*pairs, strict=True))
    if height < _TINY_HEIGHT:
        handles, labels, title = handles[: len(pairs[:1])], labels[: len(pairs[:1])], None
    if not handles:
        return
    if figure.get_layout_engine() is None and len(figure.axes) > 1:
        # Below an Axes, nothing keeps room for it, and other Axes would hide it.
        ax.legend(handles, labels, loc="best", fontsize="x-small", title=title)
        return
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    width = figure.get_figwidth() * ax.get_position().width
    num_columns = int(width / (_HANDLE_WIDTH + _LETTER_WIDTH * longest))
    down = ScaledTranslation(0, -_LEGEND_OFFSET / 72, figure.dpi_scale_trans)
    ax.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=ax.transAxes + down,
        borderaxespad=0.0,
        ncols=min(len(labels), max(1, num_columns)),
        frameon=False,
        fontsize="small",
        title=title,
    )


def shown_points(num_points: int, skip_start: int, skip_end: int) -> slice:
    """Return the points to draw; all of them if trimming would leave no curve."""
    if num_points - skip_start - skip_end >= 2:
        return slice(int(skip_start), int(num_points - skip_end))
    warn(
        f"skip_start={skip_start} and skip_end={skip_end} leave no curve of {num_points} points, "
        "so all are shown. Lower them."
    )
    return slice(0, num_points)


def limit_losses(ax: "Axes", *curves: np.ndarray) -> None:
    """Limit the loss axis, so that diverging losses do not flatten the rest of the curve."""
    finite = [losses[np.isfinite(losses)] for losses in curves]
    finite = [losses for losses in finite if len(losses)]
    if not finite:
        return
    start = max(float(np.median(losses[: max(3, len(losses) // 10)])) for losses in finite)
    lowest = min(float(losses.min()) for losses in finite)
    # If the loss never falls, show its rise.
    usual = max(float(np.percentile(losses, _VISIBLE_PERCENTILE)) for losses in finite)
    ceiling = max(start + (start - lowest), usual)
    if ax.dataLim.y1 > ceiling > lowest:
        margin = 0.05 * (ceiling - lowest)
        ax.set_ylim(lowest - margin, ceiling + margin)
