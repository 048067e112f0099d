"""A GAN: two optimizers, fixed noise, running averages, samples and checkpoints."""

from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, ModelCheckpoint, Timer
from ignite.metrics import RunningAverage
from torch import nn

from programs import Program, log


def build(directory: Path) -> Program:
    """Sweep the discriminator, as one of two optimizers."""
    generator = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    fixed_noise = torch.randn(4, 4)
    real = [torch.randn(16, 2) * 0.1 + 1 for _ in range(10)]

    def step(engine: Engine, batch: torch.Tensor) -> dict[str, float]:
        ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
        fake = generator(torch.randn(16, 4))
        d_optimizer.zero_grad()
        d_loss = bce(discriminator(batch), ones) + bce(discriminator(fake.detach()), zeros)
        d_loss.backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        g_loss = bce(discriminator(fake), ones)
        g_loss.backward()
        g_optimizer.step()
        return {"d_loss": d_loss.item(), "g_loss": g_loss.item()}

    trainer = Engine(step)
    for name in ("d_loss", "g_loss"):
        average = RunningAverage(output_transform=lambda output, name=name: output[name])
        average.attach(trainer, name)
    timer = Timer(average=True)
    timer.attach(
        trainer,
        start=Events.EPOCH_STARTED,
        resume=Events.ITERATION_STARTED,
        pause=Events.ITERATION_COMPLETED,
        step=Events.ITERATION_COMPLETED,
    )
    nets = {"generator": generator, "discriminator": discriminator}
    saver = ModelCheckpoint(str(directory), "networks", n_saved=2, require_empty=False)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saver, to_save=nets)

    @trainer.on(Events.EPOCH_COMPLETED)
    def save_samples(engine: Engine) -> None:
        torch.save(generator(fixed_noise), directory / f"samples_{engine.state.epoch}.pt")

    @trainer.on(Events.ITERATION_COMPLETED(every=5))
    def report(engine: Engine) -> None:
        log.info("%d: %r", engine.state.iteration, engine.state.metrics)

    @trainer.on(Events.EXCEPTION_RAISED)
    def handle(engine: Engine, error: BaseException) -> None:
        Checkpoint(nets, saver.save_handler)(engine)
        raise error

    to_save = {**nets, "optimizer": d_optimizer, "g_optimizer": g_optimizer}
    arguments = {"output_transform": lambda output: output["d_loss"]}
    return Program(trainer, to_save, lambda: trainer.run(real, max_epochs=3), to_save, arguments)
