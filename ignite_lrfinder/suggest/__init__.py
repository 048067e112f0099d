"""What a record means: curves, methods, trials to run, verdicts, readings."""

from ignite_lrfinder.suggest.curve import Curve, curve_of
from ignite_lrfinder.suggest.methods import edge
from ignite_lrfinder.suggest.reading import has_edge, lrs_at, suggest, suggest_all, suggest_bounds
from ignite_lrfinder.suggest.trials import PlannedTrial, Trials, next_trial
from ignite_lrfinder.suggest.verdict import check_plan

__all__ = [
    "Curve",
    "PlannedTrial",
    "Trials",
    "check_plan",
    "curve_of",
    "edge",
    "has_edge",
    "lrs_at",
    "next_trial",
    "suggest",
    "suggest_all",
    "suggest_bounds",
]
