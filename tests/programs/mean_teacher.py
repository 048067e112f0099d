"""A mean teacher, a frozen network, a loss with centers, and Ignite's EMA of the student."""

import copy
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler, ModelCheckpoint
from torch import nn

from programs import Batch, Program, log, regression


class CenterLoss(nn.Module):
    """The distance to a center that follows the features."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(8))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the mean distance."""
        self.center = 0.9 * self.center + 0.1 * features.detach().mean(0)
        return (features - self.center).square().mean()


def build(directory: Path) -> Program:
    """Save the student alone to the finder; the other networks are found in the train step."""
    batches = regression()
    student = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    teacher = copy.deepcopy(student).requires_grad_(False)
    backbone = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.1)).requires_grad_(False)
    center_loss = CenterLoss()
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-2, momentum=0.9, nesterov=True)

    def step(engine: Engine, batch: Batch) -> dict[str, torch.Tensor]:
        student.train()
        x = backbone(batch[0])
        features = student[:2](x)
        predicted = student[2:](features)
        consistency = nn.functional.mse_loss(predicted, teacher(batch[0]))
        loss = nn.functional.mse_loss(predicted, batch[1]) + 0.1 * consistency
        loss = loss + 0.01 * center_loss(features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for mean, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.lerp_(parameter.detach(), 0.1)
        return {"loss": loss.detach(), "consistency": consistency.detach()}

    trainer = Engine(step)
    ema = EMAHandler(student, momentum=0.05)
    ema.attach(trainer, name="momentum", event=Events.ITERATION_COMPLETED)
    saver = ModelCheckpoint(str(directory), "ema", n_saved=1, require_empty=False)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saver, {"model": ema.ema_model})

    @trainer.on(Events.EPOCH_COMPLETED)
    def report() -> None:
        log.info("%r", trainer.state.output)

    to_save = {"model": student, "optimizer": optimizer}
    others = {"teacher": teacher, "backbone": backbone, "centers": center_loss}
    state = {**to_save, **others, "ema": ema.ema_model}
    return Program(trainer, to_save, lambda: trainer.run(batches, max_epochs=3), state)
