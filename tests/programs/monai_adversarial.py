"""MONAI's AdversarialTrainer: a reconstruction, a discriminator, and events of its own."""
# pyright: reportMissingImports=false, reportPrivateImportUsage=false, reportArgumentType=false

from pathlib import Path

import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import AdversarialTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, TensorBoardStatsHandler
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from tensorboardX import SummaryWriter
from torch import nn

from programs import Program, log

BCE = nn.BCEWithLogitsLoss()


def build(directory: Path) -> Program:
    """Sweep the generator by its reconstruction loss."""
    items = [{"image": (x := torch.randn(1, 4, 4)), "label": x * 0.5} for _ in range(48)]
    loader = DataLoader(Dataset(items), batch_size=8, shuffle=True)
    generator = nn.Conv2d(1, 1, 3, padding=1)
    layers = (nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    discriminator = nn.Sequential(*layers)
    g_optimizer = torch.optim.AdamW(generator.parameters(), lr=1e-2)
    d_optimizer = torch.optim.AdamW(discriminator.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(g_optimizer, 0.9)
    writer = SummaryWriter(str(directory))

    def losses(output: dict) -> float:
        return output[AdversarialKeys.RECONSTRUCTION_LOSS].item()

    trainer = AdversarialTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=loader,
        g_network=generator,
        g_optimizer=g_optimizer,
        g_loss_function=lambda fakes: BCE(fakes, torch.ones_like(fakes)),
        recon_loss_function=nn.L1Loss(),
        d_network=discriminator,
        d_optimizer=d_optimizer,
        d_loss_function=lambda reals, fakes: BCE(reals - fakes, torch.ones_like(reals)),
        decollate=False,
        train_handlers=[
            LrScheduleHandler(scheduler, print_lr=False),
            StatsHandler(name="program", tag_name="reconstruction", output_transform=losses),
            TensorBoardStatsHandler(writer, tag_name="reconstruction", output_transform=losses),
        ],
    )

    @trainer.on(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED)
    def clip() -> None:
        nn.utils.clip_grad_norm_(generator.parameters(), 1.0)

    @trainer.on(Events.COMPLETED)
    def close() -> None:
        writer.close()
        log.info("completed at a rate of %r", scheduler.get_last_lr())

    to_save = {"model": generator, "optimizer": g_optimizer}
    others = {"discriminator": discriminator, "d_optimizer": d_optimizer, "scheduler": scheduler}
    arguments = {"output_transform": lambda o: o[AdversarialKeys.RECONSTRUCTION_LOSS]}
    return Program(trainer, to_save, trainer.run, {**to_save, **others}, arguments)
