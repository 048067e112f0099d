"""Print the figures behind three claims of the README, for Ignite's finder and for this one.

    python -m benchmarks.claims

- Recorded rates: how many of the recorded learning rates are the ones the optimizer steps used.
- No trace: whether training after the block equals the same training without a finder.
- Suggestions: the factor between suggestion and best rate, and how often a finder refused.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from ignite.handlers import FastaiLRFinder as IgniteLRFinder
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks.measurement import measure, quiet
from benchmarks.oracle import load
from benchmarks.regret import best_lr
from benchmarks.tasks import TASKS, train_step
from benchmarks.tools import NUM_ITER, START_LR, Training, trainer_of, training
from ignite_lrfinder import FastaiLRFinder

FAR = 100  # a suggestion this far from the best rate is useless

FINDERS: Mapping[str, Callable[[], FastaiLRFinder | IgniteLRFinder]] = MappingProxyType(
    {"Ignite": IgniteLRFinder, "ours, sweep": FastaiLRFinder}
)
"""The finders by the names of their tools."""


def sweep(finder: str, t: Training) -> list[float]:
    """Sweep a training and return the recorded learning rates."""
    lr_finder = FINDERS[finder]()
    to_save = {"model": t.model, "optimizer": t.optimizer}
    with (
        quiet(),
        lr_finder.attach(trainer_of(t), to_save, num_iter=NUM_ITER, start_lr=START_LR) as trainer,
    ):
        trainer.run(t.loader)
    return lr_finder.get_results()["lr"]


def num_exact(finder: str) -> tuple[int, int]:
    """Return how many recorded rates equal the rates used, and how many rates were recorded."""
    t = training(TASKS[1], 0)
    used: list[float] = []
    # A global hook: this finder would restore what a hook of the optimizer itself collects.
    handle = register_optimizer_step_pre_hook(
        lambda opt, *_: used.append(opt.param_groups[0]["lr"])
    )
    recorded = sweep(finder, t)
    handle.remove()
    return sum(a == b for a, b in zip(recorded, used, strict=False)), len(recorded)


def leaves_no_trace(finder: str) -> bool:
    """Return whether a training after a sweep equals the same training without one."""

    def weights(*, is_swept: bool) -> Sequence[Tensor]:
        t = training(TASKS[1], 0)
        if is_swept:
            sweep(finder, t)
        for batch in t.loader:
            train_step(t.model, t.optimizer, t.loss, batch)
        return [*t.model.state_dict().values()]

    pairs = zip(weights(is_swept=False), weights(is_swept=True), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def factors(finder: str, num_seeds: int) -> tuple[list[float], int]:
    """Return the factor by which each suggestion misses the best constant rate, and refusals."""
    records = load()
    outcomes = [
        outcome
        for task in TASKS
        for seed in range(num_seeds)
        for outcome in measure(
            finder, task, seed, record=records[task.name], schedules=["constant"]
        )
    ]
    ratios = [o.lr / best_lr(records[o.task], "constant") for o in outcomes if o.lr is not None]
    return [max(ratio, 1 / ratio) for ratio in ratios], len(outcomes) - len(ratios)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Print the figures behind the README's claims.")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each task; default 2")
    num_seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    for finder in FINDERS:
        exact, recorded = num_exact(finder)
        off, num_refused = factors(finder, num_seeds)
        num_far = sum(factor > FAR for factor in off)
        print(finder)
        print(f"  recorded rates that the steps used: {exact} of {recorded}")
        print(f"  training afterwards as without it:  {'yes' if leaves_no_trace(finder) else 'no'}")
        print(f"  suggestion off by, median and most: {np.median(off):.1f}, {max(off):.3g}")
        print(f"  off by more than a factor of {FAR}:   {num_far} of {len(off)}")
        print(f"  refused to suggest a rate:          {num_refused}")


if __name__ == "__main__":
    main()
