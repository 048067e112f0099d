"""The param scheduler of the sweep: point k -> learning rates."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from ignite.engine import Engine
from ignite.handlers.param_scheduler import ParamScheduler

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Array, OptimizerLike

_NUM_ROWS = 100


class LRSweep(ParamScheduler):
    """Set the learning rates of a sweep, one row of its table for each point.

    A learning rate that is a tensor is written in place and stays the same tensor, as fused and
    capturable optimizers need it; the table then holds its values as rounded to the tensor's type.

    Args:
        optimizer: the optimizer, or anything with `param_groups`.
        table: the learning rates of T points and G parameter groups, of shape (T, G).

    Attributes:
        table: the learning rates as they are written; shape (T, G).
        is_tensor: whether a learning rate is a tensor, for each parameter group.
        has_tensors: whether some learning rate is a tensor.
    """

    def __init__(self, optimizer: OptimizerLike, table: Array) -> None:
        super().__init__(cast(torch.optim.Optimizer, optimizer), "lr")  # param_groups are enough
        self.table = np.array(table)
        # Whatever is put in the place of a tensor meanwhile, the tensor is what belongs there.
        self._tensors = [_tensor_or_none(group["lr"]) for group in self.optimizer_param_groups]
        self.is_tensor = [tensor is not None for tensor in self._tensors]
        self.has_tensors = any(self.is_tensor)
        for tensor, column in zip(self._tensors, self.table.T, strict=True):
            if tensor is not None:
                column[:] = torch.from_numpy(column).to(tensor.dtype).double().numpy()
        self._rows: list[list[float]] = []
        self._first_row = 0
        self._written: Sequence[float | torch.Tensor] = [
            group["lr"] for group in optimizer.param_groups
        ]
        self._versions = [_version(lr) for lr in self._written]

    def get_param(self) -> list[float]:
        """Return the learning rates of the current point, one for each parameter group."""
        return self.table[min(self.event_index, len(self.table) - 1)].tolist()

    def __call__(self, engine: Engine | None, name: str | None = None) -> None:
        """Go on to the next point and set its learning rates."""
        self.event_index += 1
        self.write()

    def write(self) -> bool:
        """Set the learning rates of the current point, whatever they are now.

        Returns:
            Whether something else had set one of them since the last time, as `is_overwritten`
            tells: both with one look at the groups, since it is done for each point.

        Raises:
            LRFinderError: if the optimizer has another number of parameter groups by now.
        """
        groups = self.optimizer.param_groups
        if len(groups) != len(self._tensors):
            raise LRFinderError(
                f"The optimizer must keep its {len(self._tensors)} parameter groups in a sweep, "
                f"got {len(groups)}. Mute the handler that adds or removes groups (leave it out of "
                "keep_handlers), or attach the finder after it has run."
            )
        row = self.event_index - self._first_row
        if not 0 <= row < len(self._rows):
            row = self._load_rows()
        lrs = self._rows[row]
        if self.has_tensors:
            return self._write_tensors(lrs)
        # Counted by hand, here and below: for the few groups of most optimizers that takes half the
        # time of `zip` or `enumerate`.
        is_overwritten, index, written = False, 0, self._written
        for group in groups:
            if group["lr"] is not written[index] and _is_other(group["lr"], written[index]):
                is_overwritten = True
            group["lr"] = lrs[index]
            index += 1
        self._written = lrs
        return is_overwritten

    def _load_rows(self) -> int:
        """Read some rows of the table from the current point's on, which is quicker than each."""
        self._first_row = min(self.event_index, len(self.table) - 1)
        self._rows = self.table[self._first_row : self._first_row + _NUM_ROWS].tolist()
        return 0

    def _write_tensors(self, lrs: Sequence[float]) -> bool:
        """Set learning rates some of which are tensors."""
        is_overwritten = self.is_overwritten()
        groups = self.optimizer.param_groups
        for group, tensor, lr in zip(groups, self._tensors, lrs, strict=True):
            if tensor is not None:
                with torch.no_grad():
                    tensor.fill_(lr)
            group["lr"] = lr if tensor is None else tensor
        self._written = [group["lr"] for group in groups]
        self._versions = [_version(lr) for lr in self._written]
        return is_overwritten

    def is_overwritten(self) -> bool:
        """Tell whether something else set a learning rate since `write`, not reading a device."""
        index, written = 0, self._written
        for group in self.optimizer.param_groups:
            if index == len(written):
                break  # a group added meanwhile, which `write` refuses
            if group["lr"] is not written[index] and _is_other(group["lr"], written[index]):
                return True
            index += 1
        return self.has_tensors and self._versions != [_version(lr) for lr in written]


def _is_other(lr: object, before: object) -> bool:
    """Tell whether a learning rate is another than before, without reading one on a device."""
    return isinstance(lr, torch.Tensor) or isinstance(before, torch.Tensor) or lr != before


def _tensor_or_none(lr: object) -> torch.Tensor | None:
    """Return a learning rate that is a tensor."""
    return lr if isinstance(lr, torch.Tensor) else None


def _version(lr: object) -> int:
    """Return what counts the writes into a tensor; a number has none."""
    return lr._version if isinstance(lr, torch.Tensor) else 0
