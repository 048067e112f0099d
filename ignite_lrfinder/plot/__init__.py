"""Records drawn with matplotlib, which is imported when a plot is asked for."""

from ignite_lrfinder.plot.axes import require_matplotlib
from ignite_lrfinder.plot.several import plot_results
from ignite_lrfinder.plot.slope import plot_derivative
from ignite_lrfinder.plot.sweep import plot_sweep, sweep_figure
from ignite_lrfinder.plot.trials import plot_trials

__all__ = [
    "plot_derivative",
    "plot_results",
    "plot_sweep",
    "plot_trials",
    "require_matplotlib",
    "sweep_figure",
]
