"""Probes: a training that shows the rates it used, calls counted, faults at a chosen place."""

import collections
import contextlib
import dataclasses
import inspect
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from conftest import Log
from ignite.engine import Engine
from torch import nn

import ignite_lrfinder
from ignite_lrfinder import FastaiLRFinder, LRFinderResult, StopReason

PACKAGE = os.path.dirname(ignite_lrfinder.__file__)
Follows = Callable[[types.CodeType], bool]
Place = tuple[str, int, int]
"""A file, a line of it, and which time it runs."""


@dataclasses.dataclass
class Probe:
    """A training that shows the learning rates it used.

    A step of plain SGD from 0 along a gradient of 1 ends at exactly minus the learning rate.
    """

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    used: Log = dataclasses.field(default_factory=Log)
    losses: Log = dataclasses.field(default_factory=Log)

    @classmethod
    def make(
        cls,
        *lrs: float,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
        dtype: torch.dtype | None = None,
        **kwargs: object,
    ) -> "Probe":
        """Make one parameter group for each learning rate."""
        parameters = [nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in lrs]
        groups = [
            {"params": [parameter], "lr": lr if dtype is None else torch.tensor(lr, dtype=dtype)}
            for parameter, lr in zip(parameters, lrs, strict=True)
        ]
        return cls(parameters, optimizer(groups, **kwargs))

    def step(self) -> None:
        """Step from 0 along a gradient of 1, and note where that led."""

        def closure() -> float:
            for parameter in self.parameters:
                parameter.grad = torch.ones_like(parameter)
            return 1.0

        for parameter in self.parameters:
            parameter.data.zero_()
        closure()
        self.optimizer.step(closure)
        self.used.append([0.0 - parameter.item() for parameter in self.parameters])

    def train_step(self, engine: Engine, batch: object) -> float:
        """Take a step and return a loss that is not the same twice."""
        self.step()
        return self.loss(engine)

    def loss(self, engine: Engine) -> float:
        """Return a loss that is not the same twice."""
        self.losses.append(1 + 0.001 * engine.state.iteration)
        return self.losses[-1]

    def sweep(
        self, trainer: Engine | None = None, to_save: dict | None = None, **kwargs: object
    ) -> LRFinderResult:
        """Sweep over an epoch of 7 batches, started again as often as needed."""
        finder = FastaiLRFinder()
        to_save = {"optimizer": self.optimizer, **(to_save or {})}
        engine = Engine(self.train_step) if trainer is None else trainer
        with finder.attach(engine, to_save, **kwargs) as sweeping:  # type: ignore[arg-type]
            sweeping.run([0] * 7)
        return finder.result

    def assert_exact(self, result: LRFinderResult, num_points: int) -> None:
        """Compare what was recorded with what was used, bit for bit."""
        assert result.stop_reason is StopReason.COMPLETED
        assert result.lr.shape == (num_points, len(self.parameters))
        assert np.array(self.used).tobytes() == result.lr.tobytes()


def in_package(code: types.CodeType) -> bool:
    """Return whether code belongs to the package, except `attach`, whose clean-up must not fail."""
    return code.co_filename.startswith(PACKAGE) and code.co_name != "attach"


@contextlib.contextmanager
def tracing(
    follows: Follows,
    *,
    on_call: Callable[[types.CodeType], None] | None = None,
    on_line: Callable[[str, int], None] | None = None,
) -> Iterator[None]:
    """Call `on_call` at each call and `on_line` at each line of the code that is followed."""

    def at_call(frame: types.FrameType, event: str, arg: object) -> object:
        if not follows(frame.f_code):
            return None
        if on_call is not None:
            on_call(frame.f_code)
        return at_line if on_line is not None else None

    def at_line(frame: types.FrameType, event: str, arg: object) -> object:
        if on_line is not None and event == "line":
            on_line(frame.f_code.co_filename, frame.f_lineno)
        return at_line

    before = sys.gettrace()  # that of a debugger, or of coverage
    sys.settrace(at_call)  # type: ignore[arg-type]  # its own type is not public
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def at_call(
    number: int, act: Callable[[], object], follows: Follows = in_package
) -> Iterator[None]:
    """Act once, at the n-th function call of the code that is followed.

    Generators are left out: Python calls one to close it too, where it discards any error, and
    where no signal arrives.
    """
    num_left = number

    def count(code: types.CodeType) -> None:
        nonlocal num_left
        if code.co_flags & inspect.CO_GENERATOR:
            return
        num_left -= 1
        if num_left == 0:
            act()

    with tracing(follows, on_call=count):
        yield


@contextlib.contextmanager
def at_place(
    place: Place, act: Callable[[], object], follows: Follows = in_package
) -> Iterator[None]:
    """Act once, when a line runs for the n-th time."""
    num_left = place[2]

    def count(file: str, line: int) -> None:
        nonlocal num_left
        if (file, line) == place[:2]:
            num_left -= 1
            if num_left == 0:
                act()

    with tracing(follows, on_line=count):
        yield


@contextlib.contextmanager
def recording(places: list[Place], follows: Follows = in_package) -> Iterator[None]:
    """Record each line that runs, for its first and for its last time."""
    counts = collections.Counter[tuple[str, int]]()
    with tracing(follows, on_line=lambda file, line: counts.update([(file, line)])):
        yield
    for (file, line), count in counts.items():
        places += [(file, line, number) for number in sorted({1, count})]


def num_calls(function: Callable[..., object], act: Callable[[], object]) -> int:
    """Return how often a function is called, under whatever name, while something is done."""
    calls: list[types.CodeType] = []
    with tracing(lambda code: code is function.__code__, on_call=calls.append):
        act()
    return len(calls)


def ctrl_c() -> None:
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def full_disk(num_bytes: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="this system cannot limit files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
