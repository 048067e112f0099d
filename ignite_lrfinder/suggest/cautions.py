"""Reasons to be careful with a suggestion, each in a sentence or two."""

import math
from collections.abc import Callable

import numpy as np

from ignite_lrfinder.record import Plan, StopReason
from ignite_lrfinder.suggest.curve import Refusal
from ignite_lrfinder.suggest.methods import auto
from ignite_lrfinder.suggest.reading import Reading
from ignite_lrfinder.suggest.trials import Trials
from ignite_lrfinder.suggest.verdict import Verdict

# A suggestion that is uncertain by this factor is little more than a range.
_WIDE = 10.0
# After so steep a fall, the differences that count later are within a hundredth of what is compared
_STEEP_FALL = 100.0
# From here on, a trial is compared by losses of samples that it has trained on twice or more.
_MANY_PASSES = 3.0
# Trials on few samples should be half as long, but not short.
_MIN_LONG = 100
# The trials of the default budget.
_NUM_SHORT, _NUM_LONG = 3, 4
_MIN_MAX = Trials().max_iter
# This method returns the low end of an interval, far below the others on any curve.
_LOW_BY_DESIGN = "slide"


def cautions(reading: Reading, plan: Plan) -> list[str]:
    """Return the reasons to be careful with a suggestion.

    Args:
        reading: the reading of a sweep.
        plan: the training that the suggestion is for.

    Returns:
        A text for each of these that holds, in this order: trials that cannot tell rates apart by
        more than a factor of 10; that gained less than their noise; in which the loss fell a
        hundredfold; that went through the data three times or more; a loss that became NaN while it
        was falling; a best trial at either end of the trials, or the only one; a suggestion at the
        lowest rate that was tested; trials and curve, or methods, that disagree by more than a
        factor of 10.
    """
    found = (look(reading, plan) for look in _LOOKS)
    return [reason for reason in found if reason is not None]


def _wide_interval(reading: Reading, plan: Plan) -> str | None:
    """Look for trials that cannot tell rates apart."""
    if reading.interval is None or reading.is_certain:
        return None
    low, high = reading.interval
    if high / low <= _WIDE:
        return None
    return (
        f"The trials cannot tell apart rates that differ by a factor of {high / low:.0f}. "
        f"Let them run longer: {_longer(reading)}."
    )


def _much_noise(reading: Reading, plan: Plan) -> str | None:
    """Look for trials that gained less than their noise."""
    if not isinstance(reading.verdict, Verdict) or reading.verdict.noise <= 1:
        return None
    return (
        "Batch noise is larger than what the trials gained, so their best rate is uncertain. "
        f"Let them run longer: {_longer(reading)}."
    )


def _steep_fall(reading: Reading, plan: Plan) -> str | None:
    """Look for trials that were easy."""
    if not isinstance(reading.verdict, Verdict) or reading.verdict.fall <= _STEEP_FALL:
        return None
    fall = reading.verdict.fall
    to = "to 0" if math.isinf(fall) else f"{fall:.0f}-fold"
    by_val_loss = "" if reading.record.trials[0].is_validation else ", or judge them by val_loss"
    return (
        f"The loss fell {to} within a trial, which says little about the end of a longer run. "
        "Standardize inputs and targets if they are not, let trials run longer with "
        f"{_longer(reading)}{by_val_loss}."
    )


def _few_samples(reading: Reading, plan: Plan) -> str | None:
    """Look for trials that trained on the same samples several times."""
    num_batches = reading.record.num_batches
    if not isinstance(reading.verdict, Verdict) or not num_batches:
        return None
    num_iter = reading.verdict.num_iter
    passes = num_iter / num_batches
    total = plan.total_iters
    is_short = total is None or num_iter < total // 2
    is_validation = reading.record.trials[0].is_validation
    if passes < _MANY_PASSES or (is_validation and (total is None or not is_short)):
        return None
    settings = "verify=Trials(...)"
    if total is not None:
        long_iter, max_iter = max(total // 2, _MIN_LONG), max(3 * total, _MIN_MAX)
        settings = f"verify=Trials(max_iter={max_iter}, long_iter={long_iter})"
    if is_validation:
        return (
            f"The trials went through the data {passes:.0f} times, and the validation loss may "
            f"rise later. Let them run half as long as the training: {settings}."
        )
    longer = f", in trials half as long as the training: {settings}" if is_short else ""
    return (
        f"The trials went through the data {passes:.0f} times, so their losses say little about "
        f"new samples. Judge them by val_loss{longer}."
    )


def _nan_while_falling(reading: Reading, plan: Plan) -> str | None:
    """Look for a loss that became NaN or infinite before it rose."""
    is_falling = not isinstance(reading.descent, Refusal) and not reading.descent.has_edge
    is_non_finite = reading.record.stop_reason is StopReason.NON_FINITE
    if not is_non_finite or not is_falling or reading.record.trials:
        return None
    return (
        "The loss became NaN or infinite while it was falling. If that was the batch and not "
        "the learning rate, fix the data and run the finder again."
    )


def _best_at_an_end(reading: Reading, plan: Plan) -> str | None:
    """Look for a best trial without neighbors."""
    if not isinstance(reading.verdict, Verdict) or reading.scores is None or reading.is_certain:
        return None
    trials = reading.record.trials
    remedy = f"Allow more trials: verify=Trials(max_iter={2 * sum(len(t.losses) for t in trials)})."
    if trials[-1].is_cut_short:
        remedy = "Pass data that does not end, such as a loader."
    if len(trials) == 1:
        return f"Only one trial was run, so no other rate was compared with it. {remedy}"
    tried = np.log([trial.lr for trial in trials])
    best = reading.scores.x[reading.scores.best]
    if tried.min() < best < tried.max():
        return None
    where, direction = ("below", "lower") if best <= tried.min() else ("above", "higher")
    return f"No trial was run {where} the best one, so a {direction} rate may do better. {remedy}"


def _lowest_tested(reading: Reading, plan: Plan) -> str | None:
    """Look for a suggestion at the start of the sweep."""
    lr, tested = reading.suggest("auto", plan), reading.record.lr[:, reading.group]
    if isinstance(lr, Refusal) or reading.record.trials or lr > tested[tested > 0][0]:
        return None
    return "The suggestion is the lowest rate that was tested. Lower start_lr."


def _trials_against_curve(reading: Reading, plan: Plan) -> str | None:
    """Look for trials that support another rate than the curve."""
    lr = reading.suggest("auto", plan)
    if isinstance(lr, Refusal) or isinstance(reading.descent, Refusal) or reading.verdict is None:
        return None
    ratio = lr / auto(reading.descent, plan)
    if max(ratio, 1 / ratio) <= _WIDE:
        return None
    direction = "higher" if ratio > 1 else "lower"
    return (
        f"The trials support a rate {max(ratio, 1 / ratio):.0f} times {direction} than the curve "
        "does, and the suggestion follows the trials. Look at plot_trials()."
    )


def _disagreement(reading: Reading, plan: Plan) -> str | None:
    """Look for a curve that the methods read differently."""
    suggestions = reading.suggestions(plan)
    rates = [lr for name, lr in suggestions.items() if name != _LOW_BY_DESIGN]
    if reading.verdict is not None or not rates or max(rates) / min(rates) <= _WIDE:
        return None
    return (
        f"The methods disagree by a factor of {max(rates) / min(rates):.0f}. Look at the plot, or "
        'let trials decide with verify="auto".'
    )


def _longer(reading: Reading) -> str:
    """Return settings of trials twice as long as those that were run."""
    trials, usual = reading.record.trials, Trials()
    lengths = {trial.num_iter for trial in trials}
    short_iter = 2 * min(lengths)
    ratio = usual.long_iter / usual.short_iter
    long_iter = 2 * max(lengths) if len(lengths) > 1 else round(ratio * short_iter)
    spent = sum(len(trial.losses) for trial in trials)
    max_iter = max(2 * spent, _NUM_SHORT * short_iter + _NUM_LONG * long_iter)
    return f"verify=Trials(max_iter={max_iter}, short_iter={short_iter}, long_iter={long_iter})"


_LOOKS: tuple[Callable[[Reading, Plan], str | None], ...] = (
    _wide_interval,
    _much_noise,
    _steep_fall,
    _few_samples,
    _nan_while_falling,
    _best_at_an_end,
    _lowest_tested,
    _trials_against_curve,
    _disagreement,
)
