"""MONAI's GanTrainer, with two optimizers and checkpoints of both networks."""
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

from pathlib import Path

import torch
from ignite.engine import Events
from monai.data import CacheDataset, DataLoader
from monai.engines import GanTrainer
from monai.handlers import CheckpointSaver, StatsHandler
from monai.transforms import Compose, RandFlipd, RandScaleIntensityd
from monai.utils import set_determinism
from monai.utils.enums import GanKeys
from torch import nn

from programs import Program, log

BCE = nn.BCEWithLogitsLoss()


def build(directory: Path) -> Program:
    """Sweep the generator."""
    set_determinism(0)
    items = [{"reals": torch.randn(1, 4, 4) * 0.1 + 0.5} for _ in range(48)]
    flip = RandFlipd("reals", prob=0.5, spatial_axis=0)
    transform = Compose([flip, RandScaleIntensityd("reals", 0.1, prob=0.5)])
    loader = DataLoader(CacheDataset(items, transform, progress=False), batch_size=8, shuffle=True)
    generator = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)
    d_optimizer = torch.optim.SGD(discriminator.parameters(), lr=1e-2, momentum=0.5)

    def d_loss(fakes: torch.Tensor, reals: torch.Tensor) -> torch.Tensor:
        of_fakes, of_reals = discriminator(fakes.detach()), discriminator(reals)
        return BCE(of_fakes, torch.zeros(8, 1)) + BCE(of_reals, torch.ones(8, 1))

    def g_loss(fakes: torch.Tensor) -> torch.Tensor:
        return BCE(discriminator(fakes), torch.ones(8, 1))

    def losses(output: dict) -> dict[str, float]:
        return {"generator": output[GanKeys.GLOSS], "discriminator": output[GanKeys.DLOSS]}

    nets = {"g_net": generator, "d_net": discriminator}
    saver = CheckpointSaver(str(directory), nets, save_interval=1, epoch_level=True)
    trainer = GanTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=loader,
        g_network=generator,
        g_optimizer=g_optimizer,
        g_loss_function=g_loss,
        d_network=discriminator,
        d_optimizer=d_optimizer,
        d_loss_function=d_loss,
        d_prepare_batch=lambda batch, *args, **kwargs: batch["reals"],
        latent_shape=3,
        decollate=False,
        train_handlers=[StatsHandler(name="program", output_transform=losses), saver],
    )

    @trainer.on(Events.EPOCH_COMPLETED)
    def report() -> None:
        log.info("%r", trainer.state.output[GanKeys.GLOSS])

    to_save = {**nets, "optimizer": g_optimizer, "d_optimizer": d_optimizer}
    arguments = {"output_transform": lambda output: output[GanKeys.GLOSS]}
    return Program(trainer, to_save, trainer.run, to_save, arguments)
