"""The parts of a scheduler, its peak learning rates, and copies of them to step."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from ignite.handlers import param_scheduler as ignite
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.protocols import OptimizerLike

Scheduler = LRScheduler | ignite.ParamScheduler | ignite.ParamGroupScheduler
"""A scheduler of torch or Ignite."""

Part = LRScheduler | ignite.ParamScheduler
"""Any torch scheduler, or an Ignite scheduler that does not delegate to other Ignite schedulers."""

RATES_OF_GROUP = ("lr", "initial_lr", "max_lr", "min_lr")
RATES_OF_SCHEDULER = ("base_lrs", "max_lrs")
RECREATE = "Call apply_suggested_lr(optimizer), then recreate the scheduler."

_PARTS = (
    LRScheduler,
    ignite.CyclicalScheduler,
    ignite.PiecewiseLinear,
    ignite.LRScheduler,
    ignite.ReduceLROnPlateauScheduler,
)
_COPIED = (LRScheduler, ignite.ParamScheduler, ignite._CosineAnnealingWarmRestarts)


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of schedulers, and of the parameter groups whose rates they set."""

    parts: list[Any]
    groups: list[dict[str, Any]]

    @classmethod
    def of(cls, parts: Sequence[Part], optimizer: OptimizerLike) -> "Copies":
        """Copy schedulers and the groups of their optimizer, without its parameters."""
        original = parts[0].optimizer
        groups = [
            {key: _copied(value) for key, value in group.items() if key != "params"}
            for group in optimizer.param_groups
        ]
        stand_in = SimpleNamespace(
            param_groups=groups,
            step=optimizer.step,
            defaults=getattr(original, "defaults", {}),
            state=getattr(original, "state", {}),
        )
        copies = cls([_copied(part, original, stand_in) for part in parts], groups)
        _restore_initial_lrs(copies)
        return copies

    @property
    def lrs(self) -> list[float]:
        """The learning rate of each group."""
        return [float(group["lr"]) for group in self.groups]

    def set_lrs(self, lrs: Sequence[float | torch.Tensor]) -> None:
        """Set the learning rate of each group."""
        for group, lr in zip(self.groups, lrs, strict=True):
            set_rate(group, "lr", lr)

    def rescale(self, peaks: Sequence[float], lrs: Sequence[float]) -> None:
        """Scale all rates so that `lrs` replace the peaks."""
        for part in self.parts:
            rescale(part, peaks, lrs)
        for group, peak, lr in zip(self.groups, peaks, lrs, strict=True):
            rescale_group(group, peak, lr)


def parts_of(scheduler: object) -> list[Part]:
    """Return the schedulers of the learning rate that a scheduler consists of."""
    if isinstance(scheduler, ignite.ConcatScheduler | ignite.ParamGroupScheduler):
        return [part for inner in scheduler.schedulers for part in parts_of(inner)]
    if not isinstance(scheduler, _PARTS):
        raise wrong_type(
            "lr_scheduler",
            "a scheduler of torch or Ignite",
            scheduler,
            "Recreate a scheduler of another type with the suggested learning rate.",
        )
    return [scheduler] if getattr(scheduler, "param_name", "lr") == "lr" else []


def torch_scheduler_of(part: Part) -> Any:
    """Return a torch scheduler, or the one that an Ignite scheduler wraps, or None."""
    if isinstance(part, ignite.LRScheduler):
        return getattr(part.lr_scheduler, "_lr_scheduler", part.lr_scheduler)
    if isinstance(part, ignite.ReduceLROnPlateauScheduler):
        return part.scheduler
    return part if isinstance(part, LRScheduler) else None


def leaves_of(part: Part) -> Iterator[Any]:
    """Yield the torch schedulers of a part, including each one in a chain or sequence."""
    scheduler = torch_scheduler_of(part)
    if hasattr(scheduler, "_schedulers"):
        for inner in scheduler._schedulers:
            yield from leaves_of(inner)
    elif scheduler is not None:
        yield scheduler


def group_indices(part: Part, num_groups: int) -> Sequence[int]:
    """Return the indices of the parameter groups that a part sets."""
    index = getattr(part, "param_group_index", None)
    return range(num_groups) if index is None else [range(num_groups)[index]]


def peak_lrs_of(parts: Sequence[Part], groups: Sequence[dict[str, Any]]) -> list[float]:
    """Return the largest rate of each group that its schedulers were created with."""
    created_with: list[list[float]] = [[] for _ in groups]
    for part in parts:
        for rates, key, indices, factor in _slots(part, len(groups)):
            if factor == 0:
                raise refusal(part, "in a cycle whose learning rates are not all 0", RECREATE)
            for index in indices:
                created_with[index].append(float(rates[key]) / factor)
        if any(isinstance(leaf, OneCycleLR) for leaf in leaves_of(part)):
            for index, group in enumerate(groups):
                created_with[index].append(float(group.get("max_lr", 0)))
    return [
        max(rates) if rates else peak_lr_of(group)
        for rates, group in zip(created_with, groups, strict=True)
    ]


def peak_lr_of(group: dict[str, Any]) -> float:
    """Return the peak learning rate that a group stores."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def rescale(part: Part, peaks: Sequence[float], lrs: Sequence[float]) -> None:
    """Scale the rates that a part was created with so that `lrs` replace the peaks."""
    for rates, key, indices, _ in _slots(part, len(lrs)):
        new = [_scaled(float(rates[key]), peaks[index], lrs[index]) for index in indices]
        if not math.isclose(min(new), max(new)):
            raise refusal(
                part,
                "a scheduler of a single parameter group",
                "Create one per group with param_group_index, and join them in a "
                "ParamGroupScheduler.",
            )
        rates[key] = like(rates[key], new[0])


def rescale_group(group: dict[str, Any], peak: float, lr: float) -> None:
    """Set the rate of a group, and scale its other rates so that `lr` replaces the peak."""
    for key in RATES_OF_GROUP:
        if key in group:
            set_rate(group, key, lr if key == "lr" else _scaled(float(group[key]), peak, lr))


def set_rate(group: dict[str, Any], key: str, value: float | torch.Tensor) -> None:
    """Set a rate of a group, in place if it is a tensor."""
    if isinstance(group.get(key), torch.Tensor):
        with torch.no_grad():
            group[key].fill_(float(value))
    else:
        group[key] = float(value)


def like(old: Any, value: float | torch.Tensor) -> Any:
    """Return a rate as a tensor if the old rate is one, else as a float."""
    return torch.full_like(old, float(value)) if isinstance(old, torch.Tensor) else float(value)


def refusal(scheduler: object, requirement: str, remedy: str) -> ValueError:
    """Return the error for a scheduler that cannot be updated exactly."""
    return wrong_value("lr_scheduler", requirement, scheduler, remedy)


def _slots(part: Any, num_groups: int) -> Iterator[tuple[Any, Any, Sequence[int], float]]:
    """Yield where a part stores the rates that it was created with.

    Each slot is a container, its key, the indices of the parameter groups, and the factor by which
    the part has changed the rate since.
    """
    indices = group_indices(part, num_groups)
    if isinstance(part, ignite.CyclicalScheduler):
        num_starts = part.cycle + (part.event_index > part.cycle_size)
        yield vars(part), "start_value", indices, part.start_value_mult**num_starts
        yield vars(part), "end_value", indices, part.end_value_mult**part.cycle
    if isinstance(part, ignite.PiecewiseLinear):
        yield from ((part.values, key, indices, 1.0) for key in range(len(part.values)))
    for leaf in leaves_of(part):
        for name in RATES_OF_SCHEDULER:
            if hasattr(leaf, name):
                # Torch before 2.3 stores the caller's own list or tuple.
                setattr(leaf, name, rates := list(getattr(leaf, name)))
                yield from ((rates, index, [index], 1.0) for index in range(num_groups))


def _scaled(value: float, peak: float, lr: float) -> float:
    """Scale a rate so that `lr` replaces the peak, exactly."""
    return lr if value == peak or peak == 0 else lr * (value / peak)


def _copied(value: Any, optimizer: object = None, stand_in: object = None) -> Any:
    """Copy a scheduler and the schedulers it consists of, for another optimizer."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, list):
        return [_copied(item, optimizer, stand_in) for item in value]
    if isinstance(value, tuple):
        return tuple(_copied(item, optimizer, stand_in) for item in value)
    if isinstance(value, dict):
        return value.copy()
    if not isinstance(value, _COPIED):
        return stand_in if optimizer is not None and value is optimizer else value
    copied = object.__new__(type(value))
    for name, attribute in vars(value).items():
        # A function in place of a method would step the original.
        if not (callable(attribute) and hasattr(type(value), name)):
            vars(copied)[name] = _copied(attribute, optimizer, stand_in)
    return copied


def _restore_initial_lrs(copies: Copies) -> None:
    """Set each group's `initial_lr` to the rate that its torch schedulers were created with.

    It differs if `apply_lr` was called without the scheduler, or if the optimizer has loaded a
    state from before the scheduler was created. `OneCycleLR` stores its rates nowhere else.
    """
    leaves = [leaf for part in copies.parts for leaf in leaves_of(part)]
    if any(isinstance(leaf, OneCycleLR) for leaf in leaves):
        return
    for index, group in enumerate(copies.groups):
        base_lrs = [leaf.base_lrs[index] for leaf in leaves if hasattr(leaf, "base_lrs")]
        if base_lrs and group.get("initial_lr") not in base_lrs:
            group["initial_lr"] = base_lrs[0]
