"""A suggestion into an optimizer and its scheduler."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as schedulers
from torch.optim.lr_scheduler import LRScheduler

from ignite_lrfinder import LRFinderError
from ignite_lrfinder.apply import apply_lr

MakeScheduler = Callable[[Optimizer, float], LRScheduler]
SCHEDULERS: dict[str, MakeScheduler] = {
    "step": lambda o, lr: schedulers.StepLR(o, 3, gamma=0.3),
    "exponential": lambda o, lr: schedulers.ExponentialLR(o, 0.9),
    "lambda": lambda o, lr: schedulers.LambdaLR(o, lambda k: 1 / (k + 1)),
    "warm-up": lambda o, lr: schedulers.LinearLR(o, 0.1, total_iters=4),
    "cosine": lambda o, lr: schedulers.CosineAnnealingLR(o, 10),
    "warm-restarts": lambda o, lr: schedulers.CosineAnnealingWarmRestarts(o, 4),
    "polynomial": lambda o, lr: schedulers.PolynomialLR(o, 10, power=2.0),
    "one-cycle": lambda o, lr: schedulers.OneCycleLR(o, lr, total_steps=20, cycle_momentum=False),
    "cyclic": lambda o, lr: schedulers.CyclicLR(o, lr / 10, lr, 4, cycle_momentum=False),
    "sequential": lambda o, lr: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.1, total_iters=4), schedulers.ExponentialLR(o, 0.9)],
        milestones=[4],
    ),
    "chained": lambda o, lr: schedulers.ChainedScheduler(
        [schedulers.LinearLR(o, 0.1, total_iters=4), schedulers.ExponentialLR(o, 0.9)]
    ),
}


def make_optimizer(*lrs: float | torch.Tensor) -> Optimizer:
    """Make an optimizer with a parameter group for each learning rate."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs]
    return torch.optim.Adam(groups, foreach=False)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_goes_on_as_if_made_with_the_new_rate(name: str) -> None:
    """Each later value is that of a scheduler made with the suggestion from the start."""

    def values(optimizer: Optimizer, scheduler: LRScheduler) -> list[float]:
        lrs = []
        for _ in range(15):
            lrs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return lrs

    optimizer = make_optimizer(0.01)
    scheduler = SCHEDULERS[name](optimizer, 0.01)
    apply_lr(optimizer, [0.3], scheduler)
    anew = make_optimizer(0.3)
    expected = values(anew, SCHEDULERS[name](anew, 0.3))
    assert values(optimizer, scheduler) == pytest.approx(expected, rel=1e-12)


def test_without_a_scheduler_the_rate_is_exact() -> None:
    """Each group has exactly the suggested rate, and its initial one follows."""
    optimizer = make_optimizer(0.01, 0.002)
    schedulers.StepLR(optimizer, 3)
    apply_lr(optimizer, [0.3, 0.07])
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.07]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.3, 0.07]


def test_the_bounds_of_a_policy_follow_in_proportion() -> None:
    """The suggestion becomes the largest rate of a one-cycle policy, the others in proportion."""
    optimizer = make_optimizer(0.01)
    schedulers.OneCycleLR(optimizer, 0.1, total_steps=10, cycle_momentum=False)
    before = dict(optimizer.param_groups[0])
    apply_lr(optimizer, [0.5])
    after = optimizer.param_groups[0]
    assert after["max_lr"] == 0.5
    for key in ("initial_lr", "min_lr"):
        assert after[key] / before[key] == pytest.approx(5)


def test_base_rates_follow_exactly() -> None:
    """The scheduler's list of base rates stays the same list, with exactly the new rates."""
    optimizer = make_optimizer(0.01, 0.003)
    scheduler = schedulers.ExponentialLR(optimizer, 0.5)
    base_lrs = scheduler.base_lrs
    apply_lr(optimizer, [0.7, 0.1], scheduler)
    assert scheduler.base_lrs is base_lrs
    assert base_lrs == [0.7, 0.1]
    assert scheduler.get_last_lr() == [0.7, 0.1]


def test_a_tensor_is_written_in_place() -> None:
    """A learning rate that is a tensor stays the same tensor."""
    lr = torch.tensor(0.01)
    optimizer = make_optimizer(lr)
    apply_lr(optimizer, [0.25])
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == 0.25


def test_a_group_that_rests_at_zero_takes_the_new_rate() -> None:
    """A warm-up that begins at 0 does not make the new rate undefined."""
    optimizer = make_optimizer(0.0)
    apply_lr(optimizer, [0.25])
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_another_number_of_groups_is_refused() -> None:
    """An optimizer with other parameter groups is refused, and nothing is set."""
    optimizer = make_optimizer(0.01, 0.02)
    with pytest.raises(LRFinderError, match=r"number of parameter groups does not match.*1 vs 2"):
        apply_lr(optimizer, [0.5])
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02]


def test_a_scheduler_that_is_none_is_refused() -> None:
    """Something else than a torch scheduler is refused by its kind."""
    with pytest.raises(TypeError, match="lr_scheduler must be a torch LRScheduler, got 3"):
        apply_lr(make_optimizer(0.01), [0.5], 3)  # type: ignore[arg-type]  # what the test is about


def test_a_scheduler_of_another_optimizer_is_refused() -> None:
    """A scheduler of another optimizer is refused, and nothing is set."""
    optimizer = make_optimizer(0.01)
    other = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match="lr_scheduler must be a scheduler of the given optimizer"):
        apply_lr(optimizer, [0.5], schedulers.StepLR(other, 2))
    assert optimizer.param_groups[0]["lr"] == 0.01
