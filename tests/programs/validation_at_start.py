"""Validation before training and after each epoch, with early stopping and best checkpoints."""

from pathlib import Path

import torch
from ignite.engine import (
    Engine,
    Events,
    create_supervised_evaluator,
    create_supervised_trainer,
)
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping, global_step_from_engine
from ignite.metrics import Loss
from torch import nn

from programs import Program, log, regression


def score(engine: Engine) -> float:
    """Return the negative validation loss."""
    return -engine.state.metrics["loss"]


def build(directory: Path) -> Program:
    """Train at a rate so low that early stopping ends the training."""
    batches = regression()
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    trainer = create_supervised_trainer(model, optimizer, nn.MSELoss())
    evaluator = create_supervised_evaluator(model, {"loss": Loss(nn.MSELoss())})
    stopper = EarlyStopping(3, score, trainer, 0.5)
    saver = DiskSaver(str(directory), create_dir=True, require_empty=False)
    best = Checkpoint(
        {"model": model},
        saver,
        n_saved=2,
        score_function=score,
        global_step_transform=global_step_from_engine(trainer),
    )
    evaluator.add_event_handler(Events.COMPLETED, stopper)
    evaluator.add_event_handler(Events.COMPLETED, best)

    @evaluator.on(Events.COMPLETED)
    def report() -> None:
        log.info("epoch %d: %r", trainer.state.epoch, evaluator.state.metrics)

    @trainer.on(Events.STARTED | Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.run(batches[:3])

    to_save = {"model": model, "optimizer": optimizer}
    state = {**to_save, "evaluator": evaluator, "stopper": stopper, "best": best}
    return Program(trainer, to_save, lambda: trainer.run(batches, max_epochs=9), state)
