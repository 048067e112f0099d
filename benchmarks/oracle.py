"""Train every task at every learning rate of a grid, and store the final losses in oracle.json.

    python -m benchmarks.oracle                # what is missing in the file
    python -m benchmarks.oracle "digits, SGD"  # this task again

Where the loss changes steeply close to its lowest, as before a cliff, more rates are trained in
between, because a loss that is interpolated across a cliff says nothing about the rates before it.

It takes three hours on two cores. Other machines and Python versions (some tasks train on the
source code of Python's library) give slightly different losses and almost identical regrets.
"""

import argparse
import concurrent.futures
import dataclasses
import itertools
import json
import math
import multiprocessing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.held_out_tasks import HELD_OUT_TASKS, LONG_TASKS
from benchmarks.real_tasks import REAL_TASKS
from benchmarks.tasks import TASKS, Task, train_step

Schedule: TypeAlias = Literal["constant", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "cosine")
PATH = Path(__file__).with_name("oracle.json")
SEEDS = (0, 1, 2, 3)
GRID = tuple(float(f"{10 ** (k / 3):.4g}") for k in range(-18, 4))  # 1e-6 to 10

ALL_TASKS = (*TASKS, *REAL_TASKS, *HELD_OUT_TASKS, *LONG_TASKS)

_DIGITS = 5

# Rates are added between neighbors of the grid whose losses differ by this share of the gain, if
# one of them loses no more than the second, down to twelve for each decade.
_STEEP, _NEAR = 0.1, 0.1
_FINEST = 10 ** (1 / 12 + 1e-3)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """The final losses of one task.

    Attributes:
        grid: the learning rates, rising.
        num_iter: the number of iterations of each training.
        start: the validation loss before training, averaged over the seeds.
        constant: the final validation loss for each rate of the grid and each seed; None if the
            training diverged.
        cosine: the same for a rate that decays to zero along half a cosine.
    """

    grid: list[float]
    num_iter: int
    start: float
    constant: list[list[float | None]]
    cosine: list[list[float | None]]


def final_loss(task: Task, seed: int, lr: float, schedule: str) -> float | None:
    """Train to the end; return the validation loss, or None if the loss became non-finite.

    Args:
        task: the training.
        seed: determines the initial network and the batches.
        lr: the learning rate, or its peak.
        schedule: "constant"; "cosine", decaying to zero along half a cosine; or "warm-up", where a
            linear rise over the first tenth of the training precedes the cosine.
    """
    model = task.initial_model(seed)
    optimizer = task.optimizer(model.parameters(), lr=lr)
    num_rising = task.num_iter // 10 if schedule == "warm-up" else 0
    num_falling = task.num_iter - num_rising
    for i, batch in enumerate(task.batches(1000 + seed, task.num_iter)):
        if i < num_rising:
            share = (i + 1) / num_rising
        else:
            share = (1 + math.cos(math.pi * (i - num_rising) / num_falling)) / 2
        if schedule != "constant":
            for group in optimizer.param_groups:
                group["lr"] = lr * share
        if not math.isfinite(train_step(model, optimizer, task.loss, batch)):
            return None
    loss = task.validation_loss(model)
    return _rounded(loss) if math.isfinite(loss) else None


def record(task: Task, known: Record | None = None) -> Record:
    """Train a task over the whole grid, under both schedules and all seeds.

    Args:
        task: the task.
        known: the losses that are known already, for all rates of `GRID` and maybe for others.
    """
    torch.set_num_threads(1)
    if known is None:
        before = [task.validation_loss(task.initial_model(seed)) for seed in SEEDS]
        start = _rounded(sum(before) / len(before))
        known = with_rates(task, Record([], task.num_iter, start, [], []), GRID)
    while rates := rates_to_add(known):
        known = with_rates(task, known, rates)
    return known


def with_rates(task: Task, known: Record, rates: Iterable[float]) -> Record:
    """Train a task at more learning rates, and return the record with them."""
    rows = list(zip(known.grid, known.constant, known.cosine, strict=True))
    for lr in rates:
        constant, cosine = (
            [final_loss(task, seed, lr, schedule) for seed in SEEDS] for schedule in SCHEDULES
        )
        rows.append((lr, constant, cosine))
    grid, by_constant, by_cosine = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return dataclasses.replace(
        known, grid=list(grid), constant=list(by_constant), cosine=list(by_cosine)
    )


def rates_to_add(record: Record) -> list[float]:
    """Return the rates halfway, in log(lr), between neighbors where the loss is steep."""
    added = set()
    for schedule in SCHEDULES:
        losses = final_losses(record, schedule)
        lost = (losses - losses.min()) / (record.start - losses.min())
        for i, (low, high) in enumerate(itertools.pairwise(record.grid)):
            is_steep = abs(lost[i + 1] - lost[i]) > _STEEP and min(lost[i : i + 2]) <= _NEAR
            if is_steep and high / low > _FINEST:
                added.add(float(f"{math.sqrt(low * high):.4g}"))
    return sorted(added)


def final_losses(record: Record, schedule: Schedule) -> NDArray[np.float64]:
    """Return the final loss for each rate of the grid, clipped at the loss before training."""
    seeds = record.constant if schedule == "constant" else record.cosine
    losses = np.array(
        [[record.start if loss is None else loss for loss in row] for row in seeds], dtype=float
    )
    return np.minimum(losses.mean(axis=1), record.start)


def load(path: Path = PATH) -> dict[str, Record]:
    """Read the records by task name."""
    return {name: Record(**content) for name, content in json.loads(path.read_text()).items()}


def save(records: Mapping[str, Record], path: Path = PATH) -> None:
    """Write the records in the order of the tasks, one line per field."""
    blocks = []
    for task in ALL_TASKS:
        if task.name in records:
            fields = dataclasses.asdict(records[task.name]).items()
            lines = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in fields)
            blocks.append(f"  {json.dumps(task.name)}: {{\n{lines}\n  }}")
    path.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


def _rounded(loss: float) -> float:
    """Round away digits that other machines would not reproduce."""
    return float(f"{loss:.{_DIGITS}g}")


def main() -> None:
    """Train the missing or the given tasks, and save after each of them."""
    by_name = {task.name: task for task in ALL_TASKS}
    parser = argparse.ArgumentParser(description="Train the tasks over the grid of learning rates.")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="default: what is missing")
    parser.add_argument("--num-workers", type=int, default=2)
    args = parser.parse_args()
    unknown = set(args.tasks) - set(by_name)
    if unknown:
        parser.error(f"TASK must be one of {sorted(by_name)}, got {sorted(unknown)}")
    records = load() if PATH.exists() else {}
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.num_workers, mp_context=spawn) as pool:
        futures = {
            pool.submit(_record_named, name, None if args.tasks else records.get(name)): name
            for name in args.tasks or by_name
        }
        for future in concurrent.futures.as_completed(futures):
            records[futures[future]] = future.result()
            save(records)
            print(f"trained {futures[future]}", flush=True)


def _record_named(name: str, known: Record | None) -> Record:
    """Record the task with this name; tasks hold functions, which can't be pickled."""
    return record(next(task for task in ALL_TASKS if task.name == name), known)


if __name__ == "__main__":
    main()
