"""What happens at each event of a run: the sweep, the trials after it, the result."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import Record, StopReason
from ignite_lrfinder.snapshot import Snapshot, is_loader_iterator
from ignite_lrfinder.suggest import Reading, Refusal, reading_of
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.engine import length_of_run, max_iters_of, move_first
from ignite_lrfinder.sweep.measurement import Measurement
from ignite_lrfinder.sweep.progress import Progress
from ignite_lrfinder.sweep.steps import StepWatch
from ignite_lrfinder.sweep.trials import TrialSequence

# The default of other finders, for a run of unknown length.
_DEFAULT_NUM_ITER = 100


class SweepHooks:
    """Run a sweep inside a trainer's own `run`, from the first event to the result.

    Args:
        arguments: the checked arguments of `attach`.
        steps: the watch over the optimizer's steps.
        muted: the names of the muted user-defined handlers, one of which may take the step.
        validate: computes the loss of a point in place of the trainer's.
        snapshot: where trials begin; it captures the trainer's data before it is drawn from.
        progress: shows how far the sweep is; None for a quiet one.
        on_result: called with the result, and again if it raised.
    """

    def __init__(
        self,
        arguments: Arguments,
        steps: StepWatch,
        *,
        muted: Sequence[str],
        validate: Callable[[], object] | None,
        snapshot: Snapshot,
        progress: Progress | None,
        on_result: Callable[[Record], None],
    ) -> None:
        self._trainer = arguments.trainer
        self._arguments = arguments
        self._steps = steps
        self._muted = muted
        self._validate = validate
        self._snapshot = snapshot
        self._progress = progress
        self._on_result = on_result
        self._trials = TrialSequence(arguments.trials, is_validation=validate is not None)
        self._sweep: Measurement | None = None
        self._sweep_reading: Reading | None = None
        self._current: Measurement | None = None
        self._data: Iterable[Any] | None = None
        self._is_finished = False
        self._is_rewinding = False
        self._num_iter = 0
        self._last_iteration = 0
        self._handlers: list[tuple[Events, Callable[..., None]]] = []

    def add(self) -> None:
        """Add the hooks to the trainer."""
        self._add_handler(Events.STARTED, self._capture_data)
        move_first(self._trainer, Events.STARTED)
        self._add_handler(Events.STARTED, self._begin_sweep)
        self._add_handler(Events.DATALOADER_STOP_ITERATION, self._on_end_of_data)
        self._add_handler(Events.TERMINATE_SINGLE_EPOCH, self._begin_trial)
        self._add_handler(Events.EPOCH_COMPLETED, self._extend_run)
        self._add_handler(Events.TERMINATE, self._finish)
        self._add_handler(Events.COMPLETED, self._finish)
        vars(self._trainer)["set_data"] = self._set_data

    def remove(self) -> None:
        """Remove the hooks, and make a result if the run did not come to its end."""
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
        # Stored first: Ctrl-C may arrive between the two.
        self._handlers.append((event, handler))
        self._trainer.add_event_handler(event, handler)

    def _capture_data(self, engine: Engine) -> None:
        """Capture the trainer's data and length, before a handler or an iterator changes them."""
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
        """Capture data that a handler sets on the trainer, before it is drawn from."""
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

    def _begin_sweep(self, engine: Engine) -> None:
        """Set the first learning rate, and begin to listen to the train step."""
        if self._is_rewinding:
            return
        table = self._arguments.lr_table(self._num_iter)
        self._sweep = self._measure(table, self._arguments.diverge_th)
        if self._progress is not None:
            self._progress.follow(self._sweep, "LR range test", persist=True)
        # Added last, so that it runs after handlers that may call optimizer.step().
        self._add_handler(Events.ITERATION_COMPLETED, self._on_iteration)

    def _on_iteration(self, engine: Engine) -> None:
        """Pass the output of an iteration to the measurement; after its end, plan what is next."""
        current = self._current
        if current is None or current.reason is not None:
            return
        reason = current.update(engine.state.output)
        if self._progress is not None:
            self._progress.update()
        if reason is None:
            return
        self._trials.store(current)
        if self._sweep is None or self._trials.plan(self._reading(self._sweep)) is None:
            engine.terminate()
        else:
            engine.terminate_epoch()

    def _begin_trial(self, engine: Engine, iter_counter: int) -> None:
        """Begin a trial from the snapshot; the engine is about to start its data again."""
        planned = self._trials.planned
        if planned is None or self._sweep is None:
            return
        self._steps.remove()
        self._rewind(engine)
        self._last_iteration = -1
        # Only a loss that is not finite ends a trial: a spike need not last.
        row = self._reading(self._sweep).lrs_at(planned.lr)
        table = np.tile(np.array(row), (planned.num_iter, 1))
        current = self._measure(table, diverge_th=math.inf)
        if self._progress is not None:
            name = f"Trial {len(self._trials.trials) + 1} at {planned.lr:.1e}"
            self._progress.follow(current, name, persist=False)

    def _rewind(self, engine: Engine) -> None:
        """Restore everything, and run the handlers that prepare a run."""
        self._snapshot.rewind()
        engine.state.dataloader = self._data
        self._is_rewinding = True
        try:
            engine.fire_event(Events.STARTED)
        finally:
            self._is_rewinding = False

    def _measure(self, table: Array, diverge_th: float) -> Measurement:
        """Begin to measure the loss at the learning rates of a table."""
        self._current = Measurement(
            self._arguments,
            table,
            self._steps,
            self._muted,
            validate=self._validate,
            diverge_th=diverge_th,
        )
        return self._current

    def _on_end_of_data(self, engine: Engine) -> None:
        """End the sweep where the data is an iterator that cannot be started again.

        A custom iterator may start again; if it does not, an epoch ends without a batch.
        """
        data = engine.state.dataloader
        is_built_in = type(data).__module__ in ("builtins", "itertools")
        if isinstance(data, Iterator) and (is_built_in or is_loader_iterator(data)):
            self._stop(StopReason.OUT_OF_DATA)

    def _extend_run(self, engine: Engine) -> None:
        """Give the run another epoch, as often as the sweep needs it."""
        state = engine.state
        if state.iteration == self._last_iteration:
            self._stop(StopReason.OUT_OF_DATA)
        self._last_iteration = state.iteration
        is_unfinished = self._current is not None and self._current.reason is None
        if is_unfinished and state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, state.epoch + 1)

    def _stop(self, reason: StopReason) -> None:
        """End the run."""
        if self._current is not None:
            self._current.end(reason)
            self._trials.store(self._current)
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
        """Pass on the result, and return why the sweep ended."""
        reason = sweep.end(StopReason.TERMINATED, is_collective=is_collective)
        self._on_result(self._record(sweep))
        # Only now: where an interrupt or an error came first, the result is still to be made.
        self._is_finished = True
        return reason

    def _reading(self, sweep: Measurement) -> Reading:
        """Return the reading of the sweep, which has ended, without trials."""
        if self._sweep_reading is None:
            self._sweep_reading = reading_of(self._record(sweep))
        return self._sweep_reading

    def _record(self, sweep: Measurement) -> Record:
        """Return what the sweep and the trials so far have measured."""
        return Record(
            lr=sweep.lr,
            losses=sweep.losses,
            smoothed_losses=sweep.smoothed_losses,
            stop_reason=sweep.reason or StopReason.TERMINATED,
            settings=self._arguments.settings(sweep.table),
            trials=tuple(self._trials.trials),
        )
