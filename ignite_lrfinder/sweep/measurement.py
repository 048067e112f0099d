"""A table of learning rates trained through, one point for each optimizer step."""

import contextlib
import math
import sys
from array import array
from collections.abc import Callable, Sequence

import numpy as np

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.snapshot import Interrupts
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.divergence import DivergenceMonitor
from ignite_lrfinder.sweep.loss import Loss, loss_of, unchanged
from ignite_lrfinder.sweep.recorder import LossRecorder
from ignite_lrfinder.sweep.scheduler import LRSweep
from ignite_lrfinder.sweep.steps import StepWatch

# No step in so many iterations will not come any more: few people accumulate gradients for longer.
# Where no handler is muted that could take the step, hardly anyone does.
_MAX_STEPLESS_MUTED = 100
_MAX_STEPLESS = 1000
_LOOK_EVERY = 10
_LOWEST = -sys.float_info.max


class Measurement:
    """Measure the loss at each learning rate of a table, fed with one iteration after the other.

    Args:
        arguments: the checked arguments of `attach`.
        table: the learning rates of T points and G parameter groups, of shape (T, G).
        steps: the watch over the optimizer's steps, which from now on follows the table.
        muted: the names of the muted handlers that a user wrote, one of which may take the step.
        validate: gives the loss of a point in place of the trainer's.
        diverge_th: how far the loss may rise.

    Attributes:
        reason: why it ended; None as long as it goes on.
    """

    def __init__(
        self,
        arguments: Arguments,
        table: Array,
        steps: StepWatch,
        muted: Sequence[str],
        *,
        validate: Callable[[], object] | None,
        diverge_th: float,
    ) -> None:
        self.reason: StopReason | None = None
        self._output_transform = arguments.output_transform
        self._is_plain = arguments.output_transform is unchanged and validate is None
        self._steps = steps
        self._muted = muted
        self._validate = validate
        self._sweep = LRSweep(arguments.optimizer, table)
        self._recorder = LossRecorder()
        self._monitor = DivergenceMonitor(arguments.smooth_f, diverge_th)
        self._losses = array("d")
        self._num_stepless = 0
        # Up to this point losses wait for being judged: all, or those up to the harmless one.
        self._next_look = 0
        self._is_late = False
        self._harmless = -math.inf
        steps.follow(self._sweep)

    def __len__(self) -> int:
        """Return the number of points whose losses are known."""
        return len(self._losses)

    @property
    def smoothed_loss(self) -> float:
        """The moving average at the latest of these points."""
        return self._monitor.smoothed[len(self) - 1]

    @property
    def table(self) -> Array:
        """The learning rates to be tested, as the optimizer's number format holds them; (T, G)."""
        return self._sweep.table

    @property
    def lr(self) -> Array:
        """The learning rate of each point and parameter group."""
        return self.table[: len(self._losses)]

    @property
    def losses(self) -> Array:
        """The loss of each point."""
        return np.array(self._losses)

    @property
    def smoothed_losses(self) -> Array:
        """The moving average of the losses, which decides on divergence."""
        return np.array(self._monitor.smoothed[: len(self)])

    def take(self, output: object) -> StopReason | None:
        """Take the output of an iteration; if it took a step, make a point and go on to the next.

        Returns:
            Why the measurement has ended with this iteration; None to go on.

        Raises:
            TypeError: if the output holds no loss.
            ValueError: if it is a tensor or array of several elements.
            LRFinderError: if the optimizer takes no steps.
        """
        loss = loss_of(output) if self._is_plain else self._loss_in(output)
        steps, sweep = self._steps, self._sweep
        is_harmless = type(loss) is float and _LOWEST <= loss <= self._harmless
        if loss is None or not (is_harmless or self._is_late):
            return self._take_with_care(loss)
        if not steps.has_stepped or sweep.event_index >= self._next_look:
            return self._take_with_care(loss)
        # Nearly all points come here, so as little is done as can be: each pays for it.
        self._recorder.unread.append(loss)
        steps.has_stepped = steps.is_skipped = False
        sweep.event_index += 1
        if sweep.write():
            steps.warn_of()
        return None

    def look(self) -> None:
        """Judge the points that wait, if their losses are on the host."""
        if self.reason is None and not self._recorder.is_late:
            self._judge()

    def end(self, reason: StopReason, *, is_collective: bool = True) -> StopReason:
        """End the measurement, unless it ended before, and return why it did.

        Args:
            reason: why, if the points that are not judged yet hold no other reason.
            is_collective: whether the other processes do the same.
        """
        if self.reason is None:
            self._judge(reason, is_collective=is_collective)
            self.reason = self.reason or reason
        return self.reason

    def _take_with_care(self, loss: Loss | None) -> StopReason | None:
        """Take a loss that may end the measurement, or need not be of a point."""
        steps, recorder = self._steps, self._recorder
        steps.hold_lr()
        if loss is not None:
            recorder.add(loss)
        if recorder.is_late and not self._is_late:
            self._is_late, self._next_look = True, 0
        if not steps.has_stepped and not steps.is_blind:
            self._next_look = 0
            self._do_without_step()
            return self.reason
        steps.has_stepped = steps.is_skipped = False
        self._num_stepless = 0
        recorder.close_point(None if self._validate is None else self._validation_loss())
        is_last = self._sweep.event_index + 1 == len(self._sweep.table)
        if is_last or recorder.is_due():
            self._judge()
            self._plan_next_look()
        if self.reason is None and is_last:
            self.reason = StopReason.COMPLETED
        if self.reason is None:
            self._sweep(None)
        return self.reason

    def _plan_next_look(self) -> None:
        """Let the next points wait for being judged together, those that cannot end it.

        Where validation gives the loss, none waits: it is rare and slow.
        """
        if self._validate is not None:
            return
        self._is_late = self._recorder.is_late
        self._harmless = self._monitor.harmless
        last = len(self._sweep.table) - 1
        self._next_look = min(self._sweep.event_index + self._recorder.read_every, last)

    def _loss_in(self, output: object) -> Loss | None:
        """Return the loss in the trainer's output.

        Where validation makes the point there need be none. One that there is tells when the loss
        has broken down and a scaler skips every step.
        """
        if self._validate is None:
            return loss_of(self._output_transform(output))
        with contextlib.suppress(TypeError, ValueError):
            return loss_of(self._output_transform(output))
        return None

    def _validation_loss(self) -> Loss:
        """Return the validation loss after a step."""
        assert self._validate is not None  # else the trainer's loss is the point's
        loss = loss_of(self._validate(), source="val_loss")
        self._steps.hold_lr("val_loss")
        return loss

    def _do_without_step(self) -> None:
        """Decide what an iteration without a step is: a micro-batch, a skipped step, a mistake."""
        self._num_stepless += 1
        # Every so often, since looking at losses waits for the device and for other processes.
        is_looking = self._steps.is_skipped or self._num_stepless % _LOOK_EVERY == 0
        has_non_finite = is_looking and self._recorder.has_non_finite()
        if self._recorder.ending is not None:
            self.end(self._recorder.ending)
        elif has_non_finite:
            self.end(StopReason.NON_FINITE)
        elif self._num_stepless >= (_MAX_STEPLESS_MUTED if self._muted else _MAX_STEPLESS):
            raise LRFinderError(
                f"The optimizer must take a step during a sweep, got none in {self._num_stepless} "
                f"iterations. If a handler takes it, name it in keep_handlers=[handler] (muted: "
                f"{', '.join(self._muted) or 'none'}); if a gradient scaler skips it, the loss is "
                "too large for it already; if a CUDA graph takes it, let the learning rate be a "
                "tensor; if gradients are accumulated over more iterations, pass "
                'keep_handlers="all".'
            )
        elif self._steps.is_skipped:
            self._recorder.discard()
        self._steps.is_skipped = False

    def _judge(self, ending: StopReason | None = None, *, is_collective: bool = True) -> None:
        """Read the losses of the latest points, and judge them up to the first at which to stop."""
        if len(self._recorder.unread) == 1:  # nearly always that of the step that Ctrl-C fell into
            self._take_losses(self._recorder.read(ending, is_collective=is_collective))
            return
        # Ctrl-C is held back once losses are read: they would be lost. While reading waits, for a
        # device or for other processes, it is let through.
        with Interrupts() as interrupts:
            if self._recorder.is_late:
                interrupts.allow()
            losses = self._recorder.read(ending, is_collective=is_collective)
            interrupts.is_deferring = True
            self._take_losses(losses)

    def _take_losses(self, losses: Sequence[float]) -> None:
        """Judge losses that were read."""
        for loss in losses:
            # In this order: where an interrupt falls between any two, there are whole points.
            reason = self._monitor.update(loss)
            self._losses.append(loss)
            self.reason = reason
            if self.reason is not None:
                return
        self.reason = self._recorder.ending
