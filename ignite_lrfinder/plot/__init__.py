"""Records drawn with matplotlib, which is imported when a plot is asked for."""

from ignite_lrfinder.plot.axes import legend_below, require_matplotlib
from ignite_lrfinder.plot.several import plot_results
from ignite_lrfinder.plot.slope import plot_derivative
from ignite_lrfinder.plot.sweep import draw_sweep, plot_sweep
from ignite_lrfinder.plot.trials import plot_trials

__all__ = [
    "draw_sweep",
    "legend_below",
    "plot_derivative",
    "plot_results",
    "plot_sweep",
    "plot_trials",
    "require_matplotlib",
]
