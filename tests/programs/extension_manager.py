"""A manager of extensions, which adds its handlers to the trainer when training starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events, create_supervised_trainer
from torch import nn

from programs import Program, log, regression


class Manager:
    """Holds extensions, each with a trigger, and starts them with the trainer."""

    def __init__(self, trainer: Engine, directory: Path) -> None:
        self.trainer = trainer
        self.directory = directory
        self.extensions: dict[str, tuple[Any, Callable[[], object]]] = {}
        self.num_started = 0
        self.observations: list[dict[str, Any]] = []
        trainer.add_event_handler(Events.STARTED, self.start)

    def extend(self, name: str, trigger: Any, extension: Callable[[], object]) -> None:
        """Add an extension that runs on an event."""
        self.extensions[name] = (trigger, extension)

    def start(self, trainer: Engine) -> None:
        """Add the handlers by the length of the data."""
        self.num_started += 1
        log.info("start with %d extensions", len(self.extensions))
        every = max(1, len(trainer.state.dataloader) // 2)  # type: ignore[arg-type]  # a list
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.observe)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), self.write)
        for trigger, extension in self.extensions.values():
            trainer.add_event_handler(trigger, extension)

    def observe(self, trainer: Engine) -> None:
        """Keep the loss."""
        self.observations.append({"loss": trainer.state.output})

    def write(self) -> None:
        """Write the observations to a file."""
        losses = [repr(entry["loss"]) for entry in self.observations]
        (self.directory / "log").write_text("\n".join(losses))


def build(directory: Path) -> Program:
    """Let the manager print, save and validate."""
    batches = regression()
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    trainer = create_supervised_trainer(model, optimizer, nn.MSELoss())
    manager = Manager(trainer, directory)

    def snapshot() -> None:
        torch.save(model.state_dict(), directory / f"snapshot_{trainer.state.iteration}")

    manager.extend("snapshot", Events.EPOCH_COMPLETED, snapshot)
    manager.extend("print", Events.EPOCH_COMPLETED, lambda: log.info("%r", trainer.state.output))
    to_save = {"model": model, "optimizer": optimizer}
    state = {**to_save, "observations": manager.observations}
    run = lambda: trainer.run(batches, max_epochs=3)  # noqa: E731  # as users write it
    return Program(trainer, to_save, run, state, lines_at_start=("start with 2 extensions",))
