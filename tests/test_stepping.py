"""The watch over the optimizer's steps: the rate is forced, steps and skipped ones are noticed."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.sweep.graphs import graphs_among
from ignite_lrfinder.sweep.scheduler import LRSweep
from ignite_lrfinder.sweep.steps import StepWatch, scalers_among


class HasNoHooks:
    """An optimizer that is none of torch's."""

    def __init__(self, lr: float) -> None:
        self.param_groups = [{"params": [], "lr": lr}]
        self.used: list[float] = []

    def step(self) -> None:
        self.used.append(self.param_groups[0]["lr"])


def make_optimizer(**kwargs: bool) -> torch.optim.SGD:
    """Make an optimizer over one parameter, whose gradient is 1."""
    parameter = nn.Parameter(torch.zeros(()))
    parameter.grad = torch.ones(())
    return torch.optim.SGD([parameter], lr=0.5, **kwargs)


@contextlib.contextmanager
def watching(optimizer: OptimizerLike, *others: object) -> Iterator[StepWatch]:
    """Watch an optimizer whose learning rate is to be 0.25, and scalers and graphs among others."""
    watch = StepWatch(optimizer, scalers_among(*others), graphs_among(others))
    try:
        watch.follow(LRSweep(optimizer, np.array([[0.25]])))
        yield watch
    finally:
        watch.remove()


def lr_of(optimizer: OptimizerLike) -> float:
    """Return the learning rate that an optimizer has now."""
    return optimizer.param_groups[0]["lr"]


def test_the_lr_is_set_at_once() -> None:
    """Following a sweep sets its first learning rate, before any step."""
    optimizer = make_optimizer()
    with watching(optimizer) as watch:
        assert lr_of(optimizer) == 0.25
        assert not watch.has_stepped


def test_a_step_is_noticed_until_it_is_cleared() -> None:
    """A step sets `has_stepped`, which stays until it is set to False."""
    optimizer = make_optimizer()
    with watching(optimizer) as watch:
        optimizer.step()
        assert watch.has_stepped
        watch.has_stepped = False
        assert not watch.has_stepped


def test_what_is_written_before_a_step_is_overruled_with_a_warning() -> None:
    """The step uses the learning rate of the sweep, and the warning says what to do."""
    optimizer = make_optimizer()
    with watching(optimizer):
        optimizer.param_groups[0]["lr"] = 9.0
        with pytest.warns(UserWarning, match=r"written by the train step.*keep_handlers.*to_save"):
            optimizer.step()
    assert optimizer.param_groups[0]["params"][0].item() == -0.25


def test_each_writer_is_named_once() -> None:
    """The same writer is not reported again, another one is."""
    optimizer = make_optimizer()
    with watching(optimizer) as watch:
        for writer, is_new in [("one", True), ("one", False), ("two", True), ("two", False)]:
            optimizer.param_groups[0]["lr"] = 9.0
            context = (
                pytest.warns(UserWarning, match=f"written by {writer}")
                if is_new
                else contextlib.nullcontext()
            )
            with context:
                watch.hold_lr(writer)
            assert lr_of(optimizer) == 0.25


def test_nothing_is_forced_before_or_after_the_sweep() -> None:
    """Without a sweep to follow, a step is left alone; afterwards no hook is left."""
    optimizer = make_optimizer()
    watch = StepWatch(optimizer, [])
    optimizer.step()
    watch.hold_lr("nobody")
    assert lr_of(optimizer) == 0.5
    watch.follow(LRSweep(optimizer, np.array([[0.25]])))
    watch.remove()
    optimizer.param_groups[0]["lr"] = 9.0
    watch.has_stepped = False
    optimizer.step()
    assert lr_of(optimizer) == 9.0
    assert not watch.has_stepped
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("is_fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("is_known", [False, True], ids=["unknown-scaler", "known-scaler"])
def test_a_scaler_that_finds_infinity_takes_no_step(is_known: bool, is_fused: bool) -> None:
    """A skipped step is not taken for a step, and known as skipped where the scaler is known."""
    optimizer = make_optimizer(fused=is_fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    parameter = optimizer.param_groups[0]["params"][0]
    with watching(optimizer, *[scaler] * is_known) as watch:
        for gradient, is_skipped in [(1.0, False), (torch.inf, True)]:
            scaler.scale(parameter.sum())
            parameter.grad = torch.tensor(gradient)
            scaler.step(optimizer)
            scaler.update()
            assert watch.has_stepped != is_skipped
            assert watch.is_skipped == (is_skipped and is_known)
            watch.has_stepped = watch.is_skipped = False
    assert parameter.item() == -0.125  # one step of 0.25 along 1, scaled by 2
    assert "step" not in vars(scaler)


def test_a_step_of_another_optimizer_is_none() -> None:
    """Neither another optimizer's step nor its skipped step says anything of this one."""
    optimizer, other = make_optimizer(), make_optimizer()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    with watching(optimizer, scaler) as watch:
        other.step()
        parameter = other.param_groups[0]["params"][0]
        scaler.scale(parameter.sum())
        parameter.grad = torch.tensor(torch.inf)
        scaler.step(other)
        assert not watch.has_stepped
        assert not watch.is_skipped


def test_the_steps_of_an_optimizer_without_hooks_are_seen_and_forced() -> None:
    """A plain object's `step` is taken at the rate of the sweep, noticed, and given back."""
    optimizer = HasNoHooks(0.5)
    with watching(optimizer) as watch:
        optimizer.param_groups[0]["lr"] = 9.0
        assert not watch.has_stepped
        with pytest.warns(UserWarning, match="written by"):
            optimizer.step()
        assert optimizer.used == [0.25]
        assert watch.has_stepped
        assert not watch.is_blind
    assert "step" not in vars(optimizer)


class Wrapper(torch.optim.Optimizer):
    """An optimizer around another, which inherits from torch's without initialising it."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        self.param_groups = inner.param_groups

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        self.inner.step()


def test_the_steps_of_a_wrapper_that_calls_no_hooks_are_seen_and_forced() -> None:
    """Being torch's by name alone does not make an optimizer call hooks."""
    inner = make_optimizer()
    wrapper = Wrapper(inner)
    with watching(wrapper) as watch:
        inner.param_groups[0]["lr"] = 9.0
        with pytest.warns(UserWarning, match="written by"):
            wrapper.step()
        assert watch.has_stepped
    assert inner.param_groups[0]["params"][0].item() == -0.25
    assert "step" not in vars(wrapper)


def test_a_step_of_the_objects_own_is_given_back() -> None:
    """A `step` that was set on the object itself, as torch's schedulers do, comes back."""
    optimizer = HasNoHooks(0.5)
    own = optimizer.step = lambda: None  # what schedulers do
    with watching(optimizer):
        assert optimizer.step is not own
    assert optimizer.step is own


class HasSlots:
    """An optimizer on which nothing can be set."""

    __slots__ = ("param_groups",)

    def __init__(self) -> None:
        self.param_groups = [{"params": [], "lr": 0.5}]

    def step(self) -> None:
        pass


def test_where_steps_cannot_be_seen_the_watch_says_so() -> None:
    """An optimizer without hooks or attributes is swept blindly, a step in each iteration."""
    optimizer = HasSlots()
    with watching(optimizer) as watch:
        assert watch.is_blind
        assert lr_of(optimizer) == 0.25
        optimizer.param_groups[0]["lr"] = 9.0
        with pytest.warns(UserWarning, match="hides its steps, so points from here on may have"):
            watch.hold_lr()
        assert lr_of(optimizer) == 0.25


def test_a_closure_that_writes_the_lr_does_not_change_the_step() -> None:
    """What a closure writes inside `step` is overruled before the step uses it."""
    optimizer = make_optimizer()
    parameter = optimizer.param_groups[0]["params"][0]

    def closure() -> float:
        optimizer.param_groups[0]["lr"] = 9.0
        return 1.0

    with watching(optimizer), pytest.warns(UserWarning, match="written by the train step"):
        assert optimizer.step(closure) == 1.0
    assert parameter.item() == -0.25


def test_a_write_that_leaves_no_mark_is_overruled() -> None:
    """A tensor learning rate changed through `.data` is set again before the step."""
    optimizer = make_optimizer()
    lr = optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    with watching(optimizer):
        lr.data.fill_(9.0)
        optimizer.step()
    assert optimizer.param_groups[0]["params"][0].item() == -0.25


def test_scalers_are_known_by_what_they_can_do() -> None:
    """Among any objects, those with a scaler's methods are found, each once."""
    scaler, optimizer = torch.amp.GradScaler("cpu"), make_optimizer()
    assert scalers_among(None, 3, optimizer, scaler, "x", scaler) == [scaler]


class Graph:
    """A stand-in for a CUDA graph, which has captured an optimizer's step or what precedes it."""

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


def test_a_graph_that_is_replayed_takes_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay of the step is one, at the rate of the sweep, and the graph is given back."""
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


def test_a_graph_of_less_than_the_step_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a graph does before the optimizer steps, or another graph has the step, is no step."""
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


def test_a_graph_that_captured_a_number_for_its_rate_is_no_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A learning rate that is no tensor cannot be swept in a graph."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    optimizer = make_optimizer()
    graph = Graph(optimizer)
    with watching(optimizer, graph) as watch:
        graph.replay()
        assert not watch.has_stepped


def test_nothing_is_written_into_a_graph_that_is_being_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that is captured holds no write of the finder's, which each replay would repeat."""
    optimizer = with_tensor_lr()
    lr = optimizer.param_groups[0]["lr"]
    with watching(optimizer) as watch:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        version = lr._version
        optimizer.step()
        assert lr._version == version
        assert watch.has_stepped
