"""What all plots share: importing matplotlib, making and limiting Axes, choosing points."""

import importlib
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.errors import warn, wrong_type, wrong_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion, which colour-blind readers can tell apart, also in greyscale.
CURVE_COLOR = "#0072B2"
SUGGESTION_COLOR = "#D55E00"
GREY = "0.5"
# The percentile of the losses that is always visible.
_MOSTLY = 60


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
    """Check a number of points to leave out."""
    if not isinstance(skip, numbers.Integral):
        raise wrong_type(name, "an integer", skip, "Pass a number of points.")
    if skip < 0:
        raise wrong_value(name, "at least 0", skip, "0 leaves out nothing.")


def new_axes(kwargs: Mapping[str, Any]) -> "Axes":
    """Return the Axes of a new figure."""
    from matplotlib import pyplot as plt

    return plt.subplots(**{"layout": "constrained", **kwargs})[1]


def new_pair(rows: int, columns: int, kwargs: Mapping[str, Any]) -> "NDArray[Any]":
    """Return the two Axes of a new figure, one above or beside the other."""
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, **{"layout": "constrained", **kwargs})[1]


def two_axes(axes: object) -> "tuple[Axes, Axes]":
    """Check the two Axes to draw on."""
    remedy = "Leave it out for a new figure."
    if not isinstance(axes, (Sequence, np.ndarray)):
        raise wrong_type("ax", "two matplotlib Axes", axes, remedy)
    if len(axes) != 2 or not all(hasattr(ax, "has_data") for ax in axes):
        raise wrong_value("ax", "two matplotlib Axes", axes, remedy)
    return axes[0], axes[1]


def shown_points(num_points: int, skip_start: int, skip_end: int) -> slice:
    """Return the points to draw; all of them if trimming would leave no curve."""
    if num_points - skip_start - skip_end >= 2:
        return slice(skip_start, num_points - skip_end)
    warn(
        f"skip_start={skip_start} and skip_end={skip_end} leave no curve of {num_points} points, "
        "so all are shown. Lower them."
    )
    return slice(0, num_points)


def limit_losses(ax: "Axes", *curves: np.ndarray) -> None:
    """Limit the loss axis, so that losses beyond the cliff do not flatten the valley."""
    finite = [losses[np.isfinite(losses)] for losses in curves]
    finite = [losses for losses in finite if len(losses)]
    if not finite:
        return
    start = max(float(np.median(losses[: max(3, len(losses) // 10)])) for losses in finite)
    lowest = min(float(losses.min()) for losses in finite)
    # If nothing falls, the picture shows the rise.
    usual = max(float(np.percentile(losses, _MOSTLY)) for losses in finite)
    ceiling = max(start + (start - lowest), usual)
    if max(losses.max() for losses in finite) > ceiling > lowest:
        margin = 0.05 * (ceiling - lowest)
        ax.set_ylim(lowest - margin, ceiling + margin)
