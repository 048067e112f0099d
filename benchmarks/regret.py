"""The measure: which share of what a training could gain a learning rate gives away."""

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle import Record, Schedule


def regret(record: Record, schedule: Schedule, lr: float) -> float:
    """Return the regret of a learning rate.

        (loss at the rate - lowest loss on the grid) / (loss before training - lowest on the grid)

    The loss is the validation loss at the end of the whole training, mean over the seeds, read
    between the rates of the grid on straight lines over log(lr). A training that breaks down, or
    ends above the loss before it, counts as none at all; so does a rate beyond the grid. The lowest
    of several noisy losses is too low by luck: even the best rate, trained anew, would lose a
    little.

    Args:
        record: the task's losses.
        schedule: how the rate goes on in the training.
        lr: the rate, positive.

    Returns:
        The regret, in [0, 1].
    """
    losses = final_losses(record, schedule)
    x = np.log(record.grid)
    loss = np.interp(math.log(lr), x, losses, left=record.start, right=record.start)
    return float((loss - losses.min()) / (record.start - losses.min()))


def best_lr(record: Record, schedule: Schedule) -> float:
    """Return the learning rate of the grid with the lowest loss at the end."""
    return record.grid[int(np.argmin(final_losses(record, schedule)))]


def final_losses(record: Record, schedule: Schedule) -> NDArray[np.float64]:
    """Return the loss at the end for each rate of the grid, at most that before training."""
    seeds = record.constant if schedule == "constant" else record.cosine
    losses = np.array(
        [[record.start if loss is None else loss for loss in row] for row in seeds], dtype=float
    )
    return np.minimum(losses.mean(axis=1), record.start)
