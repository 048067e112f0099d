"""Optimizer steps inside CUDA graphs."""

from collections.abc import Callable, Iterable
from typing import Protocol, cast

import torch

from ignite_lrfinder.protocols import OptimizerLike

_NUM_SAMPLES = 1024


class GraphLike(Protocol):
    """A CUDA graph, which may hold the optimizer's step."""

    replay: Callable[[], object]


def is_capturing() -> bool:
    """Tell whether a CUDA graph is being captured, which would do for ever what is done now."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def samples(optimizer: OptimizerLike) -> list[torch.Tensor]:
    """Copy some of all that a step changes: parameters, momenta, the optimizer's own counters."""
    parameters = [p for group in optimizer.param_groups for p in group.get("params", ())]
    state = getattr(optimizer, "state", {})
    held = [value for p in parameters for value in state.get(p, {}).values()]
    tensors = [tensor for tensor in (*parameters, *held) if isinstance(tensor, torch.Tensor)]
    return [tensor.detach().flatten()[:_NUM_SAMPLES].clone() for tensor in tensors]


def graphs_among(objects: Iterable[object]) -> list[GraphLike]:
    """Return the CUDA graphs among some objects, each once."""
    found = {id(obj): obj for obj in objects if isinstance(obj, torch.cuda.CUDAGraph)}
    return [cast(GraphLike, graph) for graph in found.values()]
