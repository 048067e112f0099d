"""What a learning rate is for: a constant or a decaying rate, and how long the training is."""

import dataclasses
from numbers import Integral

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.protocols import Schedule

_SCHEDULES = ("constant", "decay")


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The training that a learning rate is suggested for.

    Attributes:
        schedule: "constant", or "decay" for the peak of a schedule that decays towards zero.
        total_iters: the optimizer steps of the training, at least 1; None if unknown.

    Raises:
        TypeError: if `schedule` is not a string, or `total_iters` not an integer.
        ValueError: if there is no such schedule, or `total_iters` is below 1.
    """

    schedule: Schedule = "constant"
    total_iters: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        remedy = "Leave it out for a constant rate."
        if not isinstance(self.schedule, str):
            raise wrong_type("schedule", "'constant' or 'decay'", self.schedule, remedy)
        if self.schedule not in _SCHEDULES:
            raise wrong_value("schedule", "'constant' or 'decay'", self.schedule, remedy)
        remedy = "Leave it out if it is unknown."
        if self.total_iters is None:
            return
        if isinstance(self.total_iters, bool) or not isinstance(self.total_iters, Integral):
            raise wrong_type("total_iters", "an integer or None", self.total_iters, remedy)
        if self.total_iters < 1:
            raise wrong_value("total_iters", "at least 1", self.total_iters, remedy)
