"""What was measured, as plain data: points, settings, trials, why a sweep ended."""

from ignite_lrfinder.record.comparison import (
    Scores,
    are_paired,
    cliff_of,
    compare,
    final_scores,
    is_worse,
    level_range,
    parabola,
    parabola_around_best,
)
from ignite_lrfinder.record.files import (
    FORMAT,
    VERSION,
    decode,
    decode_settings,
    decode_trial,
    not_a_result,
    plain_trial,
    read,
    write,
)
from ignite_lrfinder.record.record import Record, SweepSettings, reference_group, usable_points
from ignite_lrfinder.record.stop_reason import StopReason
from ignite_lrfinder.record.trial import Trial

__all__ = [
    "FORMAT",
    "VERSION",
    "Record",
    "Scores",
    "StopReason",
    "SweepSettings",
    "Trial",
    "are_paired",
    "cliff_of",
    "compare",
    "decode",
    "decode_settings",
    "decode_trial",
    "final_scores",
    "is_worse",
    "level_range",
    "not_a_result",
    "parabola",
    "parabola_around_best",
    "plain_trial",
    "read",
    "reference_group",
    "usable_points",
    "write",
]
