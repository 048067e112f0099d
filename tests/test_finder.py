"""The finder's answers after a sweep: one number, or one for each parameter group."""

import numpy as np
import pytest
import torch
from conftest import Log
from ignite.engine import Engine
from torch import nn

from ignite_lrfinder import FastaiLRFinder

SMOOTH_F = 0.25


def sweep(*lrs: float) -> tuple[FastaiLRFinder, list[float]]:
    """Descend a parabola until the loss diverges, with a group for each rate; return the losses."""
    parameters = [nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in lrs]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters, lrs, strict=True)]
    optimizer = torch.optim.SGD(groups)
    losses = Log()

    def train_step(engine: Engine, batch: object) -> float:
        optimizer.zero_grad()
        loss = torch.stack([p**2 for p in parameters]).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        return losses[-1]

    finder = FastaiLRFinder()
    with finder.attach(Engine(train_step), {"optimizer": optimizer}, smooth_f=SMOOTH_F) as trainer:
        trainer.run([0] * 60)
    return finder, list(losses)


def test_there_are_no_results_before_a_sweep() -> None:
    """Before a sweep `get_results` is empty, as in Ignite's class."""
    assert FastaiLRFinder().get_results() == {}


@pytest.mark.parametrize("lrs", [(1e-3,), (1e-3, 1e-4)], ids=["one-group", "two-groups"])
def test_results_have_ignites_form(lrs: tuple[float, ...]) -> None:
    """Learning rates and smoothed losses are plain lists, nested for several groups."""
    finder, losses = sweep(*lrs)
    smoothed = losses[:1]
    for loss in losses[1:]:
        smoothed.append(SMOOTH_F * loss + (1 - SMOOTH_F) * smoothed[-1])
    results = finder.get_results()
    assert list(results) == ["lr", "loss"]
    np.testing.assert_allclose(results["loss"], smoothed, rtol=1e-12)
    first = np.array(results["lr"][0])
    assert first.tolist() == (lrs[0] if len(lrs) == 1 else list(lrs))
    assert len(results["lr"]) == len(losses)
    assert type(results["lr"][0]) is (float if len(lrs) == 1 else list)


def test_one_group_has_one_number_for_each_suggestion() -> None:
    """Every method suggests a float, as does `lr_suggestion`, and the bounds are two floats."""
    finder, _ = sweep(1e-3)
    suggestions = finder.suggestions()
    assert list(suggestions) == ["auto", "steepest", "valley", "minimum", "slide"]
    for method, lr in suggestions.items():
        assert type(lr) is float
        assert lr == finder.lr_suggestion(method)
    low, high = finder.lr_bounds()
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert 1e-3 <= low < high <= 10.0


def test_several_groups_have_a_list_in_their_ratio_for_each_suggestion() -> None:
    """Every method and both bounds give a learning rate for each group."""
    finder, _ = sweep(1e-3, 1e-4)
    for lrs in (*finder.suggestions().values(), *finder.lr_bounds(), finder.lr_suggestion()):
        assert isinstance(lrs, list)
        assert lrs[0] == pytest.approx(10 * lrs[1], rel=1e-9)
