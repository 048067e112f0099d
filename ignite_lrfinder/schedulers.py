"""Schedulers of torch and Ignite: their parts, the rates they were made with, and copies."""

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
"""A scheduler of torch's or Ignite's."""

Part = LRScheduler | ignite.ParamScheduler
"""A scheduler that sets learning rates itself, rather than through other schedulers of Ignite's."""

RECREATE = "Call apply_suggested_lr(optimizer), then recreate the scheduler."
RATES_OF_GROUP = ("lr", "initial_lr", "max_lr", "min_lr")
RATES_OF_SCHEDULER = ("base_lrs", "max_lrs")

_PARTS = (
    LRScheduler,
    ignite.CyclicalScheduler,
    ignite.PiecewiseLinear,
    ignite.LRScheduler,
    ignite.ReduceLROnPlateauScheduler,
)
_SCHEDULERS = (LRScheduler, ignite.ParamScheduler, ignite._CosineAnnealingWarmRestarts)


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of schedulers, and of the parameter groups that these copies set."""

    parts: list[Any]
    groups: list[dict[str, Any]]

    @classmethod
    def of(cls, parts: Sequence[Part], optimizer: OptimizerLike) -> "Copies":
        """Copy schedulers and the groups of their optimizer, without the parameters."""
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

    def put(self, lrs: Sequence[float | torch.Tensor]) -> None:
        """Set the learning rate of each group."""
        for group, lr in zip(self.groups, lrs, strict=True):
            put(group, "lr", lr)

    def rescale(self, made_for: Sequence[float], lrs: Sequence[float]) -> None:
        """Change all rates to what they would be, had the schedulers been made for `lrs`."""
        for part in self.parts:
            rescale(part, made_for, lrs)
        for group, rate, lr in zip(self.groups, made_for, lrs, strict=True):
            rescale_group(group, rate, lr)


def parts_of(scheduler: object) -> list[Part]:
    """Return the schedulers of the learning rate that a scheduler consists of."""
    if isinstance(scheduler, ignite.ConcatScheduler | ignite.ParamGroupScheduler):
        return [part for inner in scheduler.schedulers for part in parts_of(inner)]
    if not isinstance(scheduler, _PARTS):
        raise wrong_type(
            "lr_scheduler",
            "a scheduler of torch or Ignite",
            scheduler,
            "Recreate a scheduler of another kind with the suggested learning rate.",
        )
    return [scheduler] if getattr(scheduler, "param_name", "lr") == "lr" else []


def torch_scheduler_of(part: Part) -> Any:
    """Return a torch scheduler, or the one that a scheduler of Ignite's wraps, if it does."""
    if isinstance(part, ignite.LRScheduler):
        return getattr(part.lr_scheduler, "_lr_scheduler", part.lr_scheduler)
    if isinstance(part, ignite.ReduceLROnPlateauScheduler):
        return part.scheduler
    return part if isinstance(part, LRScheduler) else None


def leaves_of(part: Part) -> Iterator[Any]:
    """Yield the torch schedulers that a part consists of, without chains and sequences."""
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


def rates_made_for(parts: Sequence[Part], groups: Sequence[dict[str, Any]]) -> list[float]:
    """Return for each group the rate that its schedulers were made for, the largest they state."""
    stated: list[list[float]] = [[] for _ in groups]
    for part in parts:
        for rates, key, indices, factor in _stated(part, len(groups)):
            if factor == 0:
                raise refusal(part, "in a cycle whose learning rates are not all 0", RECREATE)
            for index in indices:
                stated[index].append(float(rates[key]) / factor)
        if any(isinstance(leaf, OneCycleLR) for leaf in leaves_of(part)):
            for index, group in enumerate(groups):
                stated[index].append(float(group.get("max_lr", 0)))
    return [
        max(rates) if rates else rate_made_for(group)
        for rates, group in zip(stated, groups, strict=True)
    ]


def rate_made_for(group: dict[str, Any]) -> float:
    """Return the learning rate that a group was made for, by what the group itself states."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def rescale(part: Part, made_for: Sequence[float], lrs: Sequence[float]) -> None:
    """Change the rates a part was made with to what they would be, had it been made for `lrs`."""
    for rates, key, indices, _ in _stated(part, len(lrs)):
        new = [_scaled(float(rates[key]), made_for[index], lrs[index]) for index in indices]
        if not math.isclose(min(new), max(new)):
            remedy = "Create one per group with param_group_index, and join them in a ParamGroupScheduler."
            raise refusal(part, "a scheduler of a single parameter group", remedy)
        rates[key] = like(rates[key], new[0])


def rescale_group(group: dict[str, Any], made_for: float, lr: float) -> None:
    """Set a group's rate to `lr`, and the others to what they would be, had it been made for it."""
    for key in RATES_OF_GROUP:
        if key in group:
            put(group, key, lr if key == "lr" else _scaled(float(group[key]), made_for, lr))


def put(group: dict[str, Any], key: str, value: float | torch.Tensor) -> None:
    """Set a rate of a group, in place where it is a tensor."""
    if isinstance(group.get(key), torch.Tensor):
        with torch.no_grad():
            group[key].fill_(float(value))
    else:
        group[key] = float(value)


def like(old: Any, value: float | torch.Tensor) -> Any:
    """Return a rate as a tensor where the old one was a tensor, else as a float."""
    return torch.full_like(old, float(value)) if isinstance(old, torch.Tensor) else float(value)


def refusal(scheduler: object, requirement: str, remedy: str) -> ValueError:
    """Return the error for a scheduler that cannot be applied to exactly."""
    return wrong_value("lr_scheduler", requirement, scheduler, remedy)


def _stated(part: Any, num_groups: int) -> Iterator[tuple[Any, Any, Sequence[int], float]]:
    """Yield where a part keeps each rate it was made with: a container and a key.

    With it come the indices of its groups, and the factor by which the part has changed it so far.
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
                # Torch before 2.3 keeps the sequence that it was given, which is the user's.
                setattr(leaf, name, rates := list(getattr(leaf, name)))
                yield from ((rates, index, [index], 1.0) for index in range(num_groups))


def _scaled(value: float, made_for: float, lr: float) -> float:
    """Return a rate as it would be, had it been made for `lr`; exactly `lr` for the rate itself."""
    return lr if value == made_for or made_for == 0 else lr * (value / made_for)


def _copied(value: Any, optimizer: object = None, stand_in: object = None) -> Any:
    """Copy a scheduler, with those that it consists of, for another optimizer."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, list):
        return [_copied(item, optimizer, stand_in) for item in value]
    if isinstance(value, tuple):
        return tuple(_copied(item, optimizer, stand_in) for item in value)
    if isinstance(value, dict):
        return value.copy()
    if not isinstance(value, _SCHEDULERS):
        return stand_in if optimizer is not None and value is optimizer else value
    copied = object.__new__(type(value))
    for name, attribute in vars(value).items():
        # A function that replaces a method acts on the original.
        if not (callable(attribute) and hasattr(type(value), name)):
            vars(copied)[name] = _copied(attribute, optimizer, stand_in)
    return copied


def _restore_initial_lrs(copies: Copies) -> None:
    """Set each group's `initial_lr` to the one that its torch schedulers were made with.

    The optimizer's may have been set since, and is lost with a checkpoint from before they were
    made. A `OneCycleLR` keeps its rates there and nowhere else.
    """
    leaves = [leaf for part in copies.parts for leaf in leaves_of(part)]
    if any(isinstance(leaf, OneCycleLR) for leaf in leaves):
        return
    for i, group in enumerate(copies.groups):
        made_with = [leaf.base_lrs[i] for leaf in leaves if hasattr(leaf, "base_lrs")]
        if made_with and group.get("initial_lr") not in made_with:
            group["initial_lr"] = made_with[0]
