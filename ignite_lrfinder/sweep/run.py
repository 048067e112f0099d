"""What happens at each event of a run: the sweep, the trials after it, the result."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import Record, StopReason, SweepSettings, Trial
from ignite_lrfinder.snapshot import Snapshot, is_loader_iterator
from ignite_lrfinder.suggest import PlannedTrial, Reading, Refusal, next_trial, reading_of
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.engine import length_of_run, max_iters_of, move_first
from ignite_lrfinder.sweep.measurement import Measurement
from ignite_lrfinder.sweep.progress import Progress
from ignite_lrfinder.sweep.rates import lr_table
from ignite_lrfinder.sweep.steps import StepWatch

# The number that other finders default to, for a trainer that cannot say how long its run is.
_DEFAULT_NUM_ITER = 100


class SweepHooks:
    """Run a sweep inside a trainer's own `run`, from the first event to the result.

    Args:
        trainer: the engine that runs the sweep.
        arguments: the checked arguments of `attach`.
        steps: the watch over the optimizer's steps.
        muted: the names of the muted handlers that a user wrote, one of which may take the step.
        validate: gives the loss of a point in place of the trainer's.
        snapshot: what trials begin from; it is told of the trainer's data before it is drawn from.
        progress: shows how far the sweep is; None for a quiet one.
        on_result: called with the result; again, where it raised.
    """

    def __init__(
        self,
        trainer: Engine,
        arguments: Arguments,
        steps: StepWatch,
        *,
        muted: Sequence[str],
        validate: Callable[[], object] | None,
        snapshot: Snapshot,
        progress: Progress | None,
        on_result: Callable[[Record], None],
    ) -> None:
        self._trainer = trainer
        self._arguments = arguments
        self._steps = steps
        self._muted = muted
        self._validate = validate
        self._snapshot = snapshot
        self._progress = progress
        self._on_result = on_result
        self._sweep: Measurement | None = None
        self._current: Measurement | None = None
        self._data: Iterable[Any] | None = None
        self._planned: PlannedTrial | None = None
        self._trials: list[Trial] = []
        self._sweep_reading: Reading | None = None
        self._is_finished = False
        self._is_rewinding = False
        self._num_iter = 0
        self._last_iteration = 0
        self._handlers: list[tuple[Events, Callable[..., None]]] = []

    def add(self) -> None:
        """Add the hooks to the trainer."""
        self._add_handler(Events.STARTED, self._take_data)
        move_first(self._trainer, Events.STARTED)
        self._add_handler(Events.STARTED, self._begin)
        self._add_handler(Events.DATALOADER_STOP_ITERATION, self._notice_end_of_data)
        self._add_handler(Events.TERMINATE_SINGLE_EPOCH, self._begin_trial)
        self._add_handler(Events.EPOCH_COMPLETED, self._go_on)
        self._add_handler(Events.TERMINATE, self._finish)
        self._add_handler(Events.COMPLETED, self._finish)
        vars(self._trainer)["set_data"] = self._set_data

    def remove(self) -> None:
        """Take the hooks away, and make a result if the run did not come to its end."""
        for event, handler in self._handlers:
            if self._trainer.has_event_handler(handler, event):
                self._trainer.remove_event_handler(handler, event)
        self._handlers.clear()
        vars(self._trainer).pop("set_data", None)
        self._data = None
        if self._progress is not None:
            self._progress.close()
        if self._sweep is not None and not self._is_finished:
            self._make_result(self._sweep, is_collective=False)

    def _add_handler(self, event: Events, handler: Callable[..., None]) -> None:
        """Add one of the hooks to the trainer."""
        # Noted first: Ctrl-C may fall between the two.
        self._handlers.append((event, handler))
        self._trainer.add_event_handler(event, handler)

    def _take_data(self, engine: Engine) -> None:
        """Note the trainer's data and length, before a handler or an iterator changes them."""
        if self._is_rewinding:
            return
        if self._sweep is not None:
            raise LRFinderError(
                "The block must run its trainer once, got a second run. Attach the finder again "
                "for another sweep from the same start."
            )
        self._data = engine.state.dataloader
        self._snapshot.add_data(self._data)
        self._make_room(engine)

    def _set_data(self, data: Iterable[object]) -> None:
        """Note data that a handler gives to the trainer, before it is drawn from."""
        self._snapshot.add_data(data)
        type(self._trainer).set_data(self._trainer, data)

    def _make_room(self, engine: Engine) -> None:
        """Give the run as many epochs as the sweep needs, as far as that is known."""
        state = engine.state
        self._num_iter = self._arguments.num_iter or length_of_run(engine) or _DEFAULT_NUM_ITER
        if max_iters_of(engine) is not None:
            state.max_iters = None
            state.max_epochs = 1
        if state.epoch_length is not None and state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, math.ceil(self._num_iter / state.epoch_length))

    def _begin(self, engine: Engine) -> None:
        """Set the first learning rate, and begin to listen to the train step."""
        if self._is_rewinding:
            return
        arguments = self._arguments
        table = lr_table(arguments.start_lr, arguments.end_lr, self._num_iter, arguments.step_mode)
        self._sweep = self._current = self._measurement(table, arguments.diverge_th)
        if self._progress is not None:
            self._progress.follow(self._sweep, "LR range test", persist=True)
        # Only now, to come after a handler added inside the block, which may take the step.
        self._add_handler(Events.ITERATION_COMPLETED, self._take_loss)

    def _take_loss(self, engine: Engine) -> None:
        """Hand the output of an iteration to the measurement; after its end, go on to the next."""
        current = self._current
        if current is None or current.reason is not None:
            return
        reason = current.take(engine.state.output)
        if self._progress is not None:
            self._progress.update()
            reason = current.reason
        if reason is None:
            return
        self._note_trial()
        self._planned = self._next_trial()
        if self._planned is None:
            engine.terminate()
        else:
            engine.terminate_epoch()

    def _note_trial(self) -> None:
        """Keep what a trial gave that has ended."""
        if self._planned is not None and self._current is not None:
            is_diverged = self._current.reason is StopReason.NON_FINITE
            self._trials.append(
                Trial(
                    lr=self._planned.lr,
                    num_iter=self._planned.num_iter,
                    losses=self._current.losses,
                    is_diverged=is_diverged,
                    is_validation=self._validate is not None,
                )
            )
            self._planned = None

    def _next_trial(self) -> PlannedTrial | None:
        """Plan the trial that follows, if one does."""
        settings = self._arguments.trials
        if settings is None or self._sweep is None:
            return None
        if self._sweep.reason in (StopReason.OUT_OF_DATA, StopReason.TERMINATED):
            return None
        try:
            return next_trial(settings, self._reading(self._sweep), self._trials)
        except LRFinderError:
            # Nothing to begin at: the loss was NaN from the start, as the result will say.
            return None

    def _begin_trial(self, engine: Engine, iter_counter: int) -> None:
        """Begin a trial from the snapshot; the engine is about to start its data again."""
        if self._planned is None or self._sweep is None:
            return
        self._steps.remove()
        self._rewind(engine)
        self._last_iteration = -1
        row = self._reading(self._sweep).lrs_at(self._planned.lr)
        table = np.tile(np.array(row), (self._planned.num_iter, 1))
        # Only a loss that is not finite ends a trial: a spike need not last.
        self._current = self._measurement(table, diverge_th=math.inf)
        if self._progress is not None:
            name = f"Trial {len(self._trials) + 1} at {self._planned.lr:.1e}"
            self._progress.follow(self._current, name, persist=False)

    def _rewind(self, engine: Engine) -> None:
        """Put everything back, and let what prepares a run prepare this one."""
        self._snapshot.rewind()
        engine.state.dataloader = self._data
        self._is_rewinding = True
        try:
            engine.fire_event(Events.STARTED)
        finally:
            self._is_rewinding = False

    def _measurement(self, table: Array, diverge_th: float) -> Measurement:
        """Begin to measure the loss at the learning rates of a table."""
        return Measurement(
            self._arguments,
            table,
            self._steps,
            self._muted,
            validate=self._validate,
            diverge_th=diverge_th,
        )

    def _notice_end_of_data(self, engine: Engine) -> None:
        """End the sweep where the data is an iterator that cannot be started again.

        One of a user's own may start again; if it gives nothing, an epoch ends without a batch.
        """
        data = engine.state.dataloader
        is_built_in = type(data).__module__ in ("builtins", "itertools")
        if isinstance(data, Iterator) and (is_built_in or is_loader_iterator(data)):
            self._stop(StopReason.OUT_OF_DATA)

    def _go_on(self, engine: Engine) -> None:
        """Let the run have another epoch, as often as the sweep needs it."""
        state = engine.state
        if state.iteration == self._last_iteration:
            self._stop(StopReason.OUT_OF_DATA)
        self._last_iteration = state.iteration
        is_going_on = self._current is not None and self._current.reason is None
        if is_going_on and state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, state.epoch + 1)

    def _stop(self, reason: StopReason) -> None:
        """End the run."""
        if self._current is not None:
            self._current.end(reason)
            self._note_trial()
        self._trainer.terminate()

    def _finish(self, engine: Engine) -> None:
        """Make the result at the end of the run, and warn where the loss never diverged."""
        if self._is_finished or self._sweep is None:
            return
        reason = self._make_result(self._sweep)
        descent = self._reading(self._sweep).descent
        has_edge = not isinstance(descent, Refusal) and descent.has_edge
        if not reason.is_divergence and not has_edge:
            detail = "" if reason is StopReason.COMPLETED else f" ({reason.message})"
            warnings.warn(
                f"Run completed without loss diverging{detail}, {reason.remedy}",
                UserWarning,
                stacklevel=2,
            )

    def _make_result(self, sweep: Measurement, *, is_collective: bool = True) -> StopReason:
        """Hand on the result, and return why the sweep ended."""
        reason = sweep.end(StopReason.TERMINATED, is_collective=is_collective)
        self._on_result(self._result(sweep))
        # Not before: where an interrupt or an error kept it back, there is one to be made yet.
        self._is_finished = True
        return reason

    def _reading(self, sweep: Measurement) -> Reading:
        """Return what the sweep, which has ended, says without the trials."""
        if self._sweep_reading is None:
            self._sweep_reading = reading_of(self._result(sweep))
        return self._sweep_reading

    def _result(self, sweep: Measurement) -> Record:
        """Return the result of the sweep and the trials so far."""
        settings = SweepSettings(
            start_lr=tuple(sweep.table[0].tolist()),
            end_lr=tuple(sweep.table[-1].tolist()),
            num_iter=len(sweep.table),
            step_mode=self._arguments.step_mode,
            smooth_f=self._arguments.smooth_f,
            diverge_th=self._arguments.diverge_th,
        )
        return Record(
            lr=sweep.lr,
            losses=sweep.losses,
            smoothed_losses=sweep.smoothed_losses,
            stop_reason=sweep.reason or StopReason.TERMINATED,
            settings=settings,
            trials=tuple(self._trials),
        )
