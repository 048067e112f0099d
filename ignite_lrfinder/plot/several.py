"""Several sweeps drawn together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.plot.axes import (
    check_skip,
    limit_losses,
    loss_at,
    new_axes,
    require_matplotlib,
    shown_points,
    suggested_lr,
)
from ignite_lrfinder.record import Record
from ignite_lrfinder.suggest import curve_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, with line styles to tell them apart in grey.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")


def plot_results(
    results: Mapping[str, Record],
    *,
    ax: "Axes | None" = None,
    skip_start: int = 10,
    skip_end: int = 5,
    log_lr: bool = True,
    display_suggestion: bool = True,
    **kwargs: object,
) -> "Axes":
    """Draw the smooth curves of several sweeps together.

    Args:
        results: the results by the names that the legend gives them.
        ax: the Axes to draw on; default, those of a new figure.
        skip_start: as for `FastaiLRFinder.plot`.
        skip_end: as for `FastaiLRFinder.plot`.
        log_lr: as for `FastaiLRFinder.plot`.
        display_suggestion: whether to mark each suggestion and write it in the legend.
        kwargs: passed to `matplotlib.pyplot.subplots` where `ax` is not given.

    Returns:
        The Axes drawn on.

    Raises:
        TypeError: if `results` is no mapping.
        ValueError: if it is empty; or as for `FastaiLRFinder.plot`.
        NoSuggestionError: if a result has too few points for a smooth curve.

    Example:
        >>> plot_results({"Adam": adam.result, "SGD": sgd.result})  # doctest: +SKIP
    """
    require_matplotlib()
    if not isinstance(results, Mapping):
        remedy = 'Pass {"Adam": lr_finder.result, ...}.'
        raise wrong_type("results", "a mapping from names to results", results, remedy)
    if not results:
        raise wrong_value("results", "at least one result", results, "Run a sweep first.")
    check_skip("skip_start", skip_start)
    check_skip("skip_end", skip_end)
    curves = {name: curve_of(result) for name, result in results.items()}
    ax = new_axes(kwargs) if ax is None else ax
    is_new = not ax.has_data()
    if log_lr:
        ax.set_xscale("log")
    for index, (name, curve) in enumerate(curves.items()):
        shown = shown_points(len(curve.lr), skip_start, skip_end)
        color = _COLORS[index % len(_COLORS)]
        style = _STYLES[index % len(_STYLES)]
        lr = suggested_lr(results[name]) if display_suggestion else None
        label = name if lr is None else f"{name}: {lr:.2e}"
        ax.plot(
            curve.lr[shown], curve.smoothed[shown], style, color=color, linewidth=2, label=label
        )
        if lr is not None:
            ax.plot([lr], [loss_at(curve, lr)], "o", markersize=8, color=color)
    if is_new:
        limit_losses(ax, *(curve.smoothed for curve in curves.values()))
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Smoothed loss")
    ax.legend(fontsize="small", title="suggested lr" if display_suggestion else None)
    return ax
