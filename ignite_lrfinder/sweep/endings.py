"""What to say of a sweep or a trial that ended early."""

import math
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
    epoch_length: int | None,
) -> Iterator[str]:
    """Iterate over the warnings about the end of a sweep: none if the loss broke down in the end.

    Args:
        sweep: the sweep, which has ended.
        reading: what it says.
        muted: the user-defined handlers that were muted.
        terminated_by: the name of the handler that has terminated the run, if any.
        epoch_length: the iterations of an epoch, if known.
    """
    reason = sweep.reason or StopReason.TERMINATED
    descent = reading.descent
    if reason is StopReason.TERMINATED:
        points = f"{len(sweep)} points of {len(sweep.table)}"
        yield f"A sweep must run until the loss diverges, got {points}. {_who(terminated_by)}"
    elif reason is StopReason.NON_FINITE and isinstance(descent, Refusal):
        yield _non_finite(sweep, epoch_length)
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


def _non_finite(sweep: Measurement, epoch_length: int | None) -> str:
    """Return the warning about a loss that broke down before it had fallen."""
    number = len(sweep)
    if number == 0 or math.isfinite(sweep.losses[-1]):
        where = f"NaN or infinity after point {number} of {len(sweep.table)}, without a step"
    else:
        kind = "NaN" if math.isnan(sweep.losses[-1]) else "infinity"
        where = f"{kind} at point {number} of {len(sweep.table)}"
        where += f", with the learning rate {sweep.lr[-1].max():.3g}"
        if not sweep.has_micro_batches:
            where += f", in iteration {number}"
            batch = (number - 1) % epoch_length + 1 if epoch_length else None
            where += f", on batch {batch} of the data" if batch else ""
    return (
        f"The loss must be finite until it has fallen, got {where}. Check the data and the loss "
        "there; if they are right, lower start_lr."
    )
