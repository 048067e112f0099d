"""Measure the regret of several finders: one table, one figure.

    python -m benchmarks.trust
    python -m benchmarks.trust --tools ours Ignite --seeds 1 --schedule constant

For each task, each tool suggests a learning rate from 100 iterations (up to 800 with trials), and
`benchmarks/oracle.json` has the final loss of the whole training at that rate. Refusals are counted
separately and excluded from the regret, which flatters a tool that refuses hard cases. `make
benchmark` sets up an environment with all tools.

The trainings are short, so that every rate can be tried; some are shorter than the trials. The
benchmark measures the quality of the rate, not the time saved.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from benchmarks.figure import draw
from benchmarks.measurement import Outcome, measure
from benchmarks.oracle import SCHEDULES, Record, Schedule, load
from benchmarks.regret import best_lr
from benchmarks.tasks import TASKS
from benchmarks.tools import TOOLS

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "trust.png"


def row(tool: str, outcomes: Sequence[Outcome], schedules: Sequence[Schedule]) -> str:
    """Return the row of a tool."""
    cells = [f"{tool:<25}"]
    for schedule in schedules:
        regrets = [o.regret for o in outcomes if o.schedule == schedule and o.regret is not None]
        number = f"{np.mean(regrets):.3f} / {np.max(regrets):.3f}" if regrets else "-"
        cells.append(f"{number:>15}")
    num_refused = sum(o.lr is None for o in outcomes)
    cells.append(f"{num_refused:>3} of {len(outcomes):<3}")
    counts = [o.num_iter for o in outcomes]
    cells.append(f"{np.median(counts):>6.0f} / {np.max(counts):<6}")
    return "  ".join(cells).rstrip()


def details(outcomes: Sequence[Outcome], records: Mapping[str, Record]) -> str:
    """Return one line per outcome."""
    lines = []
    for o in outcomes:
        best = f"best {best_lr(records[o.task], o.schedule):.1e}"
        said = "refused" if o.lr is None else f"{o.lr:.1e}  regret {o.regret:.3f}"
        lines.append(f"    {o.task:<37} {o.schedule:<9} {best}  {said}")
    return "\n".join(lines)


def header(schedules: Sequence[Schedule]) -> str:
    """Return the two lines above the table."""
    regrets = "  ".join(f"{schedule:>15}" for schedule in schedules)
    means = "  ".join(f"{'mean / worst':>15}" for _ in schedules)
    return (
        f"{'regret':<25}  {regrets}  {'refused':<9}  {'iterations':>13}\n"
        f"{'':<25}  {means}  {'':<9}  {'median / most':>13}"
    )


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description="Measure the regret of suggested learning rates.")
    parser.add_argument("--tools", nargs="+", metavar="TOOL", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each task; default 2")
    parser.add_argument("--schedule", choices=SCHEDULES, help="default: both")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the image to write")
    parser.add_argument("--verbose", action="store_true", help="print every suggestion")
    args = parser.parse_args()
    schedules: Sequence[Schedule] = (args.schedule,) if args.schedule else SCHEDULES

    mpl.use("Agg")
    torch.set_num_threads(1)
    records, begin = load(), time.perf_counter()
    measured: list[Outcome] = []
    print(header(schedules))
    for tool in args.tools:
        why_missing = TOOLS[tool].why_missing()
        if why_missing is not None:
            print(f"{tool:<25}  skipped: {why_missing}")
            continue
        outcomes = [
            outcome
            for task in TASKS
            for seed in range(args.seeds)
            for outcome in measure(tool, task, seed, record=records[task.name], schedules=schedules)
        ]
        print(row(tool, outcomes, schedules), flush=True)
        if args.verbose:
            print(details(outcomes, records), flush=True)
        measured += outcomes
    shown = [outcome for outcome in measured if not TOOLS[outcome.tool].is_ablation]
    if shown:
        draw(shown, args.figure)
    print(f"\n{len(TASKS)} tasks, {args.seeds} seeds; {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
