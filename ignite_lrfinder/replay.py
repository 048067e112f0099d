"""Replay a schedule up to its present position, on copies of its schedulers."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from ignite.handlers import param_scheduler as ignite
from torch.optim.lr_scheduler import ChainedScheduler, ReduceLROnPlateau, SequentialLR

from ignite_lrfinder.schedulers import (
    RECREATE,
    Copies,
    group_indices,
    refusal,
    set_rate,
    torch_scheduler_of,
)


def replay(old: Copies, new: Copies, lrs: Sequence[float]) -> None:
    """Set the copied groups to the rates that the schedulers give at their present position.

    A schedule that computes its rates from its position is evaluated there. A schedule that
    computes them from the previous rates is restarted, and takes all its steps again.

    Args:
        old: copies with the rates that the schedulers were created with.
        new: copies of the same schedulers with other rates.
        lrs: the present learning rates.

    Raises:
        ValueError: if a scheduler cannot be replayed.
    """
    with warnings.catch_warnings():
        # Torch warns of scheduler steps without optimizer steps, and of its own deprecated calls.
        warnings.simplefilter("ignore")
        for copies in (old, new):
            _start_wrapped(copies)
            for part in copies.parts:
                try:
                    _replay_part(copies, part)
                except Exception as error:
                    requirement = "a scheduler whose steps can be replayed"
                    raise refusal(part, requirement, RECREATE) from error
    for old_part, new_part in zip(old.parts, new.parts, strict=True):
        if isinstance(torch_scheduler_of(old_part), ReduceLROnPlateau):
            _replay_reductions(old, new, old_part, new_part, lrs)


def is_close(lrs: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether learning rates are equal up to rounding."""
    return all(
        math.isclose(lr, other, rel_tol=1e-6, abs_tol=1e-15)
        for lr, other in zip(lrs, others, strict=True)
    )


def _start_wrapped(copies: Copies) -> None:
    """Set the rates that wrapped torch schedulers set on creation, before Ignite calls them."""
    wrapped = [part for part in copies.parts if isinstance(part, ignite.LRScheduler)]
    if wrapped:
        copies.set_lrs([group["initial_lr"] for group in copies.groups])
    for part in wrapped:
        scheduler = torch_scheduler_of(part)
        position = dict(vars(scheduler))
        _start(scheduler)
        vars(scheduler).update({**position, "_last_lr": scheduler._last_lr})


def _start(scheduler: Any) -> None:
    """Restart a torch scheduler, as its constructor does."""
    parts = getattr(scheduler, "_schedulers", None)
    if parts is None:
        scheduler.last_epoch = -1
        scheduler._initial_step()
        return
    for part in parts:
        _start(part)
    if isinstance(scheduler, SequentialLR):
        SequentialLR.__init__(scheduler, scheduler.optimizer, parts, scheduler._milestones)
    else:
        ChainedScheduler.__init__(scheduler, parts)


def _replay_part(copies: Copies, part: Any) -> None:
    """Set the rates that one scheduler gives at its present position."""
    scheduler = torch_scheduler_of(part)
    if scheduler is None:
        _replay_values(part)
    elif isinstance(part, ignite.LRScheduler):
        _replay_calls(copies, scheduler, part.event_index)
    elif not isinstance(scheduler, ReduceLROnPlateau):
        _replay_steps(copies, scheduler)


def _replay_steps(copies: Copies, scheduler: Any) -> None:
    """Set the rates of a torch scheduler."""
    lrs = _lrs_from_position(copies, scheduler)
    if lrs is not None:
        copies.set_lrs(lrs)
        scheduler._last_lr = lrs
        return
    num_steps = _num_steps(scheduler)
    copies.set_lrs([group["initial_lr"] for group in copies.groups])
    _start(scheduler)
    for _ in range(num_steps):
        scheduler.step()


def _num_steps(scheduler: Any) -> int:
    """Return how many steps a scheduler has taken; a ChainedScheduler has no counter."""
    while not hasattr(scheduler, "last_epoch"):
        scheduler = scheduler._schedulers[0]
    return scheduler.last_epoch


def _replay_calls(copies: Copies, scheduler: Any, num_calls: int) -> None:
    """Set the rates of a torch scheduler in an Ignite one, which counts after each call."""
    if num_calls == 0:
        return
    scheduler.last_epoch -= 1
    lrs = _lrs_from_position(copies, scheduler)
    if lrs is not None:
        copies.set_lrs(lrs)
        return
    scheduler.last_epoch -= num_calls - 1
    for _ in range(num_calls):
        copies.set_lrs(scheduler.get_lr())
        scheduler.last_epoch += 1


def _replay_values(part: Any) -> None:
    """Set the rate of an Ignite scheduler, which counts after each call."""
    if part.event_index == 0:
        return
    part.event_index -= 1
    if isinstance(part, ignite.PiecewiseLinear):
        part._index = 0
    value: Any = part._get_param()
    for group in part.optimizer_param_groups:
        set_rate(group, "lr", value)


def _lrs_from_position(copies: Copies, scheduler: Any) -> list[Any] | None:
    """Return the rates of a schedule that does not read the previous rates, else None."""
    lrs = [group.pop("lr") for group in copies.groups]
    try:
        return list(scheduler.get_lr())
    except (KeyError, NotImplementedError):
        return None
    finally:
        for group, lr in zip(copies.groups, lrs, strict=True):
            group["lr"] = lr


def _replay_reductions(
    old: Copies, new: Copies, old_part: Any, new_part: Any, lrs: Sequence[float]
) -> None:
    """Reduce the rates of two copies of a `ReduceLROnPlateau` as often as the original has.

    It does not count its reductions, so their number is inferred: it leads from the rates that the
    optimizer was created with to the present rates. If several numbers do, all must give the same
    new rates.
    """
    scheduler = torch_scheduler_of(old_part)
    num_settled = scheduler.last_epoch - scheduler.num_bad_epochs
    max_reductions = max(num_settled // (scheduler.patience + 1), 0)
    for index in group_indices(old_part, len(lrs)):
        start = old.groups[index].get("initial_lr")
        if start is None:
            defaults = old_part.optimizer.defaults if max_reductions else {}
            start = defaults.get("lr", lrs[index])
        set_rate(old.groups[index], "lr", start)
        # For the next call: the optimizer's `defaults` do not change.
        set_rate(new.groups[index], "initial_lr", new.groups[index]["lr"])
    candidates = []
    for _ in range(max_reductions + 1):
        if is_close(old.lrs, lrs):
            candidates.append(new.lrs)
        before = old.lrs, new.lrs
        old_part._reduce_lr(0)
        new_part._reduce_lr(0)
        if (old.lrs, new.lrs) == before:
            break
    if not candidates or any(candidate != candidates[0] for candidate in candidates):
        raise refusal(old_part, "a scheduler whose reductions so far are known", RECREATE)
    old.set_lrs(lrs)
    new.set_lrs(candidates[0])
    torch_scheduler_of(new_part)._last_lr = candidates[0]
