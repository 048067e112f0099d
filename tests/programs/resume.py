"""Resume a deterministic training from the checkpoint of its second epoch."""

from pathlib import Path

import torch
from ignite.engine import DeterministicEngine, Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, LRScheduler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from programs import Program, log, regression


def create(directory: Path) -> tuple[Engine, dict, DataLoader]:
    """Create everything as a run of the script does."""
    x, y = (torch.cat(parts) for parts in zip(*regression(), strict=True))
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = LRScheduler(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99))

    def step(engine: Engine, batch: list[torch.Tensor]) -> float:
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer = DeterministicEngine(step)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    to_save = {"trainer": trainer, "model": model, "optimizer": optimizer, "scheduler": scheduler}
    saver = DiskSaver(str(directory), create_dir=True, require_empty=False)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(to_save, saver, n_saved=None))

    @trainer.on(Events.EPOCH_COMPLETED)
    def report() -> None:
        log.info("epoch %d: %r", trainer.state.epoch, trainer.state.output)

    return trainer, to_save, loader


def build(directory: Path) -> Program:
    """Train for two epochs, and resume as a new run of the script does."""
    trainer, _, loader = create(directory)
    trainer.run(loader, max_epochs=2)
    torch.manual_seed(1)
    trainer, to_save, loader = create(directory)
    Checkpoint.load_objects(to_save, torch.load(directory / "checkpoint_20.pt", weights_only=False))
    objects = {name: to_save[name] for name in ("model", "optimizer")}
    return Program(trainer, objects, lambda: trainer.run(loader, max_epochs=4), to_save)
