"""Accelerate: a point is a step of the wrapped optimizer, and its accumulation is restored."""

import importlib.util

import pytest
import torch
from conftest import Log
from ignite.engine import Engine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ignite_lrfinder import FastaiLRFinder, Trials

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="no Accelerate"),
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


class Training:
    """A training with Accelerate that accumulates gradients over four batches of ten."""

    def __init__(self) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState

        # Both are shared by all accelerators of a process.
        AcceleratorState._reset_state()
        GradientState._reset_state()
        torch.manual_seed(0)
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
        model = nn.Linear(20, 5)
        inner = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
        x = torch.randn(160, 20)
        loader = DataLoader(TensorDataset(x, x[:, :5].argmax(1)), 16, shuffle=True)
        self.model, self.optimizer, self.loader = accelerator.prepare(model, inner, loader)
        self.used = Log()
        inner.register_step_pre_hook(lambda *args: self.used.append(inner.param_groups[0]["lr"]))

        def step(engine: Engine, batch: list[torch.Tensor]) -> float:
            with accelerator.accumulate(self.model):
                loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
                accelerator.backward(loss)
                self.optimizer.step()
                self.optimizer.zero_grad()
            return loss.item()

        self.trainer = Engine(step)

    def sweep(self, *, verify: bool | Trials = False) -> FastaiLRFinder:
        """Sweep over twelve steps."""
        finder = FastaiLRFinder()
        to_save = {"model": self.model, "optimizer": self.optimizer}
        with finder.attach(
            self.trainer, to_save, num_iter=12, start_lr=1e-6, end_lr=0.1, verify=verify
        ) as trainer:
            trainer.run(self.loader)
        return finder


def test_a_point_is_a_step_of_the_wrapped_optimizer() -> None:
    """Each point is a step, also the one that the end of an epoch forces after two batches."""
    training = Training()
    result = training.sweep().result
    assert result.lr[:, 0].tolist() == training.used
    assert len(result) == 12


TRIALS = Trials(max_iter=75, short_iter=10, long_iter=15)


@pytest.mark.parametrize("verify", [False, TRIALS], ids=["sweep", "trials"])
@pytest.mark.parametrize("num_iter", [0, 6, 10], ids=["fresh", "between-steps", "after-an-epoch"])
def test_training_between_steps_continues_as_without_the_finder(
    num_iter: int, verify: bool | Trials
) -> None:
    """Training after the block takes its steps in the iterations in which it would have."""
    outcomes = []
    for is_swept in (False, True):
        training = Training()
        if num_iter:
            training.trainer.run(training.loader, epoch_length=num_iter, max_epochs=1)
        if is_swept:
            training.sweep(verify=verify)
        training.used.clear()
        training.trainer.run(training.loader, max_epochs=3)
        outcomes.append((training.used, [p.tolist() for p in training.model.parameters()]))
    assert outcomes[0] == outcomes[1]
