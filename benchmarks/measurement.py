"""Run a tool on a task, and score its suggestion."""

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from benchmarks.oracle import SCHEDULES, Record, Schedule
from benchmarks.regret import regret
from benchmarks.tasks import Task
from benchmarks.tools import TOOLS, training


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one suggestion.

    Attributes:
        tool: the name of the tool.
        task: the name of the task.
        schedule: the schedule that the rate is for.
        num_iter: the number of training steps the tool took.
        lr: the suggestion; None for a refusal.
        regret: see `benchmarks.regret`; None for a refusal.
    """

    tool: str
    task: str
    schedule: Schedule
    num_iter: int
    lr: float | None
    regret: float | None


def measure(
    tool: str, task: Task, seed: int, *, record: Record, schedules: Sequence[Schedule] = SCHEDULES
) -> list[Outcome]:
    """Get a tool's suggestion for a task, and score it under each schedule."""
    setup = training(task, seed)
    with quiet(), counting_steps() as steps:
        try:
            suggested = TOOLS[tool].suggest(setup)
        except RuntimeError:
            suggested = dict.fromkeys(SCHEDULES)
    outcomes = []
    for schedule in schedules:
        lr = suggested[schedule]
        lost = None if lr is None else regret(record, schedule, lr)
        outcomes.append(Outcome(tool, task.name, schedule, len(steps), lr, lost))
    return outcomes


@contextlib.contextmanager
def counting_steps() -> Iterator[list[Optimizer]]:
    """Collect the optimizer of each step.

    The hook is a global one, as this finder would restore what a training itself counts.
    """
    steps: list[Optimizer] = []
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(optimizer))
    try:
        yield steps
    finally:
        handle.remove()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the tools' output, logging and warnings."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
