"""Long and wide sweeps: time and memory grow with the number of points and groups, no faster."""

import cProfile
import tracemalloc

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from ignite_lrfinder import FastaiLRFinder

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


def make_optimizer(num_groups: int = 1, num_parameters: int = 1) -> torch.optim.SGD:
    """Make an optimizer of many groups, which takes torch itself a while."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(num_parameters)]
    share = num_parameters // num_groups
    groups = [{"params": parameters[i * share : (i + 1) * share]} for i in range(num_groups)]
    return torch.optim.SGD(groups, lr=1e-6)


def sweep(num_points: int, optimizer: torch.optim.SGD | None = None) -> FastaiLRFinder:
    """Run a sweep whose training does next to nothing."""
    swept = make_optimizer() if optimizer is None else optimizer
    finder, trainer = FastaiLRFinder(), Engine(lambda engine, batch: swept.step() or 1.0)
    with finder.attach(trainer, {"optimizer": swept}, num_iter=num_points) as attached:
        attached.run([0] * 100)
    assert finder.result.lr.shape == (num_points, len(swept.param_groups))
    return finder


def calls(num_points: int, **size: int) -> int:
    """Count the function calls that a sweep takes, which no other load on the machine changes."""
    optimizer = make_optimizer(**size)
    sweep(num_points, optimizer)
    profile = cProfile.Profile()
    profile.runcall(sweep, num_points, optimizer)
    return sum(entry.callcount for entry in profile.getstats())


def test_calls_grow_in_proportion_to_points() -> None:
    """Ten times the points take about ten times the calls."""
    assert calls(num_points=2_000) < 12 * calls(num_points=200)


def test_a_point_takes_few_calls() -> None:
    """A point beyond the bare training takes few calls.

    Of about 46, 16 are torch's, which keep the two hooks of the optimizer out of compiled steps.
    """
    optimizer = make_optimizer()
    trainer = Engine(lambda engine, batch: optimizer.step() or 1.0)
    profile = cProfile.Profile()
    profile.runcall(trainer.run, [0] * 100, max_epochs=20)
    bare = sum(entry.callcount for entry in profile.getstats())
    assert (calls(num_points=3_000) - calls(num_points=1_000) - bare) / 2_000 < 48


def test_calls_grow_in_proportion_to_groups_and_parameters() -> None:
    """Ten times the groups and parameters take about ten times the calls, not a hundred times."""
    short, wide = (calls(num_points=5, num_groups=n, num_parameters=10 * n) for n in (50, 500))
    assert wide < 12 * short


def peak_of(num_points: int) -> int:
    """Return the most memory that Python holds during a sweep."""
    tracemalloc.start()
    try:
        sweep(num_points)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_point_takes_less_than_150_bytes() -> None:
    """A point takes room for its rate and its loss, also in the result, and for smoothing it."""
    sweep(100)
    assert (peak_of(20_000) - peak_of(5_000)) / 15_000 < 150
