"""Whether short trials are enough: each condition alone decides."""

import dataclasses

import numpy as np
import pytest
from strategies import result_of, u_shape

from ignite_lrfinder import LRFinderResult, Trial

LR = np.geomspace(1e-7, 10.0, 100)
SWEEP = result_of(LR, u_shape(np.log10(LR), fall_at=-3.0, cliff_at=0.0))
FLAT = result_of(LR, np.full(100, 2.0))


def with_trials(
    *finals: float, sweep: LRFinderResult = SWEEP, noise: float = 0.01
) -> LRFinderResult:
    """Return a sweep with trials a factor of 4 apart, which begin at a loss of 2."""
    rng = np.random.default_rng(0)
    trials = [
        Trial(
            lr=0.01 * 4.0**i,
            num_iter=60,
            losses=np.r_[2.0, final + noise * rng.standard_normal(59)],
        )
        for i, final in enumerate(finals)
    ]
    return dataclasses.replace(sweep, trials=tuple(trials))


def test_the_sweep_of_these_tests_gains_one() -> None:
    """The other tests rest on it: half of the gain is reached at a loss of 1.5."""
    assert SWEEP.losses[0] - SWEEP.losses.min() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("case", "result", "is_certain"),
    [
        ("bracketed", with_trials(1.3, 1.1, 1.2), True),
        ("best is lowest", with_trials(1.1, 1.3, 1.5), False),
        ("best is highest", with_trials(1.5, 1.3, 1.1), False),
        ("behind the sweep", with_trials(1.8, 1.7, 1.75), False),
        ("as much as half", with_trials(1.6, 1.4, 1.5), True),
        ("noise", with_trials(1.3, 1.1, 1.2, noise=0.4), False),
        ("no curve", with_trials(1.3, 1.1, 1.2, sweep=FLAT), False),
        ("no trial", SWEEP, False),
        ("nothing gained", with_trials(2.3, 2.1, 2.2), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_short_trials_are_certain_if_all_conditions_hold(
    case: str, result: LRFinderResult, is_certain: bool
) -> None:
    """The summary says that they were enough, and only then."""
    assert result.reading.is_certain == is_certain
    assert ("enough because batch noise is low" in result.summary()) == is_certain
