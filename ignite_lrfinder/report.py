"""A result in words, plain or with a picture: what was tested, what is suggested, how surely."""

import base64
import contextlib
import html as markup
import io
import warnings
from collections.abc import Iterator, Sequence

from ignite_lrfinder.errors import NoSuggestionError
from ignite_lrfinder.plot import plot_result
from ignite_lrfinder.protocols import Schedule
from ignite_lrfinder.record import Record, reference_group, usable_points
from ignite_lrfinder.suggest import suggest_all, suggest_bounds

# From this factor on, what is called a suggestion is little more than a range.
_WIDE = 10.0
_MAX_GROUPS = 6
# It gives the low end of an interval, so it lies far below the others on any curve.
_LOW_BY_DESIGN = "slide"
_OTHERS = "Other methods: "
_PLANS = {"constant": "a constant rate", "decay": "the peak of a rate that decays"}


def summary(
    result: Record,
    *,
    schedule: Schedule = "constant",
    total_iters: int | None = None,
) -> str:
    """Say in a few lines what a result holds, what it suggests, and where to be careful.

    Args:
        result: the result of a sweep, with or without trials.
        schedule: what the suggestion is for, see `lr_suggestion`.
        total_iters: how long the training is, see `lr_suggestion`.

    Returns:
        Lines of text, without a line break at the end.

    Raises:
        ValueError: if there is no such schedule, or `total_iters` is below 1.
    """
    return "\n".join(_lines(result, schedule, total_iters))


def html(result: Record) -> str:
    """Say what `summary` says as HTML, with a small picture where matplotlib is installed.

    Args:
        result: the result of a sweep, with or without trials.

    Returns:
        One `div`, with nothing to load from elsewhere.
    """
    head, *lines = [markup.escape(line) for line in _lines(result, "constant", None)]
    rows = "".join(f"<tr><td>{name}</td><td>{lrs}</td></tr>" for name, lrs in _table(result))
    table = f"<table><tr><th>method</th><th>learning rate</th></tr>{rows}</table>" if rows else ""
    text = "".join(f"<p>{line}</p>" for line in lines if not line.startswith(_OTHERS))
    return (
        f"<div><p><b>{head}</b></p>{text}"
        '<div style="display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start">'
        f"{_picture(result)}{table}</div></div>"
    )


def cautions(result: Record, suggestions: dict[str, tuple[float, ...]]) -> list[str]:
    """Say why a suggestion is to be taken with care.

    Args:
        result: the result of a sweep.
        suggestions: what `advice.suggest_all` makes of it.

    Returns:
        A sentence for each reason, none for a suggestion that is clear. A reason is that the
        interval of the trials or what the methods suggest spans more than a factor of 10, or that
        the suggestion is the lowest rate that was tested.
    """
    reasons = []
    if result.interval is not None:
        low, high = result.interval
        if high / low > _WIDE:
            reasons.append(
                f"The trials cannot tell rates a factor of {high / low:.0f} apart. Longer ones "
                "may: verify=Trials(...)."
            )
    group = reference_group(result)
    chosen = suggestions.get("auto")
    if chosen is not None and not result.trials and chosen[group] <= lowest_tested(result):
        reasons.append("The suggestion is the lowest rate that was tested. Lower start_lr.")
    rates = [lrs[group] for name, lrs in suggestions.items() if name != _LOW_BY_DESIGN]
    if rates and max(rates) / min(rates) > _WIDE:
        spread = f"The methods disagree by a factor of {max(rates) / min(rates):.0f}"
        advice = (
            "; 'auto' is what the trials say."
            if result.trials
            else ". Look at the plot, or let trials decide with verify=True."
        )
        reasons.append(spread + advice)
    return reasons


def formatted(lrs: Sequence[float]) -> str:
    """Write the learning rate of each group with three digits, and no more than a few of them."""
    shown = [f"{lr:.2e}" for lr in lrs[:_MAX_GROUPS]]
    left = len(lrs) - len(shown)
    return ", ".join(shown) + (f" and {left} groups more" if left else "")


def lowest_tested(result: Record) -> float:
    """Return the first positive rate of the drawn group."""
    return float(result.lr[usable_points(result), reference_group(result)][0])


def tested(result: Record) -> str:
    """Say how many points were tested, over which rates, and why there are no more."""
    points = f"{len(result)} of {result.settings.num_iter} points"
    if len(result):
        lr = result.lr[:, reference_group(result)]
        points += f", from {lr[0]:.2e} to {lr[-1]:.2e}"
    return f"{points}; {result.stop_reason.message}."


def _lines(result: Record, schedule: Schedule, total_iters: int | None) -> Iterator[str]:
    """Yield the lines of the summary."""
    yield f"LR range test: {tested(result)}"
    try:
        suggestions = suggest_all(result, schedule=schedule, total_iters=total_iters)
    except NoSuggestionError as refusal:
        yield f"No suggestion: {refusal}"
        return
    others = suggestions.copy()
    chosen = others.pop("auto", None)
    if chosen is not None:
        yield f"Suggested learning rate: {formatted(chosen)}, for {_PLANS[schedule]}."
    if others:
        named = "; ".join(f"{name} {formatted(lrs)}" for name, lrs in others.items())
        yield f"{_OTHERS}{named}."
    if result.interval is not None:
        low, high = result.interval
        yield (
            f"Trials: {len(result.trials)}; rates from {low:.2e} to {high:.2e} do as well as the "
            "best, within the noise."
        )
        if not result.is_paired:
            yield "The trials saw different batches, so that they tell rates apart less sharply."
    for caution in cautions(result, suggestions):
        yield f"Careful: {caution}"


def _table(result: Record) -> Iterator[tuple[str, str]]:
    """Yield each method's name and what it suggests, and the bounds."""
    with contextlib.suppress(NoSuggestionError):
        for name, lrs in suggest_all(result).items():
            yield name, formatted(lrs)
        yield "bounds", " to ".join(formatted(bound) for bound in suggest_bounds(result))


def _picture(result: Record) -> str:
    """Return the plot as an image of its own, or nothing where it cannot be drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    figure, content = Figure(figsize=(5.2, 3.4), layout="constrained"), io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ax = plot_result(result, ax=figure.subplots(), skip_end=0)
    except NoSuggestionError:
        return ""
    # The table beside it has the numbers.
    handles, labels = ax.get_legend_handles_labels()
    pairs = [pair for pair in zip(handles, labels, strict=True) if "suggest" in pair[1]]
    ax.legend(*zip(*pairs, strict=True), fontsize="small")
    figure.savefig(content, format="png", dpi=110)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="loss over learning rate" width="520" src="data:image/png;base64,{data}">'
