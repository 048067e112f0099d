"""Small programs with the shape of real ones, each built by `build(directory)` of its file."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine

Batch = tuple[torch.Tensor, torch.Tensor]

log = logging.getLogger("program")
"""The logger of all programs."""


@dataclasses.dataclass
class Program:
    """A program that is ready to train.

    Attributes:
        trainer: its trainer.
        to_save: what its user passes to `attach`.
        run: runs the trainer, in the block and for the training alike.
        state: what the training consists of, by name.
        arguments: the other arguments of `attach`.
        lines_at_start: what running handlers log in a block, however many trials there are.
    """

    trainer: Engine
    to_save: Any
    run: Callable[[], object]
    state: Mapping[str, object]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lines_at_start: tuple[str, ...] = ()


def regression(num_batches: int = 10) -> list[Batch]:
    """Make batches of a regression that a linear model can learn."""
    x = torch.randn(16 * num_batches, 6)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(len(x), 1)
    return list(zip(x.split(16), y.split(16), strict=True))
