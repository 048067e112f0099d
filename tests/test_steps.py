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
        with pytest.warns(UserWarning, match=r"written by the train step.*keep_handlers.*to_save"):
            optimizer.step()
    assert optimizer.param_groups[0]["params"][0].item() == -0.25


def test_each_writer_is_warned_of_once() -> None:
    """The same writer is not reported again; another one is."""
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
    """An optimizer around another, which inherits from torch's without initialising it."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        self.param_groups = inner.param_groups

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        self.inner.step()


def test_a_wrapper_without_hooks_is_swept() -> None:
    """A subclass of Optimizer that was never initialised calls no hooks, and is still swept."""
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
        with pytest.warns(UserWarning, match="hides its steps, so points from here on may have"):
            watch.hold_lr()
        assert lr_of(optimizer) == 0.25


def test_an_lr_written_in_a_closure_is_overruled() -> None:
    """An lr that a closure writes inside `step` is overruled before the step uses it."""
    optimizer = make_optimizer()
    parameter = optimizer.param_groups[0]["params"][0]

    def closure() -> float:
        optimizer.param_groups[0]["lr"] = 9.0
        return 1.0

    with watching(optimizer), pytest.warns(UserWarning, match="written by the train step"):
        assert optimizer.step(closure) == 1.0
    assert parameter.item() == -0.25


def test_an_lr_written_through_data_is_overruled() -> None:
    """A tensor learning rate changed through `.data` is set again before the step."""
    optimizer = make_optimizer()
    lr = optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    with watching(optimizer):
        lr.data.fill_(9.0)
        optimizer.step()
    assert optimizer.param_groups[0]["params"][0].item() == -0.25


def test_scalers_are_found_by_their_methods() -> None:
    """Objects with a scaler's methods are found, each once."""
    scaler, optimizer = torch.amp.GradScaler("cpu"), make_optimizer()
    assert scalers_among(None, 3, optimizer, scaler, "x", scaler) == [scaler]
