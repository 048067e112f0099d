"""From `start_lr`, `end_lr` and `step_mode` to a table of learning rates."""

import math
import numbers
from collections.abc import Sequence

import numpy as np
import torch

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.protocols import Array, OptimizerLike


def group_lrs(
    optimizer: OptimizerLike, start_lr: object, end_lr: object, *, is_exp: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the first and last learning rate of each parameter group.

    The groups keep the ratio of their learning rates in the optimizer, unless a list has one number
    for each group.

    Args:
        optimizer: the optimizer to sweep.
        start_lr: None, one number, or one number for each group.
        end_lr: one number, or one number for each group.
        is_exp: whether the sweep is exponential, so that it cannot start at 0.

    Returns:
        Two tuples of G numbers.

    Raises:
        TypeError: for other types.
        ValueError: if a number is out of range, if there are not G numbers, or if groups with
            different ranges share one tensor as their learning rate.
    """
    own = _own_lrs(optimizer)
    # If end_lr is a list, all groups start at a single start_lr.
    is_shared = _is_list(end_lr)
    starts = own if start_lr is None else _lrs("start_lr", start_lr, own, is_shared=is_shared)
    ends = _lrs("end_lr", end_lr, starts)
    # The largest first, because it is the number that the user gave.
    for group in np.argsort(-starts, kind="stable"):
        _check_range(float(starts[group]), float(ends[group]), is_exp=is_exp)
    if not ends.any():
        remedy = "Give at least one parameter group a learning rate."
        raise wrong_value("end_lr", "greater than 0 in some group", end_lr, remedy)
    _check_shared_tensors(optimizer, starts, ends)
    return tuple(starts.tolist()), tuple(ends.tolist())


def number(name: str, value: object, requirement: str = "a number") -> float:
    """Return an argument as a float: a number of Python or NumPy, or a scalar tensor or array.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is too large for a float.
    """
    if isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise wrong_type(name, requirement, value, "Pass a float or an integer.")
    try:
        return float(value)
    except OverflowError as error:
        raise wrong_value(name, "finite", value, "Pass a smaller number.") from error


def _own_lrs(optimizer: OptimizerLike) -> Array:
    """Return the optimizer's learning rates."""
    lrs = [number("to_save['optimizer'].lr", group["lr"]) for group in optimizer.param_groups]
    return np.array(lrs, dtype=np.float64)


def _lrs(name: str, value: object, weights: Array, *, is_shared: bool = False) -> Array:
    """Return one learning rate for each group, from a list or from one number and weights."""
    if not isinstance(value, (Sequence, np.ndarray, torch.Tensor)) or not _is_list(value):
        largest = _lr(name, value, "a number or one number for each parameter group")
        return np.full(len(weights), largest) if is_shared else _in_ratio(largest, weights)
    lrs = np.array([_lr(name, lr) for lr in value], dtype=np.float64)
    if len(lrs) != len(weights):
        raise wrong_value(
            name,
            f"one number for each of the {len(weights)} parameter groups",
            value,
            "Pass one number for all groups, or a list with one for each.",
        )
    return lrs


def _lr(name: str, value: object, requirement: str = "a number") -> float:
    """Return a learning rate as a float."""
    lr = number(name, value, requirement)
    if not 0 <= lr < math.inf:
        raise wrong_value(
            name, "finite and not negative", value, "Pass a learning rate, such as 1e-3."
        )
    return lr


def _in_ratio(largest: float, weights: Array) -> Array:
    """Return learning rates in the ratio of `weights`; the largest is `largest`."""
    if not weights.any():
        return np.full(len(weights), largest)
    return np.where(weights == weights.max(), largest, largest * (weights / weights.max()))


def _check_range(start: float, end: float, *, is_exp: bool) -> None:
    """Check the first and last learning rate of a group, which may both be 0."""
    if start == end == 0:
        return
    if not 0 <= start < math.inf or (is_exp and start == 0):
        requirement = f"{'positive' if is_exp else 'not negative'} and finite"
        remedy = "Pass start_lr, such as start_lr=1e-7; the default is the optimizer's own."
        raise wrong_value("start_lr", requirement, start, remedy)
    if end <= start:
        remedy = "Raise end_lr or lower start_lr."
        raise wrong_value("end_lr", f"greater than start_lr={start}", end, remedy)


def _check_shared_tensors(optimizer: OptimizerLike, starts: Array, ends: Array) -> None:
    """Refuse different ranges for groups that share one tensor as their learning rate."""
    ranges: dict[int, tuple[float, float]] = {}
    for group, start, end in zip(optimizer.param_groups, starts, ends, strict=True):
        lr = group["lr"]
        if isinstance(lr, torch.Tensor) and ranges.setdefault(id(lr), (start, end)) != (start, end):
            raise wrong_value(
                "to_save['optimizer']",
                "an optimizer with a separate learning-rate tensor for each group",
                lr,
                "Create the tensors separately, or pass one number for start_lr and end_lr.",
            )


def _is_list(value: object) -> bool:
    """Return whether an argument is a list with a number for each parameter group."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def lr_table(
    start_lr: Sequence[float], end_lr: Sequence[float], num_iter: int, step_mode: str
) -> Array:
    r"""Return the learning rates of a sweep, from exactly `start_lr` to exactly `end_lr`.

    Point k of T has, in each group, `start * (end / start) ** (k / (T - 1))` for "exp" and
    `start + (end - start) * k / (T - 1)` for "linear". A group that starts at 0 and ends at 0
    stays there.

    Args:
        start_lr: the first learning rate of each of G groups, in [0, inf).
        end_lr: the last learning rate of each group.
        num_iter: T, the number of points, at least 1; a single point is at `start_lr`.
        step_mode: "exp" or "linear".

    Returns:
        Array of shape (T, G).

    Example:
        >>> lr_table([0.01, 0.1], [1.0, 10.0], 3, "exp")
        array([[ 0.01,  0.1 ],
               [ 0.1 ,  1.  ],
               [ 1.  , 10.  ]])

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186, section
        3.3, has the linear test; the exponential one is fastai's.
    """
    start, end = np.array(start_lr, dtype=np.float64), np.array(end_lr, dtype=np.float64)
    if step_mode == "linear":
        return np.linspace(start, end, num_iter)
    table = np.zeros((num_iter, len(start)))
    moving = end > 0
    table[:, moving] = np.geomspace(start[moving], end[moving], num_iter)
    return table
