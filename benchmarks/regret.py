"""Regret: the share of the achievable gain that a training loses at a learning rate."""

import math

import numpy as np

from benchmarks.oracle import Record, Schedule, final_losses


def regret(record: Record, schedule: Schedule, lr: float) -> float:
    """Return the regret of a learning rate.

        (loss at the rate - lowest loss on the grid) / (loss before training - lowest on the grid)

    The loss is the final validation loss of the whole training, averaged over the seeds and
    interpolated linearly over log(lr) between the rates of the grid. A training that diverges, or
    ends above its initial loss, counts as no training; so does a rate outside the grid. The lowest
    of several noisy losses is biased: even the best rate would have a small regret if it were
    trained again.

    Args:
        record: the losses of the task.
        schedule: the schedule of the training.
        lr: the learning rate, positive.

    Returns:
        The regret, in [0, 1].
    """
    losses = final_losses(record, schedule)
    x = np.log(record.grid)
    loss = np.interp(math.log(lr), x, losses, left=record.start, right=record.start)
    return float((loss - losses.min()) / (record.start - losses.min()))


def best_lr(record: Record, schedule: Schedule) -> float:
    """Return the learning rate of the grid with the lowest final loss."""
    return record.grid[int(np.argmin(final_losses(record, schedule)))]
