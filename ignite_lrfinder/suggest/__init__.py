"""What a record means: curves, methods, trials to run, verdicts, readings."""

from ignite_lrfinder.suggest.cautions import cautions
from ignite_lrfinder.suggest.curve import Curve, Refusal
from ignite_lrfinder.suggest.descent import Descent
from ignite_lrfinder.suggest.reading import Reading, reading_of
from ignite_lrfinder.suggest.rules import rules_for
from ignite_lrfinder.suggest.trials import PlannedTrial, Trials, next_trial
from ignite_lrfinder.suggest.verdict import Verdict, broken_iteration, num_planned_iters

__all__ = [
    "Curve",
    "Descent",
    "PlannedTrial",
    "Reading",
    "Refusal",
    "Trials",
    "Verdict",
    "broken_iteration",
    "cautions",
    "next_trial",
    "num_planned_iters",
    "reading_of",
    "rules_for",
]
