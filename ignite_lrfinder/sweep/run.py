"""What happens at each event of a run: the sweep, the trials after it, the result."""

import math
import sys
from collections.abc import Callable

import numpy as np
from ignite.engine import Engine, Events

from ignite_lrfinder.errors import LRFinderError, warn
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import Record, StopReason
from ignite_lrfinder.snapshot import Snapshot
from ignite_lrfinder.suggest import Reading, reading_of
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.data_order import LabelWatch, warnings_of_order
from ignite_lrfinder.sweep.endings import warnings_of_sweep, warnings_of_trial
from ignite_lrfinder.sweep.engine import add_handler, end_epoch, is_last, move_first
from ignite_lrfinder.sweep.epochs import Epochs
from ignite_lrfinder.sweep.failures import FailureWatch
from ignite_lrfinder.sweep.limits import StepLimit
from ignite_lrfinder.sweep.measurement import Measurement
from ignite_lrfinder.sweep.momentum import warnings_of_momentum
from ignite_lrfinder.sweep.muting import Muting
from ignite_lrfinder.sweep.progress import Progress
from ignite_lrfinder.sweep.steps import StepWatch
from ignite_lrfinder.sweep.trials import TrialSequence


class SweepHooks:
    """Run a sweep inside a trainer's own `run`, from the first event to the result.

    Args:
        arguments: the checked arguments of `attach`.
        steps: the watch over the optimizer's steps.
        muting: the muted handlers of the trainer.
        validate: returns the loss of a point in place of the trainer's.
        snapshot: the state that trials start from; it captures the trainer's data before use.
        progress: the progress bar; None for no bar.
        on_result: called with the record, and again if it raised.
    """

    def __init__(
        self,
        arguments: Arguments,
        steps: StepWatch,
        *,
        muting: Muting,
        validate: Callable[[], object] | None,
        snapshot: Snapshot,
        progress: Progress | None,
        on_result: Callable[[Record], None],
    ) -> None:
        self._trainer = arguments.trainer
        self._arguments = arguments
        self._steps = steps
        self._muting = muting
        self._validate = validate
        self._snapshot = snapshot
        self._progress = progress
        self._on_result = on_result
        self._epochs = Epochs(arguments.trainer, snapshot, self._stop)
        self._failures = FailureWatch(arguments.trainer, arguments.optimizer)
        self._limit = StepLimit(arguments.trainer, arguments.optimizer, muting)
        self._trials = TrialSequence(arguments.trials, is_validation=validate is not None)
        self._sweep: Measurement | None = None
        self._sweep_reading: Reading | None = None
        self._current: Measurement | None = None
        self._is_finished = False
        self._num_iter = 0
        self._labels = LabelWatch()
        self._handlers: list[tuple[Events, Callable[..., None]]] = []

    def add(self) -> None:
        """Add the hooks to the trainer."""
        self._add_first(Events.STARTED, self._begin_run)
        self._add_handler(Events.STARTED, self._begin_sweep)
        self._add_first(Events.EPOCH_STARTED, self._epochs.on_epoch_started)
        self._add_first(Events.DATALOADER_STOP_ITERATION, self._epochs.record_end_of_data)
        self._add_handler(Events.TERMINATE_SINGLE_EPOCH, self._on_epoch_terminated)
        self._add_handler(Events.EPOCH_COMPLETED, self._extend_run)
        self._add_handler(Events.TERMINATE, self._finish)
        self._add_handler(Events.COMPLETED, self._finish)
        vars(self._trainer)["set_data"] = self._epochs.set_data
        self._failures.add()

    def check_run(self) -> None:
        """Warn if the trainer has not run in the block."""
        if self._sweep is None:
            warn(
                "The block of attach must run its trainer, got no run, so there is no result. Call "
                "run on what attach returns: with lr_finder.attach(...) as t: t.run(loader)."
            )

    def remove(self) -> None:
        """Remove the hooks, and make the result if the run was cut short."""
        for event, handler in self._handlers:
            if self._trainer.has_event_handler(handler, event):
                self._trainer.remove_event_handler(handler, event)
        self._handlers.clear()
        vars(self._trainer).pop("set_data", None)
        self._failures.remove()
        self._epochs.forget()
        if self._progress is not None:
            self._progress.close()
        if self._sweep is None or self._current is None or self._is_finished:
            return
        self._current.end(StopReason.TERMINATED, is_collective=False)
        self._make_result(self._sweep)
        if sys.exc_info()[0] is None:
            self._warn(self._sweep)

    def _add_first(self, event: Events, handler: Callable[..., None]) -> None:
        """Add a hook that runs before the user's handlers."""
        self._add_handler(event, handler)
        move_first(self._trainer, event)

    def _add_handler(self, event: Events, handler: Callable[..., None]) -> None:
        """Add one of the hooks to the trainer."""
        # Stored first: Ctrl-C may arrive between the two.
        self._handlers.append((event, handler))
        add_handler(self._trainer, event, handler)

    def _begin_run(self, engine: Engine) -> None:
        """Capture the trainer's data and the length of its run before anything changes them."""
        if self._sweep is not None:
            raise LRFinderError(
                "The block must run its trainer once, got a second run. Attach the finder again "
                "for another sweep from the same start."
            )
        self._num_iter = self._epochs.begin(self._arguments.num_iter)

    def _begin_sweep(self, engine: Engine) -> None:
        """Set the first learning rate and start measuring, after all other handlers."""
        if not is_last(engine, Events.STARTED, self._begin_sweep):
            self._add_handler(Events.STARTED, self._begin_sweep)
            return
        self._epochs.mark()
        self._snapshot.add_state()
        own = [handler for _, handler in self._handlers]
        has_others = any(h not in own for h in self._muting.running(Events.STARTED))
        if self._arguments.trials is not None and has_others:
            self._snapshot.mark()
        table = self._arguments.lr_table(self._num_iter)
        self._sweep = self._measure(table, self._arguments.diverge_th)
        if self._progress is not None:
            self._progress.follow(self._sweep, "LR range test", persist=True)
        # Added last, so that they run after handlers that may step or set other data.
        self._add_handler(Events.ITERATION_COMPLETED, self._on_iteration)
        self._add_handler(Events.DATALOADER_STOP_ITERATION, self._epochs.on_end_of_data)

    def _on_iteration(self, engine: Engine) -> None:
        """Measure an iteration; when the measurement ends, plan a trial or end the run."""
        current, has_failed = self._current, self._failures.has_failed
        if current is None or (current.reason is not None and not has_failed):
            return
        self._failures.has_failed = False
        if current is self._sweep:
            self._labels.update(engine.state)
        reason = current.reason if has_failed else current.update(engine.state.output)
        if self._progress is not None:
            self._progress.update()
        if reason is None:
            return
        self._trials.store(current)
        if self._sweep is None or self._trials.plan(self._reading(self._sweep)) is None:
            engine.terminate()
        else:
            end_epoch(engine)

    def _on_epoch_terminated(self, engine: Engine, iter_counter: int) -> None:
        """Begin a trial if one is due; otherwise user code ended the epoch."""
        self._epochs.on_epoch_terminated()
        self._extend_run(engine)
        if self._is_trial_due and self._sweep is not None:
            self._begin_trial(engine, self._sweep)

    def _begin_trial(self, engine: Engine, sweep: Measurement) -> None:
        """Begin a trial from the snapshot; the engine is about to restart its data."""
        planned = self._trials.planned
        assert planned is not None  # otherwise no trial is due
        self._steps.remove()
        self._snapshot.rewind()
        self._epochs.rewind()
        row = self._reading(sweep).lrs_at(planned.lr)
        table = np.tile(np.array(row), (planned.num_iter, 1))
        # Only a loss that is not finite ends a trial: a spike need not last.
        current = self._measure(table, diverge_th=math.inf)
        if self._progress is not None:
            self._progress.follow(current, self._trials.name, persist=False)

    def _measure(self, table: Array, diverge_th: float) -> Measurement:
        """Start measuring the loss at the learning rates of a table."""
        self._current = Measurement(
            self._arguments,
            table,
            self._steps,
            self._limit,
            validate=self._validate,
            diverge_th=diverge_th,
        )
        self._failures.measurement = self._current
        return self._current

    @property
    def _is_trial_due(self) -> bool:
        """Whether a trial is planned and has not begun."""
        is_ended = self._current is not None and self._current.reason is not None
        return is_ended and self._trials.planned is not None

    def _extend_run(self, engine: Engine) -> None:
        """Extend the run by an epoch if the sweep or a trial is unfinished."""
        is_unfinished = self._current is not None and self._current.reason is None
        if is_unfinished or self._is_trial_due:
            self._epochs.extend()

    def _stop(self, reason: StopReason) -> None:
        """End the run."""
        self._end(reason)
        self._trainer.terminate()

    def _end(self, reason: StopReason) -> None:
        """End the sweep or the trial that is under way."""
        if self._current is not None and not self._is_trial_due:
            self._current.end(reason)
            self._trials.store(self._current)

    def _finish(self, engine: Engine) -> None:
        """Make the result at the end of the run, and warn of an early end."""
        if not self._is_finished and self._sweep is not None:
            self._end(StopReason.TERMINATED)
            self._make_result(self._sweep)
            self._warn(self._sweep)
            self._snapshot.observe()

    def _make_result(self, sweep: Measurement) -> None:
        """Report the record."""
        self._on_result(self._record(sweep))
        # Set last: after an interrupt or an error, `remove` makes the result.
        self._is_finished = True

    def _warn(self, sweep: Measurement) -> None:
        """Warn of an early end, of samples in an order, and of trials that are too short."""
        reading, arguments = reading_of(self._record(sweep)), self._arguments
        messages = [
            *warnings_of_sweep(sweep, reading, self._muting),
            *warnings_of_order(arguments.trainer.state.dataloader, reading, self._labels),
            *warnings_of_momentum(arguments.optimizer, arguments.trials),
        ]
        if self._current is not None and self._current is not sweep:
            number = len(self._trials.trials) + (self._trials.planned is not None)
            messages += warnings_of_trial(self._current, number, self._muting)
        for message in messages:
            warn(message)

    def _reading(self, sweep: Measurement) -> Reading:
        """Return the reading of the finished sweep, without trials."""
        if self._sweep_reading is None:
            self._sweep_reading = reading_of(self._record(sweep))
        return self._sweep_reading

    def _record(self, sweep: Measurement) -> Record:
        """Return the record of the sweep and the trials so far."""
        return Record(
            lr=sweep.lr,
            losses=sweep.losses,
            smoothed_losses=sweep.smoothed_losses,
            stop_reason=sweep.reason or StopReason.TERMINATED,
            settings=self._arguments.settings(sweep.table),
            trials=tuple(self._trials.trials),
            non_finite_batch=sweep.non_finite_batch(self._trainer.state.epoch_length),
            num_batches=self._epochs.num_batches,
        )
