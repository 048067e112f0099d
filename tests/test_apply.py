"""Applying a suggestion to an optimizer and its scheduler."""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine
from ignite.handlers import param_scheduler as ignite
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as schedulers
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import SWALR

from ignite_lrfinder import LRFinderError
from ignite_lrfinder.apply import apply_lr

Make = Callable[[Optimizer, Sequence[float]], Any]
"""Make a scheduler for an optimizer whose groups have these learning rates."""

OLD, NEW = (0.01, 0.002), (0.3, 0.05)
PLACES = [0, 1, 2, 5, 9, 16]


def warm_up(optimizer: Optimizer) -> LRScheduler:
    """Make a linear warm-up over four steps."""
    return schedulers.LinearLR(optimizer, 0.1, total_iters=4)


TORCH: dict[str, Make] = {
    "lambda": lambda o, lrs: schedulers.LambdaLR(o, lambda k: 1 / (k + 1)),
    "multiplicative": lambda o, lrs: schedulers.MultiplicativeLR(o, lambda k: 0.9 + 0.01 * (k % 3)),
    "step": lambda o, lrs: schedulers.StepLR(o, 3, gamma=0.3),
    "multi-step": lambda o, lrs: schedulers.MultiStepLR(o, [2, 6, 6], gamma=0.5),
    "constant": lambda o, lrs: schedulers.ConstantLR(o, 0.4, total_iters=6),
    "linear": lambda o, lrs: schedulers.LinearLR(o, 0.1, 0.8, total_iters=7),
    "exponential": lambda o, lrs: schedulers.ExponentialLR(o, 0.9),
    "polynomial": lambda o, lrs: schedulers.PolynomialLR(o, 10, power=2.0),
    "cosine": lambda o, lrs: schedulers.CosineAnnealingLR(o, 10),
    "cosine above eta_min": lambda o, lrs: schedulers.CosineAnnealingLR(o, 10, eta_min=1e-3),
    "warm restarts": lambda o, lrs: schedulers.CosineAnnealingWarmRestarts(o, 4, 2, eta_min=1e-3),
    "SWA": lambda o, lrs: SWALR(o, swa_lr=5e-3, anneal_epochs=6),
    "linear SWA": lambda o, lrs: SWALR(o, 5e-3, anneal_epochs=6, anneal_strategy="linear"),
    "one-cycle": lambda o, lrs: schedulers.OneCycleLR(o, list(lrs), total_steps=60),
    "three phases": lambda o, lrs: schedulers.OneCycleLR(
        o, list(lrs), total_steps=60, three_phase=True, anneal_strategy="linear"
    ),
    "cyclic": lambda o, lrs: schedulers.CyclicLR(o, [lr / 10 for lr in lrs], list(lrs), 4),
    "shrinking cycles": lambda o, lrs: schedulers.CyclicLR(
        o, [lr / 10 for lr in lrs], list(lrs), 3, mode="exp_range", gamma=0.97
    ),
    "sequential": lambda o, lrs: schedulers.SequentialLR(
        o, [warm_up(o), schedulers.CosineAnnealingLR(o, 9, eta_min=1e-3)], milestones=[4]
    ),
    "sequential of three": lambda o, lrs: schedulers.SequentialLR(
        o,
        [
            warm_up(o),
            schedulers.MultiplicativeLR(o, lambda k: 0.9),
            schedulers.CosineAnnealingWarmRestarts(o, 3, eta_min=1e-3),
        ],
        milestones=[4, 9],
    ),
    "chained": lambda o, lrs: schedulers.ChainedScheduler(
        [warm_up(o), schedulers.CosineAnnealingLR(o, 10, eta_min=1e-3)]
    ),
    "chained sequence": lambda o, lrs: schedulers.ChainedScheduler(
        [
            schedulers.SequentialLR(
                o, [warm_up(o), schedulers.ExponentialLR(o, 0.9)], milestones=[4]
            ),
            schedulers.StepLR(o, 5, gamma=0.5),
        ]
    ),
    "plateau": lambda o, lrs: schedulers.ReduceLROnPlateau(o, factor=0.5, patience=1),
    "plateau above min_lr": lambda o, lrs: schedulers.ReduceLROnPlateau(
        o, factor=0.5, patience=1, cooldown=1, min_lr=[1e-4] * len(lrs)
    ),
}


def for_each_group(make: Callable[[Optimizer, float, int], Any]) -> Make:
    """Make an Ignite scheduler for each parameter group, and join them."""
    return lambda o, lrs: ignite.ParamGroupScheduler(
        [make(o, lr, index) for index, lr in enumerate(lrs)]
    )


IGNITE: dict[str, Make] = {
    "linear": for_each_group(
        lambda o, lr, i: ignite.LinearCyclicalScheduler(
            o, "lr", lr / 10, lr, 8, param_group_index=i
        )
    ),
    "shrinking linear": for_each_group(
        lambda o, lr, i: ignite.LinearCyclicalScheduler(
            o,
            "lr",
            *(lr, lr / 5, 4),
            cycle_mult=1.5,
            start_value_mult=0.5,
            end_value_mult=0.7,
            warmup_duration=2,
            monotonic=True,
            param_group_index=i,
        )
    ),
    "shrinking peaks": for_each_group(
        lambda o, lr, i: ignite.LinearCyclicalScheduler(
            o, "lr", lr / 10, lr, 4, end_value_mult=0.7, param_group_index=i
        )
    ),
    "cosine": for_each_group(
        lambda o, lr, i: ignite.CosineAnnealingScheduler(
            o, "lr", lr, lr / 100, 6, start_value_mult=0.8, param_group_index=i
        )
    ),
    "piecewise": for_each_group(
        lambda o, lr, i: ignite.PiecewiseLinear(
            o, "lr", [(2, lr / 10), (6, lr), (14, 0.0)], param_group_index=i
        )
    ),
    "concatenated": for_each_group(
        lambda o, lr, i: ignite.ConcatScheduler(
            [
                ignite.LinearCyclicalScheduler(o, "lr", 0.0, lr, 10, param_group_index=i),
                ignite.CosineAnnealingScheduler(o, "lr", lr / 2, lr / 50, 8, param_group_index=i),
            ],
            durations=[5],
        )
    ),
    "rates and momentum": lambda o, lrs: ignite.ParamGroupScheduler(
        [
            *IGNITE["piecewise"](o, lrs).schedulers,
            ignite.LinearCyclicalScheduler(o, "momentum", 0.95, 0.85, 8),
        ]
    ),
    "step": lambda o, lrs: ignite.LRScheduler(schedulers.StepLR(o, 3, gamma=0.3)),
    "linear of torch": lambda o, lrs: ignite.LRScheduler(warm_up(o)),
    "cosine of torch": lambda o, lrs: ignite.LRScheduler(
        schedulers.CosineAnnealingLR(o, 10, eta_min=1e-3)
    ),
    "warm restarts": lambda o, lrs: ignite.LRScheduler(
        schedulers.CosineAnnealingWarmRestarts(o, 4, 2, eta_min=1e-3)
    ),
    "one-cycle": lambda o, lrs: ignite.LRScheduler(TORCH["one-cycle"](o, lrs)),
    "warm-up, then steps": lambda o, lrs: ignite.create_lr_scheduler_with_warmup(
        schedulers.StepLR(o, 3, gamma=0.5), 0.0, 4
    ),
    "warm-up, then a decay": lambda o, lrs: ignite.create_lr_scheduler_with_warmup(
        schedulers.ExponentialLR(o, 0.9), 0.0, 5
    ),
    "warm-up, then a cosine": lambda o, lrs: ignite.create_lr_scheduler_with_warmup(
        schedulers.CosineAnnealingLR(o, 12, eta_min=1e-3), 0.0, 4
    ),
    "plateau": lambda o, lrs: ignite.ReduceLROnPlateauScheduler(
        o, "loss", factor=0.5, patience=1, cooldown=1
    ),
}
KINDS = {
    **{f"torch: {name}": make for name, make in TORCH.items()},
    **{f"Ignite: {name}": make for name, make in IGNITE.items()},
}


class Program:
    """An optimizer and its scheduler, some steps after their creation."""

    def __init__(
        self, make: Make, lrs: Sequence[float], num_steps: int = 0, *, has_tensors: bool = False
    ) -> None:
        self.optimizer = make_optimizer(*map(torch.tensor, lrs) if has_tensors else lrs)
        self.scheduler = make(self.optimizer, lrs)
        self.optimizer.step()
        self.num_steps = 0
        self.step(num_steps)

    def step(self, num_steps: int) -> None:
        """Take steps with the scheduler, which sees a loss that rarely falls."""
        engine = Engine(lambda engine, batch: None)
        for _ in range(num_steps):
            loss = 1.0 if self.num_steps % 7 else -self.num_steps
            engine.state.metrics = {"loss": loss}
            self.num_steps += 1
            if not isinstance(self.scheduler, LRScheduler):
                self.scheduler(engine)
            elif isinstance(self.scheduler, schedulers.ReduceLROnPlateau):
                self.scheduler.step(loss)
            else:
                self.scheduler.step()

    @property
    def state(self) -> list[float]:
        """The rates and momenta of the groups, and the rates that the scheduler set last."""
        keys = ("lr", "max_lr", "min_lr", "swa_lr", "momentum")
        groups = self.optimizer.param_groups
        state = [float(group[key]) for group in groups for key in keys if key in group]
        scheduler = getattr(self.scheduler, "lr_scheduler", self.scheduler)
        if isinstance(scheduler, LRScheduler):
            state += [float(lr) for lr in scheduler.get_last_lr()]
        return state

    def future(self, num_steps: int) -> list[list[float]]:
        """Return the states from here on."""
        states = [self.state]
        for _ in range(num_steps):
            self.step(1)
            states.append(self.state)
        return states


def make_optimizer(*lrs: float | torch.Tensor) -> Optimizer:
    """Make an optimizer with a parameter group for each learning rate."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in lrs]
    optimizer = SGD(groups, lr=float(lrs[0]), momentum=0.9)
    for group, lr in zip(optimizer.param_groups, lrs, strict=True):
        group["lr"] = lr
    return optimizer


def check_applied_midway(
    make: Make, num_steps: int, num_groups: int = 1, *, has_tensors: bool = False
) -> None:
    """Check that a program continues as if created with the new rates."""
    program = Program(make, OLD[:num_groups], num_steps, has_tensors=has_tensors)
    expected = Program(make, NEW[:num_groups], num_steps, has_tensors=has_tensors)
    before = [group["lr"] for group in program.optimizer.param_groups]
    apply_lr(program.optimizer, NEW[:num_groups], program.scheduler)
    if has_tensors:
        after = [group["lr"] for group in program.optimizer.param_groups]
        assert all(one is other for one, other in zip(before, after, strict=True))
    tolerance = 1e-5 if has_tensors else 1e-12
    np.testing.assert_allclose(
        program.future(30), expected.future(30), rtol=tolerance, atol=tolerance / 100
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_continues_as_if_made_with_the_new_rate(kind: str) -> None:
    """At each position the present and all later rates equal those of a new scheduler."""
    for num_steps in PLACES:
        check_applied_midway(KINDS[kind], num_steps)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "plateau" not in kind])
def test_each_group_continues_with_its_own_rate(kind: str) -> None:
    """Parameter groups with different rates have different new rates."""
    for num_steps in PLACES:
        check_applied_midway(KINDS[kind], num_steps, num_groups=2)


@pytest.mark.parametrize("kind", [kind for kind in TORCH if "plateau" not in kind])
def test_a_schedule_of_tensors_continues_in_place(kind: str) -> None:
    """A learning rate that is a tensor stays the same tensor."""
    for num_steps in PLACES:
        check_applied_midway(TORCH[kind], num_steps, num_groups=2, has_tensors=True)


FACTORS, LENGTHS = st.floats(0.1, 0.9), st.integers(1, 9)
LEAVES: st.SearchStrategy[Make] = st.one_of(
    st.builds(lambda n, f: lambda o, _: schedulers.StepLR(o, n, f), LENGTHS, FACTORS),
    st.builds(lambda f, n: lambda o, _: schedulers.ConstantLR(o, f, n), FACTORS, LENGTHS),
    st.builds(lambda f, n: lambda o, _: schedulers.LinearLR(o, f, 1, n), FACTORS, LENGTHS),
    st.builds(lambda f: lambda o, _: schedulers.ExponentialLR(o, f), FACTORS),
    st.builds(lambda f: lambda o, _: schedulers.MultiplicativeLR(o, lambda k: f), FACTORS),
    st.builds(lambda f: lambda o, _: schedulers.LambdaLR(o, lambda k: f**k), FACTORS),
    st.builds(
        lambda n, eta_min: lambda o, _: schedulers.CosineAnnealingLR(o, n, eta_min),
        st.integers(2, 9),
        st.sampled_from([0.0, 1e-4, 5e-3]),
    ),
    st.builds(lambda n: lambda o, _: SWALR(o, 5e-3, n), LENGTHS),
)
SEQUENCES: st.SearchStrategy[Make] = st.builds(
    lambda makes, gap: (
        lambda o, lrs: schedulers.SequentialLR(
            o, [make(o, lrs) for make in makes], [gap * (i + 1) for i in range(len(makes) - 1)]
        )
    ),
    st.lists(LEAVES, min_size=1, max_size=3),
    st.integers(1, 6),
)
CHAINS: st.SearchStrategy[Make] = st.builds(
    lambda makes: lambda o, lrs: schedulers.ChainedScheduler([make(o, lrs) for make in makes]),
    st.lists(LEAVES | SEQUENCES, min_size=1, max_size=3),
)


@settings(deadline=None)  # The first step of an optimizer imports what it may need.
@given(make=SEQUENCES | CHAINS, num_steps=st.integers(0, 20))
def test_any_chain_or_sequence_continues_as_if_made_with_the_new_rate(
    make: Make, num_steps: int
) -> None:
    """However torch schedulers are combined, each later rate equals that of new schedulers."""
    check_applied_midway(make, num_steps)


@pytest.mark.parametrize("epoch", [0.25, 2.5, 5.0, 11.75])
def test_warm_restarts_continue_between_epochs(epoch: float) -> None:
    """The schedule stays at the epoch given to `step`, which may be a fraction."""

    def make(o: Optimizer, lrs: Sequence[float]) -> LRScheduler:
        scheduler = schedulers.CosineAnnealingWarmRestarts(o, 4, 2, eta_min=1e-3)
        scheduler.step(epoch)  # type: ignore[arg-type]  # as torch documents
        return scheduler

    check_applied_midway(make, 0)


@pytest.mark.parametrize(
    "kind", ["step", "cosine above eta_min", "polynomial", "one-cycle", "cyclic"]
)
def test_a_resumed_schedule_continues(kind: str) -> None:
    """A scheduler loaded from a checkpoint continues as if it had never been saved."""
    saved = Program(TORCH[kind], OLD, 5)
    program, expected = Program(TORCH[kind], OLD), Program(TORCH[kind], NEW, 5)
    program.optimizer.load_state_dict(saved.optimizer.state_dict())
    program.scheduler.load_state_dict(saved.scheduler.state_dict())
    apply_lr(program.optimizer, NEW, program.scheduler)
    np.testing.assert_allclose(program.future(20), expected.future(20), rtol=1e-12, atol=1e-14)


def test_a_schedule_made_with_last_epoch_continues() -> None:
    """A scheduler created in the middle of a schedule stays at that position."""
    program = Program(TORCH["cosine above eta_min"], OLD, 5)
    expected = Program(TORCH["cosine above eta_min"], NEW, 5)
    program.scheduler = schedulers.CosineAnnealingLR(
        program.optimizer, 10, eta_min=1e-3, last_epoch=4
    )
    program.step(2)
    expected.step(2)
    apply_lr(program.optimizer, NEW, program.scheduler)
    np.testing.assert_allclose(program.future(20), expected.future(20), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_applying_twice_continues_with_the_second_rate(kind: str) -> None:
    """A schedule that continues with a new rate can continue with another one later."""
    program, expected = Program(KINDS[kind], OLD[:1], 3), Program(KINDS[kind], [0.07], 8)
    apply_lr(program.optimizer, NEW[:1], program.scheduler)
    program.step(5)
    apply_lr(program.optimizer, [0.07], program.scheduler)
    np.testing.assert_allclose(program.future(20), expected.future(20), rtol=1e-12, atol=1e-14)


def test_the_next_value_may_have_been_read() -> None:
    """A piecewise schedule whose next value was read stays at its position."""
    program, expected = Program(IGNITE["piecewise"], OLD, 6), Program(IGNITE["piecewise"], NEW, 6)
    program.scheduler.get_param()
    apply_lr(program.optimizer, NEW, program.scheduler)
    np.testing.assert_allclose(program.future(20), expected.future(20), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:lr_scheduler must be the optimizer:UserWarning")
@pytest.mark.parametrize("kind", TORCH)
def test_a_first_call_without_the_scheduler_changes_nothing(kind: str) -> None:
    """After a call without the scheduler, a call with it sets the same rates."""
    program, expected = Program(TORCH[kind], OLD[:1]), Program(TORCH[kind], NEW[:1])
    apply_lr(program.optimizer, [0.2])
    assert program.optimizer.param_groups[0]["lr"] == 0.2
    apply_lr(program.optimizer, NEW[:1], program.scheduler)
    np.testing.assert_allclose(program.future(20), expected.future(20), rtol=1e-12, atol=1e-14)


def test_the_reductions_of_a_plateau_are_counted() -> None:
    """The new rate has been reduced as often as the old one, and not below `min_lr`."""
    optimizer = make_optimizer(0.01)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.1, patience=0, min_lr=1e-4)
    for num_reductions, lr in enumerate([0.5, 0.05, 0.005]):
        apply_lr(optimizer, [0.5], scheduler)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr), num_reductions
        for _ in range(2):
            scheduler.step(1 / (num_reductions + 1))


def test_a_plateau_at_min_lr_is_refused_unless_the_new_rate_is_min_lr_too() -> None:
    """If the number of reductions is unknown, the rate is set only if it does not matter."""
    program = Program(
        lambda o, lrs: schedulers.ReduceLROnPlateau(o, factor=0.1, patience=0, min_lr=1e-3),
        [0.01],
        20,
    )
    assert program.optimizer.param_groups[0]["lr"] == 1e-3
    with pytest.raises(ValueError, match=r"whose reductions so far are known, got <.*Plateau"):
        apply_lr(program.optimizer, [0.5], program.scheduler)
    assert program.optimizer.param_groups[0]["lr"] == 1e-3
    apply_lr(program.optimizer, [0.005], program.scheduler)
    assert program.optimizer.param_groups[0]["lr"] == 1e-3


def test_a_plateau_of_groups_with_different_rates_is_refused_after_its_patience() -> None:
    """The groups' original rates are known until the patience may have run out."""

    def make(o: Optimizer, lrs: Sequence[float]) -> LRScheduler:
        return schedulers.ReduceLROnPlateau(o, factor=0.5, patience=2)

    program = Program(make, OLD, 3)
    apply_lr(program.optimizer, NEW, program.scheduler)
    assert [group["lr"] for group in program.optimizer.param_groups] == list(NEW)
    program = Program(make, OLD, 6)
    before = program.state
    with pytest.raises(ValueError, match=r"whose reductions so far are known, got <.*Plateau"):
        apply_lr(program.optimizer, NEW, program.scheduler)
    assert program.state == before


def test_a_group_without_a_scheduler_has_exactly_the_new_rate() -> None:
    """A scheduler of one parameter group leaves the other groups at their suggestions."""
    program = Program(
        lambda o, lrs: ignite.PiecewiseLinear(
            o, "lr", [(0, lrs[1] / 2), (4, lrs[1])], param_group_index=1
        ),
        OLD,
        3,
    )
    apply_lr(program.optimizer, NEW, program.scheduler)
    lrs = [group["lr"] for group in program.optimizer.param_groups]
    assert lrs == [0.3, pytest.approx(0.05 * 0.75)]


def test_a_wrapper_of_the_optimizer_is_the_optimizer() -> None:
    """A scheduler of the wrapped optimizer sets the same parameter groups."""

    class Wrapper:
        def __init__(self, optimizer: Optimizer) -> None:
            self.optimizer = optimizer
            self.step = optimizer.step

        @property
        def param_groups(self) -> list[dict[str, Any]]:
            return list(self.optimizer.param_groups)

    optimizer = make_optimizer(0.01)
    scheduler = schedulers.ConstantLR(optimizer, 0.5)
    apply_lr(Wrapper(optimizer), [0.3], scheduler)
    assert optimizer.param_groups[0]["lr"] == 0.15


def test_a_call_without_the_scheduler_of_the_optimizer_is_a_warning() -> None:
    """The scheduler would write its own rate at its next step; without one there is no warning."""
    apply_lr(make_optimizer(0.01), [0.3])
    optimizer = make_optimizer(0.01)
    scheduler = schedulers.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match="must be the optimizer's scheduler"):
        apply_lr(optimizer, [0.3])
    apply_lr(optimizer, [0.3], scheduler)


@pytest.mark.filterwarnings("ignore:lr_scheduler must be the optimizer:UserWarning")
def test_without_a_scheduler_the_rate_is_exact() -> None:
    """Each group has exactly the suggested rate, as has its `initial_lr`."""
    optimizer = make_optimizer(0.01, 0.002)
    schedulers.StepLR(optimizer, 3)
    apply_lr(optimizer, [0.3, 0.07])
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.07]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.3, 0.07]


@pytest.mark.filterwarnings("ignore:lr_scheduler must be the optimizer:UserWarning")
def test_the_bounds_of_a_policy_follow_in_proportion() -> None:
    """The suggestion becomes the peak of a one-cycle policy; its other rates are scaled."""
    optimizer = make_optimizer(0.01)
    schedulers.OneCycleLR(optimizer, 0.1, total_steps=10, cycle_momentum=False)
    before = dict(optimizer.param_groups[0])
    apply_lr(optimizer, [0.5])
    after = optimizer.param_groups[0]
    assert after["max_lr"] == 0.5
    for key in ("initial_lr", "min_lr"):
        assert after[key] / before[key] == pytest.approx(5)


def test_base_rates_follow_exactly() -> None:
    """The scheduler's base rates are exactly the new ones, and the optimizer's at the start."""
    optimizer = make_optimizer(0.01, 0.003)
    scheduler = schedulers.ExponentialLR(optimizer, 0.5)
    apply_lr(optimizer, [0.7, 0.1], scheduler)
    assert scheduler.base_lrs == [0.7, 0.1]
    assert scheduler.get_last_lr() == [0.7, 0.1]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.7, 0.1]


def test_a_tensor_is_written_in_place() -> None:
    """A learning rate that is a tensor stays the same tensor."""
    lr = torch.tensor(0.01)
    optimizer = make_optimizer(lr)
    apply_lr(optimizer, [0.25])
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == 0.25


def test_a_group_at_zero_gets_the_new_rate() -> None:
    """A warm-up that begins at 0 does not make the new rate undefined."""
    optimizer = make_optimizer(0.0)
    apply_lr(optimizer, [0.25])
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_a_lambda_that_returns_the_rate_warns_with_both_rates() -> None:
    """With `lr=1.0` the function seems to return the rate, which multiplies the suggestion."""
    optimizer = make_optimizer(1.0)
    scheduler = schedulers.LambdaLR(optimizer, lambda k: 0.007 / (k + 1))
    with pytest.warns(
        UserWarning,
        match=r"suggestion is 0\.2, but the learning rate becomes 0\.0014\. .* with lr=0\.2, and",
    ):
        apply_lr(optimizer, [0.2], scheduler)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0014)


@pytest.mark.parametrize(("lr", "factor"), [(0.5, 0.1), (1.0, 1.0)], ids=["other lr", "factor 1"])
def test_a_lambda_that_returns_a_factor_does_not_warn(lr: float, factor: float) -> None:
    """There is no warning for another rate, or if the suggestion itself is applied."""
    optimizer = make_optimizer(lr)
    scheduler = schedulers.LambdaLR(optimizer, lambda k: factor)
    apply_lr(optimizer, [0.2], scheduler)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * factor)


def test_a_different_number_of_groups_is_refused() -> None:
    """An optimizer with other parameter groups is refused, and nothing is set."""
    optimizer = make_optimizer(0.01, 0.02)
    with pytest.raises(LRFinderError, match=r"optimizer must have 1 parameter groups, .* got 2"):
        apply_lr(optimizer, [0.5])
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02]


class OwnIgnite(ignite.ParamScheduler):
    """A scheduler with values of unknown origin."""

    def get_param(self) -> float:
        return 0.1


class Factor(LRScheduler):
    """A custom scheduler of the usual form, with a lowest rate."""

    end_lr = 1e-3

    def get_lr(self) -> list[float | torch.Tensor]:
        return [max(float(lr) * 0.9**self.last_epoch, self.end_lr) for lr in self.base_lrs]


class PeakElsewhere(LRScheduler):
    """A custom scheduler that rises from the optimizer's rate to a separate peak."""

    def __init__(self, optimizer: Optimizer, max_lr: float) -> None:
        self.max_lr = max_lr
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        share = min(self.last_epoch / 8, 1.0)
        return [lr + (self.max_lr - lr) * share for lr in self.base_lrs]


class RateElsewhere(LRScheduler):
    """A custom scheduler that ignores the optimizer's rate."""

    def get_lr(self) -> list[float | torch.Tensor]:
        return [0.01 * 0.9**self.last_epoch for _ in self.base_lrs]


class NeedsMore(LRScheduler):
    """A custom scheduler whose steps take an argument and depend on the previous rate."""

    def step(self, loss: float = 0.0) -> None:  # type: ignore[override]  # as some custom ones do
        if self.last_epoch > 0 and loss == 0.0:
            raise RuntimeError("a step needs a loss")
        super().step()

    def get_lr(self) -> list[float | torch.Tensor]:
        return [group["lr"] * 0.9 for group in self.optimizer.param_groups]


def test_a_custom_scheduler_continues() -> None:
    """A class that computes its rates from the base rates continues, down to its lowest rate."""
    for num_steps in (0, 3, 30, 100):
        check_applied_midway(lambda o, lrs: Factor(o), num_steps)


def with_another_group(optimizer: Optimizer) -> LRScheduler:
    """Make a scheduler of the first parameter group, before there is a second."""
    last = optimizer.param_groups.pop()
    scheduler = schedulers.ExponentialLR(optimizer, 0.9)
    optimizer.param_groups.append(last)
    return scheduler


def after_its_last_cycle(optimizer: Optimizer, lr: float) -> ignite.ParamScheduler:
    """Make a scheduler whose second cycle has no learning rate above 0."""
    scheduler = ignite.LinearCyclicalScheduler(
        optimizer, "lr", 0.0, lr, 4, end_value_mult=0.0, param_group_index=0
    )
    for _ in range(5):
        scheduler(None)
    return scheduler


REFUSED: dict[str, tuple[type[Exception], str, Make]] = {
    "an integer": (
        TypeError,
        "a scheduler of torch or Ignite, got 3. Recreate a",
        lambda o, lrs: 3,
    ),
    "an unknown class of Ignite's": (
        TypeError,
        "a scheduler of torch or Ignite, got <.*OwnIgnite",
        lambda o, lrs: OwnIgnite(o, "lr"),
    ),
    "one of the momentum": (
        ValueError,
        'a scheduler of the parameter "lr", got <.*PiecewiseLinear',
        lambda o, lrs: ignite.PiecewiseLinear(o, "momentum", [(0, 0.9)]),
    ),
    "one of another optimizer": (
        ValueError,
        "a scheduler of the given optimizer, got <.*StepLR",
        lambda o, lrs: schedulers.StepLR(make_optimizer(*lrs), 2),
    ),
    "one value for two rates": (
        ValueError,
        "a scheduler of a single parameter group, got <.*PiecewiseLinear.*ParamGroupScheduler",
        lambda o, lrs: ignite.PiecewiseLinear(o, "lr", [(0, 0.01)]),
    ),
    "one made before the last group": (
        ValueError,
        "created for all 2 parameter groups, got <.*ExponentialLR",
        lambda o, lrs: with_another_group(o),
    ),
    "a cycle of zeros": (
        ValueError,
        "in a cycle whose learning rates are not all 0, got <.*LinearCyclicalScheduler",
        lambda o, lrs: after_its_last_cycle(o, lrs[0]),
    ),
    "a larger rate elsewhere": (
        ValueError,
        "whose base_lrs are its largest learning rates, got <.*PeakElsewhere",
        lambda o, lrs: PeakElsewhere(o, 0.1),
    ),
    "no base rate": (
        ValueError,
        "whose base_lrs are its largest learning rates, got <.*RateElsewhere",
        lambda o, lrs: RateElsewhere(o),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_scheduler_that_cannot_follow_is_refused(case: str) -> None:
    """The error names its class, and nothing is set."""
    error, match, make = REFUSED[case]
    optimizer = make_optimizer(*OLD)
    scheduler = make(optimizer, OLD)
    before = [group["lr"] for group in optimizer.param_groups]
    with pytest.raises(error, match=f"^lr_scheduler must be .*{match}"):
        apply_lr(optimizer, NEW, scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == before


def test_one_of_two_schedulers_of_an_optimizer_is_refused() -> None:
    """One scheduler alone does not account for the optimizer's rate."""
    optimizer = make_optimizer(0.01)
    both = [schedulers.StepLR(optimizer, 2), schedulers.ExponentialLR(optimizer, 0.9)]
    optimizer.step()
    for scheduler in both:
        scheduler.step()
    message = r"all that sets the learning rate 0\.009, got <.*StepLR.* gives 0\.01\. Join"
    with pytest.raises(ValueError, match=message):
        apply_lr(optimizer, [0.3], both[0])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.009)


@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["float", "tensor"])
def test_a_rate_that_was_set_by_hand_is_refused(lr: float | torch.Tensor) -> None:
    """A rate that the schedule did not set is not replaced."""
    optimizer = make_optimizer(lr)
    scheduler = schedulers.StepLR(optimizer, 2)
    optimizer.param_groups[0]["lr"] *= 0.4
    with pytest.raises(ValueError, match=r"all that sets the learning rate 0\.004"):
        apply_lr(optimizer, [0.3], scheduler)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.004)
    assert float(scheduler.base_lrs[0]) == pytest.approx(0.01)


@pytest.mark.parametrize("is_base_lost", [False, True], ids=["base rate kept", "base rate lost"])
def test_one_tensor_for_lr_and_initial_lr_becomes_two(is_base_lost: bool) -> None:
    """Torch before 2.9 shares the tensor; the scheduler is refused if its base rate is lost too."""
    optimizer = make_optimizer(torch.tensor(0.01))
    scheduler = schedulers.ExponentialLR(optimizer, 0.9)
    group = optimizer.param_groups[0]
    group["initial_lr"] = group["lr"]
    optimizer.step()
    scheduler.step()
    if is_base_lost:
        scheduler.base_lrs = [group["lr"]]
        with pytest.raises(ValueError, match=r"all that sets the learning rate 0\.009"):
            apply_lr(optimizer, [0.3], scheduler)
        return
    apply_lr(optimizer, [0.3], scheduler)
    assert group["lr"].item() == pytest.approx(0.27)
    assert group["initial_lr"].item() == pytest.approx(0.3)


def test_a_custom_scheduler_whose_steps_fail_is_refused() -> None:
    """If the steps cannot be replayed, the error names the class."""
    optimizer = make_optimizer(0.01)
    scheduler = NeedsMore(optimizer)
    optimizer.step()
    for _ in range(3):
        scheduler.step(1.0)
    with pytest.raises(ValueError, match=r"whose steps can be replayed, got <.*NeedsMore"):
        apply_lr(optimizer, [0.3], scheduler)
    assert scheduler.last_epoch == 3


def test_the_scheduler_itself_takes_no_step() -> None:
    """The schedule is replayed without calling a function in place of a method."""
    program = Program(TORCH["sequential"], OLD, 6)
    num_calls = 0

    def step(self: LRScheduler) -> None:
        nonlocal num_calls
        num_calls += 1

    for scheduler in (program.scheduler, *program.scheduler._schedulers):
        scheduler.step = MethodType(step, scheduler)
    apply_lr(program.optimizer, NEW, program.scheduler)
    assert num_calls == 0
    assert program.scheduler.last_epoch == 6


def test_an_object_without_parameter_groups_is_refused() -> None:
    """A model, for example, in place of its optimizer."""
    with pytest.raises(
        TypeError, match="optimizer must be an optimizer with param_groups, got Lin"
    ):
        apply_lr(nn.Linear(1, 1), [0.5])  # type: ignore[arg-type]  # what it is about
