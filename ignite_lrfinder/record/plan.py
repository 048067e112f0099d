"""What a learning rate is for: a constant or a decaying rate, and how long the training is."""

import dataclasses
from typing import get_args

from ignite_lrfinder.errors import integer, wrong_type, wrong_value
from ignite_lrfinder.protocols import Schedule

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


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
        if self.schedule not in SCHEDULES:
            raise wrong_value("schedule", "'constant' or 'decay'", self.schedule, remedy)
        if self.total_iters is not None:
            remedy = "Leave it out if it is unknown."
            total_iters = integer("total_iters", self.total_iters, least=1, remedy=remedy)
            object.__setattr__(self, "total_iters", total_iters)
