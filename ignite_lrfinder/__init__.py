"""Find a learning rate with an exact, trace-free range test inside an Ignite trainer."""

from ignite_lrfinder.at_epochs import LRFinderAtEpochs
from ignite_lrfinder.errors import LRFinderError, NoSuggestionError
from ignite_lrfinder.finder import FastaiLRFinder
from ignite_lrfinder.loggers import log_result
from ignite_lrfinder.one_call import find_lr
from ignite_lrfinder.plot import plot_results
from ignite_lrfinder.record import StopReason, SweepSettings, Trial
from ignite_lrfinder.result import LRFinderResult
from ignite_lrfinder.suggest import Trials

__version__ = "0.1.0"

__all__ = [
    "FastaiLRFinder",
    "LRFinderAtEpochs",
    "LRFinderError",
    "LRFinderResult",
    "NoSuggestionError",
    "StopReason",
    "SweepSettings",
    "Trial",
    "Trials",
    "find_lr",
    "log_result",
    "plot_results",
]
