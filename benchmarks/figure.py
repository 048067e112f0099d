"""Draw the regret of each tool, task by task."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from benchmarks.measurement import Outcome
from benchmarks.oracle import SCHEDULES, Schedule

_TITLES: dict[Schedule, str] = {"constant": "constant rate", "cosine": "cosine decay"}
_MARKERS = "oDsv^<>Pd"
_TICKS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
_LINEAR_BELOW = 0.01
_REFUSED = 2.2  # the position of refusals on the axis, beyond every regret


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw one panel per schedule, with one row per task and one point per tool.

    A point is the mean over the seeds. Tools that refused for every seed are drawn separately.

    Args:
        outcomes: the outcomes of all tools in the figure.
        path: the image to write.
    """
    schedules: list[Schedule] = [
        s for s in SCHEDULES if any(outcome.schedule == s for outcome in outcomes)
    ]
    num_tasks = len({outcome.task for outcome in outcomes})
    figure, panels = plt.subplots(
        1,
        len(schedules),
        figsize=(3.2 + 4.0 * len(schedules), 1.5 + 0.22 * num_tasks),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, schedule in zip(panels[0], schedules, strict=True):
        _draw_panel(ax, [outcome for outcome in outcomes if outcome.schedule == schedule])
        ax.set_title(_TITLES[schedule])
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_panel(ax: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draw the points of one schedule."""
    tasks = list(dict.fromkeys(outcome.task for outcome in outcomes))
    tools = list(dict.fromkeys(outcome.tool for outcome in outcomes))
    for i, tool in enumerate(tools):
        # Offset within the row, so that points do not overlap.
        offset = 0.6 * (i / max(len(tools) - 1, 1) - 0.5)
        ax.plot(
            [_position(outcomes, tool, task) for task in tasks],
            np.arange(len(tasks)) + offset,
            _MARKERS[i % len(_MARKERS)],
            color=f"C{i}",
            markersize=8 if tool.startswith("ours") else 5,
            alpha=0.85,
            label=tool,
        )
    ax.set_xscale("symlog", linthresh=_LINEAR_BELOW, linscale=0.5)
    ax.set_xlim(-0.001, 1.5 * _REFUSED)
    ax.set_xticks([*_TICKS, _REFUSED], [*(f"{tick:g}" for tick in _TICKS), "refused"])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("regret: share of the possible gain that is lost")
    ax.set_yticks(np.arange(len(tasks)), tasks)
    ax.set_ylim(len(tasks) - 0.5, -0.5)
    ax.set_yticks(np.arange(1, len(tasks)) - 0.5, minor=True)
    ax.tick_params(axis="y", which="both", length=0)
    ax.grid(axis="x", color="0.9")
    ax.grid(axis="y", which="minor", color="0.9")
    ax.set_axisbelow(True)


def _position(outcomes: Sequence[Outcome], tool: str, task: str) -> float:
    """Return the mean over the seeds, or the position of refusals if there are no regrets."""
    regrets = [
        outcome.regret
        for outcome in outcomes
        if outcome.tool == tool and outcome.task == task and outcome.regret is not None
    ]
    return float(np.mean(regrets)) if regrets else _REFUSED
