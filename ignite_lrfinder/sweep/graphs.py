"""Optimizer steps inside CUDA graphs: a replay takes the step without calling the optimizer."""

import functools
from collections.abc import Callable, Iterable
from typing import Protocol

import torch

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.sweep.calls import Undo, shadow

_NUM_SAMPLES = 1024


class GraphLike(Protocol):
    """A CUDA graph, which may contain the optimizer's step."""

    replay: Callable[[], object]


class GraphWatch:
    """Detect the optimizer's steps in replays of CUDA graphs.

    The graph that contains the step is found by comparing parameters and optimizer state before and
    after a replay, which waits for the device. This stops as soon as a step was detected.

    Args:
        optimizer: the optimizer that is swept.
        graphs: the CUDA graphs of the train step.
        before: called before each replay, to set the learning rate that the graph reads.
        on_step: called after each replay that took a step.

    Attributes:
        has_eager_steps: whether the optimizer has stepped outside the graphs.
    """

    def __init__(
        self,
        optimizer: OptimizerLike,
        graphs: Iterable[GraphLike],
        before: Callable[[], object],
        on_step: Callable[[], object],
    ) -> None:
        self.has_eager_steps = False
        self._optimizer = optimizer
        self._graphs = tuple(graphs)
        self._before = before
        self._on_step = on_step
        self._stepping: GraphLike | None = None

    def follow(self) -> list[Undo]:
        """Watch all replays; return the functions that undo it."""
        return [
            shadow(graph, "replay", functools.partial(self._replay, graph))
            for graph in self._graphs
        ]

    def _replay(self, graph: GraphLike, replay: Callable[[], object]) -> object:
        """Replay a graph."""
        self._before()
        if self.has_eager_steps or self._stepping is not None:
            output = replay()
        else:
            samples = _samples(self._optimizer)
            output = replay()
            if not all(map(torch.equal, samples, _samples(self._optimizer))):
                self._stepping = graph
        if graph is self._stepping:
            self._on_step()
        return output


def is_graph(cls: type) -> bool:
    """Return whether a class is the class of CUDA graphs."""
    return issubclass(cls, torch.cuda.CUDAGraph)


def is_capturing() -> bool:
    """Return whether a CUDA graph is being captured, which would record any write."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _samples(optimizer: OptimizerLike) -> list[torch.Tensor]:
    """Copy the first values of each parameter and of its optimizer state."""
    parameters = [p for group in optimizer.param_groups for p in group.get("params", ())]
    state = getattr(optimizer, "state", {})
    held = [value for p in parameters for value in state.get(p, {}).values()]
    tensors = [tensor for tensor in (*parameters, *held) if isinstance(tensor, torch.Tensor)]
    return [tensor.detach().flatten()[:_NUM_SAMPLES].clone() for tensor in tensors]
