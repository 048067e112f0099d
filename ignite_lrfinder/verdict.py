"""What the trials say, and what it means for the training that is planned."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from ignite_lrfinder.comparison import NUM_BLOCKS, Scores, cliff_of, compare, parabola
from ignite_lrfinder.curve import Array, usable_points
from ignite_lrfinder.errors import NoSuggestionError, wrong_value
from ignite_lrfinder.result import LRFinderResult, Trial

Schedule = Literal["constant", "decay"]

_SHOULDER = 0.1
_STUDENT_T = 2.13  # one-sided 95 % with 4 degrees of freedom, for five blocks of losses
_PAIRED_RTOL = 1e-3

_MAX_LENGTHS = 30.0
_USUAL_LENGTHS = 10.0
_PLANS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"constant": (-1 / 5, 0.4), "decay": (1 / 3, 0.85)}
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the trials say.

    Attributes:
        best_lr: the best rate for a run as short as the trials.
        interval: the lowest and the highest rate that the trials cannot tell apart from the best.
        shoulder_lr: the highest rate that does nearly as well: it gives up a tenth of what the
            best trial gained over the loss before training.
        highest_stable_lr: the highest rate whose trial was stable, below any that diverged.
        num_iter: the length of the trials that this rests on.
        is_paired: whether all trials saw the same batches, as told by their first losses.
    """

    best_lr: float
    interval: tuple[float, float]
    shoulder_lr: float
    highest_stable_lr: float
    num_iter: int
    is_paired: bool


def verdict(result: LRFinderResult, trials: Sequence[Trial]) -> Verdict:
    """Say which learning rates the trials speak for.

    The longest trials are compared by the mean of the second half of their losses. Nothing beyond
    the lowest rate that diverged counts.

    Args:
        result: the result of the sweep, which knows the loss before training.
        trials: the trials that were run.

    Returns:
        What they say.

    Raises:
        NoSuggestionError: if no trial was stable.
    """
    cliff = cliff_of(trials)
    stable = [trial for trial in trials if trial.lr < cliff and len(trial.losses) > 0]
    if not stable:
        raise NoSuggestionError(
            f"None of the {len(trials)} trials was stable, so none says which learning rate to "
            "take. Lower start_lr, or look at the model and its data."
        )
    num_iter = max(len(trial.losses) for trial in stable)
    scores = compare(trials, num_iter)
    best, is_paired = parabola(scores), _are_paired(trials)
    low, high = _as_good(scores, is_paired)
    return Verdict(
        best_lr=math.exp(best),
        interval=(math.exp(min(low, best)), math.exp(max(high, best))),
        shoulder_lr=math.exp(max(_shoulder(scores, _loss_before(result)), best)),
        highest_stable_lr=max(trial.lr for trial in stable if len(trial.losses) >= num_iter),
        num_iter=num_iter,
        is_paired=is_paired,
    )


def check_plan(schedule: str, total_iters: int | None) -> None:
    """Refuse a plan that there is no suggestion for.

    Raises:
        ValueError: if there is no such schedule, or `total_iters` is below 1.
    """
    if schedule not in _PLANS:
        remedy = "Leave it out for a constant rate."
        raise wrong_value("schedule", "'constant' or 'decay'", schedule, remedy)
    if total_iters is not None and total_iters < 1:
        raise wrong_value("total_iters", "at least 1", total_iters, "Leave it out if unknown.")


def suggested_lr(
    verdict: Verdict, schedule: Schedule = "constant", *, total_iters: int | None = None
) -> float:
    """Correct the best rate of short trials for the training that is planned.

    With `r = total_iters / verdict.num_iter`, kept within 1 and 30, the suggestion is the lowest of

        constant rate:  best_lr * r ** (-1/5),  0.4  * shoulder_lr,  highest_stable_lr
        decaying rate:  best_lr * r ** (1/3),   0.85 * shoulder_lr,  highest_stable_lr

    A long run at a constant rate ends on the noise that its rate leaves, which a short one has not
    yet come down to; a decaying one sheds that noise and wants the rate that descends fastest. The
    shoulder keeps both off the edge of stability, which comes nearer in long runs.

    The exponents and shares are fitted to 21 training tasks of four seeds each, whose best rates
    were known from grids (r from 2 to 15). Exponents from 0 to -0.3 and from 0.2 to 0.4 do nearly
    as well; without the shoulder the worst cases are several times worse. It fails where the loss
    has not begun to fall by the end of the longest trial, and constant rates come out too high
    where the noise of small batches hides most of the fall.

    Args:
        verdict: what the trials say.
        schedule: "constant", or "decay" for the peak of a schedule that decays towards zero.
        total_iters: optimizer steps of that training, at least 1; None for ten trials' length.

    Returns:
        A learning rate, no higher than the highest whose trial was stable.

    Raises:
        ValueError: if there is no such schedule, or `total_iters` is below 1.

    Example:
        >>> verdict = Verdict(
        ...     best_lr=0.1,
        ...     interval=(0.08, 0.12),
        ...     shoulder_lr=0.3,
        ...     highest_stable_lr=0.4,
        ...     num_iter=100,
        ...     is_paired=True,
        ... )
        >>> round(suggested_lr(verdict, total_iters=1000), 3)
        0.063
        >>> round(suggested_lr(verdict, "decay", total_iters=1000), 3)
        0.215
    """
    check_plan(schedule, total_iters)
    lengths = _USUAL_LENGTHS if total_iters is None else total_iters / verdict.num_iter
    exponent, share = _PLANS[schedule]
    corrected = verdict.best_lr * min(max(lengths, 1.0), _MAX_LENGTHS) ** exponent
    return min(corrected, share * verdict.shoulder_lr, verdict.highest_stable_lr)


def _loss_before(result: LRFinderResult) -> float:
    """Return the loss before training: the mean over the first tenth of the sweep."""
    losses = result.losses[usable_points(result)]
    return float(np.mean(losses[: max(3, len(losses) // 10)]))


def _shoulder(scores: Scores, loss_before: float) -> float:
    """Return the x above the best at which a tenth of the gain is given up, or the last x."""
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


def _as_good(scores: Scores, is_paired: bool) -> tuple[float, float]:
    """Return the lowest and highest x around the best that it cannot be told apart from.

    Neighbouring losses of a run are correlated, so means of five blocks are compared.
    """
    x, best = scores.x, scores.best
    if scores.tails.shape[1] < NUM_BLOCKS:
        return float(x[0]), float(x[-1])
    blocks = np.array(
        [part.mean(axis=1) for part in np.array_split(scores.tails, NUM_BLOCKS, axis=1)]
    )
    low = high = best
    while low > 0 and _is_level(blocks[:, low - 1], blocks[:, best], is_paired):
        low -= 1
    while high < len(x) - 1 and _is_level(blocks[:, high + 1], blocks[:, best], is_paired):
        high += 1
    # The bound lies somewhere before the next trial: in the middle.
    lower = x[low] if low == 0 else (x[low] + x[low - 1]) / 2
    upper = x[high] if high == len(x) - 1 else (x[high] + x[high + 1]) / 2
    return float(lower), float(upper)


def _is_level(blocks: Array, best: Array, is_paired: bool) -> bool:
    """Tell whether a t-test leaves two trials undecided, on the same batches or on different."""
    if not np.isfinite(blocks).all():
        return False
    spread = np.std(blocks - best, ddof=1)
    if not is_paired:
        spread = np.hypot(np.std(blocks, ddof=1), np.std(best, ddof=1))
    return bool(np.mean(blocks - best) <= _STUDENT_T * spread / math.sqrt(NUM_BLOCKS))


def _are_paired(trials: Sequence[Trial]) -> bool:
    """Tell whether all trials began with the same loss: it is taken before their first step."""
    first = np.array([trial.losses[0] for trial in trials if len(trial.losses)])
    return bool(np.allclose(first, first[0], rtol=_PAIRED_RTOL, atol=0.0))
