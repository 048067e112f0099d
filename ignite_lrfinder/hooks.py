"""What happens at each event of a sweep: begin, take the loss, go on, stop, make the result."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from ignite.engine import Engine, Events

from ignite_lrfinder.arguments import Arguments
from ignite_lrfinder.divergence import DivergenceMonitor, StopReason
from ignite_lrfinder.engine import max_iters, move_first
from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.muting import TRAIN_STEP
from ignite_lrfinder.recorder import LossRecorder, loss_of
from ignite_lrfinder.result import LRFinderResult, SweepSettings
from ignite_lrfinder.stepping import StepWatch
from ignite_lrfinder.sweep import LRSweep, lr_table

# The number that other finders default to, for a trainer that cannot say how long its run is.
_DEFAULT_NUM_ITER = 100
# No step in so many iterations will not come any more: few people accumulate gradients for longer.
# Where no handler is muted that could take the step, hardly anyone does.
_MAX_STEPLESS_MUTED = 100
_MAX_STEPLESS = 2000
_LOOK_EVERY = 10


class SweepHooks:
    """Run a sweep inside a trainer's own `run`, from the first event to the result.

    Args:
        trainer: the engine that runs the sweep.
        arguments: the checked arguments of `attach`.
        steps: the watch over the optimizer's steps.
        muted: the names of the muted handlers that a user wrote, one of which may take the step.
        on_data: called with the trainer's data, before anything is drawn from it.
        on_result: called once with the result.
    """

    def __init__(
        self,
        trainer: Engine,
        arguments: Arguments,
        steps: StepWatch,
        muted: Sequence[str],
        on_data: Callable[[object], None],
        on_result: Callable[[LRFinderResult], None],
    ) -> None:
        self._trainer = trainer
        self._arguments = arguments
        self._steps = steps
        self._muted = muted
        self._on_data = on_data
        self._on_result = on_result
        self._recorder = LossRecorder()
        self._monitor = DivergenceMonitor(arguments.smooth_f, arguments.diverge_th)
        self._losses: list[float] = []
        self._sweep: LRSweep | None = None
        self._reason: StopReason | None = None
        self._is_finished = False
        self._num_iter = 0
        self._num_stepless = 0
        self._last_iteration = 0
        self._handlers: list[tuple[Events, Callable[[Engine], None]]] = []

    def add(self) -> None:
        """Add the hooks to the trainer."""
        self._add_handler(Events.STARTED, self._take_data)
        move_first(self._trainer, Events.STARTED)
        self._add_handler(Events.STARTED, self._begin)
        self._add_handler(Events.DATALOADER_STOP_ITERATION, self._notice_end_of_data)
        self._add_handler(Events.EPOCH_COMPLETED, self._go_on)
        self._add_handler(Events.TERMINATE, self._finish)
        self._add_handler(Events.COMPLETED, self._finish)
        vars(self._trainer)["set_data"] = self._set_data

    def remove(self) -> None:
        """Take the hooks away, and make a result if the run did not come to its end."""
        for event, handler in self._handlers:
            self._trainer.remove_event_handler(handler, event)
        self._handlers.clear()
        vars(self._trainer).pop("set_data", None)
        if self._sweep is not None and not self._is_finished:
            self._make_result(self._sweep, is_collective=False)

    def _add_handler(self, event: Events, handler: Callable[[Engine], None]) -> None:
        """Add one of the hooks to the trainer."""
        self._trainer.add_event_handler(event, handler)
        self._handlers.append((event, handler))

    def _take_data(self, engine: Engine) -> None:
        """Note the trainer's data before a handler or an iterator changes it."""
        if self._sweep is not None:
            raise LRFinderError(
                "The block must run its trainer once, got a second run. Attach the finder again "
                "for another sweep from the same start."
            )
        self._on_data(engine.state.dataloader)
        self._make_room(engine)

    def _set_data(self, data: Iterable[object]) -> None:
        """Note data that a handler gives to the trainer, before it is drawn from."""
        self._on_data(data)
        type(self._trainer).set_data(self._trainer, data)

    def _make_room(self, engine: Engine) -> None:
        """Give the run as many epochs as the sweep needs, as far as that is known."""
        state = engine.state
        self._num_iter = self._arguments.num_iter or _length_of_run(engine)
        if max_iters(engine) is not None:
            state.max_iters = None
            state.max_epochs = 1
        if state.epoch_length is not None and state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, math.ceil(self._num_iter / state.epoch_length))

    def _begin(self, engine: Engine) -> None:
        """Set the first learning rate, and begin to listen to the train step."""
        arguments = self._arguments
        table = lr_table(arguments.start_lr, arguments.end_lr, self._num_iter, arguments.step_mode)
        self._sweep = LRSweep(arguments.optimizer, table)
        self._steps.follow(self._sweep)
        # Only now, to come after a handler added inside the block, which may take the step.
        self._add_handler(Events.ITERATION_COMPLETED, self._take_loss)

    def _take_loss(self, engine: Engine) -> None:
        """Take the loss of an iteration; if it took a step, make a point and go on to the next."""
        if self._sweep is None or self._reason is not None:
            return
        self._steps.check(TRAIN_STEP)
        self._recorder.add(loss_of(self._arguments.output_transform(engine.state.output)))
        if not self._steps.has_stepped and not self._steps.is_blind:
            self._do_without_step()
            return
        self._steps.has_stepped = self._steps.is_skipped = False
        self._num_stepless = 0
        self._recorder.close_point()
        is_last = self._sweep.event_index + 1 == len(self._sweep.table)
        if is_last or self._recorder.is_due():
            self._judge()
        if self._reason is None and is_last:
            self._reason = StopReason.COMPLETED
        if self._reason is None:
            self._sweep(engine)
        else:
            engine.terminate()

    def _do_without_step(self) -> None:
        """Decide what an iteration without a step is: a micro-batch, a skipped step, a mistake."""
        self._num_stepless += 1
        # Every so often, since looking at losses waits for the device and for other processes.
        is_looking = self._steps.is_skipped or self._num_stepless % _LOOK_EVERY == 0
        if is_looking and self._recorder.has_non_finite():
            self._stop(StopReason.NON_FINITE)
        elif self._num_stepless >= (_MAX_STEPLESS_MUTED if self._muted else _MAX_STEPLESS):
            raise LRFinderError(
                f"The optimizer must take a step during a sweep, got none in {self._num_stepless} "
                f"iterations. If a handler takes it, name it in keep_handlers=[handler] (muted: "
                f"{', '.join(self._muted) or 'none'}); if a gradient scaler skips it, the loss is "
                "too large for it already; if gradients are accumulated over more iterations, pass "
                'keep_handlers="all".'
            )
        elif self._steps.is_skipped:
            self._recorder.discard()
        self._steps.is_skipped = False

    def _notice_end_of_data(self, engine: Engine) -> None:
        """End the sweep where the data is a built-in iterator, which cannot be started again.

        One of a user's own may start again; if it gives nothing, an epoch ends without a batch.
        """
        data = engine.state.dataloader
        if isinstance(data, Iterator) and type(data).__module__ in ("builtins", "itertools"):
            self._stop(StopReason.OUT_OF_DATA)

    def _go_on(self, engine: Engine) -> None:
        """Let the run have another epoch, as often as the sweep needs it."""
        state = engine.state
        if state.iteration == self._last_iteration:
            self._stop(StopReason.OUT_OF_DATA)
        self._last_iteration = state.iteration
        if self._reason is None and state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, state.epoch + 1)

    def _stop(self, reason: StopReason) -> None:
        """End the run."""
        if self._reason is None:
            self._judge()
            self._reason = self._reason or reason
        self._trainer.terminate()

    def _judge(self, *, is_collective: bool = True) -> None:
        """Read the losses of the latest points, up to the first at which the sweep must stop."""
        for loss in self._recorder.read(is_collective=is_collective):
            self._losses.append(loss)
            self._reason = self._monitor.update(loss)
            if self._reason is not None:
                break

    def _finish(self, engine: Engine) -> None:
        """Make the result at the end of the run, and warn where the loss never diverged."""
        if self._is_finished or self._sweep is None:
            return
        reason = self._make_result(self._sweep)
        if not reason.is_divergence:
            detail = "" if reason is StopReason.COMPLETED else f" ({reason.message})"
            warnings.warn(
                f"Run completed without loss diverging{detail}, {reason.remedy}",
                UserWarning,
                stacklevel=2,
            )

    def _make_result(self, sweep: LRSweep, *, is_collective: bool = True) -> StopReason:
        """Hand on the result, and return why the sweep ended."""
        self._is_finished = True
        if self._reason is None:
            self._judge(is_collective=is_collective)
        reason = self._reason = self._reason or StopReason.TERMINATED
        settings = SweepSettings(
            start_lr=tuple(sweep.table[0].tolist()),
            end_lr=tuple(sweep.table[-1].tolist()),
            num_iter=len(sweep.table),
            step_mode=self._arguments.step_mode,
            smooth_f=self._arguments.smooth_f,
            diverge_th=self._arguments.diverge_th,
        )
        result = LRFinderResult(
            lr=sweep.table[: len(self._losses)],
            losses=np.array(self._losses),
            smoothed_losses=np.array(self._monitor.smoothed),
            stop_reason=reason,
            settings=settings,
        )
        self._on_result(result)
        return reason


def _length_of_run(engine: Engine) -> int:
    """Return how many iterations a trainer's run was asked for."""
    state = engine.state
    num_iter = max_iters(engine)
    if num_iter is None and state.epoch_length is not None and state.max_epochs is not None:
        num_iter = state.epoch_length * state.max_epochs
    if num_iter is not None and num_iter < 1:
        raise LRFinderError(
            f"The run must have at least 1 iteration, got {num_iter}. Pass num_iter to attach."
        )
    return num_iter or _DEFAULT_NUM_ITER
