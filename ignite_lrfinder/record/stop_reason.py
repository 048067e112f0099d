"""Why a sweep ended."""

import enum


class StopReason(enum.Enum):
    """Why a sweep ended: `message` describes it, `remedy` says what to change if it was early."""

    COMPLETED = "completed"
    """Every point was tested."""
    DIVERGED = "diverged"
    """The smoothed loss rose beyond `diverge_th`."""
    NON_FINITE = "non-finite"
    """The loss became NaN or infinite."""
    OUT_OF_DATA = "out of data"
    """The data ended and could not be started again."""
    TERMINATED = "terminated"
    """Something other than the finder ended the run."""

    @property
    def message(self) -> str:
        """What ended the sweep, in words."""
        return _MESSAGES[self]

    @property
    def remedy(self) -> str:
        """What to change if the sweep should have ended differently."""
        return _REMEDIES[self]

    @property
    def is_divergence(self) -> bool:
        """Whether the sweep continued until the loss broke down, as a range test should."""
        return self in (StopReason.DIVERGED, StopReason.NON_FINITE)

    @property
    def is_cut_short(self) -> bool:
        """Whether the run ended for a reason other than the loss before every point was tested."""
        return self in (StopReason.OUT_OF_DATA, StopReason.TERMINATED)


_MESSAGES = {
    StopReason.COMPLETED: "every point up to end_lr was tested",
    StopReason.DIVERGED: "the smoothed loss rose beyond diverge_th",
    StopReason.NON_FINITE: "the loss became NaN or infinite",
    StopReason.OUT_OF_DATA: "the data ended and could not be started again",
    StopReason.TERMINATED: "something other than the finder ended the run",
}


_REMEDIES = {
    StopReason.COMPLETED: "increase end_lr, decrease diverge_th or look at lr_finder.plot()",
    StopReason.DIVERGED: "lower start_lr or raise diverge_th if the loss had not fallen yet",
    StopReason.NON_FINITE: "lower start_lr if the loss had not fallen yet",
    StopReason.OUT_OF_DATA: "pass a loader that can be iterated again, or lower num_iter",
    StopReason.TERMINATED: "look for a call of terminate() or an exception during the sweep",
}
