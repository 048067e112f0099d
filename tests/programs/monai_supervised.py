"""MONAI's SupervisedTrainer with handlers that validate, schedule, save and log."""
# pyright: reportMissingImports=false, reportPrivateImportUsage=false, reportArgumentType=false

from pathlib import Path

import torch
from ignite.engine import Events
from ignite.metrics import MeanAbsoluteError
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import (
    CheckpointSaver,
    EarlyStopHandler,
    LrScheduleHandler,
    StatsHandler,
    TensorBoardStatsHandler,
    ValidationHandler,
    from_engine,
)
from monai.transforms import Compose, RandGaussianNoised, ToTensord
from tensorboardX import SummaryWriter
from torch import nn

from programs import Program, log, regression


def build(directory: Path) -> Program:
    """Validate before training too, and stop early by the evaluator's score."""
    noise = RandGaussianNoised("image", prob=0.5).set_random_state(3)
    transform = Compose([ToTensord(("image", "label")), noise])
    x, y = (torch.cat(parts) for parts in zip(*regression(5), strict=True))
    items = [{"image": image, "label": label} for image, label in zip(x, y, strict=True)]
    loader = DataLoader(Dataset(items, transform), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    device = torch.device("cpu")
    writer = SummaryWriter(str(directory / "tb"))
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=DataLoader(Dataset(items[:40], transform), batch_size=20),
        network=model,
        key_val_metric={"mae": MeanAbsoluteError(from_engine(["pred", "label"]))},
        val_handlers=[
            StatsHandler(name="program", output_transform=lambda output: None),
            TensorBoardStatsHandler(writer, output_transform=lambda output: None),
            CheckpointSaver(str(directory), {"net": model}, save_key_metric=True),
        ],
    )
    first = from_engine("loss", first=True)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=2,
        train_data_loader=loader,
        network=model,
        optimizer=optimizer,
        loss_function=nn.MSELoss(),
        key_train_metric={"train_mae": MeanAbsoluteError(from_engine(["pred", "label"]))},
        train_handlers=[
            LrScheduleHandler(scheduler, print_lr=True, name="program"),
            ValidationHandler(1, evaluator, exec_at_start=True),
            StatsHandler(name="program", tag_name="loss", output_transform=first),
            TensorBoardStatsHandler(writer, tag_name="loss", output_transform=first),
            CheckpointSaver(str(directory), {"net": model, "opt": optimizer}, save_interval=1),
        ],
    )
    stopper = EarlyStopHandler(2, lambda engine: -engine.state.metrics["mae"], trainer)
    stopper.attach(evaluator)

    @trainer.on(Events.COMPLETED)
    def close() -> None:
        writer.close()
        log.info("completed, best %r", evaluator.state.best_metric)

    to_save = {"model": model, "optimizer": optimizer}
    state = {**to_save, "scheduler": scheduler, "evaluator": evaluator}
    arguments = {"output_transform": first}
    return Program(trainer, to_save, trainer.run, state, arguments)
