"""Measure what a warm-up changes: which peaks of a decaying rate are good, with and without one.

    python -m benchmarks.warm_up

Each short task is trained once more at every rate of the grid, with a rate that rises linearly over
the first tenth of the training and then decays along half a cosine. The table shows the best rate
and the range of rates that lose at most a fiftieth of the gain, with and without the warm-up, and
the median ratios of the ends of the ranges. It takes twenty minutes.
"""

import concurrent.futures
import dataclasses
import multiprocessing

import numpy as np
import torch

from benchmarks.held_out_tasks import HELD_OUT_TASKS
from benchmarks.oracle import GRID, SEEDS, Record, final_loss, final_losses, load
from benchmarks.real_tasks import REAL_TASKS
from benchmarks.regret import best_lr
from benchmarks.tasks import TASKS

_TASKS = (*TASKS, *REAL_TASKS, *HELD_OUT_TASKS)
_NEARLY = 0.02  # of the achievable gain


def best_range(record: Record) -> tuple[float, float]:
    """Return the lowest and the highest rate that loses at most a fiftieth of the gain."""
    losses = final_losses(record, "cosine")
    x = np.linspace(np.log(GRID[0]), np.log(GRID[-1]), 1000)
    lost = np.interp(x, np.log(record.grid), losses) - losses.min()
    good = x[lost <= _NEARLY * (record.start - losses.min())]
    return float(np.exp(good[0])), float(np.exp(good[-1]))


def with_warm_up(number: int) -> list[list[float | None]]:
    """Return the final loss of a task at each rate for each seed, in a worker process."""
    torch.set_num_threads(1)
    return [[final_loss(_TASKS[number], seed, lr, "warm-up") for seed in SEEDS] for lr in GRID]


def main() -> None:
    """Print the table and the median ratios."""
    records, ratios = load(), []
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        rows = pool.map(with_warm_up, range(len(_TASKS)))
        for task, row in zip(_TASKS, rows, strict=True):
            record = records[task.name]
            warmed_up = dataclasses.replace(record, grid=list(GRID), cosine=row)
            without, with_one = best_range(record), best_range(warmed_up)
            ratios.append((with_one[0] / without[0], with_one[1] / without[1]))
            print(
                f"{task.name:<45}  best {best_lr(record, 'cosine'):.1e}, with a warm-up "
                f"{best_lr(warmed_up, 'cosine'):.1e}; good from {without[0]:.1e} to "
                f"{without[1]:.1e}, with a warm-up from {with_one[0]:.1e} to {with_one[1]:.1e}",
                flush=True,
            )
    low, high = np.median(ratios, axis=0)
    print(f"{len(_TASKS)} tasks: median ratio {low:.2f} at the lower end, {high:.2f} at the upper")


if __name__ == "__main__":
    main()
