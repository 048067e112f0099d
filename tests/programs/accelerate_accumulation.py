"""Hugging Face Accelerate: prepared objects, accumulation, a scheduler and its own checkpoints."""
# pyright: reportMissingImports=false

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from programs import Program, log, regression


def build(directory: Path) -> Program:
    """Accumulate over four batches of ten, so that the end of an epoch forces a step."""
    AcceleratorState._reset_state()
    GradientState._reset_state()
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    x, y = (torch.cat(parts) for parts in zip(*regression(), strict=True))
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    inner = torch.optim.AdamW(model.parameters(), lr=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(inner, 12)
    model, optimizer, loader, scheduler = accelerator.prepare(
        model, inner, DataLoader(TensorDataset(x, y), 16, shuffle=True), cosine
    )

    def step(engine: Engine, batch: list[torch.Tensor]) -> float:
        model.train()
        with accelerator.accumulate(model):
            loss = nn.functional.mse_loss(model(batch[0]), batch[1])
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    trainer = Engine(step)

    @trainer.on(Events.ITERATION_COMPLETED)
    def step_scheduler() -> None:
        if accelerator.sync_gradients:
            scheduler.step()

    @trainer.on(Events.EPOCH_COMPLETED)
    def save() -> None:
        log.info("%r", scheduler.get_last_lr())
        accelerator.save(accelerator.unwrap_model(model).state_dict(), directory / "model.pt")

    to_save = {"model": model, "optimizer": optimizer}
    state = {**to_save, "scheduler": cosine, "step": lambda: accelerator.step}
    return Program(trainer, to_save, lambda: trainer.run(loader, max_epochs=3), state)
