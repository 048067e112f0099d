"""Detect trials that are shorter than the optimizer's momentum."""

from collections.abc import Iterator

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.suggest import Trials


def warnings_of_momentum(optimizer: OptimizerLike, trials: Trials | None) -> Iterator[str]:
    """Yield a warning if trials are too short for the optimizer's momentum, or missing.

    Args:
        optimizer: the optimizer that is swept.
        trials: the settings of the trials; None for no trials.
    """
    memory = memory_of(optimizer)
    if round(memory) <= (trials or Trials()).short_iter:
        return
    shown = "a sweep" if trials is None else f"trials of short_iter={trials.short_iter}"
    short_iter, long_iter, max_iter = (round(factor * memory) for factor in (2, 4, 20))
    yield (
        f"The optimizer averages gradients over {memory:.0f} steps, so {shown} may show too late "
        f"that a rate is too high. Pass verify=Trials(max_iter={max_iter}, "
        f"short_iter={short_iter}, long_iter={long_iter})."
    )


def memory_of(optimizer: OptimizerLike) -> float:
    """Return the number of steps over which an optimizer averages gradients, 1 / (1 - momentum).

    The largest of all groups counts. SGD has a `momentum`, Adam and similar optimizers have it as
    the first of `betas`.
    """
    momenta = []
    for group in optimizer.param_groups:
        betas = group.get("betas")
        momenta += [group.get("momentum"), *(betas[:1] if isinstance(betas, (list, tuple)) else ())]
    known = [float(m) for m in momenta if isinstance(m, (int, float)) and 0 <= m < 1]
    return 1 / (1 - max(known, default=0.0))
