"""A train step that raises because training has diverged ends a measurement; others raise."""

import math
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
@pytest.mark.parametrize("check", [refuse_outputs, exit_at_infinity, refuse_losses])
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
    """Raise for a reason of its own, beside a mask."""
    mask = torch.full((3,), -math.inf)
    if loss < 1:
        raise KeyError(len(mask))


def fail_at_once(model: nn.Module, loss: torch.Tensor) -> None:
    """Raise at the first iteration, which no learning rate explains."""
    unknown = math.nan
    raise KeyError(unknown)


@pytest.mark.parametrize("check", [fail_later, fail_at_once])
def test_another_exception_is_raised(check: Check) -> None:
    """Whatever hides it would hide a mistake."""
    trainer, _, optimizer = make_training(check)
    attached = FastaiLRFinder().attach(trainer, optimizer, num_iter=100, end_lr=1.0)
    with pytest.raises(KeyError), attached as swept:
        swept.run([0] * 10)
