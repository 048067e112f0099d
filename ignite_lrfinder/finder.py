"""`FastaiLRFinder`: attach a range test to a trainer, and hand on what it found."""

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from ignite.engine import Engine
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ignite_lrfinder import apply
from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.plot import require_matplotlib
from ignite_lrfinder.plot import sweep as plotting
from ignite_lrfinder.plot import trials as trial_plot
from ignite_lrfinder.protocols import KeepHandlers, OptimizerLike, Saveable, Schedule, SnapshotPlace
from ignite_lrfinder.record import Record
from ignite_lrfinder.result import LRFinderResult
from ignite_lrfinder.snapshot import Interrupts, Snapshot, attributes_of, reachable_from
from ignite_lrfinder.suggest import Trials
from ignite_lrfinder.suggest import reading as advice
from ignite_lrfinder.sweep import (
    Muting,
    Progress,
    StepWatch,
    SweepHooks,
    Validation,
    check_attach,
    end_run,
    event_list,
    graphs_among,
    handler_table,
    kept_of,
    kept_reporters,
    pending_run,
    scalers_among,
    start_afresh,
    train_step_of,
    unchanged,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_swept_trainers: "weakref.WeakSet[Engine]" = weakref.WeakSet()


class FastaiLRFinder:
    """Find a learning rate with a range test inside a trainer you already have.

    Inside the block of `attach`, the trainer's run raises the learning rate from `start_lr` to
    `end_lr` and records the loss, until the loss diverges. When the block ends, everything is as
    it was.

    Example:
        >>> import torch
        >>> from ignite.engine import create_supervised_trainer
        >>> from ignite_lrfinder import FastaiLRFinder
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.MSELoss())
        >>> x = torch.randn(64, 4)
        >>> batches = [(x, x.sum(1, keepdim=True))]
        >>> lr_finder = FastaiLRFinder()
        >>> with lr_finder.attach(
        ...     trainer, {"model": model, "optimizer": optimizer}, num_iter=100
        ... ) as t:
        ...     _ = t.run(batches)
        >>> 0.01 < lr_finder.lr_suggestion() < 1
        True
        >>> lr_finder.apply_suggested_lr(optimizer)

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186; fastai's
        `lr_find`; `ignite.handlers.FastaiLRFinder`, whose interface this is.
    """

    def __init__(self) -> None:
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")
        self._result: LRFinderResult | None = None
        self._is_attached = False

    @contextlib.contextmanager
    def attach(
        self,
        trainer: Engine,
        to_save: Mapping[str, Saveable],
        output_transform: Callable[..., object] = unchanged,
        num_iter: int | None = None,
        start_lr: float | Sequence[float] | None = None,
        end_lr: float | Sequence[float] = 10.0,
        step_mode: str = "exp",
        smooth_f: float = 0.05,
        diverge_th: float = 5.0,
        *,
        keep_handlers: KeepHandlers = "auto",
        val_loss: Callable[[], object] | None = None,
        verify: bool | Trials = False,
        snapshot: SnapshotPlace = "cpu",
        progress: bool = False,
    ) -> Iterator[Engine]:
        """Attach the range test to a trainer for the length of a `with` block.

        The block runs the trainer once, as it is always run. A point is one optimizer step. When
        the block ends, by whatever exception, the trainer, the objects in `to_save`, all random
        state and the data loader are as they were, bit for bit. What cannot be undone is what a
        kept handler does to the outside world, and the items taken from a one-shot iterator.

        Args:
            trainer: the engine that trains.
            to_save: names to the objects that a training changes, each with `state_dict` and
                `load_state_dict`, among them the optimizer under "optimizer".
            output_transform: a function from the trainer's output to the loss. A loss is a number,
                a tensor of one element, or a mapping that has one under the key "loss".
            num_iter: the number of points, at least 1; default, as many as the run has iterations,
                and 100 for a run of unknown length. The loader starts again as often as needed.
            start_lr: the first learning rate, in (0, inf), from 0 on for a linear sweep; one
                number, or one for each parameter group; default, the optimizer's own.
            end_lr: the last learning rate, in (start_lr, inf), likewise. Parameter groups keep the
                ratio of their learning rates, the largest being the number given, unless a list
                gives them apart.
            step_mode: "exp" for points evenly spaced in log learning rate, or "linear".
            smooth_f: the weight of the newest loss in the moving average that decides on stopping,
                in [0, 1); 0 turns smoothing off.
            diverge_th: stop where the smoothed loss exceeds
                `best + (diverge_th - 1) * max(|best|, first - best)`, in [1, inf].
            keep_handlers: which of the trainer's handlers run during the sweep. "auto", those of
                the user that prepare training (on STARTED, EPOCH_STARTED, GET_BATCH_*,
                ITERATION_STARTED and custom events); "all"; "none"; or a collection of handlers
                that run besides those of "auto". Handlers added inside the block run, and stay.
            val_loss: returns the loss to record, as of a validation; called without arguments after
                each point, also in trials. What the trainer returns need then not be a loss. The
                train/eval modes are put back after each call. Evaluators that it refers to are
                restored, and their handlers muted but for their metrics.
            verify: whether the same run goes on after the sweep with short trials at a few fixed
                learning rates, each from the start and on the same batches; `Trials(...)` says how
                much they may train.
            snapshot: where the copy of all state is held: "cpu", in host memory; "device", beside
                the original; or the path of a directory with room for it, for what fits in neither.
                The directory holds a file without a name, and nothing when the block ends.
            progress: whether to show the point, its learning rate and smoothed loss in Ignite's
                progress bar, and the trials after it; on the first process only.

        Yields:
            The trainer, to be run.

        Raises:
            TypeError: for an argument of the wrong kind; nothing has been touched then.
            ValueError: for an argument of the wrong value; nothing has been touched then.
            ModuleNotFoundError: for `progress` without tqdm; nothing has been touched then.
            LRFinderError: if a sweep is under way already, if the directory of `snapshot` is full,
                if the optimizer takes no step, or if something could not be put back afterwards.

        Inside the block `trainer.run` raises TypeError or ValueError for an output that is no loss.
        """
        arguments = check_attach(
            trainer,
            to_save,
            output_transform=output_transform,
            num_iter=num_iter,
            start_lr=start_lr,
            end_lr=end_lr,
            step_mode=step_mode,
            smooth_f=smooth_f,
            diverge_th=diverge_th,
            val_loss=val_loss,
            verify=verify,
            keep_handlers=keep_handlers,
            snapshot=snapshot,
            progress=progress,
        )
        self._refuse_second_attach(trainer)
        references = reachable_from(train_step_of(trainer))
        scalers = scalers_among(
            *to_save.values(),
            *attributes_of(trainer).values(),
            *attributes_of(trainer.state).values(),
            *references,
        )
        trained = [obj for obj in references if isinstance(obj, (nn.Module, Optimizer))]
        validation = Validation(arguments.val_loss, trainer, (*to_save.values(), *trained))
        kept: dict[Engine, KeepHandlers] = {trainer: keep_handlers}
        kept |= {engine: kept_of(engine, keep_handlers) for engine in validation.evaluators}
        # What is to be undone is undone backwards, and a step that fails does not keep back others.
        with Interrupts() as interrupts, contextlib.ExitStack() as undo:
            before = Snapshot(
                trainer,
                to_save,
                snapshot,
                evaluators=validation.evaluators,
                others=(*kept_reporters(kept), *scalers, *trained, *validation.loaders),
                opaque=(*map(handler_table, kept), *map(event_list, kept)),
            )
            undo.callback(before.restore)
            undo.callback(self._end_block, trainer)
            self._begin_block(trainer)
            steps = StepWatch(arguments.optimizer, scalers, graphs_among(references))
            undo.callback(steps.remove)
            mutings = [Muting(engine, keep, steps.hold_lr) for engine, keep in kept.items()]
            for muting in mutings:
                undo.callback(muting.undo)
                muting.mute()
            hooks = SweepHooks(
                trainer,
                arguments,
                steps,
                muted=mutings[0].muted,
                validate=validation if arguments.val_loss is not None else None,
                snapshot=before,
                progress=Progress() if arguments.is_showing else None,
                on_result=self._store_result,
            )
            undo.callback(hooks.remove)
            hooks.add()
            undo.callback(end_run, trainer, pending_run(trainer))
            start_afresh(trainer)
            try:
                interrupts.allow()
                yield trainer
            finally:
                # An interrupt may still fall before this, but none between it and the undoing.
                interrupts.is_deferring = True

    @property
    def result(self) -> LRFinderResult:
        """The result of the last sweep.

        Raises:
            LRFinderError: if no sweep has run yet.
        """
        return self._result_for("result can't be returned")

    def get_results(self) -> dict[str, list[Any]]:
        """Return the learning rates and the smoothed losses of the last sweep, as Ignite does.

        Returns:
            A dict {"lr": [...], "loss": [...]}, with a float for each point, or a list of floats in
            "lr" where there are several parameter groups; empty before the first sweep.
        """
        if self._result is None:
            return {}
        lr = self._result.lr
        return {
            "lr": (lr[:, 0] if lr.shape[1] == 1 else lr).tolist(),
            "loss": self._result.smoothed_losses.tolist(),
        }

    def lr_suggestion(
        self,
        method: str = "auto",
        *,
        schedule: Schedule = "constant",
        total_iters: int | None = None,
    ) -> float | list[float]:
        """Suggest a learning rate.

        Args:
            method: "auto", "steepest", "valley", "minimum" or "slide"; see the module
                `ignite_lrfinder.suggestion`.
                Where trials followed the sweep, "auto" is what they say.
            schedule: what "auto" is for: a "constant" rate, or the peak of one that decays
                ("decay").
            total_iters: optimizer steps of the training that is planned; it matters where there
                were trials.

        Returns:
            The learning rate; with several parameter groups a list, one for each.

        Raises:
            ValueError: for an unknown method or schedule.
            LRFinderError: if no sweep has run yet.
            NoSuggestionError: an LRFinderError, if the curve supports no learning rate.
        """
        result = self._result_for("lr_suggestion can't be returned")
        return _float_or_list(
            advice.suggest(result, method, schedule=schedule, total_iters=total_iters)
        )

    def suggestions(
        self, *, schedule: Schedule = "constant", total_iters: int | None = None
    ) -> dict[str, float | list[float]]:
        """Return what each method suggests, of those that the result supports.

        Args:
            schedule: as for `lr_suggestion`.
            total_iters: as for `lr_suggestion`.

        Raises:
            LRFinderError: if no sweep has run yet.
            NoSuggestionError: if the curve supports no learning rate.
        """
        result = self._result_for("suggestions can't be returned")
        by_method = advice.suggest_all(result, schedule=schedule, total_iters=total_iters)
        return {name: _float_or_list(lrs) for name, lrs in by_method.items()}

    def lr_bounds(self) -> tuple[float | list[float], float | list[float]]:
        """Return the range for a cyclical or one-cycle policy.

        Returns:
            The rate where the loss starts to fall, and that where it stops falling or becomes
            ragged; two lists with several parameter groups.

        Raises:
            LRFinderError: if no sweep has run yet.
            NoSuggestionError: if the curve supports no range.

        References:
            Smith, arXiv 1506.01186, section 3.3.
        """
        low, high = advice.suggest_bounds(self._result_for("lr_bounds can't be returned"))
        return _float_or_list(low), _float_or_list(high)

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
        **kwargs: object,
    ) -> "Axes | NDArray[Any]":
        """Plot the loss over the learning rate; no window is opened.

        Args:
            skip_start: points to leave out at the start, at least 0.
            skip_end: points to leave out at the end, at least 0.
            log_lr: whether the learning rate has a logarithmic axis.
            display_suggestion: whether to mark what is suggested: by "auto", with the interval of
                the trials as a band, by the other methods, and the bounds; and to shade where the
                loss no longer recovers.
            ax: the Axes to draw on; default, those of a new figure. Two with `derivative`.
            derivative: whether to plot the change in loss for each decade below the loss.
            kwargs: passed to `matplotlib.pyplot.subplots` where `ax` is not given.

        Returns:
            The Axes drawn on; with `derivative` both, in an array of shape (2,).

        Raises:
            ModuleNotFoundError: if matplotlib is not installed.
            LRFinderError: if no sweep has run yet.
            ValueError: if skip_start or skip_end is negative.
            NoSuggestionError: if the sweep has no point to draw.

        Warns:
            UserWarning: if skip_start and skip_end leave no curve, so that all points are shown; if
                the curve supports no suggestion.

        Example:
            >>> ax = lr_finder.plot(skip_end=0)  # doctest: +SKIP
            >>> ax.figure.savefig("lr_finder.png")  # doctest: +SKIP
        """
        require_matplotlib()
        draw = plotting.plot_derivative if derivative else plotting.plot_result
        return draw(
            self._result_for("results can't be plotted"),
            skip_start=skip_start,
            skip_end=skip_end,
            log_lr=log_lr,
            display_suggestion=display_suggestion,
            ax=ax,
            **kwargs,
        )

    def plot_trials(self, ax: "Sequence[Axes] | None" = None, **kwargs: object) -> "NDArray[Any]":
        """Plot the loss of each trial over its iterations, and what each came to over its rate.

        Args:
            ax: the two Axes to draw on; default, those of a new figure.
            kwargs: passed to `matplotlib.pyplot.subplots` where `ax` is not given.

        Returns:
            Both Axes, in an array of shape (2,).

        Raises:
            ModuleNotFoundError: if matplotlib is not installed.
            LRFinderError: if no sweep has run yet, or one without trials.
            TypeError: if `ax` is no sequence.
            ValueError: if it does not hold two Axes.
        """
        require_matplotlib()
        return trial_plot.plot_trials(self._result_for("trials can't be plotted"), ax=ax, **kwargs)

    def apply_suggested_lr(
        self,
        optimizer: OptimizerLike,
        lr_scheduler: LRScheduler | None = None,
        *,
        schedule: Schedule = "constant",
        total_iters: int | None = None,
    ) -> None:
        """Set the suggested learning rate on an optimizer, in place.

        Args:
            optimizer: the optimizer that was swept, or one with as many parameter groups. A tensor
                `lr` stays the same tensor; `initial_lr` and `max_lr` follow where a group has them.
            lr_scheduler: a torch scheduler of the optimizer, whose base learning rates follow as
                well.
            schedule: as for `lr_suggestion`.
            total_iters: as for `lr_suggestion`.

        Raises:
            TypeError: if `lr_scheduler` is no torch scheduler.
            ValueError: if it belongs to another optimizer.
            LRFinderError: inside the block of `attach`, whose end would undo it; before the first
                sweep; or for an optimizer with another number of parameter groups.
            NoSuggestionError: if the curve supports no learning rate.
        """
        if self._is_attached:
            raise LRFinderError(
                "apply_suggested_lr must be called after the block of attach, got a call inside "
                "it. The end of the block would undo it; call it after the block."
            )
        result = self._result_for("apply_suggested_lr can't be called")
        lrs = advice.suggest(result, schedule=schedule, total_iters=total_iters)
        apply.apply_lr(optimizer, lrs, lr_scheduler)

    def _result_for(self, purpose: str) -> LRFinderResult:
        """Return the result of the last sweep, or say what cannot be done without one."""
        if self._result is None:
            raise LRFinderError(
                f"learning rate finder didn't run yet so {purpose}. Run the trainer inside the "
                "block of attach first."
            )
        return self._result

    def _store_result(self, record: Record) -> None:
        """Store what a sweep measured as the result."""
        self._result = LRFinderResult.of(record)
        self.logger.info(
            "LR range test: %d points, ended because %s", len(record), record.stop_reason.message
        )

    def _refuse_second_attach(self, trainer: Engine) -> None:
        """Refuse to sweep where a sweep is under way."""
        if self._is_attached or trainer in _swept_trainers:
            owner = "lr_finder" if self._is_attached else "trainer"
            raise LRFinderError(
                f"{owner} must have no sweep under way, got a second attach. Leave the first block "
                "before attaching again."
            )

    def _begin_block(self, trainer: Engine) -> None:
        """Note that a sweep is under way."""
        self._result = None
        self._is_attached = True
        _swept_trainers.add(trainer)

    def _end_block(self, trainer: Engine) -> None:
        """Note that the sweep is over."""
        self._is_attached = False
        _swept_trainers.discard(trainer)


def _float_or_list(lrs: tuple[float, ...]) -> float | list[float]:
    """Return one learning rate as a float, several as a list, as Ignite does."""
    return lrs[0] if len(lrs) == 1 else list(lrs)
