"""A reading as text or HTML: what was tested, what is suggested, how far it can be trusted."""

import base64
import html as markup
import io
from collections.abc import Iterator, Sequence

from ignite_lrfinder.plot import sweep_figure
from ignite_lrfinder.record import Plan
from ignite_lrfinder.suggest import (
    Reading,
    Refusal,
    Verdict,
    cautions,
    num_planned_iters,
    rules_for,
)

_MAX_GROUPS = 6
_ROUNDING = 1 + 1e-9
_MAX_GROUPS_IN_TABLE = 2


def summary(reading: Reading, plan: Plan) -> str:
    """Return what was tested, what is suggested, and what to be careful about, in a few lines."""
    return "\n".join(_lines(reading, plan))


def html(reading: Reading) -> str:
    """Return the summary as a self-contained `div`, with a picture if matplotlib is installed."""
    head, *lines = [markup.escape(line) for line in _lines(reading, reading.plan, has_table=True)]
    rows = "".join(f"<tr><td>{name}</td><td>{lrs}</td></tr>" for name, lrs in _table(reading))
    table = f"<table><tr><th>method</th><th>learning rate</th></tr>{rows}</table>" if rows else ""
    text = "".join(f"<p>{line}</p>" for line in lines)
    return (
        f"<div><p><b>{head}</b></p>{text}"
        '<div style="display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start">'
        f"{_picture(reading)}{table}</div></div>"
    )


def formatted(lrs: Sequence[float], max_groups: int = _MAX_GROUPS) -> str:
    """Return the learning rates of the first few groups as text; only one if all are equal."""
    rates = [f"{lr:.2e}" for lr in lrs]
    if len(set(rates)) == 1:
        return rates[0]
    shown = rates[:max_groups]
    num_left = len(rates) - len(shown)
    return ", ".join(shown) + (f" and {num_left} more groups" if num_left else "")


def _lines(reading: Reading, plan: Plan, *, has_table: bool = False) -> Iterator[str]:
    """Yield the lines of the summary."""
    yield f"LR range test: {_tested(reading)}"
    lr = reading.suggest("auto", plan)
    if isinstance(lr, Refusal):
        yield f"No suggestion: {lr.reason}"
    else:
        purpose = f"for {rules_for(plan).words}{_correction(reading, plan)}"
        yield f"Suggested learning rate: {formatted(reading.lrs_at(lr))}, {purpose}."
    others = [pair for pair in reading.suggestions(plan).items() if pair[0] != "auto"]
    if others and not has_table:
        read = "; ".join(f"{name} {formatted(reading.lrs_at(rate))}" for name, rate in others)
        yield f"{'The methods read' if isinstance(lr, Refusal) else 'Other methods'}: {read}."
    if reading.interval is not None:
        yield f"Trials: {_spent(reading)}{_interval(reading, reading.interval)}."
        if not reading.is_paired:
            yield "The trials saw different batches, so they tell rates apart less sharply."
    for caution in cautions(reading, plan):
        yield f"Careful: {caution}"


def _correction(reading: Reading, plan: Plan) -> str:
    """Return for how long a run the suggestion of trials is corrected; empty without trials."""
    verdict = reading.verdict
    if not isinstance(verdict, Verdict):
        return ""
    assumed = "an assumed" if plan.total_iters is None else "a"
    length = num_planned_iters(verdict, plan)
    return f", corrected for {assumed} run of {length:.0f} iterations"


def _spent(reading: Reading) -> str:
    """Return how many trials were run, and why no more."""
    trials = reading.record.trials
    spent = f"{len(trials)} in {sum(len(trial.losses) for trial in trials)} iterations"
    if reading.is_certain and len({len(t.losses) for t in trials if not t.is_diverged}) == 1:
        spent += ", enough because batch noise is low"
    return spent


def _interval(reading: Reading, interval: tuple[float, float]) -> str:
    """Return where the best rate of the trials lies; open where no other rate was tried."""
    low, high = interval
    tried = [trial.lr for trial in reading.record.trials]
    if len(tried) == 1:
        return ""
    is_lowest, is_highest = low <= min(tried) * _ROUNDING, high * _ROUNDING >= max(tried)
    if is_lowest and is_highest:
        where = f"may be any from {low:.2e} to {high:.2e}"
    elif is_lowest:
        where = f"is {high:.2e} or lower"
    elif is_highest:
        where = f"is {low:.2e} or higher"
    else:
        where = f"lies between {low:.2e} and {high:.2e}"
    return f"; their best rate{_of_group(reading)} {where}"


def _tested(reading: Reading) -> str:
    """Return how many points were tested, over which rates, and why the sweep ended."""
    record = reading.record
    points = f"{len(record)} of {record.settings.num_iter} points"
    if len(record):
        lr = record.lr[:, reading.group]
        points += f", from {lr[0]:.2e} to {lr[-1]:.2e}{_of_group(reading)}"
    return f"{points}; {record.stop_reason.message}."


def _of_group(reading: Reading) -> str:
    """Return which parameter group a single rate belongs to, if groups differ."""
    lr = reading.record.lr
    return "" if (lr == lr[:, :1]).all() else f" in parameter group {reading.group}"


def _table(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield the name and the suggestion of each method, and the bounds."""
    for name, lr in reading.suggestions(reading.plan).items():
        yield name, formatted(reading.lrs_at(lr), _MAX_GROUPS_IN_TABLE)
    bounds = reading.bounds(reading.plan)
    if not isinstance(bounds, Refusal):
        low, high = (formatted(reading.lrs_at(lr), _MAX_GROUPS_IN_TABLE) for lr in bounds)
        yield "bounds", f"{low} to {high}"


def _picture(reading: Reading) -> str:
    """Return the plot as an embedded image; empty without matplotlib or without points."""
    if not len(reading.record):
        return ""
    try:
        figure, content = sweep_figure(reading, (5.2, 3.8)), io.BytesIO()
    except ModuleNotFoundError:
        return ""
    figure.savefig(content, format="png", dpi=110)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="loss over learning rate" width="520" src="data:image/png;base64,{data}">'
