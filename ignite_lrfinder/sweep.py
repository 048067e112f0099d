"""The param scheduler of the sweep: point k -> learning rates."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from ignite.engine import Engine
from ignite.handlers.param_scheduler import ParamScheduler
from numpy.typing import NDArray

from ignite_lrfinder.errors import wrong_type, wrong_value

Lrs = NDArray[np.float64]


class OptimizerLike(Protocol):
    """What the finder needs of an optimizer: parameter groups; hooks are welcome."""

    @property
    def param_groups(self) -> Sequence[dict[str, Any]]:
        """The parameter groups, each a dict with the key "lr"."""
        ...


def lr_table(
    start_lr: Sequence[float], end_lr: Sequence[float], num_iter: int, step_mode: str
) -> NDArray[np.float64]:
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


class LRSweep(ParamScheduler):
    """Set the learning rates of a sweep, one row of its table for each point.

    A learning rate that is a tensor is written in place and stays the same tensor, as fused and
    capturable optimizers need it; the table then holds its values as rounded to the tensor's type.

    Args:
        optimizer: the optimizer, or anything with `param_groups`.
        table: the learning rates of T points and G parameter groups, of shape (T, G).
    """

    def __init__(self, optimizer: OptimizerLike, table: NDArray[np.float64]) -> None:
        super().__init__(cast(torch.optim.Optimizer, optimizer), "lr")  # param_groups are enough
        self.table = np.array(table)
        for group, column in zip(self.optimizer_param_groups, self.table.T, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                column[:] = torch.from_numpy(column).to(group["lr"].dtype).double().numpy()
        self._rows = self.table.tolist()
        self._written: list[tuple[object, int]] = []

    def get_param(self) -> list[float]:
        """Return the learning rates of the current point, one for each parameter group."""
        return self._rows[min(self.event_index, len(self._rows) - 1)]

    def __call__(self, engine: Engine | None, name: str | None = None) -> None:
        """Go on to the next point and set its learning rates."""
        self.event_index += 1
        self.write()

    def write(self) -> None:
        """Set the learning rates of the current point, whatever they are now."""
        groups = self.optimizer_param_groups
        for group, lr in zip(groups, self.get_param(), strict=True):
            if isinstance(group["lr"], torch.Tensor):
                with torch.no_grad():
                    group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self._written = [_mark(group["lr"]) for group in groups]

    def is_overwritten(self) -> bool:
        """Tell whether something else set a learning rate since `write`, not reading a device."""
        return any(
            mark != _mark(group["lr"])
            for mark, group in zip(self._written, self.optimizer_param_groups, strict=False)
        )


def _mark(lr: object) -> tuple[object, int]:
    """Return what changes when a learning rate is set: its value, or a tensor's version."""
    return (id(lr), lr._version) if isinstance(lr, torch.Tensor) else (lr, 0)


def group_lrs(
    optimizer: OptimizerLike, start_lr: object, end_lr: object, *, is_exp: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the first and last learning rate of each parameter group.

    Groups keep the ratio they have in the optimizer unless a list gives them apart.

    Args:
        optimizer: the optimizer to sweep.
        start_lr: as `attach` takes it: None, one number, or one for each group.
        end_lr: one number, or one for each group.
        is_exp: whether the sweep is exponential and so cannot start at 0.

    Returns:
        Two tuples of G numbers.

    Raises:
        TypeError: for something else than numbers.
        ValueError: where a number is out of range, or where their count is not G.
    """
    own = np.array([float(group["lr"]) for group in optimizer.param_groups], dtype=np.float64)
    # A list in end_lr sweeps the groups apart; a single start is then where each of them starts.
    is_apart = _is_list(end_lr)
    starts = own if start_lr is None else _lrs("start_lr", start_lr, own, is_apart=is_apart)
    ends = _lrs("end_lr", end_lr, starts)
    for start, end in zip(starts, ends, strict=True):
        _check_range(float(start), float(end), is_exp=is_exp)
    if not ends.any():
        remedy = "Give one group a learning rate: start_lr must be less than end_lr."
        raise wrong_value("end_lr", "greater than 0 in some parameter group", end_lr, remedy)
    return tuple(starts.tolist()), tuple(ends.tolist())


def _lrs(name: str, value: object, weights: Lrs, *, is_apart: bool = False) -> Lrs:
    """Return one learning rate for each group: those given, or one number spread by weights."""
    if not isinstance(value, (Sequence, np.ndarray, torch.Tensor)) or not _is_list(value):
        largest = number(name, value, "a number or one number for each parameter group")
        return np.full(len(weights), largest) if is_apart else _in_ratio(largest, weights)
    lrs = np.array([number(name, lr) for lr in value], dtype=np.float64)
    if len(lrs) != len(weights):
        raise wrong_value(
            name,
            f"one number for each of the {len(weights)} parameter groups",
            value,
            f"Number of values of {name} should be equal to optimizer values.",
        )
    return lrs


def _in_ratio(largest: float, weights: Lrs) -> Lrs:
    """Return learning rates in the ratio of `weights`, the largest being exactly `largest`."""
    if not weights.any():
        return np.full(len(weights), largest)
    return np.where(weights == weights.max(), largest, largest * (weights / weights.max()))


def _check_range(start: float, end: float, *, is_exp: bool) -> None:
    """Check the first and last learning rate of one group, which may rest at 0."""
    if start == end == 0:
        return
    if not math.isfinite(end):
        raise wrong_value("end_lr", "finite", end, "Pass the largest learning rate to test.")
    if not 0 <= start < math.inf or (is_exp and start == 0):
        remedy = (
            "Pass start_lr, such as start_lr=1e-7; the default is the optimizer's learning rate."
        )
        raise wrong_value(
            "start_lr", f"{'positive' if is_exp else 'not negative'} and finite", start, remedy
        )
    if end <= start:
        remedy = (
            "Raise end_lr or lower start_lr: start_lr must be less than end_lr in every parameter "
            "group."
        )
        raise wrong_value("end_lr", f"greater than start_lr={start}", end, remedy)


def _is_list(value: object) -> bool:
    """Tell whether an argument gives the parameter groups apart."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def number(name: str, value: object, requirement: str = "a number") -> float:
    """Return an argument as a float: a Python, NumPy or one-element torch number.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim == 0:
        return float(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise wrong_type(name, requirement, value, f"{name} should be a float or list of floats.")
