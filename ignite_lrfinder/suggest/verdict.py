"""From trials to the learning rate of the planned training."""

import dataclasses
import math

import numpy as np

from ignite_lrfinder.record import (
    Plan,
    Record,
    Scores,
    cliff_of,
    is_worse,
    level_range,
    parabola,
    usable_points,
)
from ignite_lrfinder.suggest.curve import Refusal
from ignite_lrfinder.suggest.descent import Descent
from ignite_lrfinder.suggest.methods import auto
from ignite_lrfinder.suggest.rules import rules_for

_SHOULDER = 0.1
_AGREEMENT = 2.5

_MAX_LENGTHS = 30.0
_USUAL_LENGTHS = 10.0
_LITTLE_NOISE, _MUCH_NOISE = 0.5, 1.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the trials support.

    Attributes:
        best_lr: the best rate for a run as short as the trials: where the parabola is lowest or,
            where noise hides that, the middle of the rates that cannot be told apart.
        shoulder_lr: the highest rate that does nearly as well: it loses a tenth of the best trial's
            gain over the loss before training.
        highest_stable_lr: the highest rate with a stable trial, below any that diverged.
        num_iter: the length of the trials that the verdict is based on.
        noise: the batch noise of the best trial's loss, as a share of the trial's gain; inf if
            there was no gain.
    """

    best_lr: float
    shoulder_lr: float
    highest_stable_lr: float
    num_iter: int
    noise: float


def verdict_of(record: Record, scores: Scores | None, *, is_paired: bool) -> Verdict | Refusal:
    """Judge which learning rates the trials support.

    The longest trials are compared by the mean of the second half of their losses. Nothing beyond
    the lowest rate that diverged counts.

    Args:
        record: the sweep, which gives the loss before training, and its trials.
        scores: the longest trials compared; None if no trial was stable.
        is_paired: whether all trials were judged on the same batches.

    Returns:
        The verdict; a refusal if no trial was stable.
    """
    if scores is None:
        return Refusal(
            f"None of the {len(record.trials)} trials was stable, so they support no learning "
            "rate. Lower start_lr, or check the model and its data."
        )
    loss_before = _loss_before(record)
    noise = _noise(scores, loss_before)
    middle = sum(level_range(scores, is_paired)) / 2
    best = _by_noise(noise, parabola(scores), middle)
    cliff = cliff_of(record.trials)
    return Verdict(
        best_lr=math.exp(best),
        shoulder_lr=math.exp(max(_shoulder(scores, loss_before), best)),
        highest_stable_lr=max(
            trial.lr
            for trial in record.trials
            if trial.lr < cliff and len(trial.losses) >= scores.num_iter
        ),
        num_iter=scores.num_iter,
        noise=noise,
    )


def confirms(
    verdict: Verdict | Refusal | None, scores: Scores, descent: Descent | Refusal, plan: Plan
) -> bool:
    """Return whether trials confirm what a curve suggests.

    They do if what they support lies within a factor of 2.5 of it, and if the lowest trial did
    worse than the best by more than noise explains. On 24 training tasks, two seeds each, 39 of 48
    curves were confirmed by trials of 40 iterations, and the suggestions were as good as after long
    trials; factors from 2 to 3 did equally well.

    Args:
        verdict: what the trials support.
        scores: the trials compared.
        descent: the descent of the curve.
        plan: the training that the rate is for.
    """
    if not isinstance(verdict, Verdict) or isinstance(descent, Refusal):
        return False
    ratio = suggested_lr(verdict, plan) / auto(descent, plan)
    agree = max(ratio, 1 / ratio) <= _AGREEMENT
    return agree and is_worse(scores.tails[0], scores.tails[scores.best])


def suggested_lr(verdict: Verdict, plan: Plan) -> float:
    """Correct the best rate of short trials for the training that is planned.

    With `r = total_iters / verdict.num_iter`, within 1 and 30, the suggestion is the lowest of::

        constant rate:  best_lr * r ** -a,     0.4  * shoulder_lr,  highest_stable_lr
        decaying rate:  best_lr * r ** 0.3,    0.85 * shoulder_lr,  highest_stable_lr

    where `a` is 0.2, and rises to 0.4 as `verdict.noise` goes from 0.5 to 1.5.

    A long run at a constant rate ends at the noise level of that rate, which a short run has not
    reached yet; a decaying rate removes that noise, so the rate that descends fastest is best. The
    shoulder keeps both away from the edge of stability, which moves closer in long runs. If batch
    noise hides the gain of a trial, noise dominates, and in theory the best constant rate falls
    with the square root of the length (Bach and Moulines 2011).

    The exponents and shares were fitted to 21 training tasks with four seeds each, whose best rates
    were known from grids (r from 2 to 15), and the effect of noise to 20 more, including the tasks
    in `benchmarks`. Exponents from 0 to -0.3 and from 0.2 to 0.4 do nearly as well with little
    noise; without the shoulder the worst cases are several times worse. The rule fails if the loss
    has not begun to fall by the end of the longest trial, and if the training loss tolerates rates
    that the validation loss does not.

    Args:
        verdict: what the trials support.
        plan: the training that the rate is for; ten trials' length if its length is unknown.

    Returns:
        A learning rate, at most the highest rate with a stable trial.

    Example:
        >>> verdict = Verdict(
        ...     best_lr=0.1,
        ...     shoulder_lr=0.3,
        ...     highest_stable_lr=0.4,
        ...     num_iter=100,
        ...     noise=0.1,
        ... )
        >>> round(suggested_lr(verdict, Plan("constant", 1000)), 3)
        0.063
        >>> round(suggested_lr(verdict, Plan("decay", 1000)), 3)
        0.2
    """
    rules = rules_for(plan)
    lengths = num_planned_iters(verdict, plan) / verdict.num_iter
    exponent = _by_noise(verdict.noise, rules.calm_exponent, rules.noisy_exponent)
    corrected = verdict.best_lr * min(max(lengths, 1.0), _MAX_LENGTHS) ** exponent
    return min(corrected, rules.shoulder_share * verdict.shoulder_lr, verdict.highest_stable_lr)


def num_planned_iters(verdict: Verdict, plan: Plan) -> float:
    """Return the optimizer steps of the planned training; ten trials' length if unknown."""
    return _USUAL_LENGTHS * verdict.num_iter if plan.total_iters is None else plan.total_iters


def _loss_before(record: Record) -> float:
    """Return the loss before training: the mean over the first tenth of the sweep."""
    losses = record.losses[usable_points(record)]
    return float(np.mean(losses[: max(3, len(losses) // 10)]))


def _by_noise(noise: float, calm: float, noisy: float) -> float:
    """Interpolate between the values for little and for much batch noise."""
    return float(np.interp(noise, (_LITTLE_NOISE, _MUCH_NOISE), (calm, noisy)))


def _noise(scores: Scores, loss_before: float) -> float:
    """Return the batch noise of the best trial, from its steps, over its gain."""
    gain = loss_before - scores.mean[scores.best]
    steps = np.diff(scores.tails[scores.best])
    noise = float(np.std(steps)) / math.sqrt(2) if len(steps) else 0.0
    return noise / gain if gain > 0 else math.inf


def _shoulder(scores: Scores, loss_before: float) -> float:
    """Return the x above the best at which a tenth of the gain is lost, or the last x."""
    x, mean = scores.x[scores.best :], scores.mean[scores.best :]
    gain = max(loss_before - mean[0], 0.0)
    given_up = np.minimum(mean - mean[0], gain)
    beyond = np.flatnonzero(mean - mean[0] > _SHOULDER * gain)
    if not len(beyond):
        return float(x[-1])
    after = int(beyond[0])
    if gain == 0:
        return float(x[after - 1])
    return float(
        np.interp(_SHOULDER * gain, given_up[after - 1 : after + 1], x[after - 1 : after + 1])
    )
