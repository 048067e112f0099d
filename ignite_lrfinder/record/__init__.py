"""What was measured, as plain data: points, settings, trials, why a sweep ended."""

from ignite_lrfinder.record.comparison import (
    Scores,
    are_paired,
    cliff_of,
    compare,
    final_scores,
    interval_of,
    is_worse,
    leading,
    level_range,
    parabola,
    parabola_around_best,
)
from ignite_lrfinder.record.files import load_record, plain_data, save_record
from ignite_lrfinder.record.plan import SCHEDULES, Plan
from ignite_lrfinder.record.record import Record, SweepSettings, reference_group, usable_points
from ignite_lrfinder.record.stop_reason import StopReason
from ignite_lrfinder.record.trial import Trial

__all__ = [
    "SCHEDULES",
    "Plan",
    "Record",
    "Scores",
    "StopReason",
    "SweepSettings",
    "Trial",
    "are_paired",
    "cliff_of",
    "compare",
    "final_scores",
    "interval_of",
    "is_worse",
    "leading",
    "level_range",
    "load_record",
    "parabola",
    "parabola_around_best",
    "plain_data",
    "reference_group",
    "save_record",
    "usable_points",
]
