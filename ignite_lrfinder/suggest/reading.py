"""From a result to the learning rate of each parameter group, for the training that is planned."""

import numpy as np

from ignite_lrfinder.errors import NoSuggestionError, wrong_type, wrong_value
from ignite_lrfinder.protocols import Schedule
from ignite_lrfinder.record import Record, reference_group, usable_points
from ignite_lrfinder.suggest.curve import curve_of
from ignite_lrfinder.suggest.methods import METHODS, auto, bounds, edge
from ignite_lrfinder.suggest.verdict import check_plan, suggested_lr, verdict


def suggest(
    result: Record,
    method: str = "auto",
    *,
    schedule: Schedule = "constant",
    total_iters: int | None = None,
) -> tuple[float, ...]:
    """Suggest a learning rate for each parameter group.

    Where trials followed the sweep, "auto" is what they say. Else, and for every other method, the
    rate is read off the curve.

    Args:
        result: the result of a sweep.
        method: one of `METHODS`.
        schedule: what "auto" is for: a "constant" rate, or the peak of one that decays ("decay").
        total_iters: optimizer steps of the training that is planned, at least 1; it matters where
            there were trials.

    Returns:
        One learning rate for each parameter group: those that the groups had at the same moment of
        the sweep. A group frozen at 0 stays there.

    Raises:
        ValueError: if there is no such method or schedule, or `total_iters` is below 1.
        NoSuggestionError: if the curve supports no learning rate.

    Example:
        >>> from ignite_lrfinder.sweep.divergence import StopReason
        >>> from ignite_lrfinder.record import SweepSettings
        >>> lr = np.geomspace(1e-5, 1.0, 101)
        >>> losses = np.minimum(1.0, np.abs(np.log10(lr) + 1) / 2)
        >>> settings = SweepSettings(
        ...     start_lr=(1e-5,),
        ...     end_lr=(1.0,),
        ...     num_iter=101,
        ...     step_mode="exp",
        ...     smooth_f=0.05,
        ...     diverge_th=5.0,
        ... )
        >>> result = Record(
        ...     lr=lr[:, None],
        ...     losses=losses,
        ...     smoothed_losses=losses,
        ...     stop_reason=StopReason.COMPLETED,
        ...     settings=settings,
        ... )
        >>> [round(lr, 3) for lr in suggest(result, "minimum")]
        [0.01]
    """
    check_plan(schedule, total_iters)
    if not isinstance(method, str):
        raise wrong_type("method", "a string", method, "Leave it out for the default, 'auto'.")
    if method not in METHODS:
        names = ", ".join(repr(name) for name in METHODS)
        remedy = "Leave it out for the default, 'auto'."
        raise wrong_value("method", f"one of {names}", method, remedy)
    if method == "auto":
        return lrs_at(result, _auto(result, schedule, total_iters))
    return lrs_at(result, METHODS[method](curve_of(result)))


def suggest_all(
    result: Record,
    *,
    schedule: Schedule = "constant",
    total_iters: int | None = None,
) -> dict[str, tuple[float, ...]]:
    """Suggest by every method that the result supports.

    Args:
        result: the result of a sweep.
        schedule: as for `suggest`.
        total_iters: as for `suggest`.

    Returns:
        What `suggest` returns, by the name of the method.

    Raises:
        ValueError: as for `suggest`.
        NoSuggestionError: if the result supports no method.
    """
    suggestions: dict[str, tuple[float, ...]] = {}
    refusals: list[NoSuggestionError] = []
    for name in METHODS:
        try:
            suggestions[name] = suggest(result, name, schedule=schedule, total_iters=total_iters)
        except NoSuggestionError as refusal:
            refusals.append(refusal)
    if not suggestions:
        raise refusals[0]
    return suggestions


def suggest_bounds(result: Record) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Suggest the bounds of a cyclical policy for each parameter group.

    Args:
        result: the result of a sweep.

    Returns:
        The lower and the upper learning rates, each with one for each parameter group.

    Raises:
        NoSuggestionError: if the curve supports no bounds.
    """
    lower, upper = bounds(curve_of(result))
    return lrs_at(result, lower), lrs_at(result, upper)


def has_edge(result: Record) -> bool:
    """Tell whether a sweep went on far enough to see the loss rise for good."""
    try:
        curve = curve_of(result)
        return edge(curve) < len(curve.lr) - 1
    except NoSuggestionError:
        return False


def lrs_at(result: Record, reference_lr: float) -> tuple[float, ...]:
    """Return every group's learning rate at the moment the reference group had `reference_lr`.

    Beyond what was tested the groups keep the ratio that they have at that end.

    Args:
        result: the result of a sweep.
        reference_lr: a learning rate of the reference group, positive.

    Returns:
        One learning rate for each parameter group.
    """
    lr, group = result.lr[usable_points(result)], reference_group(result)
    reference = lr[:, group]
    after = int(np.searchsorted(reference, reference_lr))
    if after < len(reference) and reference[after] == reference_lr:
        return tuple(lr[after].tolist())
    if 0 < after < len(reference):
        ratios = np.log(reference[after - 1 : after + 1] / reference_lr)
        share = float(ratios[0] / (ratios[0] - ratios[1]))
        pairs = zip(*lr[after - 1 : after + 1].tolist(), strict=True)
        lrs = [_between(low, high, share) for low, high in pairs]
    else:
        end = min(after, len(reference) - 1)
        lrs = (lr[end] * (reference_lr / reference[end])).tolist()
    lrs[group] = float(reference_lr)
    return tuple(lrs)


def _auto(result: Record, schedule: Schedule, total_iters: int | None) -> float:
    """Return the rate of the reference group that the trials speak for, or else the curve."""
    if any(len(trial.losses) > 0 for trial in result.trials):
        return suggested_lr(verdict(result, result.trials), schedule, total_iters=total_iters)
    return auto(curve_of(result), schedule)


def _between(low: float, high: float, share: float) -> float:
    """Return the learning rate a share of the way from low to high, over log(lr) if it can be."""
    return low * (high / low) ** share if low > 0 else low + (high - low) * share
