"""From trials to the learning rate of the planned training."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ignite_lrfinder.record import (
    Plan,
    Record,
    Scores,
    Trial,
    cliff_of,
    level_range,
    parabola,
    usable_points,
)
from ignite_lrfinder.suggest.curve import Refusal
from ignite_lrfinder.suggest.rules import rules_for

_SHOULDER = 0.1  # of the gain, as for the edge of a curve
_USUAL_LENGTHS = 10.0  # between short training runs, a few trials long, and long ones
_SOON = 3  # iterations: a rate that is far too high explodes in its first steps
_FAR = 3.0  # in standard deviations of the batch noise, which chance seldom exceeds
_SURE = 1.0  # in standard errors: of trials that gained nothing, one in six seems to gain more
# Below the one, noise hides nothing of the gain, above the other, most of it.
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
        noise: the batch noise of the best trial's loss, as a share of the trial's gain over the
            loss before training.
        fall: the loss before training divided by the loss of the best trial; infinite if that is 0,
            and 1 if either is negative.
    """

    best_lr: float
    shoulder_lr: float
    highest_stable_lr: float
    num_iter: int
    noise: float
    fall: float = 1.0


def verdict_of(record: Record, scores: Scores | None, *, is_paired: bool) -> Verdict | Refusal:
    """Judge which learning rates the trials support.

    The longest trials are compared by the mean of the second half of their losses. Nothing beyond
    the lowest rate that diverged counts.

    Args:
        record: the sweep, which gives the loss before training, and its trials.
        scores: the longest trials compared; None if no trial was stable.
        is_paired: whether all trials were judged on the same batches.

    Returns:
        The verdict; a refusal if no trial was stable, or none gained anything: neither over the
        loss before training, by more than noise, nor over the trial at the lowest rate.
    """
    broken = broken_iteration(record, record.trials)
    if scores is None and broken is not None and len(record.trials) > 1:
        return Refusal(
            f"No trial was stable: all {len(record.trials)} became NaN or infinite in "
            f"iteration {broken}, as with a broken sample. Check the data of that batch, or "
            "lower start_lr."
        )
    if scores is None:
        return Refusal(
            f"No trial was stable, of {len(record.trials)}, so they support no learning rate. "
            "Lower start_lr, or check the model and its data."
        )
    if _are_equal(record, scores):
        return Refusal(
            f"The {len(scores.x)} trials have the same losses, so the learning rate has no effect. "
            "Check that the optimizer holds the parameters of the model that is trained."
        )
    before, reached = loss_before(record, scores), float(scores.mean[scores.best])
    gain = before - reached
    lowest, highest = level_range(scores, is_paired)
    error = _noise(scores) / math.sqrt(scores.tails.shape[1])
    is_in_doubt = gain <= _SURE * error and lowest == scores.x[0] and len(scores.x) > 1
    if gain <= 0 or is_in_doubt:
        by_noise = ", by more than noise" if gain > 0 else ""
        return Refusal(
            f"No trial ended below the loss before training{by_noise}, of {len(record.trials)}, "
            "so they support no learning rate. Lower start_lr, let trials run longer with "
            "verify=Trials(...), or check the model and its data."
        )
    noise = _noise(scores) / gain
    best = _by_noise(noise, parabola(scores), (lowest + highest) / 2)
    cliff = cliff_of(record.trials)
    return Verdict(
        best_lr=math.exp(best),
        shoulder_lr=math.exp(max(_shoulder(scores, gain), best)),
        highest_stable_lr=max(
            trial.lr
            for trial in record.trials
            if trial.lr < cliff and len(trial.losses) >= scores.num_iter
        ),
        num_iter=scores.num_iter,
        noise=noise,
        fall=_fall(before, reached),
    )


def suggested_lr(verdict: Verdict, plan: Plan) -> float:
    """Correct the best rate of short trials for the training that is planned.

    With `r = total_iters / verdict.num_iter`, at least 1, the suggestion is the lowest of::

        constant rate:  best_lr * r ** -a,     0.4  * shoulder_lr,  highest_stable_lr
        decaying rate:  best_lr * r ** 0.15,   0.7  * shoulder_lr,  highest_stable_lr

    where `a` is 0.2, and rises to 0.4 as `verdict.noise` goes from 0.5 to 1.5.

    A long run at a constant rate ends at the noise level of that rate, which a short run has not
    reached yet; a decaying rate removes that noise, so the rate that descends fastest is best. The
    shoulder keeps both away from the edge of stability, which moves closer in long runs. If batch
    noise hides the gain of a trial, noise dominates, and in theory the best constant rate falls
    with the square root of the length (Bach and Moulines 2011).

    The exponents and shares were fitted to 54 training tasks with two seeds each, whose best rates
    were known from grids (r from 2 to 375). Exponents from -0.15 to -0.25 and from 0.1 to 0.2, and
    shares from 0.35 to 0.5 and from 0.7 to 1, did equally well; without the shoulder the worst
    cases are several times worse. The rule fails if the loss has not begun to fall by the end of
    the longest trial, and if the training loss tolerates rates that the validation loss does not.

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
        0.141
    """
    rules = rules_for(plan)
    lengths = num_planned_iters(verdict, plan) / verdict.num_iter
    exponent = _by_noise(verdict.noise, rules.calm_exponent, rules.noisy_exponent)
    corrected = verdict.best_lr * max(lengths, 1.0) ** exponent
    return min(corrected, rules.shoulder_share * verdict.shoulder_lr, verdict.highest_stable_lr)


def num_planned_iters(verdict: Verdict, plan: Plan) -> float:
    """Return the optimizer steps of the planned training; ten trials' length if unknown."""
    return _USUAL_LENGTHS * verdict.num_iter if plan.total_iters is None else plan.total_iters


def loss_before(record: Record, scores: Scores) -> float:
    """Return the loss before training: the mean over the first tenth of the sweep.

    If the sweep changes the loss so soon that its first point is farther from that than noise, it
    is the loss of the first point, which is measured before a step, or after the first step with
    `val_loss`.

    Args:
        record: the sweep.
        scores: the trials compared, of which the best gives the noise.
    """
    losses = record.losses[usable_points(record)]
    first, mean = float(losses[0]), float(np.mean(losses[: max(3, len(losses) // 10)]))
    return mean if abs(mean - first) <= _FAR * _noise(scores) else first


def broken_iteration(record: Record, trials: Sequence[Trial]) -> int | None:
    """Return the iteration in which all trials diverged, as on bad data; None if there is none.

    The higher a learning rate, the sooner a trial diverges, but no sooner than after a step or two.
    There the data is bad only if the sweep, which had the same batches, broke down there as well.

    Args:
        record: the sweep.
        trials: some of its trials.
    """
    ends = {len(trial.losses) for trial in trials if trial.is_diverged}
    if len(ends) != 1 or not all(trial.is_diverged for trial in trials):
        return None
    end = ends.pop()
    is_fine = 0 < end <= min(_SOON, len(record)) and math.isfinite(record.losses[end - 1])
    return None if is_fine else end


def _are_equal(record: Record, scores: Scores) -> bool:
    """Return whether all compared trials have the same losses from the start, bit for bit.

    Losses that only end alike, such as errors that all reach zero, do not count.
    """
    length = scores.num_iter
    rows = np.array([t.losses[:length] for t in record.trials if len(t.losses) >= length])
    return 1 < len(rows) == len(scores.x) and bool((rows == rows[0]).all())


def _fall(before: float, reached: float) -> float:
    """Return how many times a loss has fallen."""
    if reached > 0:
        return before / reached
    return math.inf if reached == 0 < before else 1.0


def _by_noise(noise: float, calm: float, noisy: float) -> float:
    """Interpolate between the values for little and for much batch noise."""
    return float(np.interp(noise, (_LITTLE_NOISE, _MUCH_NOISE), (calm, noisy)))


def _noise(scores: Scores) -> float:
    """Return the batch noise of the best trial, from its steps."""
    steps = np.diff(scores.tails[scores.best])
    return float(np.std(steps)) / math.sqrt(2) if len(steps) else 0.0


def _shoulder(scores: Scores, gain: float) -> float:
    """Return the x above the best at which a tenth of the gain is lost, or the last x."""
    x, mean = scores.x[scores.best :], scores.mean[scores.best :]
    given_up = np.minimum(mean - mean[0], gain)
    beyond = np.flatnonzero(mean - mean[0] > _SHOULDER * gain)
    if not len(beyond):
        return float(x[-1])
    after = int(beyond[0])
    return float(
        np.interp(_SHOULDER * gain, given_up[after - 1 : after + 1], x[after - 1 : after + 1])
    )
