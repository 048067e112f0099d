"""Everything that is derived from a record, computed once."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.record import (
    SCHEDULES,
    Plan,
    Record,
    Scores,
    StopReason,
    are_paired,
    final_scores,
    interval_of,
    reference_group,
    usable_points,
)
from ignite_lrfinder.suggest.certainty import is_certain
from ignite_lrfinder.suggest.curve import Curve, Refusal, curve_of
from ignite_lrfinder.suggest.descent import Descent, descent_of
from ignite_lrfinder.suggest.methods import METHODS, auto
from ignite_lrfinder.suggest.verdict import Verdict, suggested_lr, verdict_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """Everything that is derived from a record; plots, text and methods all use it.

    An answer that the record does not support is a `Refusal`. Learning rates belong to the
    reference parameter group; `lrs_at` returns the learning rates of all groups.

    Attributes:
        record: the record.
        plan: the training that the learning rate is for, as given to `attach`.
        group: the reference parameter group.
        curve: the smoothed loss over the learning rate.
        descent: where the loss falls, and the edge.
        rates: the learning rate that each method but "auto" reads off the curve; empty where the
            curve is refused.
        scores: the longest trials compared; None without a stable trial.
        is_paired: whether all trials ran on the same batches, as their first losses show.
        interval: the lowest and the highest rate that the trials cannot tell apart from the best;
            None if the trials support no rate.
        verdict: what the trials support; None without trials.
        is_certain: whether the verdict holds without longer trials; see `certainty.is_certain`.
    """

    record: Record
    plan: Plan
    group: int
    curve: Curve | Refusal
    descent: Descent | Refusal
    rates: Mapping[str, float]
    scores: Scores | None
    is_paired: bool
    interval: tuple[float, float] | None
    verdict: Verdict | Refusal | None
    is_certain: bool

    def suggest(self, method: str, plan: Plan) -> float | Refusal:
        """Return the learning rate that a method suggests.

        Where trials followed the sweep, "auto" is what they support. Otherwise, and for every other
        method, the rate is read off the curve.

        Args:
            method: one of `METHODS`.
            plan: the training that "auto" is for.

        Raises:
            TypeError: if `method` is not a string.
            ValueError: if there is no such method.
        """
        if not isinstance(method, str):
            raise wrong_type("method", "a string", method, "Leave it out for 'auto'.")
        if method not in METHODS:
            names = ", ".join(repr(name) for name in METHODS)
            remedy = "Leave it out for 'auto'."
            if method in SCHEDULES:
                remedy = f"For a schedule pass schedule={method!r}."
            raise wrong_value("method", f"one of {names}", method, remedy)
        if method == "auto" and self.verdict is not None:
            verdict = self.verdict
            return verdict if isinstance(verdict, Refusal) else suggested_lr(verdict, plan)
        if isinstance(self.descent, Refusal):
            return self.descent
        return auto(self.descent, plan) if method == "auto" else self.rates[method]

    def suggestions(self, plan: Plan) -> dict[str, float]:
        """Return the learning rate of each method that the record supports, "auto" first."""
        rates = {method: self.suggest(method, plan) for method in METHODS}
        return {name: lr for name, lr in rates.items() if not isinstance(lr, Refusal)}

    def bounds(self, plan: Plan) -> tuple[float, float] | Refusal:
        """Return the range for a cyclical or one-cycle policy.

        Args:
            plan: the training, of which the length counts.

        Returns:
            The rate at which the loss starts to fall, or the constant rate that "auto" suggests if
            that is lower, and the peak that it suggests for a rate that decays; a refusal if the
            record supports no range.

        References:
            Smith, Cyclical learning rates for training neural networks, 2015, section 3.3.
        """
        if isinstance(self.descent, Refusal):
            return self.descent
        constant, peak = (
            self.suggest("auto", dataclasses.replace(plan, schedule=schedule))
            for schedule in SCHEDULES
        )
        if isinstance(constant, Refusal):
            return constant
        if isinstance(peak, Refusal):
            return peak
        return min(self.descent.start_lr, constant, peak), peak

    def lrs_at(self, reference_lr: float) -> tuple[float, ...]:
        """Return the learning rate of each group when the reference group had `reference_lr`.

        A group frozen at 0 stays there. Beyond the tested range the groups keep the ratio that they
        have at its end.

        Args:
            reference_lr: a learning rate of the reference group, positive.
        """
        lr = self.record.lr[usable_points(self.record)]
        reference = lr[:, self.group]
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
        lrs[self.group] = float(reference_lr)
        return tuple(lrs)


def reading_of(record: Record) -> Reading:
    """Read a record: smooth its curve, find the descent, apply the methods, judge the trials.

    Args:
        record: what a sweep measured.

    Example:
        >>> from ignite_lrfinder.record import StopReason, SweepSettings
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
        >>> record = Record(
        ...     lr=lr[:, None],
        ...     losses=losses,
        ...     smoothed_losses=losses,
        ...     stop_reason=StopReason.COMPLETED,
        ...     settings=settings,
        ... )
        >>> round(reading_of(record).rates["minimum"], 2)
        0.01
    """
    curve = curve_of(record)
    descent = curve if isinstance(curve, Refusal) else descent_of(curve)
    if isinstance(descent, Refusal):
        descent = _explained(descent, record)
        curve = descent if isinstance(curve, Refusal) else curve
        rates = {}
    else:
        rates = {name: read(descent) for name, read in METHODS.items() if name != "auto"}
    scores, is_paired = final_scores(record.trials), are_paired(record.trials)
    has_trials = any(len(trial.losses) for trial in record.trials)
    verdict = verdict_of(record, scores, is_paired=is_paired) if has_trials else None
    if isinstance(verdict, Refusal) and isinstance(descent, Refusal):
        verdict = _explained(verdict, record)
    return Reading(
        record=record,
        plan=record.settings.plan,
        group=reference_group(record),
        curve=curve,
        descent=descent,
        rates=rates,
        scores=scores,
        is_paired=is_paired,
        interval=None
        if scores is None or not isinstance(verdict, Verdict)
        else interval_of(scores, is_paired),
        verdict=verdict,
        is_certain=scores is not None and is_certain(verdict, scores, descent),
    )


def _explained(refusal: Refusal, record: Record) -> Refusal:
    """Return a refusal that blames what ended the sweep early, not the shape of the curve."""
    reason = record.stop_reason
    if reason is StopReason.NON_FINITE:
        return Refusal(
            f"The loss must be finite until it has fallen, got {_non_finite(record)}. Check the "
            "data and the loss there; if they are right, lower start_lr."
        )
    if reason.is_cut_short:
        remedy = reason.remedy[0].upper() + reason.remedy[1:]
        return Refusal(
            f"The sweep ended after {len(record)} of {record.settings.num_iter} points, too early "
            f"for a suggestion: {reason.message}. {remedy}."
        )
    return refusal


def _non_finite(record: Record) -> str:
    """Return where the loss became NaN or infinite."""
    number, num_iter = len(record), record.settings.num_iter
    if number == 0 or math.isfinite(record.losses[-1]):
        return f"NaN or infinity after point {number} of {num_iter}, without a step"
    kind = "NaN" if math.isnan(record.losses[-1]) else "infinity"
    where = f"{kind} at point {number} of {num_iter}"
    where += f", with the learning rate {record.lr[-1].max():.3g}"
    batch = record.non_finite_batch
    return where if batch is None else f"{where}, on batch {batch} of the data"


def _between(low: float, high: float, share: float) -> float:
    """Return the learning rate a share of the way from low to high, over log(lr) if possible."""
    return low * (high / low) ** share if low > 0 else low + (high - low) * share
