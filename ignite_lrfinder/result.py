"""`LRFinderResult`: a record with methods to query, plot, print, save and load it."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from numpy.typing import NDArray

from ignite_lrfinder import report
from ignite_lrfinder.apply import apply_lr
from ignite_lrfinder.plot import plot_derivative, plot_sweep, plot_trials, require_matplotlib
from ignite_lrfinder.protocols import OptimizerLike, Schedule
from ignite_lrfinder.record import Plan, Record, load_record, plain_data, save_record
from ignite_lrfinder.schedulers import Scheduler
from ignite_lrfinder.suggest import Reading, Refusal, reading_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LRFinderResult(Record):
    """The record of a sweep of T points over G parameter groups, with every answer it supports.

    Attributes:
        lr: the learning rate of each point and parameter group, bit for bit as the optimizer used
            it; float64, shape (T, G), read-only.
        losses: the loss of each point as the trainer returned it; float64, shape (T,), read-only.
        smoothed_losses: the causal moving average of `losses` that decided when to stop; float64,
            shape (T,), read-only. Suggestions do not use it, because it lags.
        stop_reason: why the sweep ended.
        settings: the settings of the sweep.
        trials: the short training runs at fixed rates that followed the sweep, in order.
        non_finite_batch: the batch of its epoch, counted from 1, on which the loss became NaN or
            infinite; None if it did not, or if the batch is unknown.
        not_restored: paths to the objects of the training that could not be restored after the
            block, such as `train_step.<closure>.replay`.
        num_batches: the number of batches in the data; None if it has no length, or if there are
            several processes.

    Example:
        >>> import numpy as np
        >>> from ignite_lrfinder import StopReason, SweepSettings
        >>> lr = np.geomspace(1e-5, 1.0, 101)
        >>> losses = np.minimum(1.0, np.abs(np.log10(lr) + 1) / 2)
        >>> result = LRFinderResult(
        ...     lr=lr[:, None],
        ...     losses=losses,
        ...     smoothed_losses=losses,
        ...     stop_reason=StopReason.COMPLETED,
        ...     settings=SweepSettings(
        ...         start_lr=(1e-5,),
        ...         end_lr=(1.0,),
        ...         num_iter=101,
        ...         step_mode="exp",
        ...         smooth_f=0.05,
        ...         diverge_th=5.0,
        ...     ),
        ... )
        >>> result.lr.shape, len(result)
        ((101, 1), 101)
        >>> round(result.lr_suggestion("minimum"), 2)
        0.01
    """

    @classmethod
    def of(cls, record: Record) -> "LRFinderResult":
        """Return a record as a result."""
        fields = dataclasses.fields(Record)
        return cls(**{field.name: getattr(record, field.name) for field in fields})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "LRFinderResult":
        """Read a result that `save` wrote; every number comes back bit for bit.

        Args:
            path: the file to read.

        Returns:
            The result.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it is not a result, or a result of another version.
        """
        return cls.of(load_record(path))

    @property
    def reading(self) -> Reading:
        """The reading of the record, computed once."""
        return self._reading

    # A cached property does not fit the protocols of those that take a result.
    _reading = functools.cached_property(reading_of)

    def __repr__(self) -> str:
        """Return `summary`."""
        return self.summary()

    def _repr_html_(self) -> str:
        """Return the summary as HTML with a small picture, for notebooks."""
        return report.html(self.reading)

    def summary(self, *, schedule: Schedule | None = None, total_iters: int | None = None) -> str:
        """Describe in a few lines what was tested, what is suggested, and what to be careful about.

        Args:
            schedule: as for `lr_suggestion`.
            total_iters: as for `lr_suggestion`.

        Returns:
            Lines of text, without a line break at the end.

        Raises:
            TypeError: as for `lr_suggestion`.
            ValueError: for an unknown schedule, or if `total_iters` is below 1.
        """
        return report.summary(self.reading, self._plan(schedule, total_iters))

    def lr_suggestion(
        self,
        method: str = "auto",
        *,
        schedule: Schedule | None = None,
        total_iters: int | None = None,
    ) -> float | list[float]:
        """Suggest a learning rate.

        Args:
            method: "auto", "steepest", "valley", "minimum" or "slide"; see the module
                `ignite_lrfinder.suggest.methods`. After trials, "auto" is the learning rate that
                they support.
            schedule: what "auto" is for: "constant" for a constant rate, "decay" for the peak of a
                rate that decays; default, as given to `attach`.
            total_iters: the optimizer steps of the planned training, at least 1; used only after
                trials; default, as given to `attach`.

        Returns:
            The learning rate; with several parameter groups a list, one for each.

        Raises:
            TypeError: if `method` or `schedule` is not a string, or `total_iters` not an integer.
            ValueError: for an unknown method or schedule, or if `total_iters` is below 1.
            NoSuggestionError: if neither the curve nor the trials support one.
        """
        return _float_or_list(self._suggested_lrs(method, self._plan(schedule, total_iters)))

    def suggestions(
        self, *, schedule: Schedule | None = None, total_iters: int | None = None
    ) -> dict[str, float | list[float]]:
        """Return the suggestion of each method that the result supports.

        Args:
            schedule: as for `lr_suggestion`.
            total_iters: as for `lr_suggestion`.

        Raises:
            TypeError: as for `lr_suggestion`.
            ValueError: for an unknown schedule, or if `total_iters` is below 1.
            NoSuggestionError: if the result supports no method.
        """
        plan, reading = self._plan(schedule, total_iters), self.reading
        suggestions = reading.suggestions(plan)
        if not suggestions:
            self._suggested_lrs("auto", plan)  # raises the error that says why
        return {name: _float_or_list(reading.lrs_at(lr)) for name, lr in suggestions.items()}

    def lr_bounds(self) -> tuple[float | list[float], float | list[float]]:
        """Return the range for a cyclical or one-cycle policy.

        Returns:
            The rate at which the loss starts to fall, or the suggestion for a constant rate if that
            is lower, and the peak that `lr_suggestion` returns for a schedule that decays; two
            lists with several parameter groups.

        Raises:
            NoSuggestionError: if the result supports no range.

        References:
            Smith, arXiv 1506.01186, section 3.3.
        """
        bounds = self.reading.bounds(self.settings.plan)
        if isinstance(bounds, Refusal):
            raise bounds.error()
        low, high = (_float_or_list(self.reading.lrs_at(lr)) for lr in bounds)
        return low, high

    @property
    def interval(self) -> tuple[float, float] | None:
        """The lowest and the highest rate that may be the best one for a run as short as a trial.

        Each lies halfway, in log learning rate, between a trial that a t-test cannot tell from the
        best one and the next trial, which is worse; or it is the lowest or highest rate that was
        tried. Trials that saw the same batches are compared batch by batch. The rates are for the
        reference parameter group, which is the first whose learning rate is not 0; None if the
        trials support no rate.
        """
        return self.reading.interval

    @property
    def is_paired(self) -> bool:
        """Whether all trials ran on the same batches, as their first losses show."""
        return self.reading.is_paired

    @overload
    def plot(
        self,
        skip_start: int = 10,
        skip_end: int = 5,
        log_lr: bool = True,
        display_suggestion: bool = True,
        ax: "Axes | None" = None,
        *,
        derivative: Literal[False] = False,
        methods: bool = False,
        legend: bool = True,
        **kwargs: object,
    ) -> "Axes": ...

    @overload
    def plot(
        self,
        skip_start: int = 10,
        skip_end: int = 5,
        log_lr: bool = True,
        display_suggestion: bool = True,
        ax: "Sequence[Axes] | None" = None,
        *,
        derivative: Literal[True],
        methods: bool = False,
        legend: bool = True,
        **kwargs: object,
    ) -> "NDArray[Any]": ...

    def plot(
        self,
        skip_start: int = 10,
        skip_end: int = 5,
        log_lr: bool = True,
        display_suggestion: bool = True,
        ax: Any = None,
        *,
        derivative: bool = False,
        methods: bool = False,
        legend: bool = True,
        **kwargs: object,
    ) -> "Axes | NDArray[Any]":
        """Plot the loss over the learning rate; no window is opened.

        Args:
            skip_start: the number of faint points at the start, at least 0.
            skip_end: the number of faint points at the end, at least 0.
            log_lr: whether the learning rate has a logarithmic axis.
            display_suggestion: whether to mark the suggestion of "auto", with the interval of the
                trials as a band, and the bounds; and to shade where the loss no longer recovers.
            ax: the Axes to draw on, or with `derivative` two Axes; default, a new figure.
            derivative: whether to plot the change in loss per decade, below the loss.
            methods: whether to mark the suggestions of the other methods as well.
            legend: whether to draw a legend, below the Axes.
            kwargs: passed to `matplotlib.pyplot.subplots` if `ax` is not given.

        Returns:
            The Axes, or with `derivative` an array of two Axes.

        Raises:
            ModuleNotFoundError: if matplotlib is not installed.
            TypeError: if `ax` is not an Axes, or with `derivative` not a sequence.
            ValueError: if skip_start or skip_end is negative, or if a sequence of Axes has not two.
            NoSuggestionError: if the sweep has no point to draw, or with `derivative` too few.

        Warns:
            UserWarning: if skip_start and skip_end leave no curve, so that all points are shown; if
                the result supports no suggestion.

        Example:
            >>> ax = result.plot(skip_end=0)  # doctest: +SKIP
            >>> ax.figure.savefig("lr_finder.png")  # doctest: +SKIP
        """
        require_matplotlib()
        draw = plot_derivative if derivative else plot_sweep
        return draw(
            self.reading,
            skip_start=skip_start,
            skip_end=skip_end,
            log_lr=log_lr,
            display_suggestion=display_suggestion,
            ax=ax,
            methods=methods,
            legend=legend,
            **kwargs,
        )

    def plot_trials(self, ax: "Sequence[Axes] | None" = None, **kwargs: object) -> "NDArray[Any]":
        """Plot the loss of each trial over its iterations, and its final loss over its rate.

        Args:
            ax: the two Axes to draw on; default, a new figure.
            kwargs: passed to `matplotlib.pyplot.subplots` if `ax` is not given.

        Returns:
            An array of two Axes.

        Raises:
            ModuleNotFoundError: if matplotlib is not installed.
            LRFinderError: if the sweep had no trials.
            TypeError: if `ax` is not a sequence.
            ValueError: if it does not hold two Axes.
        """
        require_matplotlib()
        return plot_trials(self.reading, ax=ax, **kwargs)

    def apply_suggested_lr(
        self,
        optimizer: OptimizerLike,
        lr_scheduler: Scheduler | None = None,
        *,
        schedule: Schedule | None = None,
        total_iters: int | None = None,
    ) -> None:
        """Set the suggested learning rate on an optimizer, in place.

        Args:
            optimizer: the optimizer that was swept, or one with as many parameter groups. A tensor
                `lr` stays the same tensor; `initial_lr` and `max_lr` follow where a group has them.
            lr_scheduler: the optimizer's scheduler, of torch or Ignite. It continues from its
                present position as if created with the suggestion in place of its largest learning
                rate.
            schedule: as for `lr_suggestion`.
            total_iters: as for `lr_suggestion`.

        Raises:
            TypeError: if `optimizer` has no parameter groups, `lr_scheduler` is not a scheduler of
                torch or Ignite, or as for `lr_suggestion`.
            ValueError: if the scheduler belongs to another optimizer, or cannot be updated exactly;
                or as for `lr_suggestion`.
            LRFinderError: if the optimizer has a different number of parameter groups, or this is
                called inside the block of `attach`.
            NoSuggestionError: if neither the curve nor the trials support one.

        Warns:
            UserWarning: if the optimizer has had a scheduler that is not given.
        """
        lrs = self._suggested_lrs("auto", self._plan(schedule, total_iters))
        apply_lr(optimizer, lrs, lr_scheduler)

    @property
    def lr_names(self) -> list[str]:
        """The names of the parameter groups' learning rates, "lr" or "lr_0", "lr_1" and so on."""
        num_groups = self.lr.shape[1]
        return ["lr"] if num_groups == 1 else [f"lr_{group}" for group in range(num_groups)]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the points as a pandas DataFrame, one row for each.

        Returns:
            The columns "loss", "smoothed_loss" and "lr"; with several parameter groups "lr_0",
            "lr_1" and so on.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        import pandas  # optional, and slow to import

        columns = dict(zip(self.lr_names, self.lr.T, strict=True))
        return pandas.DataFrame(
            {**columns, "loss": self.losses, "smoothed_loss": self.smoothed_losses}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data: dicts, lists, numbers and strings.

        Returns:
            The data that `save` writes, with the keys "format", "version", "stop_reason",
            "settings", "lr", "losses", "smoothed_losses", "trials", "non_finite_batch",
            "not_restored" and "num_batches".
        """
        return plain_data(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to `path` as strict JSON, with NaN and infinity as strings.

        Only the owner can read the file. It is written completely or not at all.

        Args:
            path: the file to write; an existing file is replaced.

        Raises:
            OSError: if the file cannot be written.
        """
        save_record(self, path)

    def _plan(self, schedule: Schedule | None, total_iters: int | None) -> Plan:
        """Return the planned training: the given values, by default those given to `attach`."""
        plan = self.reading.plan
        return Plan(
            plan.schedule if schedule is None else schedule,
            plan.total_iters if total_iters is None else total_iters,
        )

    def _suggested_lrs(self, method: str, plan: Plan) -> tuple[float, ...]:
        """Return the suggested learning rate of each group.

        Raises:
            NoSuggestionError: if there is none.
        """
        lr = self.reading.suggest(method, plan)
        if isinstance(lr, Refusal):
            raise lr.error()
        return self.reading.lrs_at(lr)


def _float_or_list(lrs: tuple[float, ...]) -> float | list[float]:
    """Return one learning rate as a float, several as a list, as Ignite does."""
    return lrs[0] if len(lrs) == 1 else list(lrs)
