"""Optimizer steps inside CUDA graphs: a replay takes the step without calling the optimizer."""

import functools
from collections.abc import Callable, Iterable
from typing import Protocol, cast

import torch

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.sweep.calls import Undo, shadow

_NUM_SAMPLES = 1024


class GraphLike(Protocol):
    """A CUDA graph, which may hold the optimizer's step."""

    replay: Callable[[], object]


class GraphWatch:
    """Notice the optimizer's steps in replays of CUDA graphs.

    The graph that holds the step is found by comparing what a step changes before and after a
    replay, which waits for the device. This is done only until a step is seen.

    Args:
        optimizer: the optimizer that is swept.
        graphs: the CUDA graphs of the train step.
        before: called before each replay, to set the learning rate where the graph reads it.
        on_step: called after each replay that took a step.

    Attributes:
        has_eager_steps: whether a step was seen outside the graphs.
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
        """Watch all replays, and return what ends that."""
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


def graphs_among(objects: Iterable[object]) -> list[GraphLike]:
    """Return the CUDA graphs among some objects, each once."""
    found = {id(obj): obj for obj in objects if issubclass(type(obj), torch.cuda.CUDAGraph)}
    return [cast(GraphLike, graph) for graph in found.values()]


def is_capturing() -> bool:
    """Return whether a CUDA graph is being captured, which would repeat whatever is done now."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _samples(optimizer: OptimizerLike) -> list[torch.Tensor]:
    """Copy a part of all that a step changes: parameters and the optimizer's state of each."""
    parameters = [p for group in optimizer.param_groups for p in group.get("params", ())]
    state = getattr(optimizer, "state", {})
    held = [value for p in parameters for value in state.get(p, {}).values()]
    tensors = [tensor for tensor in (*parameters, *held) if isinstance(tensor, torch.Tensor)]
    return [tensor.detach().flatten()[:_NUM_SAMPLES].clone() for tensor in tensors]
