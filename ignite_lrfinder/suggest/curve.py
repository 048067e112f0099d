"""The smoothed loss of a sweep over the learning rate, or why there is none."""

import dataclasses
import math

import numpy as np

from ignite_lrfinder.errors import NoSuggestionError
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import Record, reference_group, usable_points
from ignite_lrfinder.suggest.smoothing import correlation_of, noise_of, num_neighbors, smooth

MIN_POINTS = 10
"""The fewest points that make a curve; with fewer, noise cannot be told from shape."""

# Median and weights reduce normal noise as much as the mean of 65 % of the neighbors would;
# measured for 10 to 1,000 points.
_EFFECTIVE_SHARE = 0.65


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no learning rate to suggest, and what to change.

    A refusal is a value, so that words and plots can show it. The methods of a result raise it as
    an error.
    """

    reason: str

    def error(self) -> NoSuggestionError:
        """Return the error to raise where a number was asked for."""
        return NoSuggestionError(self.reason)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """The loss over the learning rate of the reference parameter group, T points.

    Attributes:
        lr: the learning rate of each point, positive and strictly increasing; shape (T,).
        losses: the loss of each point as measured, all finite; shape (T,).
        smoothed: the zero-phase smoothed loss of each point; shape (T,).
        noise: the standard deviation of `losses` about `smoothed`, estimated robustly; in [0, inf).
        correlation: the correlation of the noise of neighboring points; in [-1, 1].
    """

    lr: Array
    losses: Array
    smoothed: Array
    noise: float
    correlation: float = 0.0

    @property
    def smoothed_noise(self) -> float:
        """The standard deviation of the noise that smoothing leaves, if it is not correlated."""
        return self.noise / math.sqrt(_EFFECTIVE_SHARE * num_neighbors(len(self.lr)))

    def loss_at(self, lr: float, *, is_log: bool = True) -> float:
        """Return the smoothed loss at a learning rate, interpolated over log(lr) or over lr."""
        axis = np.log if is_log else np.asarray
        return float(np.interp(axis(lr), axis(self.lr), self.smoothed))


def curve_of(record: Record) -> Curve | Refusal:
    """Return the curve of a sweep over the reference learning rate, from its usable points.

    Args:
        record: what a sweep measured.

    Returns:
        The curve, see `usable_points` and `reference_group`; a refusal if there are fewer than
        `MIN_POINTS` usable points, or if their learning rates do not increase.
    """
    points = usable_points(record)
    lr = record.lr[points, reference_group(record)]
    if len(lr) < MIN_POINTS:
        return Refusal(
            f"The curve has too few points: {len(lr)} with a finite loss, of {len(record)}, and a "
            f"suggestion needs {MIN_POINTS}. Raise num_iter, or lower start_lr if the loss broke "
            "down at once."
        )
    if np.any(np.diff(lr) <= 0):
        return Refusal("The learning rate does not rise at every point. Raise end_lr.")
    return curve_through(lr, record.losses[points])


def curve_through(lr: Array, losses: Array) -> Curve:
    """Return the curve through points.

    Args:
        lr: positive and strictly increasing; shape (T,), T at least `MIN_POINTS`.
        losses: all finite; shape (T,).
    """
    smoothed = smooth(np.log(lr), losses)
    return Curve(
        lr=lr,
        losses=losses,
        smoothed=smoothed,
        noise=noise_of(losses),
        correlation=correlation_of(losses, smoothed),
    )
