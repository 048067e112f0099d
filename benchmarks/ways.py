"""Measure the cost of a sweep for several ways of training, and how often the host waits.

On a GPU: batches from pinned memory, mixed precision with a gradient scaler, a step on a separate
stream, an optimizer that keeps its rate on the device, and a step that is one CUDA graph. On a CPU:
the subset of these that it supports.
"""

import argparse
import collections
import statistics
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from ignite.engine import Engine
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.cost import START_LR, Batch, Setup, bare_ignite, ignite, ours, seconds
from benchmarks.measurement import quiet

RUNS: Mapping[str, Callable[[Setup], None]] = MappingProxyType(
    {"bare Ignite": bare_ignite, "ours": ours, "Ignite": ignite}
)
# The events of torch's profiler in which the host waits.
WAITS = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize")


class Pinned(Setup):
    """Copy each batch from pinned memory while the device works."""

    def __init__(self, width: int, num_iter: int, device: torch.device) -> None:
        super().__init__(width, num_iter, device)
        batch = (torch.randn(32, 64), torch.randint(10, (32,)))
        batches: Any = [batch] * 50
        self.loader = DataLoader(batches, batch_size=None, pin_memory=device.type == "cuda")
        self._device = device

    def step(self, batch: Batch) -> Tensor | float:
        """Train on one batch from the host."""
        x, y = (part.to(self._device, non_blocking=True) for part in batch)
        return super().step((x, y))


class Mixed(Setup):
    """Train in half precision, with a gradient scaler."""

    def __init__(self, width: int, num_iter: int, device: torch.device) -> None:
        super().__init__(width, num_iter, device)
        self._kind = device.type
        self._dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
        self._scaler = torch.amp.GradScaler(device.type)

    def step(self, batch: Batch) -> Tensor | float:
        """Train on one batch."""
        self.optimizer.zero_grad()
        with torch.autocast(self._kind, dtype=self._dtype):
            loss = self.loss(self.model(batch[0]), batch[1])
        self._scaler.scale(loss).backward()
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return loss.detach()

    @property
    def to_save(self) -> dict[str, Any]:
        """The objects that a finder restores."""
        return {**super().to_save, "scaler": self._scaler}


class OnStream(Setup):
    """Train on a separate stream."""

    def __init__(self, width: int, num_iter: int, device: torch.device) -> None:
        super().__init__(width, num_iter, device)
        self._stream = torch.cuda.Stream()

    def step(self, batch: Batch) -> Tensor | float:
        """Train on one batch, synchronized with the current stream."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            loss = super().step(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return loss


class Capturable(Setup):
    """Train with an optimizer that keeps its step count and its rate on the device."""

    def __init__(self, width: int, num_iter: int, device: torch.device) -> None:
        super().__init__(width, num_iter, device)
        lr = torch.tensor(START_LR, device=device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr, capturable=True)


class Graphed(Capturable):
    """Train by replaying one CUDA graph."""

    def __init__(self, width: int, num_iter: int, device: torch.device) -> None:
        super().__init__(width, num_iter, device)
        self._x = torch.randn(32, 64, device=device)
        self._y = torch.randint(10, (32,), device=device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                super().step((self._x, self._y))
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = super().step((self._x, self._y))

    def step(self, batch: Batch) -> Tensor | float:
        """Train on one batch."""
        self._x.copy_(batch[0])
        self._y.copy_(batch[1])
        self._graph.replay()
        return self._output

    def trainer(self) -> Engine:
        """Return an Ignite trainer."""
        # A bound method, so that the finder can reach the graph through its object.
        return Engine(self._train_step)

    def _train_step(self, engine: Engine, batch: Batch) -> Tensor | float:
        """Train on one batch, for Ignite."""
        return self.step(batch)


WAYS: Mapping[str, type[Setup]] = MappingProxyType(
    {"plain": Setup, "pinned memory": Pinned, "mixed precision": Mixed}
)
GPU_WAYS: Mapping[str, type[Setup]] = MappingProxyType(
    {"own stream": OnStream, "capturable": Capturable, "CUDA graph": Graphed}
)


def waits_of(run: Callable[[], object], device: torch.device) -> int:
    """Return how often the host waits for the device, or reads a scalar from a tensor."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
    counts = collections.Counter(event.name for event in profile.events() or ())
    return max(counts[name] for name in WAITS)


def measure(way: type[Setup], num_iter: int, rounds: int, device: torch.device) -> list[str]:
    """Return the cells of a row: the cost of a sweep over the bare run, and its waits."""
    times: dict[str, list[float]] = {name: [] for name in RUNS}
    waits: dict[str, int] = {}
    for _ in range(rounds + 1):
        for name, run in RUNS.items():
            setup = way(300, num_iter, device)
            with quiet():
                times[name].append(seconds(lambda run=run, setup=setup: run(setup), device))
    for name, run in RUNS.items():
        setup = way(300, num_iter, device)
        with quiet():
            waits[name] = waits_of(lambda run=run, setup=setup: run(setup), device)
    bare = times["bare Ignite"][1:]
    cells = [f"{1e6 * statistics.median(bare) / num_iter:.0f}", f"{waits['bare Ignite']}"]
    for name in ("ours", "Ignite"):
        ratios = [a / b for a, b in zip(times[name][1:], bare, strict=True)]
        cells += [f"{statistics.median(ratios) - 1:+.1%}", f"{waits[name]}"]
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure sweeps on a device.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--num-iter", type=int, default=500, help="a multiple of 50")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(1)
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name() if is_gpu else "one thread of the CPU"
    print(f"torch {torch.__version__}, {name}; medians of {args.rounds} rounds")
    print(f"{args.num_iter} points; over the bare run, and how often the host waits or reads\n")
    print(f"{'':<17}{'bare, us':>10}{'waits':>7}{'ours':>9}{'waits':>7}{'Ignite':>9}{'waits':>7}")
    for label, way in {**WAYS, **(GPU_WAYS if is_gpu else {})}.items():
        cells = measure(way, args.num_iter, args.rounds, device)
        row = zip(cells, (10, 7, 9, 7, 9, 7), strict=True)
        print(f"{label:<17}" + "".join(cell.rjust(width) for cell, width in row))


if __name__ == "__main__":
    main()
