"""What one trial gave."""

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What a trial gave.

    Attributes:
        lr: its learning rate; positive.
        num_iter: how many iterations were planned.
        losses: the loss of each iteration, before its step; shape (n,), n at most `num_iter`,
            read-only.
        is_diverged: whether it broke down; a loss that is not finite makes it so in any case.
    """

    lr: float
    num_iter: int
    losses: NDArray[np.float64]
    is_diverged: bool = False

    def __post_init__(self) -> None:
        """Make the losses a read-only array, and look for those that are not finite."""
        losses = np.array(self.losses, dtype=np.float64)
        losses.flags.writeable = False
        object.__setattr__(self, "losses", losses)
        is_diverged = bool(self.is_diverged) or not bool(np.isfinite(losses).all())
        object.__setattr__(self, "is_diverged", is_diverged)

    @property
    def is_cut_short(self) -> bool:
        """Whether it ended early for another reason than its loss, as when the data ended."""
        return len(self.losses) < self.num_iter and not self.is_diverged
