"""The watch over the optimizer's steps: forced rates, taken and skipped steps."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.sweep.calls import WatchedClosure
from ignite_lrfinder.sweep.graphs import GraphLike, is_graph
from ignite_lrfinder.sweep.scheduler import LRSweep
from ignite_lrfinder.sweep.steps import GradScalerLike, StepWatch, is_scaler


class HasNoHooks:
    """An optimizer that is not a torch optimizer."""

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
    """Watch an optimizer, with a learning rate of 0.25, and the scalers and graphs in `others`."""
    scalers = [cast(GradScalerLike, obj) for obj in others if is_scaler(type(obj))]
    graphs = [cast(GraphLike, obj) for obj in others if is_graph(type(obj))]
    watch = StepWatch(optimizer, scalers, graphs)
    try:
        watch.follow(LRSweep(optimizer, np.array([[0.25]])))
        yield watch
    finally:
        watch.remove()


def lr_of(optimizer: OptimizerLike) -> float:
    """Return the current learning rate of an optimizer."""
    return optimizer.param_groups[0]["lr"]


def test_follow_sets_the_first_lr() -> None:
    """Following a sweep sets its first learning rate before any step."""
    optimizer = make_optimizer()
    with watching(optimizer) as watch:
        assert lr_of(optimizer) == 0.25
        assert not watch.has_stepped


def test_a_step_sets_has_stepped() -> None:
    """A step sets `has_stepped`, which stays until it is set to False."""
    optimizer = make_optimizer()
    with watching(optimizer) as watch:
        optimizer.step()
        assert watch.has_stepped
        watch.has_stepped = False
        assert not watch.has_stepped


def test_an_lr_written_before_a_step_is_overruled_with_a_warning() -> None:
    """The step uses the learning rate of the sweep, and the warning gives a remedy."""
    optimizer = make_optimizer()
    with watching(optimizer):
        optimizer.param_groups[0]["lr"] = 9.0
        with pytest.warns(UserWarning, match="written by the train step .* Each point still"):
            optimizer.step()
    assert optimizer.param_groups[0]["params"][0].item() == -0.25


def test_each_writer_is_warned_of_once() -> None:
    """The same writer is not reported again; a different one is."""
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


def test_a_step_outside_the_sweep_keeps_its_lr() -> None:
    """A step before `follow` is not changed; after `remove` no hook is left."""
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
def test_a_step_skipped_by_a_scaler_is_not_a_step(is_known: bool, is_fused: bool) -> None:
    """A skipped step does not set `has_stepped`; a known scaler sets `is_skipped`."""
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


def test_a_step_of_another_optimizer_does_not_count() -> None:
    """Neither another optimizer's step nor its skipped step counts."""
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


def test_an_optimizer_without_hooks_is_swept() -> None:
    """Each `step` of a plain object counts and uses the sweep's rate; `step` is restored."""
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
    """A wrapper that inherits from torch's class without initializing it."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        self.param_groups = inner.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)


def test_a_wrapper_without_hooks_is_swept() -> None:
    """A subclass of Optimizer that was never initialized calls no hooks, but is swept."""
    inner = make_optimizer()
    wrapper = Wrapper(inner)
    with watching(wrapper) as watch:
        inner.param_groups[0]["lr"] = 9.0
        with pytest.warns(UserWarning, match="written by"):
            wrapper.step()
        assert watch.has_stepped
    assert inner.param_groups[0]["params"][0].item() == -0.25
    assert "step" not in vars(wrapper)


def test_a_step_set_on_the_object_is_restored() -> None:
    """A `step` that was set on the object itself, as torch's schedulers do, is restored."""
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


def test_an_optimizer_with_slots_is_swept_blindly() -> None:
    """Without hooks or a `__dict__` each iteration counts as a step, and the warning says so."""
    optimizer = HasSlots()
    with watching(optimizer) as watch:
        assert watch.is_blind
        assert lr_of(optimizer) == 0.25
        optimizer.param_groups[0]["lr"] = 9.0
        with pytest.warns(UserWarning, match="hides its steps, so later points may have"):
            watch.hold_lr()
        assert lr_of(optimizer) == 0.25


class Closure:
    """A closure that is an object, and writes the learning rate."""

    name = "custom"

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self) -> float:
        self.optimizer.param_groups[0]["lr"] = 9.0
        return 1.0

    def method(self) -> float:
        return self()


CLOSURES: dict[str, Callable[[Closure], Callable[[], float]]] = {
    "function": lambda closure: lambda: closure(),
    "method": lambda closure: closure.method,
    "object": lambda closure: closure,
    "partial": lambda closure: functools.partial(closure.method),
}


@pytest.mark.parametrize("is_keyword", [False, True], ids=["positional", "keyword"])
@pytest.mark.parametrize("kind", CLOSURES)
@pytest.mark.parametrize("has_hooks", [True, False], ids=["hooks", "no-hooks"])
def test_an_lr_written_in_a_closure_is_overruled(
    kind: str, is_keyword: bool, has_hooks: bool
) -> None:
    """An lr that any kind of closure writes inside `step` is overruled before the step uses it."""
    inner = make_optimizer()
    optimizer = inner if has_hooks else Wrapper(inner)
    closure: Any = CLOSURES[kind](Closure(inner))
    with watching(optimizer), pytest.warns(UserWarning, match="written by the train step"):
        loss = optimizer.step(closure=closure) if is_keyword else optimizer.step(closure)
    assert loss == 1.0
    assert inner.param_groups[0]["params"][0].item() == -0.25


def test_a_watched_closure_has_the_attributes_of_the_closure() -> None:
    """An optimizer may read attributes of its closure."""
    watched = WatchedClosure(Closure(make_optimizer()), lambda: None)
    assert watched.name == "custom"
    with pytest.raises(AttributeError):
        _ = watched.missing


def test_an_lr_written_by_the_step_itself_may_have_been_used() -> None:
    """The warning does not claim that each point used the sweep's rate."""

    class Warming(torch.optim.Optimizer):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            self.param_groups[0]["lr"] = 9.0

    optimizer = Warming(parameters(), {"lr": 0.5})
    with watching(optimizer) as watch:
        with pytest.warns(UserWarning, match="the optimizer's own step. Its steps may have used"):
            optimizer.step()
        watch.hold_lr()
    assert lr_of(optimizer) == 0.25


def test_an_lr_written_through_data_is_overruled() -> None:
    """A tensor learning rate changed through `.data` is restored before the step."""
    optimizer = make_optimizer()
    lr = optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    with watching(optimizer):
        lr.data.fill_(9.0)
        optimizer.step()
    assert optimizer.param_groups[0]["params"][0].item() == -0.25


def test_a_scaler_is_known_by_its_methods() -> None:
    """A class with a scaler's methods is a scaler; an optimizer is not."""
    assert is_scaler(torch.amp.GradScaler)
    assert not any(map(is_scaler, (torch.optim.SGD, nn.Linear, str, type(None))))


class Accumulating:
    """A wrapper that steps in every second call, like Accelerate's."""

    def __init__(self, optimizer: OptimizerLike) -> None:
        self.optimizer = optimizer
        self.num_calls = 0

    @property
    def param_groups(self) -> list[dict]:
        return list(self.optimizer.param_groups)

    def step(self) -> None:
        self.num_calls += 1
        if self.num_calls % 2 == 0:
            self.optimizer.step()


class InAList(Accumulating):
    """A wrapper that keeps the wrapped optimizer in a list."""

    def __init__(self, optimizer: OptimizerLike) -> None:
        self.num_calls = 0
        self.optimizers = [optimizer]

    @property
    def optimizer(self) -> OptimizerLike:
        return self.optimizers[0]


class Skipping(torch.optim.SGD):
    """A subclass that steps in every second call, as Horovod's may."""

    num_calls = 0

    def step(self, closure: object = None) -> None:
        self.num_calls += 1
        if self.num_calls % 2 == 0:
            super().step()


class OwnSkipping(torch.optim.Optimizer):
    """The same around a parent class that was never instantiated."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data -= group["lr"] * parameter.grad


class SkippingOwn(OwnSkipping):
    """A subclass that skips every first call."""

    num_calls = 0

    def step(self, closure: object = None) -> None:
        self.num_calls += 1
        if self.num_calls % 2 == 0:
            OwnSkipping.step(self)


def parameters() -> list[nn.Parameter]:
    """Make one parameter, whose gradient is 1."""
    parameter = nn.Parameter(torch.zeros(()))
    parameter.grad = torch.ones(())
    return [parameter]


SKIPPING = {
    "wrapper": lambda: Accumulating(make_optimizer()),
    "wrapper-in-a-list": lambda: InAList(make_optimizer()),
    "wrapper-without-hooks": lambda: Accumulating(HasNoHooks(0.5)),
    "subclass": lambda: Skipping(parameters(), lr=0.5),
    "fused-subclass": lambda: Skipping(parameters(), lr=0.5, fused=True),
    "subclass-of-a-custom-one": lambda: SkippingOwn(parameters(), {"lr": 0.5}),
    "wrapped-subclass": lambda: Wrapper(Skipping(parameters(), lr=0.5)),
}


@pytest.mark.parametrize("make", SKIPPING.values(), ids=SKIPPING)
def test_a_call_that_does_not_reach_the_stepping_optimizer_is_not_a_step(
    make: Callable[[], OptimizerLike],
) -> None:
    """Only calls that reach the wrapped optimizer or the parent class count."""
    optimizer = make()
    with watching(optimizer) as watch:
        for is_step in (False, True, False, True):
            optimizer.step()
            assert watch.has_stepped == is_step
            watch.has_stepped = False
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert parameter.item() == -0.5
    assert not hasattr(OwnSkipping.step, "hooked")
    optimizer.step()
    assert not watch.has_stepped


def test_a_wrapper_of_a_wrapper_is_swept() -> None:
    """The steps of the innermost optimizer count: every fourth call of the outermost."""
    inner = make_optimizer()
    outer = Accumulating(Accumulating(inner))
    with watching(outer) as watch:
        steps = []
        for _ in range(8):
            outer.step()
            steps.append(watch.has_stepped)
            watch.has_stepped = False
    assert steps == [False, False, False, True] * 2


def test_a_wrapper_that_steps_by_itself_is_swept() -> None:
    """An optimizer that holds another but never calls it takes the steps itself."""

    class Descending(Accumulating):
        def step(self) -> None:
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    parameter.sub_(self.param_groups[0]["lr"] * parameter.grad)

    optimizer = Descending(make_optimizer())
    with watching(optimizer) as watch:
        optimizer.step()
        assert watch.has_stepped


def test_a_scaler_that_skips_the_wrapped_optimizer_is_detected() -> None:
    """A wrapper may pass the optimizer it wraps to the scaler."""
    inner, scaler = make_optimizer(), torch.amp.GradScaler("cpu", init_scale=2.0)
    parameter = inner.param_groups[0]["params"][0]
    with watching(Accumulating(inner), scaler) as watch:
        scaler.scale(parameter.sum())
        parameter.grad = torch.tensor(torch.inf)
        scaler.step(inner)
        assert watch.is_skipped
        assert not watch.has_stepped
