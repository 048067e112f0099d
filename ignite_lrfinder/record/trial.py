"""What one trial gave."""

import dataclasses
import math

import numpy as np

from ignite_lrfinder.errors import wrong_value
from ignite_lrfinder.protocols import Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What a trial gave.

    Attributes:
        lr: its learning rate; positive.
        num_iter: how many iterations were planned.
        losses: the loss of each iteration, before its step; shape (n,), n at most `num_iter`,
            read-only.
        is_diverged: whether it broke down; a loss that is not finite makes it so in any case.
        is_validation: whether these are validation losses, taken after each step.

    Raises:
        ValueError: if the learning rate is not in (0, inf), or the losses are no list of numbers.
    """

    lr: float
    num_iter: int
    losses: Array
    is_diverged: bool = False
    is_validation: bool = False

    def __post_init__(self) -> None:
        """Make the losses a read-only array, and refuse what no trial can have given."""
        losses = np.array(self.losses, dtype=np.float64)
        if losses.ndim != 1:
            raise wrong_value(
                "losses", "of shape (n,)", losses.shape, "Give one for each iteration."
            )
        if not 0 < self.lr < math.inf:
            raise wrong_value("lr", "in (0, inf)", self.lr, "Give the rate that was tried.")
        losses.flags.writeable = False
        object.__setattr__(self, "losses", losses)
        is_diverged = bool(self.is_diverged) or not bool(np.isfinite(losses).all())
        object.__setattr__(self, "is_diverged", is_diverged)

    @property
    def is_cut_short(self) -> bool:
        """Whether it ended early for another reason than its loss, as when the data ended."""
        return len(self.losses) < self.num_iter and not self.is_diverged
