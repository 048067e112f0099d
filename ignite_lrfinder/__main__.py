"""`python -m ignite_lrfinder sweep.json`: print a saved result and draw it."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Schedule
from ignite_lrfinder.record import SCHEDULES
from ignite_lrfinder.result import LRFinderResult


def main() -> None:
    """Print the result in a file, and write its plot or its HTML if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m ignite_lrfinder", description="Print a saved result of the finder."
    )
    parser.add_argument("result", type=Path, help="a file that LRFinderResult.save wrote")
    parser.add_argument("--schedule", choices=SCHEDULES, help="what the rate is for")
    parser.add_argument("--total-iters", type=int, help="steps of the planned training")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="write the plot to this file")
    parser.add_argument("--html", type=Path, metavar="HTML", help="write a page to this file")
    args = parser.parse_args()
    try:
        result = _for_plan(LRFinderResult.load(args.result), args.schedule, args.total_iters)
        print(result)
        if args.plot is not None:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(6.4, 4.8), layout="constrained")
            result.plot(ax=figure.subplots())
            figure.savefig(args.plot, dpi=150)
        if args.html is not None:
            page = f'<!doctype html><meta charset="utf-8">{result._repr_html_()}'
            args.html.write_text(page, encoding="utf-8")
    except (OSError, ValueError, LRFinderError, ModuleNotFoundError) as error:
        parser.error(str(error))


def _for_plan(
    result: LRFinderResult, schedule: Schedule | None, total_iters: int | None
) -> LRFinderResult:
    """Return a result whose answers are for another planned training, where one is given."""
    given = {"schedule": schedule, "total_iters": total_iters}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    plan = dataclasses.replace(result.settings.plan, **changes)
    settings = dataclasses.replace(result.settings, plan=plan)
    return dataclasses.replace(result, settings=settings)


if __name__ == "__main__":
    main()
