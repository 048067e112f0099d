"""Several sweeps in one figure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.plot.axes import (
    check_skip,
    legend_below,
    limit_losses,
    one_axes,
    require_matplotlib,
    set_lr_axis,
    shown_points,
)
from ignite_lrfinder.suggest import Curve, Reading, Refusal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The line styles distinguish the curves in greyscale.
_STYLES = ("-", "--", "-.", ":")


class HasReading(Protocol):
    """A result, which has a reading."""

    @property
    def reading(self) -> Reading:
        """The reading of the result."""
        ...


class HasResult(Protocol):
    """A finder, which has a result."""

    @property
    def result(self) -> HasReading:
        """The result of the last sweep."""
        ...


def plot_results(
    results: Mapping[str, HasReading | HasResult],
    *,
    ax: "Axes | None" = None,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    **kwargs: object,
) -> "Axes":
    """Draw the smoothed curves of several sweeps in one figure.

    Args:
        results: results or finders, by the names that the legend shows.
        ax: the Axes to draw on; default, a new figure.
        skip_start: as for `FastaiLRFinder.plot`.
        skip_end: as for `FastaiLRFinder.plot`.
        log_lr: as for `FastaiLRFinder.plot`.
        display_suggestion: whether to mark each suggestion and show it in the legend.
        kwargs: passed to `matplotlib.pyplot.subplots` if `ax` is not given.

    Returns:
        The Axes drawn on.

    Raises:
        TypeError: if `results` is not a mapping to results or finders.
        ValueError: if it is empty; or as for `FastaiLRFinder.plot`.
        LRFinderError: if a finder has not run yet.
        NoSuggestionError: if a sweep has too few points for a smooth curve.

    Example:
        >>> plot_results({"Adam": adam_finder, "SGD": sgd_finder.result})  # doctest: +SKIP
    """
    require_matplotlib()
    remedy = 'Pass {"Adam": lr_finder.result, ...}.'
    if not isinstance(results, Mapping):
        raise wrong_type("results", "a mapping from names to results", results, remedy)
    if not results:
        raise wrong_value("results", "at least one result", results, remedy)
    check_skip("skip_start", skip_start)
    check_skip("skip_end", skip_end)
    readings = {name: _reading_of(result, remedy) for name, result in results.items()}
    curves = {name: _curve_of(reading) for name, reading in readings.items()}
    ax = one_axes(ax, kwargs)
    is_new = not ax.has_data()
    low = min(float(curve.lr[0]) for curve in curves.values())
    high = max(float(curve.lr[-1]) for curve in curves.values())
    set_lr_axis(ax, log_lr=log_lr, low=low, high=high)
    for index, (name, curve) in enumerate(curves.items()):
        shown = shown_points(len(curve.lr), skip_start, skip_end)
        color = f"C{index % 10}"
        style = _STYLES[index % len(_STYLES)]
        lr = readings[name].suggest("auto", readings[name].plan) if display_suggestion else None
        label = f"{name}: {lr:.2e}" if isinstance(lr, float) else name
        ax.plot(
            curve.lr[shown], curve.smoothed[shown], style, color=color, linewidth=2, label=label
        )
        if isinstance(lr, float):
            ax.plot([lr], [curve.loss_at(lr, is_log=log_lr)], "o", markersize=8, color=color)
    if is_new:
        limit_losses(ax, *(curve.smoothed for curve in curves.values()))
    ax.set_ylabel("Smoothed loss")
    legend_below(ax, title="suggested lr" if display_suggestion else None)
    return ax


def _reading_of(result: object, remedy: str) -> Reading:
    """Return the reading of a result, or of the last result of a finder."""
    reading = getattr(getattr(result, "result", result), "reading", None)
    if not isinstance(reading, Reading):
        raise wrong_type("results", "a mapping from names to results", result, remedy)
    return reading


def _curve_of(reading: Reading) -> Curve:
    """Return the curve of a reading, which must have one."""
    if isinstance(reading.curve, Refusal):
        raise reading.curve.error()
    return reading.curve
