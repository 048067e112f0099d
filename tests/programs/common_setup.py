"""The set-up of Ignite's code generator: common handlers, TensorBoard, best checkpoints."""
# pyright: reportPrivateImportUsage=false

from pathlib import Path

import torch
from ignite.contrib.engines import common
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import PiecewiseLinear
from ignite.metrics import Loss, MeanAbsoluteError
from torch import nn

from programs import Program, log, regression


def build(directory: Path) -> Program:
    """Set up a trainer and an evaluator with all that `common` offers."""
    batches = regression()
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = PiecewiseLinear(optimizer, "lr", [(0, 0.0), (10, 0.02), (40, 0.0)])
    trainer = create_supervised_trainer(model, optimizer, nn.MSELoss())
    metrics = {"mae": MeanAbsoluteError(), "mse": Loss(nn.MSELoss())}
    evaluator = create_supervised_evaluator(model, metrics)

    @trainer.on(Events.EPOCH_COMPLETED(every=1))
    def validate() -> None:
        log.info("epoch %d: %r", trainer.state.epoch, evaluator.run(batches[:4]).metrics)

    to_save = {"trainer": trainer, "model": model, "optimizer": optimizer, "scheduler": scheduler}
    common.setup_common_training_handlers(
        trainer,
        to_save=to_save,
        save_every_iters=15,
        output_path=str(directory),
        lr_scheduler=scheduler,
        output_names=["batch loss"],
        with_pbars=False,
        log_every_iters=5,
    )
    logger = common.setup_tb_logging(
        str(directory / "tb"), trainer, optimizer, evaluator, log_every_iters=5
    )
    trainer.add_event_handler(Events.COMPLETED, logger.close)
    best = str(directory / "best")
    common.save_best_model_by_val_score(best, evaluator, model, "mae", 2, trainer, score_sign=-1.0)
    common.add_early_stopping_by_val_score(3, evaluator, trainer, "mae", score_sign=-1.0)
    state = {**to_save, "evaluator": evaluator}
    objects = {"model": model, "optimizer": optimizer}
    return Program(trainer, objects, lambda: trainer.run(batches, max_epochs=3), state)
