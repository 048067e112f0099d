"""A warm-up by hand, a StepLR stepped at EPOCH_STARTED, and a plateau after validation."""

from pathlib import Path

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Loss
from torch import nn

from programs import Program, log, regression


def build(directory: Path) -> Program:
    """Mute what writes the rate; the plateau is muted by its event."""
    batches = regression()
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    groups = [{"params": model[0].parameters(), "lr": 1e-3}, {"params": model[2].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=0.9)
    step_lr = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    trainer = create_supervised_trainer(model, optimizer, nn.MSELoss())
    evaluator = create_supervised_evaluator(model, {"loss": Loss(nn.MSELoss())})

    @trainer.on(Events.ITERATION_STARTED)
    def warm_up() -> None:
        if trainer.state.iteration <= 5:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * trainer.state.iteration / 5

    @trainer.on(Events.EPOCH_STARTED)
    def adjust_learning_rate() -> None:
        if trainer.state.epoch > 1:
            step_lr.step()

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        plateau.step(evaluator.run(batches[:3]).metrics["loss"])
        log.info("%r", [group["lr"] for group in optimizer.param_groups])

    to_save = {"model": model, "optimizer": optimizer}
    state = {**to_save, "step_lr": step_lr, "plateau": plateau, "evaluator": evaluator}
    arguments = {"mute_handlers": [warm_up, adjust_learning_rate]}
    run = lambda: trainer.run(batches, max_epochs=4)  # noqa: E731  # as users write it
    return Program(trainer, to_save, run, state, arguments)
