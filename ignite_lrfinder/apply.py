"""Apply a suggestion to an optimizer and its scheduler."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from ignite_lrfinder.errors import LRFinderError, warn, wrong_type
from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.replay import is_close, replay
from ignite_lrfinder.schedulers import (
    RATES_OF_GROUP,
    RATES_OF_SCHEDULER,
    RECREATE,
    Copies,
    Part,
    Scheduler,
    group_indices,
    leaves_of,
    like,
    parts_of,
    peak_lr_of,
    peak_lrs_of,
    refusal,
    rescale,
    rescale_group,
    set_rate,
    torch_scheduler_of,
)
from ignite_lrfinder.swept import are_swept


def apply_lr(
    optimizer: OptimizerLike, lrs: Sequence[float], lr_scheduler: Scheduler | None = None
) -> None:
    """Set learning rates on an optimizer, and update its scheduler as if created with them.

    A new rate replaces the peak of the schedule, the largest rate that the scheduler was created
    with: the base rate of most torch schedulers, the upper rate of cyclical and one-cycle policies,
    the largest value of an Ignite scheduler. Its other rates are scaled by the same factor. Rates
    that torch does not derive from the optimizer's rate (`eta_min`, `swa_lr`, `min_lrs`) stay.

    Args:
        optimizer: the optimizer; a tensor `lr` is written in place.
        lrs: the new learning rate of each parameter group.
        lr_scheduler: the optimizer's scheduler, which keeps its position in the schedule. Without
            a scheduler, each `lr` is exactly the new rate; an optimizer that has had a scheduler
            of torch then causes a warning.

    Raises:
        TypeError: if `optimizer` has no parameter groups, or `lr_scheduler` is not a scheduler of
            torch or Ignite.
        ValueError: if it belongs to another optimizer, or cannot be updated exactly.
        LRFinderError: if the optimizer has a different number of parameter groups, or is being
            swept.
    """
    groups = getattr(optimizer, "param_groups", None)
    if not isinstance(groups, Sequence):
        remedy = "Pass the optimizer that was swept."
        raise wrong_type("optimizer", "an optimizer with param_groups", optimizer, remedy)
    if are_swept(groups):
        raise LRFinderError(
            "apply_suggested_lr must be called after the block of attach, got a call inside it, "
            "which the end of the block would undo. Call it after the block."
        )
    if len(groups) != len(lrs):
        raise LRFinderError(
            f"optimizer must have {len(lrs)} parameter groups, as the one that was swept, got "
            f"{len(groups)}. Pass the optimizer that was swept."
        )
    if lr_scheduler is not None:
        _reschedule(lr_scheduler, optimizer, lrs)
        return
    for group, lr in zip(groups, lrs, strict=True):
        rescale_group(group, peak_lr_of(group), lr)
    if any("initial_lr" in group for group in groups):
        warn(
            "lr_scheduler must be the optimizer's scheduler, got None, although the optimizer has "
            "had one, whose next step would overwrite the suggestion. Pass it, or create it again "
            "after this call."
        )


def _reschedule(scheduler: Scheduler, optimizer: OptimizerLike, lrs: Sequence[float]) -> None:
    """Set the peaks of a schedule, and the resulting rates at its present position."""
    groups = optimizer.param_groups
    parts = parts_of(scheduler)
    _check_parts(parts, scheduler, groups)
    peaks, present = peak_lrs_of(parts, groups), [float(group["lr"]) for group in groups]
    old, new = Copies.of(parts, optimizer), Copies.of(parts, optimizer)
    new.rescale(peaks, lrs)
    replay(old, new, present)
    _check_present(scheduler, old.lrs, groups)
    _check_custom(parts, optimizer, peaks, present)
    _warn_of_rates_in_lambdas(parts, new.lrs, lrs)
    for part, replayed in zip(parts, new.parts, strict=True):
        rescale(part, peaks, lrs)
        _copy_last_lr(torch_scheduler_of(replayed), torch_scheduler_of(part))
    for group, replayed in zip(groups, new.groups, strict=True):
        if _has_shared_tensor(group):
            group["initial_lr"] = group["lr"].clone()
        for key in RATES_OF_GROUP:
            if key in replayed:
                set_rate(group, key, replayed[key])


def _check_parts(
    parts: Sequence[Part], scheduler: object, groups: Sequence[dict[str, Any]]
) -> None:
    """Refuse a scheduler of other parameter groups."""
    if not parts:
        remedy = "Pass the scheduler of the learning rate."
        raise refusal(scheduler, 'a scheduler of the parameter "lr"', remedy)
    for part in parts:
        if list(map(id, part.optimizer.param_groups)) != list(map(id, groups)):
            remedy = "Pass the optimizer and its own scheduler."
            raise refusal(part, "a scheduler of the given optimizer", remedy)
        for leaf in leaves_of(part):
            if len(getattr(leaf, "base_lrs", groups)) != len(groups):
                raise refusal(leaf, f"created for all {len(groups)} parameter groups", RECREATE)


def _check_present(
    scheduler: object, expected: Sequence[float], groups: Sequence[dict[str, Any]]
) -> None:
    """Refuse a scheduler that alone does not account for the present learning rates."""
    for rate, group in zip(expected, groups, strict=True):
        lr = float(group["lr"])
        if not is_close([rate], [lr]) and not _is_freshly_set(group):
            raise refusal(
                scheduler,
                f"all that sets the learning rate {lr:.6g}",
                f"Alone it gives {rate:.6g}. Join schedulers of one optimizer in a "
                "ChainedScheduler. If something else set the learning rate, call "
                "apply_suggested_lr(optimizer), then recreate the scheduler.",
            )


def _is_freshly_set(group: dict[str, Any]) -> bool:
    """Return whether `apply_lr` without the scheduler may have set a group's rate."""
    return float(group["lr"]) == peak_lr_of(group) and not _has_shared_tensor(group)


def _has_shared_tensor(group: dict[str, Any]) -> bool:
    """Return whether `lr` and `initial_lr` are one tensor, a bug of torch before 2.9."""
    return isinstance(group["lr"], torch.Tensor) and group["lr"] is group.get("initial_lr")


def _check_custom(
    parts: Sequence[Part], optimizer: OptimizerLike, peaks: Sequence[float], lrs: list[float]
) -> None:
    """Refuse a custom class that stores its peak differently from torch's classes."""
    for part in parts:
        for scheduler in (part, *leaves_of(part)):
            if type(scheduler).__module__.partition(".")[0] in ("ignite", "torch"):
                continue
            is_larger = any(rate > max(peaks) for rate in _custom_rates(scheduler))
            if is_larger or not _follows_peak(part, optimizer, peaks, lrs):
                requirement = "a scheduler whose base_lrs are its largest learning rates"
                raise refusal(scheduler, requirement, RECREATE)


def _custom_rates(scheduler: object) -> Iterator[float]:
    """Yield the attributes of a custom scheduler that are learning rates, by their names."""
    for name, value in vars(scheduler).items():
        if name.endswith(("lr", "lrs")) and name not in (*RATES_OF_SCHEDULER, "_last_lr"):
            rates = value if isinstance(value, list | tuple) else [value]
            yield from (rate for rate in rates if isinstance(rate, int | float))


def _follows_peak(
    part: Part, optimizer: OptimizerLike, peaks: Sequence[float], lrs: list[float]
) -> bool:
    """Return whether the present rates of a scheduler depend on its peak."""
    old, new = Copies.of([part], optimizer), Copies.of([part], optimizer)
    # Large enough for the rate to exceed any lower bound.
    new.rescale(peaks, [1e6 * peak for peak in peaks])
    replay(old, new, lrs)
    return all(old.lrs[i] != new.lrs[i] or old.lrs[i] == 0 for i in group_indices(part, len(lrs)))


def _warn_of_rates_in_lambdas(
    parts: Sequence[Part], applied: Sequence[float], lrs: Sequence[float]
) -> None:
    """Warn if the function of a `LambdaLR` seems to return the learning rate itself."""
    leaves = [leaf for part in parts for leaf in leaves_of(part)]
    is_one = any(isinstance(leaf, LambdaLR) and 1.0 in leaf.base_lrs for leaf in leaves)
    if is_one and not is_close(applied, lrs):
        suggested = _printed(lrs)
        warn(
            f"The suggestion is {suggested}, but the learning rate becomes {_printed(applied)}. "
            "The optimizer was created with lr=1.0, so the function of its LambdaLR seems to "
            f"return the learning rate itself. Create the optimizer with lr={suggested}, and "
            "return a factor of at most 1 from the function."
        )


def _printed(lrs: Sequence[float]) -> str:
    """Return learning rates as text, one number if they are equal."""
    texts = [f"{lr:.3g}" for lr in lrs]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


def _copy_last_lr(source: Any, target: Any) -> None:
    """Copy the rates that torch schedulers set last."""
    if hasattr(target, "_last_lr"):
        target._last_lr = list(map(like, target._last_lr, source._last_lr))
    inner = zip(getattr(source, "_schedulers", ()), getattr(target, "_schedulers", ()), strict=True)
    for inner_source, inner_target in inner:
        _copy_last_lr(inner_source, inner_target)
