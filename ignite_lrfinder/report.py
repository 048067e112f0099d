"""A reading as text or HTML: what was tested, what is suggested, how far it can be trusted."""

import base64
import html as markup
import io
import math
from collections.abc import Iterator, Mapping, Sequence

from ignite_lrfinder.plot import draw_sweep, legend_below
from ignite_lrfinder.record import Plan, StopReason
from ignite_lrfinder.suggest import (
    Reading,
    Refusal,
    Verdict,
    num_planned_iters,
    rules_for,
)

# A suggestion that is uncertain by this factor is little more than a range.
_WIDE = 10.0
_STEEP_FALL = 100.0
_MAX_GROUPS = 6
_MAX_GROUPS_IN_TABLE = 2
# This method returns the low end of an interval, far below the others on any curve.
_LOW_BY_DESIGN = "slide"
_OTHERS = "Other methods: "


def summary(reading: Reading, plan: Plan) -> str:
    """Return what was tested, what is suggested, and what to be careful about, in a few lines."""
    return "\n".join(_lines(reading, plan))


def html(reading: Reading, plan: Plan) -> str:
    """Return the summary as a self-contained `div`, with a picture if matplotlib is installed."""
    head, *lines = [markup.escape(line) for line in _lines(reading, plan)]
    rows = "".join(f"<tr><td>{name}</td><td>{lrs}</td></tr>" for name, lrs in _table(reading, plan))
    table = f"<table><tr><th>method</th><th>learning rate</th></tr>{rows}</table>" if rows else ""
    text = "".join(f"<p>{line}</p>" for line in lines if not line.startswith(_OTHERS))
    return (
        f"<div><p><b>{head}</b></p>{text}"
        '<div style="display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start">'
        f"{_picture(reading)}{table}</div></div>"
    )


def cautions(reading: Reading, rates: Mapping[str, float]) -> list[str]:
    """Return the reasons to be careful with a suggestion.

    Args:
        reading: the reading of a sweep.
        rates: what `Reading.suggestions` returns for the plan.

    Returns:
        A sentence for each reason: an interval of the trials, or a range of the methods, of more
        than a factor of 10; a suggestion at the lowest rate that was tested; trials that gained
        less than their noise, or in which the loss fell a hundredfold; a best trial at either end
        of the trials, or the only one; a loss that became NaN while it was falling.
    """
    reasons = []
    if reading.interval is not None:
        low, high = reading.interval
        if high / low > _WIDE:
            reasons.append(
                f"The trials cannot tell apart rates that differ by a factor of {high / low:.0f}. "
                "Longer trials may: verify=Trials(...)."
            )
    trials = reading.record.trials
    if isinstance(reading.verdict, Verdict) and reading.verdict.noise > 1:
        reasons.append(
            "Batch noise is larger than what the trials gained, so their best rate is uncertain. "
            "Longer trials may tell more: verify=Trials(...)."
        )
    if isinstance(reading.verdict, Verdict) and reading.verdict.fall > _STEEP_FALL:
        reasons.append(
            f"The loss fell {reading.verdict.fall:.0f}-fold within a trial, which says little "
            "about the end of a longer run. Standardize inputs and targets, or let trials run "
            "longer: verify=Trials(...)."
        )
    is_falling = not isinstance(reading.descent, Refusal) and not reading.descent.has_edge
    if reading.record.stop_reason is StopReason.NON_FINITE and is_falling and not trials:
        reasons.append(
            "The loss became NaN or infinite while it was falling. If that was the batch and not "
            "the learning rate, fix the data and run the finder again."
        )
    if len(trials) == 1:
        reasons.append("Only one trial was run, so no other rate was compared with it.")
    elif reading.scores is not None and not reading.is_certain:
        tried = [math.log(trial.lr) for trial in trials]
        best = reading.scores.x[reading.scores.best]
        is_lowest, is_highest = best <= min(tried), best >= max(tried)
        if is_lowest or is_highest:
            where, direction = ("below", "lower") if is_lowest else ("above", "higher")
            reasons.append(
                f"No trial was run {where} the best one, so a {direction} rate may do better. "
                "Allow more trials: verify=Trials(max_iter=...)."
            )
    chosen = rates.get("auto")
    if chosen is not None and not trials and chosen <= lowest_tested(reading):
        reasons.append("The suggestion is the lowest rate that was tested. Lower start_lr.")
    compared = [lr for name, lr in rates.items() if name != _LOW_BY_DESIGN]
    if compared and max(compared) / min(compared) > _WIDE:
        spread = f"The methods disagree by a factor of {max(compared) / min(compared):.0f}"
        if trials:
            advice = "." if chosen is None else "; the suggestion is what the trials support."
        else:
            advice = '. Look at the plot, or let trials decide with verify="auto".'
        reasons.append(spread + advice)
    return reasons


def formatted(lrs: Sequence[float], max_groups: int = _MAX_GROUPS) -> str:
    """Return the learning rates of the first few groups as text; only one if all are equal."""
    rates = [f"{lr:.2e}" for lr in lrs]
    if len(set(rates)) == 1:
        return rates[0]
    shown = rates[:max_groups]
    num_left = len(rates) - len(shown)
    return ", ".join(shown) + (f" and {num_left} more groups" if num_left else "")


def lowest_tested(reading: Reading) -> float:
    """Return the first positive learning rate of the reference group."""
    lr = reading.record.lr[:, reading.group]
    return float(lr[lr > 0][0])


def _lines(reading: Reading, plan: Plan) -> Iterator[str]:
    """Yield the lines of the summary."""
    yield f"LR range test: {_tested(reading)}"
    rates = reading.suggestions(plan)
    others = {name: formatted(reading.lrs_at(lr)) for name, lr in rates.items()}
    chosen = others.pop("auto", None)
    if chosen is not None:
        purpose = f"for {rules_for(plan).words}{_correction(reading, plan)}"
        yield f"Suggested learning rate: {chosen}, {purpose}."
    else:
        yield f"No suggestion: {_refusal(reading, plan)}"
    if others:
        yield f"{_OTHERS}{'; '.join(f'{name} {lrs}' for name, lrs in others.items())}."
    if reading.interval is not None:
        low, high = reading.interval
        trials = reading.record.trials
        spent = f"{len(trials)} in {sum(len(trial.losses) for trial in trials)} iterations"
        if reading.is_certain and len({len(t.losses) for t in trials if not t.is_diverged}) == 1:
            spent += ", enough because batch noise is low"
        yield (
            f"Trials: {spent}; rates from {low:.2e} to {high:.2e} do as well as the best, within "
            "the noise."
        )
        if not reading.is_paired:
            yield "The trials saw different batches, so they tell rates apart less sharply."
    for caution in cautions(reading, rates):
        yield f"Careful: {caution}"


def _correction(reading: Reading, plan: Plan) -> str:
    """Return why the suggestion is not among the best rates of the trials; usually empty."""
    lr, verdict = reading.suggest("auto", plan), reading.verdict
    if isinstance(lr, Refusal) or not isinstance(verdict, Verdict) or reading.interval is None:
        return ""
    low, high = reading.interval
    if low <= lr <= high:
        return ""
    assumed = "an assumed" if plan.total_iters is None else "a"
    length = num_planned_iters(verdict, plan)
    return f", corrected for {assumed} run of {length:.0f} iterations"


def _tested(reading: Reading) -> str:
    """Return how many points were tested, over which rates, and why the sweep ended."""
    record = reading.record
    points = f"{len(record)} of {record.settings.num_iter} points"
    if len(record):
        lr = record.lr[:, reading.group]
        points += f", from {lr[0]:.2e} to {lr[-1]:.2e}"
    return f"{points}; {record.stop_reason.message}."


def _refusal(reading: Reading, plan: Plan) -> str:
    """Return why there is no suggestion."""
    refusal = reading.suggest("auto", plan)
    return refusal.reason if isinstance(refusal, Refusal) else ""


def _table(reading: Reading, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the name and the suggestion of each method, and the bounds."""
    for name, lr in reading.suggestions(plan).items():
        yield name, formatted(reading.lrs_at(lr), _MAX_GROUPS_IN_TABLE)
    bounds = reading.bounds(plan)
    if not isinstance(bounds, Refusal):
        low, high = (formatted(reading.lrs_at(lr), _MAX_GROUPS_IN_TABLE) for lr in bounds)
        yield "bounds", f"{low} to {high}"


def _picture(reading: Reading) -> str:
    """Return the plot as an embedded image; empty without matplotlib or without points."""
    if not len(reading.record):
        return ""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    figure, content = Figure(figsize=(5.2, 3.8), layout="constrained"), io.BytesIO()
    ax = figure.subplots()
    draw_sweep(reading, slice(None), ax)
    legend_below(ax)
    figure.savefig(content, format="png", dpi=110)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="loss over learning rate" width="520" src="data:image/png;base64,{data}">'
