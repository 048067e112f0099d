"""The limit on iterations without an optimizer step, and its errors."""

from ignite.engine import Engine

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Handler, OptimizerLike
from ignite_lrfinder.snapshot import reachable_from
from ignite_lrfinder.sweep.engine import training_of
from ignite_lrfinder.sweep.handlers import names_of
from ignite_lrfinder.sweep.muting import Muting
from ignite_lrfinder.sweep.optimizers import is_optimizer

# The most iterations before the first step: if the train step does not refer to the optimizer, if a
# muted handler may take the step, and otherwise. Few people accumulate gradients over more.
_MAX_FIRST_UNKNOWN = 10
_MAX_FIRST_MUTED = 100
_MAX_FIRST = 1000
# After the first step, only a run without end must be stopped.
_MAX_NEXT = 10_000
_GAP_FACTOR = 100


class StepLimit:
    """The limit on iterations without a step, shared by a sweep and its trials.

    Args:
        trainer: the engine that runs the sweep.
        optimizer: the optimizer that is swept.
        muting: the muted handlers, one of which may take the step.
    """

    def __init__(self, trainer: Engine, optimizer: OptimizerLike, muting: Muting) -> None:
        self._trainer = trainer
        self._optimizer = optimizer
        self._muting = muting
        self._longest_gap: int | None = None

    def count_step(self, gap: int) -> None:
        """Count a step that followed `gap` iterations without a step."""
        self._longest_gap = max(gap, self._longest_gap or 0)

    def check(self, num_stepless: int) -> None:
        """Check the number of iterations without a step.

        Raises:
            LRFinderError: if there are too many.
        """
        if self._longest_gap is not None:
            self._check_next(num_stepless, self._longest_gap)
        elif num_stepless == _MAX_FIRST_UNKNOWN:
            self.check_trainer()
        elif num_stepless >= (_MAX_FIRST_MUTED if self._muting.muted else _MAX_FIRST):
            raise LRFinderError(
                f"The optimizer must take a step during a sweep, got none in {num_stepless} "
                f"iterations. If a handler takes it, pass keep_handlers=[handler] (muted: "
                f"{names_of(self._muting.muted)}); if a gradient scaler skips it, check the "
                "gradients for inf and NaN; if a CUDA graph takes it, let the learning rate be a "
                "tensor; if gradients are accumulated over more iterations, pass "
                'keep_handlers="all".'
            )

    def _check_next(self, num_stepless: int, longest_gap: int) -> None:
        """Check the number of iterations since the last step."""
        if num_stepless >= max(_MAX_NEXT, _GAP_FACTOR * longest_gap):
            raise LRFinderError(
                f"The optimizer must keep taking steps during a sweep, got none in {num_stepless} "
                f"iterations, after gaps of at most {longest_gap} before. Look for what keeps the "
                "train step from stepping, such as a counter."
            )

    def check_trainer(self) -> None:
        """Check that the trainer, or a handler that runs, refers to the optimizer.

        Raises:
            LRFinderError: if none does; it names the optimizers that the trainer uses.
        """
        running = [handler for handler in self._muting.running() if not _is_own(handler)]
        known = reachable_from(*training_of(self._trainer), *running)
        if any(obj is self._optimizer for obj in known):
            return
        stepping = [handler for handler in self._muting.muted if self._is_known_to(handler)]
        others = sorted({type(obj).__name__ for obj in known if is_optimizer(obj)})
        got = f"another one ({', '.join(others)})" if others else "none, as an evaluator does"
        remedy = (
            "Pass the trainer of this optimizer to attach, or put an object in to_save by which "
            "its train step reaches the optimizer."
        )
        if stepping:
            remedy = f"If the handler takes the step, pass keep_handlers=[{names_of(stepping)}]."
        raise LRFinderError(
            f"trainer must train the optimizer in to_save, got an engine that uses {got}. {remedy}"
        )

    def _is_known_to(self, handler: Handler) -> bool:
        """Return whether a handler refers to the optimizer."""
        return any(obj is self._optimizer for obj in reachable_from(handler))


def _is_own(handler: Handler) -> bool:
    """Return whether a handler is one of the finder's."""
    return (getattr(handler, "__module__", None) or "").startswith("ignite_lrfinder.")
