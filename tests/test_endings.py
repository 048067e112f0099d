"""The warning about a sweep that ended without divergence."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest
from strategies import result_of, u_shape

from ignite_lrfinder import LRFinderResult, StopReason, Trial
from ignite_lrfinder.sweep.endings import warnings_of_sweep

LR = np.geomspace(1e-7, 10.0, 100)
FALLING = result_of(LR, 2.3 - 1.8 / (1 + np.exp(-3 * np.log10(LR))))
FLAT = result_of(LR, np.full(100, 2.3))
WITH_EDGE = result_of(LR, u_shape(np.log10(LR), fall_at=-3.0, cliff_at=0.0))


def with_trials(sweep: LRFinderResult, *finals: float) -> LRFinderResult:
    """Return a sweep with trials by rising rate, which end at these losses."""
    trials = [
        Trial(lr=0.01 * 4.0**i, num_iter=60, losses=np.linspace(2.3, final, 60))
        for i, final in enumerate(finals)
    ]
    return dataclasses.replace(sweep, trials=tuple(trials))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (FALLING, "without loss diverging, increase end_lr"),
        (FLAT, "without loss diverging. The curve is flat"),
        (WITH_EDGE, None),
        (with_trials(FALLING, 1.5, 1.0, 1.4), None),
        (with_trials(FALLING, 1.5, 1.2, 1.0), "without loss diverging, increase end_lr"),
        (with_trials(FLAT, 1.5, 1.0, 1.4), None),
        (with_trials(FLAT, 1.5, 1.2, 1.0), "without loss diverging, increase end_lr"),
    ],
    ids=[
        "falling",
        "flat",
        "edge",
        "falling, bounded by a trial",
        "falling, not bounded",
        "flat, bounded by a trial",
        "flat, not bounded",
    ],
)
def test_a_completed_sweep_warns_unless_its_upper_end_is_known(
    result: LRFinderResult, text: str | None
) -> None:
    """An edge shows it, and so does a trial that did worse at a higher rate than the best."""
    sweep: Any = types.SimpleNamespace(reason=StopReason.COMPLETED)
    muting: Any = None
    messages = list(warnings_of_sweep(sweep, result.reading, muting))
    assert len(messages) == (text is not None)
    assert text is None or text in messages[0]
