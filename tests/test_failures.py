"""A train step that raises because training has diverged ends a measurement; others raise."""

import math
import signal
import warnings
from collections.abc import Callable

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from ignite_lrfinder import FastaiLRFinder, StopReason, Trials

X = torch.ones(4, 1)


def refuse_outputs(model: nn.Module, loss: torch.Tensor) -> None:
    """Refuse outputs, as a distribution does; no variable here holds them."""
    if not bool(model(X).isfinite().all()):
        raise ValueError("expected finite outputs")


def exit_at_infinity(model: nn.Module, loss: torch.Tensor) -> None:
    """End the program, as scripts for object detection do."""
    value = loss.item()
    if not math.isfinite(value):
        raise SystemExit(1)


def refuse_own_loss(model: nn.Module, loss: torch.Tensor) -> None:
    """Check a loss that an object holds."""

    class Trainer:
        def __init__(self) -> None:
            self.loss = loss

        def check(self) -> None:
            if not math.isfinite(self.loss.item()):
                raise FloatingPointError

    Trainer().check()


def refuse_losses(model: nn.Module, loss: torch.Tensor) -> None:
    """Check the losses by their names."""
    losses = {"total": loss, "other": 0.0}
    if not torch.isfinite(losses["total"]):
        raise FloatingPointError


Check = Callable[[nn.Module, torch.Tensor], None]


def make_training(check: Check) -> tuple[Engine, nn.Module, torch.optim.Optimizer]:
    """Make a regression with a check in its train step."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        optimizer.zero_grad()
        loss = (model(X) - 3).square().mean()
        check(model, loss)
        loss.backward()
        optimizer.step()
        return loss.clamp(max=1e6).item()

    return Engine(train_step), model, optimizer


@pytest.mark.parametrize("verify", [False, Trials(max_iter=60, short_iter=15, long_iter=20)])
@pytest.mark.parametrize(
    "check", [refuse_outputs, exit_at_infinity, refuse_own_loss, refuse_losses]
)
def test_a_reaction_to_divergence_ends_the_sweep(check: Check, verify: bool | Trials) -> None:
    """One warning names the exception, there is a suggestion, and training is as it was."""
    trainer, model, optimizer = make_training(check)
    before, finder = [p.detach().clone() for p in model.parameters()], FastaiLRFinder()
    attached = finder.attach(
        trainer, optimizer, num_iter=200, end_lr=1e30, diverge_th=math.inf, verify=verify
    )
    with pytest.warns(UserWarning, match=r"The train step raised \w+\(.*\) at the") as caught:
        with attached as swept:
            swept.run([0] * 10)
    assert sum("train step raised" in str(w.message) for w in caught) == 1
    assert finder.result.stop_reason is StopReason.NON_FINITE
    assert finder.lr_suggestion()
    assert all(map(torch.equal, before, model.parameters()))
    trainer.run([0] * 10)
    assert not all(map(torch.equal, before, model.parameters()))


def fail_later(model: nn.Module, loss: torch.Tensor) -> None:
    """Raise for a reason of its own, beside constants and data that are not finite."""
    mask, best, labels = torch.full((3,), -math.inf), math.inf, torch.tensor([math.nan, 1.0])
    if loss < 1:
        raise KeyError(len(mask) + best + len(labels))


def fail_at_once(model: nn.Module, loss: torch.Tensor) -> None:
    """Raise at the first iteration, which no learning rate explains."""
    broken = loss * math.nan
    raise KeyError(broken)


def fail_beside_odd_tensors(model: nn.Module, loss: torch.Tensor) -> None:
    """Raise beside tensors that have no values, and what takes forever to look at."""
    odd = [torch.empty(3, device="meta", requires_grad=True), loss.to_sparse(), range(10**12)]
    if loss < 1:
        raise KeyError(len(odd))


@pytest.mark.parametrize("check", [fail_later, fail_at_once, fail_beside_odd_tensors])
def test_another_exception_is_raised(check: Check) -> None:
    """Whatever hides it would hide a mistake."""
    trainer, _, optimizer = make_training(check)
    attached = FastaiLRFinder().attach(trainer, optimizer, num_iter=100, end_lr=1.0)
    with pytest.raises(KeyError), attached as swept:
        swept.run([0] * 10)


def test_the_end_of_the_program_from_outside_is_not_a_reaction() -> None:
    """A handler of a signal may raise anywhere, also where training has diverged."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(143)

    def check(model: nn.Module, loss: torch.Tensor) -> None:
        if not bool(loss.isfinite()):
            signal.raise_signal(signal.SIGUSR1)

    trainer, _, optimizer = make_training(check)
    attached = FastaiLRFinder().attach(
        trainer, optimizer, num_iter=200, end_lr=1e30, diverge_th=math.inf
    )
    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(SystemExit), attached as swept:
            swept.run([0] * 10)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("is_raising", [False, True], ids=["nan", "exception"])
def test_trials_after_a_failure_are_those_after_a_loss_of_nan(is_raising: bool) -> None:
    """Also where it came after the step, in the last of two micro-batches."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        loss = (model(X) - 3).square().mean()
        loss.backward()
        if engine.state.iteration % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        is_broken = not bool(loss < 1e20)
        if is_broken and is_raising:
            broken = loss * math.nan
            raise FloatingPointError(broken.shape)
        return math.nan if is_broken else loss.item()

    finder = FastaiLRFinder()
    with (
        warnings.catch_warnings(),
        finder.attach(
            Engine(train_step),
            optimizer,
            num_iter=200,
            end_lr=1e30,
            diverge_th=math.inf,
            verify=Trials(max_iter=45, short_iter=15, long_iter=20),
        ) as swept,
    ):
        warnings.simplefilter("ignore")
        swept.run([0] * 10)
    result = finder.result
    assert math.isnan(result.losses[-1])
    assert all(len(trial.losses) == 15 for trial in result.trials)
    assert all(len(set(trial.losses[:2])) == 2 for trial in result.trials)
