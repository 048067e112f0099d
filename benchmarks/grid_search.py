"""A complete grid search with one seed, judged with the other seeds: the noise of the benchmark.

Whoever has the time trains to the end at three learning rates for each decade, takes the best, and
trains again. The next training draws other batches, so even the best rate of a grid search has some
regret. A finder can hardly be expected to have less.
"""

import dataclasses
from collections.abc import Collection

from benchmarks.measurement import Outcome
from benchmarks.oracle import GRID, SCHEDULES, SEEDS, Record
from benchmarks.regret import best_lr, regret

NAME = "grid search"


def grid_search(task: str, record: Record, seed: int) -> list[Outcome]:
    """Return what a grid search with one seed finds for each schedule, judged with the others.

    Args:
        task: the name of the task.
        record: its losses.
        seed: the seed of the search, one of `SEEDS`.
    """
    own, others = with_seeds(record, {seed}), with_seeds(record, set(SEEDS) - {seed})
    own = on_the_coarse_grid(own)
    num_iter = len(own.grid) * record.num_iter
    outcomes = []
    for schedule in SCHEDULES:
        lr = best_lr(own, schedule)
        lost = regret(others, schedule, lr)
        outcomes.append(Outcome(NAME, task, schedule, num_iter, lr, lost))
    return outcomes


def on_the_coarse_grid(record: Record) -> Record:
    """Return the part of a record without the rates that were added to the grid."""
    rows = zip(record.grid, record.constant, record.cosine, strict=True)
    grid, constant, cosine = zip(*(row for row in rows if row[0] in GRID), strict=True)
    return dataclasses.replace(
        record, grid=list(grid), constant=list(constant), cosine=list(cosine)
    )


def with_seeds(record: Record, seeds: Collection[int]) -> Record:
    """Return the part of a record that was trained with some of the seeds."""

    def part(rows: list[list[float | None]]) -> list[list[float | None]]:
        return [[loss for i, loss in enumerate(row) if SEEDS[i] in seeds] for row in rows]

    return dataclasses.replace(record, constant=part(record.constant), cosine=part(record.cosine))
