"""Optimizer steps inside CUDA graphs, imitated on the CPU."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ignite_lrfinder.sweep.scheduler import LRSweep
from ignite_lrfinder.sweep.steps import StepWatch


def make_optimizer() -> torch.optim.SGD:
    """Make an optimizer over one parameter, whose gradient is 1."""
    parameter = nn.Parameter(torch.zeros(()))
    parameter.grad = torch.ones(())
    return torch.optim.SGD([parameter], lr=0.5)


@contextlib.contextmanager
def watching(optimizer: torch.optim.Optimizer, *graphs: Any) -> Iterator[StepWatch]:
    """Watch graphs and an optimizer, with a learning rate of 0.25."""
    watch = StepWatch(optimizer, [], graphs)
    try:
        watch.follow(LRSweep(optimizer, np.array([[0.25]])))
        yield watch
    finally:
        watch.remove()


class Graph:
    """An imitation of a CUDA graph, with or without the optimizer's step."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, has_step: bool = True) -> None:
        self.group = optimizer.param_groups[0]
        self.lr = self.group["lr"]
        self.has_step = has_step
        self.used: list[float] = []

    def replay(self) -> None:
        [parameter] = self.group["params"]
        with torch.no_grad():
            if self.has_step:
                self.used.append(float(self.lr))
                parameter.sub_(self.lr * parameter.grad)
            else:
                parameter.grad.add_(1)


def with_tensor_lr() -> torch.optim.SGD:
    """Make an optimizer whose learning rate is a tensor."""
    optimizer = make_optimizer()
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    return optimizer


def test_a_replay_of_the_step_is_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay of the step uses the sweep's rate and counts, and the graph is restored."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    optimizer = with_tensor_lr()
    graph = Graph(optimizer)
    with watching(optimizer, graph) as watch:
        for _ in range(2):
            assert not watch.has_stepped
            graph.lr.data.fill_(9.0)
            graph.replay()
            assert watch.has_stepped
            watch.has_stepped = False
    assert graph.used == [0.25, 0.25]
    assert "replay" not in vars(graph)


def test_a_replay_without_the_step_is_not_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay of the backward pass alone does not count."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    optimizer = with_tensor_lr()
    before, step = Graph(optimizer, has_step=False), Graph(optimizer)
    with watching(optimizer, before, step) as watch:
        for _ in range(2):
            for _ in range(3):
                before.replay()
                assert not watch.has_stepped
            step.replay()
            assert watch.has_stepped
            watch.has_stepped = False
    with watching(optimizer, before) as watch:
        before.replay()
        assert not watch.has_stepped
        optimizer.step()
        watch.has_stepped = False
        before.replay()
        assert not watch.has_stepped


def test_a_graph_that_captured_a_number_is_not_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph that captured a float as its learning rate cannot be swept."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    optimizer = make_optimizer()
    graph = Graph(optimizer)
    with watching(optimizer, graph) as watch:
        graph.replay()
        assert not watch.has_stepped


def test_no_lr_is_written_during_a_capture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A captured write would be repeated by each replay."""
    optimizer = with_tensor_lr()
    lr = optimizer.param_groups[0]["lr"]
    with watching(optimizer) as watch:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        version = lr._version
        optimizer.step()
        assert lr._version == version
        assert watch.has_stepped
