"""The trials after a sweep: which is next, and their results."""

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.record import StopReason, Trial
from ignite_lrfinder.suggest import PlannedTrial, Reading, Trials, broken_iteration, next_trial
from ignite_lrfinder.sweep.measurement import Measurement

_MAX_ALIKE = 3


class TrialSequence:
    """Plan trials one after the other, each from the results of the previous ones.

    Args:
        settings: the settings of the trials; None for no trials.
        is_validation: whether their losses are validation losses.

    Attributes:
        planned: the trial that is next or under way.
        trials: the finished trials.
    """

    def __init__(self, settings: Trials | None, *, is_validation: bool) -> None:
        self.planned: PlannedTrial | None = None
        self.trials: list[Trial] = []
        self._settings = settings
        self._is_validation = is_validation

    @property
    def name(self) -> str:
        """The planned trial in words."""
        lr = "" if self.planned is None else f" at {self.planned.lr:.1e}"
        most = 0 if self._settings is None else self._settings.max_trials
        return f"Trial {len(self.trials) + 1} of at most {most}{lr}"

    def plan(self, sweep: Reading) -> PlannedTrial | None:
        """Plan the next trial after a sweep; return None if there is none."""
        is_cut_short = sweep.record.stop_reason.is_cut_short
        if self._settings is not None and not is_cut_short and not self._is_hopeless(sweep):
            try:
                self.planned = next_trial(self._settings, sweep, self.trials)
            except LRFinderError:
                # The loss was NaN from the start, as the result will say.
                self.planned = None
        return self.planned

    def store(self, measurement: Measurement) -> None:
        """Store the result of the planned trial, if there is one."""
        if self.planned is None:
            return
        trial = Trial(
            lr=self.planned.lr,
            num_iter=self.planned.num_iter,
            losses=measurement.losses,
            is_diverged=measurement.reason is StopReason.NON_FINITE,
            is_validation=self._is_validation,
        )
        self.trials.append(trial)
        self.planned = None

    def _is_hopeless(self, sweep: Reading) -> bool:
        """Return whether the last trials all diverged on the same bad batch."""
        last = self.trials[-_MAX_ALIKE:]
        return len(last) == _MAX_ALIKE and broken_iteration(sweep.record, last) is not None
