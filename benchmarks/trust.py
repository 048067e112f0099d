"""Measure the regret of several finders, for the tables and the figure of the documentation.

    python -m benchmarks.trust
    python -m benchmarks.trust --tools ours Ignite --seeds 1 --schedule constant

For each of 40 tasks, each tool suggests a learning rate from 100 to 800 iterations, and
`benchmarks/oracle.json` has the final loss of the whole training at that rate. Refusals are counted
separately and excluded from the regret, which flatters a tool that refuses hard cases. A suggestion
blows up if it loses half of the achievable gain or more. `make benchmark` sets up an environment
with all tools. The last row is a complete grid search, see `benchmarks.grid_search`.

The tables, in Markdown: all tasks; those that were held out while the rules of this finder were
chosen (see `docs/benchmarks.md`), the same without those that memorize their few samples, these
alone, and the long ones; and this finder with parts left out, on all tasks.

Most training runs are short, so that every rate can be tried; some are shorter than the trials. The
benchmark measures the quality of the rate, not the time saved.
"""

import argparse
import concurrent.futures
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
import torch

from benchmarks.figure import draw
from benchmarks.grid_search import grid_search
from benchmarks.held_out_tasks import HELD_OUT_TASKS, LONG_TASKS, MEMORIZED
from benchmarks.measurement import Outcome, measure
from benchmarks.oracle import ALL_TASKS, SCHEDULES, Record, Schedule, load
from benchmarks.regret import best_lr
from benchmarks.tasks import Task
from benchmarks.tools import TOOLS

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "trust.png"
_HELD_OUT = (*HELD_OUT_TASKS, *LONG_TASKS)
GROUPS = {
    "all tasks": ALL_TASKS,
    "held out": _HELD_OUT,
    "held out, not memorized": [task for task in _HELD_OUT if task.name not in MEMORIZED],
    "held out, memorized": [task for task in _HELD_OUT if task.name in MEMORIZED],
    "held out, long": LONG_TASKS,
}
BLOWS_UP = 0.5
_TITLES: Mapping[Schedule, str] = MappingProxyType(
    {"constant": "constant rate", "cosine": "cosine decay"}
)


def table(outcomes: Sequence[Outcome], schedules: Sequence[Schedule]) -> str:
    """Return one row per tool below a header, in Markdown."""
    tools = list(dict.fromkeys(outcome.tool for outcome in outcomes))
    rows = [row(tool, [o for o in outcomes if o.tool == tool], schedules) for tool in tools]
    num_runs = sum(outcome.tool == tools[0] for outcome in outcomes)
    titles = [
        "mean / worst regret",
        *(_TITLES[schedule] for schedule in schedules),
        f"refused, of {num_runs}",
        f"blows up, of {num_runs}",
        "iterations, median / most",
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows))


def row(tool: str, outcomes: Sequence[Outcome], schedules: Sequence[Schedule]) -> list[str]:
    """Return the cells of a tool."""
    cells = [tool]
    for schedule in schedules:
        regrets = [o.regret for o in outcomes if o.schedule == schedule and o.regret is not None]
        cells.append(f"{np.mean(regrets):.3f} / {np.max(regrets):.2f}" if regrets else "-")
    cells.append(str(sum(o.lr is None for o in outcomes)))
    cells.append(str(sum(o.regret is not None and o.regret >= BLOWS_UP for o in outcomes)))
    counts = [o.num_iter for o in outcomes]
    return [*cells, f"{np.median(counts):.0f} / {np.max(counts)}"]


def details(outcomes: Sequence[Outcome], records: Mapping[str, Record]) -> str:
    """Return one line per outcome."""
    lines = []
    for o in outcomes:
        best = f"best {best_lr(records[o.task], o.schedule):.1e}"
        said = "refused" if o.lr is None else f"{o.lr:.1e}  regret {o.regret:.3f}"
        lines.append(f"    {o.task:<37} {o.schedule:<9} {best}  {said}")
    return "\n".join(lines)


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description="Measure the regret of suggested learning rates.")
    parser.add_argument("--tools", nargs="+", metavar="TOOL", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each task; default 2")
    parser.add_argument("--schedule", choices=SCHEDULES, help="default: both")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the image to write")
    parser.add_argument("--num-workers", type=int, default=2, help="processes; default 2")
    parser.add_argument("--verbose", action="store_true", help="print every suggestion")
    args = parser.parse_args()
    schedules: Sequence[Schedule] = (args.schedule,) if args.schedule else SCHEDULES

    mpl.use("Agg")
    records, begin = load(), time.perf_counter()
    measured: list[Outcome] = []
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.num_workers, mp_context=spawn) as pool:
        for tool in args.tools:
            why_missing = TOOLS[tool].why_missing()
            if why_missing is not None:
                print(f"{tool:<25}  skipped: {why_missing}")
                continue
            jobs = [
                pool.submit(_measure, tool, number, seed, schedules)
                for number, task in enumerate(ALL_TASKS)
                for seed in range(args.seeds)
                if TOOLS[tool].is_for(task)
            ]
            outcomes = [outcome for job in jobs for outcome in job.result()]
            print(f"measured {tool}", flush=True)
            if args.verbose:
                print(details(outcomes, records), flush=True)
            measured += outcomes
    shown = [outcome for outcome in measured if not TOOLS[outcome.tool].is_ablation]
    searched = [
        outcome
        for task in ALL_TASKS
        for seed in range(args.seeds)
        for outcome in grid_search(task.name, records[task.name], seed)
        if outcome.schedule in schedules
    ]
    for name, tasks in GROUPS.items() if shown else ():
        names = {task.name for task in tasks}
        outcomes = [o for o in shown if o.task in names and _is_in(o.tool, tasks)]
        outcomes += [o for o in searched if o.task in names]
        print(f"\n{name}\n\n{table(outcomes, schedules)}")
    ours = [o for o in measured if o.tool.startswith("ours") and "val_loss" not in o.tool]
    if ours:
        print(f"\nthis finder with parts left out\n\n{table(ours, schedules)}")
    if shown:
        draw([o for o in shown if _is_in(o.tool, ALL_TASKS)], args.figure)
    print(f"\n{len(ALL_TASKS)} tasks, {args.seeds} seeds; {time.perf_counter() - begin:.0f} s")


def _is_in(tool: str, tasks: Sequence[Task]) -> bool:
    """Return whether a tool is for all tasks of a group."""
    return all(map(TOOLS[tool].is_for, tasks))


def _measure(
    tool: str, task_number: int, seed: int, schedules: Sequence[Schedule]
) -> list[Outcome]:
    """Measure in a worker process; tasks hold functions, which can't be pickled."""
    torch.set_num_threads(1)
    task = ALL_TASKS[task_number]
    return measure(tool, task, seed, record=load()[task.name], schedules=schedules)


if __name__ == "__main__":
    main()
