"""Records drawn with matplotlib, which is imported when a plot is asked for."""

from ignite_lrfinder.plot.axes import require_matplotlib
from ignite_lrfinder.plot.several import plot_results
from ignite_lrfinder.plot.sweep import plot_result

__all__ = [
    "plot_result",
    "plot_results",
    "require_matplotlib",
]
