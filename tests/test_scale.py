"""Long and wide sweeps: time and memory grow with the number of points and groups, no faster."""

import time
import tracemalloc

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from ignite_lrfinder import FastaiLRFinder

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


def sweep(num_points: int, num_groups: int = 1, num_parameters: int = 1) -> FastaiLRFinder:
    """Run a sweep whose training does next to nothing."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(num_parameters)]
    share = num_parameters // num_groups
    groups = [{"params": parameters[i * share : (i + 1) * share]} for i in range(num_groups)]
    optimizer = torch.optim.SGD(groups, lr=1e-6)
    finder, trainer = FastaiLRFinder(), Engine(lambda engine, batch: optimizer.step() or 1.0)
    with finder.attach(trainer, {"optimizer": optimizer}, num_iter=num_points) as attached:
        attached.run([0] * 100)
    assert finder.result.lr.shape == (num_points, num_groups)
    return finder


def seconds(**size: int) -> float:
    """Return the shortest of three times that a sweep takes."""
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        sweep(**size)
        taken.append(time.perf_counter() - begin)
    return min(taken)


def test_a_point_of_a_long_sweep_costs_what_one_of_a_short_sweep_does() -> None:
    """Ten times the points take about ten times the time."""
    assert seconds(num_points=20_000) < 25 * seconds(num_points=2_000)


def test_groups_and_parameters_cost_in_proportion() -> None:
    """Ten times the groups and parameters take about ten times the time, not a hundred times."""
    short, wide = (
        seconds(num_points=20, num_groups=n, num_parameters=10 * n) for n in (100, 1_000)
    )
    assert wide < 30 * short


def peak_of(num_points: int) -> int:
    """Return the most memory that Python holds during a sweep."""
    tracemalloc.start()
    try:
        sweep(num_points)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_point_takes_some_bytes() -> None:
    """Another point takes room for its rate, its loss, both in the result, and for smoothing it."""
    sweep(100)
    assert (peak_of(30_000) - peak_of(3_000)) / 27_000 < 150
