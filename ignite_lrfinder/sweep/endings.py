"""Warnings about a sweep: how it or a trial ended, data in order, trials too short or missing."""

from collections.abc import Iterator

from torch.utils.data import SequentialSampler

from ignite_lrfinder.record import StopReason
from ignite_lrfinder.suggest import Reading, Refusal, Trials
from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.handlers import names_of
from ignite_lrfinder.sweep.labels import LabelWatch
from ignite_lrfinder.sweep.measurement import Measurement
from ignite_lrfinder.sweep.muting import Muting
from ignite_lrfinder.sweep.optimizers import memory_of

# Losses of samples in the order of their labels may be correlated more than this, those of shuffled
# samples are less. With fewer points the smoothing may miss the shape of the curve.
_ORDERED = 0.65
_MIN_POINTS = 50


def warnings_of_run(
    sweep: Measurement,
    reading: Reading,
    muting: Muting,
    arguments: Arguments,
    labels: LabelWatch,
) -> Iterator[str]:
    """Yield the warnings about a sweep and its data, trials aside.

    Args:
        sweep: the finished sweep.
        reading: the reading of its record.
        muting: the handlers of the trainer.
        arguments: those of `attach`.
        labels: what the batches of the sweep showed.
    """
    yield from warnings_of_sweep(sweep, reading, muting)
    yield from warnings_of_data(arguments.trainer.state.dataloader, reading, labels)
    yield from warnings_of_memory(arguments)


def warnings_of_sweep(sweep: Measurement, reading: Reading, muting: Muting) -> Iterator[str]:
    """Yield the warnings about the end of a sweep.

    Args:
        sweep: the finished sweep.
        reading: the reading of its record.
        muting: the handlers of the trainer.
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


def warnings_of_data(data: object, reading: Reading, labels: LabelWatch) -> Iterator[str]:
    """Yield a warning about samples that come in an order.

    Args:
        data: what the trainer ran on.
        reading: the reading of the sweep.
        labels: what the batches of the sweep showed.
    """
    if labels.are_ordered:
        yield (
            "Samples must be shuffled, got most batches with a single label each, so the curve "
            "shows the order of the labels. Shuffle the data."
        )
        return
    curve = reading.curve
    is_in_order = isinstance(getattr(data, "sampler", None), SequentialSampler)
    if not is_in_order or isinstance(curve, Refusal) or len(curve.lr) < _MIN_POINTS:
        return
    if curve.correlation > _ORDERED:
        yield (
            f"Samples must be shuffled, got neighboring losses correlated by "
            f"{curve.correlation:.2f} from a loader that draws in order, so the curve may wander. "
            "Pass shuffle=True."
        )


def warnings_of_trials(trial: Measurement, number: int, muting: Muting) -> Iterator[str]:
    """Yield a warning about a trial that user code ended.

    Args:
        trial: the last trial.
        number: the number of trials that were begun.
        muting: the handlers of the trainer.
    """
    if trial.reason is StopReason.TERMINATED:
        iterations = f"{len(trial)} of {len(trial.table)} in trial {number}"
        yield f"A trial must run for all its steps, got {iterations}. {_who(muting)}"


def warnings_of_memory(arguments: Arguments) -> Iterator[str]:
    """Yield a warning about trials that are too short for the optimizer, or about none.

    Args:
        arguments: those of `attach`.
    """
    memory, trials = memory_of(arguments.optimizer), arguments.trials
    if round(memory) <= (trials or Trials()).short_iter:
        return
    given = "no trials" if trials is None else f"short_iter={trials.short_iter}"
    short_iter, long_iter, max_iter = (round(factor * memory) for factor in (2, 4, 20))
    yield (
        f"Trials must outlast the memory of the optimizer, got {given}, but its momentum averages "
        f"over {memory:.0f} steps, and what goes wrong in training shows later. Pass "
        f"verify=Trials(max_iter={max_iter}, short_iter={short_iter}, long_iter={long_iter})."
    )


def _who(muting: Muting) -> str:
    """Return what ended a run, with the remedy."""
    if muting.terminated_by is not None:
        return f"{muting.terminated_by} ended the run: pass mute_handlers=[{muting.terminated_by}]."
    return "User code ended the run: look for a call of terminate() or interrupt()."
