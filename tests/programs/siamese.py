"""A siamese network on pairs that the data set draws at random, with three generators."""

import random
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.metrics import Accuracy, Loss
from torch import nn
from torch.utils.data import DataLoader, Dataset

from programs import Program, log

Item = tuple[torch.Tensor, torch.Tensor]


class Pairs(Dataset[Item]):
    """Pairs of samples, half of them of one class."""

    def __init__(self) -> None:
        self.labels = torch.arange(120) % 3
        self.samples = torch.randn(120, 4) + self.labels[:, None]
        self.rng = np.random.default_rng(0)
        self.num_drawn = 0

    def __len__(self) -> int:
        return 120

    def __getitem__(self, index: int) -> Item:
        self.num_drawn += 1
        is_same = random.random() < 0.5
        others = (self.labels == self.labels[index]) == is_same
        other = int(self.rng.choice(torch.nonzero(others)[:, 0].numpy()))
        noise = float(np.random.randn())  # noqa: NPY002  # as user code draws
        pair = torch.stack([self.samples[index] + 0.1 * noise, self.samples[other]])
        return pair, torch.tensor([float(is_same)])


class Siamese(nn.Module):
    """Scores whether the samples of a pair are of one class."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 1)

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        first, second = self.embed(pair[:, 0]), self.embed(pair[:, 1])
        return self.head((first - second).abs())


def build(directory: Path) -> Program:
    """Train, step a StepLR at the end of each epoch, and test on other pairs."""
    train_set, test_set = Pairs(), Pairs()
    loader, test_loader = DataLoader(train_set, 12, shuffle=True), DataLoader(test_set, 60)
    model = Siamese()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)
    bce = nn.BCEWithLogitsLoss()

    def step(engine: Engine, batch: list[torch.Tensor]) -> torch.Tensor:
        model.train()
        optimizer.zero_grad()
        loss = bce(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    trainer = Engine(step)
    accuracy = Accuracy(lambda output: ((output[0] > 0).int(), output[1].int()))
    evaluator = create_supervised_evaluator(model, {"accuracy": accuracy, "bce": Loss(bce)})

    @trainer.on(Events.EPOCH_COMPLETED)
    def test_and_step() -> None:
        log.info("%r", evaluator.run(test_loader).metrics)
        scheduler.step()

    to_save = {"model": model, "optimizer": optimizer}
    state = {**to_save, "scheduler": scheduler, "train": vars(train_set), "test": vars(test_set)}
    return Program(trainer, to_save, lambda: trainer.run(loader, max_epochs=3), state)
