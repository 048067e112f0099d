"""What all plots share: matplotlib, imported when one is asked for, Axes, and what they show."""

import importlib
import numbers
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.errors import NoSuggestionError, wrong_type, wrong_value
from ignite_lrfinder.record import Record, reference_group
from ignite_lrfinder.suggest import Curve, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion: told apart by the colour-blind, and dark and light in grey.
CURVE_COLOR = "#0072B2"
SUGGESTION_COLOR = "#D55E00"
GREY = "0.5"
# Percentile of the losses that a picture shows in any case.
_MOSTLY = 60


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


def check_skip(name: str, skip: object) -> None:
    """Refuse to leave out something else than a number of points."""
    if not isinstance(skip, numbers.Integral):
        raise wrong_type(name, "an integer", skip, "Pass a number of points.")
    if skip < 0:
        remedy = f"{name} cannot be negative; 0 leaves out nothing."
        raise wrong_value(name, "at least 0", skip, remedy)


def new_axes(kwargs: Mapping[str, Any]) -> "Axes":
    """Make a figure with one Axes."""
    from matplotlib import pyplot as plt

    return plt.subplots(**{"layout": "constrained", **kwargs})[1]


def new_pair(rows: int, columns: int, kwargs: Mapping[str, Any]) -> "NDArray[Any]":
    """Make a figure with two Axes, above or beside one another."""
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, **{"layout": "constrained", **kwargs})[1]


def two_axes(axes: object) -> "tuple[Axes, Axes]":
    """Return the two Axes to draw on."""
    remedy = "Leave it out for a new figure."
    if not isinstance(axes, (Sequence, np.ndarray)):
        raise wrong_type("ax", "two matplotlib Axes", axes, remedy)
    if len(axes) != 2 or not all(hasattr(ax, "has_data") for ax in axes):
        raise wrong_value("ax", "two matplotlib Axes", axes, remedy)
    return axes[0], axes[1]


def shown_points(num_points: int, skip_start: int, skip_end: int) -> slice:
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


def limit_losses(ax: "Axes", *curves: np.ndarray) -> None:
    """Keep losses beyond the cliff from flattening the valley: they leave at the top."""
    finite = [losses[np.isfinite(losses)] for losses in curves]
    finite = [losses for losses in finite if len(losses)]
    if not finite:
        return
    start = max(float(np.median(losses[: max(3, len(losses) // 10)])) for losses in finite)
    lowest = min(float(losses.min()) for losses in finite)
    # Where nothing falls, what rises is the picture.
    usual = max(float(np.percentile(losses, _MOSTLY)) for losses in finite)
    ceiling = max(start + (start - lowest), usual)
    if max(losses.max() for losses in finite) > ceiling > lowest:
        margin = 0.05 * (ceiling - lowest)
        ax.set_ylim(lowest - margin, ceiling + margin)


def suggested_lr(result: Record) -> float | None:
    """Return the suggestion for the drawn group, or None where there is none."""
    try:
        return suggest(result)[reference_group(result)]
    except NoSuggestionError:
        return None


def loss_at(curve: Curve, lr: float) -> float:
    """Return the smoothed loss at a learning rate."""
    return float(np.interp(np.log(lr), np.log(curve.lr), curve.smoothed))
