"""Warnings about how a sweep or a trial ended."""

from collections.abc import Iterator

from ignite_lrfinder.record import StopReason
from ignite_lrfinder.suggest import Descent, Reading, Refusal
from ignite_lrfinder.sweep.handlers import names_of
from ignite_lrfinder.sweep.measurement import Measurement
from ignite_lrfinder.sweep.muting import Muting


def warnings_of_sweep(sweep: Measurement, reading: Reading, muting: Muting) -> Iterator[str]:
    """Yield the warnings about the end of a sweep.

    Args:
        sweep: the finished sweep.
        reading: the reading of its record, trials included.
        muting: the handlers of the trainer.
    """
    reason = sweep.reason or StopReason.TERMINATED
    descent, scores = reading.descent, reading.scores
    is_bounded = scores is not None and scores.best < len(scores.x) - 1
    if reason is StopReason.TERMINATED:
        yield _ended_by(muting, f"the sweep after {len(sweep)} of {len(sweep.table)} points")
    elif reason is StopReason.NON_FINITE and isinstance(descent, Refusal):
        yield descent.reason
    elif reason is StopReason.COMPLETED and isinstance(descent, Refusal) and scores is None:
        yield f"Run completed without loss diverging. {descent.reason}"
    elif not reason.is_divergence and not is_bounded and not _has_edge(descent):
        detail = "" if reason is StopReason.COMPLETED else f" ({reason.message})"
        remedy = reason.remedy
        if reason is StopReason.OUT_OF_DATA and muting.muted:
            names = names_of(muting.muted)
            remedy += f"; if a muted handler sets new data, keep it: keep_handlers=[{names}]"
        yield f"Run completed without loss diverging{detail}, {remedy}"


def warnings_of_trial(trial: Measurement, number: int, muting: Muting) -> Iterator[str]:
    """Yield a warning about a trial that user code ended.

    Args:
        trial: the last trial.
        number: the number of trials that were begun.
        muting: the handlers of the trainer.
    """
    if trial.reason is StopReason.TERMINATED:
        iterations = f"{len(trial)} of {len(trial.table)} iterations"
        yield _ended_by(muting, f"trial {number} after {iterations}")


def _has_edge(descent: Descent | Refusal) -> bool:
    """Return whether a curve rises for good."""
    return isinstance(descent, Descent) and descent.has_edge


def _ended_by(muting: Muting, what: str) -> str:
    """Return by what a sweep or a trial was ended, with the remedy."""
    by = muting.terminated_by
    if by is not None:
        return f"The handler {by} ended {what}. Pass mute_handlers=[{by}]."
    return f"User code ended {what}. Look for a call of terminate() or interrupt()."
