"""Why a sweep ended."""

import enum


class StopReason(enum.Enum):
    """Say why a sweep ended: `message` in words, `remedy` what to change if it was too early."""

    COMPLETED = "completed"
    """Every point was tested."""
    DIVERGED = "diverged"
    """The smoothed loss rose beyond `diverge_th`."""
    NON_FINITE = "non-finite"
    """The loss became NaN or infinite."""
    OUT_OF_DATA = "out of data"
    """The data ended and could not be started again."""
    TERMINATED = "terminated"
    """The run was ended by something else than the finder."""

    @property
    def message(self) -> str:
        """Tell in words what ended the sweep."""
        return _MESSAGES[self]

    @property
    def remedy(self) -> str:
        """Tell what to change if the sweep ought to have ended otherwise."""
        return _REMEDIES[self]

    @property
    def is_divergence(self) -> bool:
        """Tell whether the sweep went on until the loss broke down, as a range test should."""
        return self in (StopReason.DIVERGED, StopReason.NON_FINITE)


_MESSAGES = {
    StopReason.COMPLETED: "every point up to end_lr was tested",
    StopReason.DIVERGED: "the smoothed loss rose beyond diverge_th",
    StopReason.NON_FINITE: "the loss became NaN or infinite",
    StopReason.OUT_OF_DATA: "the data ended and could not be started again",
    StopReason.TERMINATED: "the run was ended by something else than the finder",
}


_REMEDIES = {
    StopReason.COMPLETED: "increase end_lr, decrease diverge_th or look at lr_finder.plot()",
    StopReason.DIVERGED: "lower start_lr or raise diverge_th if the loss had not fallen yet",
    StopReason.NON_FINITE: "lower start_lr if the loss had not fallen yet",
    StopReason.OUT_OF_DATA: "pass a loader that can be iterated again, or lower num_iter",
    StopReason.TERMINATED: "look for a call of terminate() or an exception during the sweep",
}
