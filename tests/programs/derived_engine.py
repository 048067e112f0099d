"""A trainer class that derives from Engine, keeps its own books and has handlers as methods."""

import json
from pathlib import Path

import torch
from ignite.engine import Engine, EventEnum, Events
from torch import nn

from programs import Batch, Program, log, regression


class BackpropEvents(EventEnum):
    """Events of the train step."""

    BACKWARD_COMPLETED = "backward_completed"


class Trainer(Engine):
    """Trains a model, logs its gradient norms, and writes its history to a file."""

    def __init__(self, model: nn.Module, directory: Path) -> None:
        super().__init__(self.train_step)
        self.model = model
        self.optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
        self.criterion = nn.SmoothL1Loss()
        self.path = directory / "history.json"
        self.norms: list[float] = []
        self.history: list[dict[str, float]] = []
        self.num_batches = 0
        self.register_events(*BackpropEvents, event_to_attr={})
        self.add_event_handler(BackpropEvents.BACKWARD_COMPLETED, self.clip)
        self.add_event_handler(Events.EPOCH_STARTED, self.reset)
        self.add_event_handler(Events.EPOCH_COMPLETED, self.close_epoch)

    def train_step(self, engine: Engine, batch: Batch) -> dict[str, float]:
        """Train on a batch."""
        self.model.train()
        self.num_batches += 1
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(batch[0]), batch[1])
        loss.backward()
        self.fire_event(BackpropEvents.BACKWARD_COMPLETED)
        self.optimizer.step()
        return {"loss": loss.item()}

    def clip(self) -> None:
        """Clip the gradients."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.norms.append(float(norm))

    def reset(self) -> None:
        """Begin an epoch."""
        self.norms.clear()

    def close_epoch(self) -> None:
        """Add a line to the history."""
        self.history.append({"norm": sum(self.norms) / len(self.norms)})
        self.path.write_text(json.dumps(self.history))
        log.info("%d batches, %r", self.num_batches, self.history[-1])


def build(directory: Path) -> Program:
    """Train with the trainer's own optimizer."""
    batches = regression()
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    trainer = Trainer(model, directory)

    def books() -> dict[str, object]:
        return {"norms": trainer.norms, "history": trainer.history, "num": trainer.num_batches}

    state = {"model": model, "optimizer": trainer.optimizer, "books": books}
    return Program(trainer, trainer.optimizer, lambda: trainer.run(batches, max_epochs=3), state)
