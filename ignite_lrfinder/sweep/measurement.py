"""Train through a table of learning rates and measure one point for each optimizer step."""

import math
from collections.abc import Callable

import numpy as np

from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.divergence import DivergenceMonitor
from ignite_lrfinder.sweep.limits import StepLimit
from ignite_lrfinder.sweep.loss import loss_of, unchanged
from ignite_lrfinder.sweep.recorder import LossRecorder
from ignite_lrfinder.sweep.scheduler import LRSweep
from ignite_lrfinder.sweep.steps import StepWatch

# Without a step, losses are read for NaN in every tenth iteration: reading waits for the device.
_LOOK_EVERY = 10


class Measurement:
    """Measure the loss at each learning rate of a table, iteration by iteration.

    Args:
        arguments: the checked arguments of `attach`.
        table: the learning rates of T points and G parameter groups, of shape (T, G).
        steps: the watch over the optimizer's steps, which follows the table from now on.
        limit: the limit on iterations without a step.
        validate: returns the loss of a point in place of the trainer's.
        diverge_th: the divergence threshold.

    Attributes:
        reason: why it ended; None while it is under way.
    """

    def __init__(
        self,
        arguments: Arguments,
        table: Array,
        steps: StepWatch,
        limit: StepLimit,
        *,
        validate: Callable[[], object] | None,
        diverge_th: float,
    ) -> None:
        self.reason: StopReason | None = None
        self._has_micro_batches = False
        self._output_transform = arguments.output_transform
        self._is_plain = arguments.output_transform is unchanged
        self._steps = steps
        self._limit = limit
        self._validate = validate
        self._sweep = LRSweep(arguments.optimizer, table)
        self._recorder = LossRecorder()
        self._monitor = DivergenceMonitor(arguments.smooth_f, diverge_th)
        self._num_stepless = 0
        self._last = len(table) - 1
        steps.follow(self._sweep)

    def __len__(self) -> int:
        """Return the number of points whose losses are known."""
        return len(self._monitor.losses)

    @property
    def num_closed(self) -> int:
        """The number of points whose steps were taken."""
        return self._sweep.event_index

    @property
    def has_begun(self) -> bool:
        """Whether the optimizer has taken a step, also one in an unfinished iteration."""
        return self.num_closed > 0 or self._steps.has_stepped

    @property
    def smoothed_loss(self) -> float:
        """The smoothed loss of the latest point whose loss is known."""
        return self._monitor.smoothed[len(self) - 1]

    @property
    def table(self) -> Array:
        """The learning rates to test, in the number format of the optimizer; shape (T, G)."""
        return self._sweep.table

    @property
    def lr(self) -> Array:
        """The learning rate of each point and parameter group."""
        return self.table[: len(self)]

    @property
    def losses(self) -> Array:
        """The loss of each point."""
        return np.array(self._monitor.losses)

    @property
    def smoothed_losses(self) -> Array:
        """The moving average of the losses, which decides on divergence."""
        return np.array(self._monitor.smoothed[: len(self)])

    def non_finite_batch(self, epoch_length: int | None) -> int | None:
        """Return the batch of its epoch on which the loss became NaN or infinite, if known."""
        losses = self._monitor.losses
        if not losses or math.isfinite(losses[-1]):
            return None
        # With micro-batches a point spans several batches.
        if not epoch_length or self._has_micro_batches:
            return None
        return (len(losses) - 1) % epoch_length + 1

    def update(self, output: object) -> StopReason | None:
        """Add the output of an iteration; if it took a step, close the point and begin the next.

        Returns:
            Why the measurement has ended with this iteration; None if it has not.

        Raises:
            TypeError: if the output holds no loss.
            ValueError: if it is a tensor or array of several elements.
            LRFinderError: if the optimizer takes no steps.
        """
        steps = self._steps
        try:
            loss = output if self._is_plain else self._output_transform(output)
            self._recorder.add(loss_of(loss))
        except Exception as error:
            # With a validation loss, the trainer's is needed only where a scaler skips every step.
            if self._validate is None or not isinstance(error, (TypeError, ValueError)):
                if not steps.has_stepped:  # an output without a loss may be an evaluator's
                    self._limit.check_trainer()
                raise
        if self._sweep.is_overwritten():
            steps.hold_lr()
        if steps.has_stepped or steps.is_blind:
            self._close_point()
        else:
            self._handle_no_step()
        return self.reason

    def end(self, reason: StopReason, *, is_collective: bool = True) -> StopReason:
        """End the measurement unless it has ended already, and return the reason.

        Args:
            reason: the reason, unless an unread loss gives another one.
            is_collective: whether the other processes end too.
        """
        if self.reason is None:
            losses = self._recorder.read(reason, is_collective=is_collective)
            self.reason = self._monitor.update(losses) or self._recorder.ending or reason
        return self.reason

    def fail(self) -> None:
        """End the measurement with a point whose loss is NaN, because its train step has failed."""
        self._steps.has_stepped = self._steps.is_skipped = False
        self._recorder.discard()
        self._recorder.add(math.nan)
        losses = self._recorder.close_point(is_last=True)
        self.reason = self._monitor.update(losses) or StopReason.NON_FINITE

    def _close_point(self) -> None:
        """Close the point of the iterations since the last step, and begin the next."""
        self._steps.has_stepped = self._steps.is_skipped = False
        if self._num_stepless or self._sweep.event_index == 0:
            self._limit.count_step(self._num_stepless)
            self._num_stepless = 0
        if self._validate is not None:
            self._recorder.discard()
            self._recorder.add(loss_of(self._validate(), source="val_loss"))
            self._steps.hold_lr("val_loss")
        is_last = self._sweep.event_index == self._last
        losses = self._recorder.close_point(is_last=is_last)
        self.reason = self._monitor.update(losses) or self._recorder.ending
        if self.reason is None and is_last:
            self.reason = StopReason.COMPLETED
        if self.reason is None:
            self._sweep(None)

    def _handle_no_step(self) -> None:
        """Distinguish a micro-batch, a skipped step and a mistake."""
        self._num_stepless += 1
        self._has_micro_batches = True
        # Not each time: reading losses waits for the device and for other processes.
        is_looking = self._steps.is_skipped or self._num_stepless % _LOOK_EVERY == 0
        has_non_finite = is_looking and self._recorder.has_non_finite()
        if self._recorder.ending is not None:
            self.end(self._recorder.ending)
        elif has_non_finite:
            self.end(StopReason.NON_FINITE)
        else:
            self._limit.check(self._num_stepless)
        if self._steps.is_skipped:
            self._recorder.discard()
        self._steps.is_skipped = False
