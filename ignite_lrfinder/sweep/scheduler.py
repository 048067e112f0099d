"""The param scheduler of a sweep: write the learning rates of a point, detect other writes."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from ignite.engine import Engine
from ignite.handlers.param_scheduler import ParamScheduler

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Array, OptimizerLike


class LRSweep(ParamScheduler):
    """Set the learning rates of a sweep, one row of its table for each point.

    A tensor learning rate is written in place and stays the same tensor, as fused and capturable
    optimizers need it; the table then holds the values as rounded to the tensor's dtype.

    Args:
        optimizer: the optimizer, or any object with `param_groups`.
        table: the learning rates of T points and G parameter groups, of shape (T, G).

    Attributes:
        table: the learning rates as they are written; shape (T, G).
        is_tensor: whether the learning rate is a tensor, for each parameter group.
        has_tensors: whether any learning rate is a tensor.
    """

    def __init__(self, optimizer: OptimizerLike, table: Array) -> None:
        super().__init__(cast(torch.optim.Optimizer, optimizer), "lr")  # param_groups are enough
        self.table = np.array(table)
        self._written: Sequence[float | torch.Tensor] = [
            group["lr"] for group in self.optimizer_param_groups
        ]
        # Kept, because these are the tensors to restore if something replaces them.
        self._tensors = [lr if isinstance(lr, torch.Tensor) else None for lr in self._written]
        self.is_tensor = [tensor is not None for tensor in self._tensors]
        self.has_tensors = any(self.is_tensor)
        for tensor, column in zip(self._tensors, self.table.T, strict=True):
            if tensor is not None:
                column[:] = torch.from_numpy(column).to(tensor.dtype).double().numpy()
        self._num_groups = self.table.shape[1]
        self._versions = [_version(lr) for lr in self._written]

    def get_param(self) -> list[float]:
        """Return the learning rates of the current point, one for each parameter group."""
        return self.table[self.event_index].tolist()

    def __call__(self, engine: Engine | None, name: str | None = None) -> None:
        """Move on to the next point and set its learning rates."""
        self.event_index += 1
        self.write()

    def write(self, handler: str | None = None) -> None:
        """Set the learning rates of the current point.

        Args:
            handler: the name of the handler that has just run, if any.

        Raises:
            LRFinderError: if the optimizer now has a different number of parameter groups.
        """
        lrs = self.table[self.event_index].tolist()  # as `get_param`, without a call for each point
        self._written = self._fill_tensors(lrs) if self.has_tensors else lrs
        groups = self.optimizer.param_groups
        try:
            for group, lr in zip(groups, self._written, strict=True):
                group["lr"] = lr
        except ValueError:
            who = f"by {handler}" if handler else "by the train step or a handler"
            raise LRFinderError(
                f"The optimizer must keep its {self._num_groups} parameter groups in a sweep, "
                f"got {len(groups)}, changed {who}. Pass mute_handlers=[{handler or 'handler'}], "
                "or attach the finder after the change."
            ) from None

    def is_overwritten(self) -> bool:
        """Return whether anything else has set a learning rate since `write`.

        Values on a device are not read: a tensor counts its in-place writes.
        """
        groups = self.optimizer.param_groups
        if len(groups) != self._num_groups:
            return True  # `write` refuses these groups
        # By index, because zip(strict=True) takes longer than the comparison.
        for index, written in enumerate(self._written):
            lr = groups[index]["lr"]
            if lr is not written and (_is_tensor(lr, written) or lr != written):
                return True
        return self.has_tensors and self._versions != [_version(lr) for lr in self._written]

    def _fill_tensors(self, lrs: Sequence[float]) -> Sequence[float | torch.Tensor]:
        """Write into the learning rates that are tensors, and return those of all groups."""
        with torch.no_grad():
            written = [
                lr if tensor is None else tensor.fill_(lr)
                for tensor, lr in zip(self._tensors, lrs, strict=True)
            ]
        self._versions = [_version(lr) for lr in written]
        return written


def _is_tensor(*lrs: object) -> bool:
    """Return whether any of the given learning rates is a tensor."""
    return any(isinstance(lr, torch.Tensor) for lr in lrs)


def _version(lr: object) -> int:
    """Return how often a tensor was written in place; 0 for a number."""
    return lr._version if isinstance(lr, torch.Tensor) else 0
