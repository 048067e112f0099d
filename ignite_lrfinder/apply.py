"""A suggestion into an optimizer and its scheduler."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from ignite_lrfinder.errors import LRFinderError, wrong_type, wrong_value
from ignite_lrfinder.protocols import OptimizerLike

# What a scheduler keeps beside the optimizer, one value for each group, each in proportion to the
# rate that the scheduler was made with.
_RATES_OF_SCHEDULER = ("base_lrs", "max_lrs", "_last_lr")


def apply_lr(
    optimizer: OptimizerLike, lrs: Sequence[float], lr_scheduler: LRScheduler | None = None
) -> None:
    """Set learning rates on an optimizer, and on its scheduler as if it had been made with them.

    The rate a group was made for is its `max_lr` where it has one (one-cycle and cyclical
    policies), else its `initial_lr`, else its `lr`. All its rates change by the factor from that
    one to the new.

    Args:
        optimizer: the optimizer; a tensor `lr` is written in place.
        lrs: the new learning rate of each parameter group.
        lr_scheduler: the optimizer's torch scheduler; the optimizer then stays at its place in the
            schedule. Without one, each `lr` is exactly the new rate.

    Raises:
        TypeError: if `lr_scheduler` is no torch scheduler.
        ValueError: if it belongs to another optimizer.
        LRFinderError: if the optimizer has another number of parameter groups.
    """
    groups = optimizer.param_groups
    if len(groups) != len(lrs):
        raise LRFinderError(
            "The number of parameter groups does not match between given optimizer and the one "
            f"used for estimating the learning rate: {len(lrs)} vs {len(groups)}. Pass the "
            "optimizer that was swept."
        )
    _check_scheduler(optimizer, lr_scheduler)
    old = _max_lrs(lr_scheduler) or [_rate_made_for(group) for group in groups]
    for group, made_for, lr in zip(groups, old, lrs, strict=True):
        for key in ("lr", "initial_lr", "max_lr", "min_lr"):
            if key in group:
                is_exact = key == "lr" and lr_scheduler is None
                _set(group, key, lr if is_exact else _scaled(float(group[key]), made_for, lr))
    if lr_scheduler is not None:
        _rescale(lr_scheduler, old, lrs)


def _check_scheduler(optimizer: OptimizerLike, scheduler: object) -> None:
    """Refuse a scheduler that this optimizer has nothing to do with."""
    if scheduler is None:
        return
    if not isinstance(scheduler, LRScheduler):
        remedy = "Make a scheduler of another kind anew, with the suggested learning rate."
        raise wrong_type("lr_scheduler", "a torch LRScheduler", scheduler, remedy)
    if scheduler.optimizer is not optimizer:
        raise wrong_value(
            "lr_scheduler",
            "a scheduler of the given optimizer",
            scheduler,
            "Pass the two that belong together.",
        )


def _max_lrs(scheduler: LRScheduler | None) -> list[float]:
    """Return the upper rates of a cyclical scheduler, which the groups need not have."""
    return [float(rate) for rate in getattr(scheduler, "max_lrs", ())]


def _rate_made_for(group: dict[str, Any]) -> float:
    """Return the learning rate that a group was made for."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def _scaled(value: float, made_for: float, lr: float) -> float:
    """Return a rate as it would be, had it been made for `lr`; exactly `lr` for the rate itself."""
    return lr if value == made_for or made_for == 0 else lr * (value / made_for)


def _set(group: dict[str, Any], key: str, value: float) -> None:
    """Set a rate of a group, in place where it is a tensor."""
    if isinstance(group[key], torch.Tensor):
        with torch.no_grad():
            group[key].fill_(value)
    else:
        group[key] = value


def _rescale(scheduler: LRScheduler, old: Sequence[float], lrs: Sequence[float]) -> None:
    """Change the rates that a scheduler keeps, and those of the schedulers it is made of."""
    for name in _RATES_OF_SCHEDULER:
        rates = getattr(scheduler, name, None)
        if isinstance(rates, list) and len(rates) == len(lrs):
            triples = zip(rates, old, lrs, strict=True)
            rates[:] = [_scaled(float(rate), made_for, lr) for rate, made_for, lr in triples]
    for part in getattr(scheduler, "_schedulers", ()):
        _rescale(part, old, lrs)
