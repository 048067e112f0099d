"""Warnings about a sweep: how it or a trial ended, data in order, trials that are too short."""

from collections.abc import Iterator

from torch.utils.data import SequentialSampler

from ignite_lrfinder.record import StopReason
from ignite_lrfinder.suggest import Reading, Refusal
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.handlers import names_of
from ignite_lrfinder.sweep.measurement import Measurement
from ignite_lrfinder.sweep.muting import Muting
from ignite_lrfinder.sweep.optimizers import memory_of

# Losses of samples in the order of their labels are correlated by 0.7 and more, of shuffled ones by
# less than 0.65. With fewer points the smoothing may miss the shape of the curve.
_ORDERED = 0.65
_MIN_POINTS = 50


def warnings_of_sweep(
    sweep: Measurement, reading: Reading, muting: Muting, data: object
) -> Iterator[str]:
    """Yield the warnings about the end of a sweep, and about data in order.

    Args:
        sweep: the finished sweep.
        reading: the reading of its record.
        muting: the handlers of the trainer.
        data: what the trainer ran on.
    """
    reason = sweep.reason or StopReason.TERMINATED
    descent = reading.descent
    if reason is StopReason.TERMINATED:
        points = f"{len(sweep)} points of {len(sweep.table)}"
        yield f"A sweep must run until the loss diverges, got {points}. {_who(muting)}"
    elif reason is StopReason.NON_FINITE and isinstance(descent, Refusal):
        yield descent.reason
    elif not reason.is_divergence and (isinstance(descent, Refusal) or not descent.has_edge):
        detail = "" if reason is StopReason.COMPLETED else f" ({reason.message})"
        remedy = reason.remedy
        if reason is StopReason.OUT_OF_DATA and muting.muted:
            names = names_of(muting.muted)
            remedy += f"; if a muted handler sets new data, keep it: keep_handlers=[{names}]"
        yield f"Run completed without loss diverging{detail}, {remedy}"
    is_in_order = isinstance(getattr(data, "sampler", None), SequentialSampler)
    if is_in_order and not isinstance(reading.curve, Refusal):
        correlation = reading.curve.correlation
        if correlation > _ORDERED and len(reading.curve.lr) >= _MIN_POINTS:
            yield (
                f"Samples must be shuffled, got neighboring losses correlated by {correlation:.2f} "
                "from a loader that draws in order, so the curve may wander. Pass shuffle=True."
            )


def warnings_of_trials(
    trial: Measurement, number: int, muting: Muting, arguments: Arguments
) -> Iterator[str]:
    """Yield the warnings about trials that user code ended, or that are too short.

    Args:
        trial: the last trial.
        number: the number of trials that were begun.
        muting: the handlers of the trainer.
        arguments: those of `attach`.
    """
    if trial.reason is StopReason.TERMINATED:
        iterations = f"{len(trial)} of {len(trial.table)} in trial {number}"
        yield f"A trial must run for all its steps, got {iterations}. {_who(muting)}"
    memory, settings = memory_of(arguments.optimizer), arguments.trials
    if settings is not None and round(memory) > settings.short_iter:
        short_iter, long_iter, max_iter = (round(factor * memory) for factor in (2, 4, 20))
        yield (
            f"Trials must outlast the memory of the optimizer, got short_iter={settings.short_iter}"
            f" with a memory of {memory:.0f} steps: what breaks a training shows later. Pass "
            f"verify=Trials(max_iter={max_iter}, short_iter={short_iter}, long_iter={long_iter})."
        )


def _who(muting: Muting) -> str:
    """Return what ended a run, with the remedy."""
    if muting.terminated_by is not None:
        return f"{muting.terminated_by} ended the run: pass mute_handlers=[{muting.terminated_by}]."
    return "User code ended the run: look for a call of terminate() or interrupt()."
