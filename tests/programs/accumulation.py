"""Gradients accumulated over four batches, a gradient scaler, and a warm-up by LambdaLR."""

from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import TerminateOnNan
from torch import nn

from programs import Program, log, regression


def build(directory: Path) -> Program:
    """Step the scheduler where the scaler has stepped the optimizer."""
    batches = regression(12)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, (i + 1) / 6))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    history: list[float] = []

    def step(engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.mse_loss(model(batch[0]).float(), batch[1]) / 4
        scaler.scale(loss).backward()
        if engine.state.iteration % 4 == 0:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        return loss.item() * 4

    trainer = Engine(step)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())

    @trainer.on(Events.ITERATION_COMPLETED(every=4))
    def step_scheduler() -> None:
        scheduler.step()
        history.append(optimizer.param_groups[0]["lr"])

    @trainer.on(Events.COMPLETED)
    def report() -> None:
        log.info("rates %r, scale %r", history, scaler.get_scale())

    to_save = {"model": model, "optimizer": optimizer, "scaler": scaler}
    state = {**to_save, "scheduler": scheduler, "history": history}
    return Program(trainer, to_save, lambda: trainer.run(batches, max_epochs=2), state)
