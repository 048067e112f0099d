"""One trial: its rate, losses and outcome."""

import dataclasses
import math

import numpy as np

from ignite_lrfinder.errors import wrong_value
from ignite_lrfinder.protocols import Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A short training run at one fixed learning rate.

    Attributes:
        lr: its learning rate; positive.
        num_iter: the number of iterations planned.
        losses: the loss of each iteration, before its step; shape (n,), n at most `num_iter`,
            read-only.
        is_diverged: whether it broke down; always true if a loss is not finite.
        is_validation: whether the losses are validation losses, measured after each step.

    Raises:
        ValueError: if the learning rate is not in (0, inf), or the losses are not a list of
            numbers.
    """

    lr: float
    num_iter: int
    losses: Array
    is_diverged: bool = False
    is_validation: bool = False

    def __post_init__(self) -> None:
        """Make the losses a read-only array and check the values."""
        losses = np.array(self.losses, dtype=np.float64)
        if losses.ndim != 1:
            raise wrong_value(
                "losses", "of shape (n,)", losses.shape, "Pass one for each iteration."
            )
        if not 0 < self.lr < math.inf:
            raise wrong_value("lr", "in (0, inf)", self.lr, "Pass the rate that was tried.")
        losses.flags.writeable = False
        object.__setattr__(self, "losses", losses)
        is_diverged = bool(self.is_diverged) or not bool(np.isfinite(losses).all())
        object.__setattr__(self, "is_diverged", is_diverged)

    @property
    def is_cut_short(self) -> bool:
        """Whether it ended early for a reason other than its loss, such as the end of the data."""
        return len(self.losses) < self.num_iter and not self.is_diverged
