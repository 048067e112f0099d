"""A variational autoencoder whose KL term is annealed by Ignite's state scheduler."""

from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import PiecewiseLinearStateScheduler, TimeLimit
from ignite.handlers.tensorboard_logger import (
    OptimizerParamsHandler,
    OutputHandler,
    TensorboardLogger,
    WeightsScalarHandler,
)
from torch import nn

from programs import Program, log, regression


def build(directory: Path) -> Program:
    """Log losses, rates and norms of weights to TensorBoard."""
    batches = [batch for batch, _ in regression()]
    encoder, decoder = nn.Linear(6, 4), nn.Linear(2, 6)
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-2)

    def step(engine: Engine, x: torch.Tensor) -> tuple[float, float, float]:
        mean, log_var = encoder(x).chunk(2, 1)
        decoded = decoder(mean + torch.randn_like(mean) * (0.5 * log_var).exp())
        reconstruction = nn.functional.mse_loss(decoded, x)
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).mean()
        loss = reconstruction + engine.state.beta * kl  # type: ignore[attr-defined]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item(), reconstruction.item(), kl.item()

    trainer = Engine(step)
    beta = PiecewiseLinearStateScheduler(
        param_name="beta", milestones_values=[(0, 0.0), (20, 1.0)], create_new=True
    )
    beta.attach(trainer, Events.ITERATION_STARTED)
    logger = TensorboardLogger(str(directory))
    every = Events.ITERATION_COMPLETED(every=5)
    logger.attach(trainer, OutputHandler("train", output_transform=lambda o: {"kl": o[2]}), every)
    logger.attach(trainer, OptimizerParamsHandler(optimizer), Events.ITERATION_STARTED(every=5))
    logger.attach(trainer, WeightsScalarHandler(model), Events.EPOCH_COMPLETED)
    trainer.add_event_handler(Events.COMPLETED, logger.close)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(1000))

    @trainer.on(Events.EPOCH_COMPLETED)
    def report() -> None:
        log.info("%r", trainer.state.output)

    to_save = {"model": model, "optimizer": optimizer}
    arguments = {"output_transform": lambda output: output[0]}
    run = lambda: trainer.run(batches, max_epochs=3)  # noqa: E731  # as users write it
    return Program(trainer, to_save, run, {**to_save, "beta": beta}, arguments)
