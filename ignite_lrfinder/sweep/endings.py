"""What to say of a sweep or a trial that ended early."""

from collections.abc import Iterator, Sequence

from ignite_lrfinder.protocols import Handler
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.suggest import Reading, Refusal
from ignite_lrfinder.sweep.handlers import names_of
from ignite_lrfinder.sweep.measurement import Measurement


def warnings_of_sweep(
    sweep: Measurement,
    reading: Reading,
    *,
    muted: Sequence[Handler],
    terminated_by: str | None,
) -> Iterator[str]:
    """Iterate over the warnings about the end of a sweep: none if the loss broke down in the end.

    Args:
        sweep: the sweep, which has ended.
        reading: what it says.
        muted: the user-defined handlers that were muted.
        terminated_by: the name of the handler that has terminated the run, if any.
    """
    reason = sweep.reason or StopReason.TERMINATED
    descent = reading.descent
    if reason is StopReason.TERMINATED:
        points = f"{len(sweep)} points of {len(sweep.table)}"
        yield f"A sweep must run until the loss diverges, got {points}. {_who(terminated_by)}"
    elif reason is StopReason.NON_FINITE and isinstance(descent, Refusal):
        yield descent.reason
    elif not reason.is_divergence and (isinstance(descent, Refusal) or not descent.has_edge):
        detail = "" if reason is StopReason.COMPLETED else f" ({reason.message})"
        remedy = reason.remedy
        if reason is StopReason.OUT_OF_DATA and muted:
            remedy += (
                f"; if a muted handler sets new data, keep it: keep_handlers=[{names_of(muted)}]"
            )
        yield f"Run completed without loss diverging{detail}, {remedy}"


def warnings_of_trial(
    trial: Measurement, number: int, *, terminated_by: str | None
) -> Iterator[str]:
    """Iterate over the warnings about the end of the last trial: none if the finder ended it."""
    if trial.reason is StopReason.TERMINATED:
        iterations = f"{len(trial)} of {len(trial.table)} in trial {number}"
        yield f"A trial must run for all its steps, got {iterations}. {_who(terminated_by)}"


def _who(terminated_by: str | None) -> str:
    """Return who ended a run, and what to do about it."""
    if terminated_by is not None:
        return f"{terminated_by} ended the run: pass mute_handlers=[{terminated_by}]."
    return "User code ended the run: look for a call of terminate() or interrupt()."
