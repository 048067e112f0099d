"""How far back an optimizer averages gradients."""

from typing import Any

import pytest
import torch
from torch import nn

from ignite_lrfinder.sweep.momentum import memory_of


def optimizer(kind: Any, *groups: dict[str, Any]) -> torch.optim.Optimizer:
    """Make an optimizer with a parameter in each group."""
    return kind([{"params": [nn.Parameter(torch.ones(()))], **group} for group in groups], lr=0.1)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (optimizer(torch.optim.SGD, {}), 1),
        (optimizer(torch.optim.SGD, {"momentum": 0.9}, {"momentum": 0.99}), 100),
        (optimizer(torch.optim.SGD, {"momentum": 0.99}, {"momentum": 0.0}), 100),
        (optimizer(torch.optim.Adam, {"betas": (0.95, 0.999)}), 20),
        (optimizer(torch.optim.Adam, {"betas": [0.95, 0.999]}), 20),
    ],
    ids=["none", "largest last", "largest first", "betas", "list of betas"],
)
def test_memory_is_that_of_the_largest_momentum(
    found: torch.optim.Optimizer, expected: float
) -> None:
    """An exponential average with a factor of m reaches back 1 / (1 - m) steps."""
    assert memory_of(found) == pytest.approx(expected)


def test_betas_that_are_no_numbers_say_nothing() -> None:
    """They are skipped instead of failing."""
    found = optimizer(torch.optim.SGD, {"momentum": 0.9})
    found.param_groups[0]["betas"] = torch.tensor([0.99, 0.999])
    assert memory_of(found) == pytest.approx(10)
