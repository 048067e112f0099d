"""The run: rates, steps, losses, divergence, muted handlers."""

from ignite_lrfinder.sweep.arguments import Arguments
from ignite_lrfinder.sweep.engine import (
    end_run,
    event_list,
    handler_table,
    is_running,
    pending_run,
    start_afresh,
    train_step_of,
)
from ignite_lrfinder.sweep.graphs import is_graph
from ignite_lrfinder.sweep.handlers import library_objects
from ignite_lrfinder.sweep.loss import unchanged
from ignite_lrfinder.sweep.muting import Muting
from ignite_lrfinder.sweep.progress import Progress
from ignite_lrfinder.sweep.run import SweepHooks
from ignite_lrfinder.sweep.steps import StepWatch, is_scaler
from ignite_lrfinder.sweep.torch_schedulers import is_scheduler
from ignite_lrfinder.sweep.validation import Validation

__all__ = [
    "Arguments",
    "Muting",
    "Progress",
    "StepWatch",
    "SweepHooks",
    "Validation",
    "end_run",
    "event_list",
    "handler_table",
    "is_graph",
    "is_running",
    "is_scaler",
    "is_scheduler",
    "library_objects",
    "pending_run",
    "start_afresh",
    "train_step_of",
    "unchanged",
]
