"""The decision to stop, compared with the documented rule as a slow loop over all losses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignite_lrfinder import StopReason
from ignite_lrfinder.sweep.divergence import DivergenceMonitor


def decide(
    losses: list[float], smooth_f: float = 0.05, diverge_th: float = 5.0
) -> tuple[int, StopReason | None]:
    """Return the number of losses at which the monitor stops, and the reason."""
    monitor = DivergenceMonitor(smooth_f, diverge_th)
    reason = monitor.update(losses)
    assert list(monitor.losses) == pytest.approx(losses[: len(monitor.losses)], abs=0, nan_ok=True)
    assert len(monitor.smoothed) == len(monitor.losses)
    return len(monitor.losses), reason


def decide_slowly(
    losses: list[float], smooth_f: float = 0.05, diverge_th: float = 5.0
) -> tuple[int, StopReason | None]:
    """Apply the documented rule to all losses up to each loss."""
    for num in range(1, len(losses) + 1):
        if not np.isfinite(losses[num - 1]):
            return num, StopReason.NON_FINITE
        smoothed = np.empty(num)
        for i, loss in enumerate(losses[:num]):
            is_first = i == 0 or smooth_f == 0
            smoothed[i] = loss if is_first else smooth_f * loss + (1 - smooth_f) * smoothed[i - 1]
        best, first = smoothed.min(), smoothed[0]
        steps = sorted(abs(np.diff(losses[: min(num, 11)])))
        noise = steps[int(0.7 * len(steps))] if steps else 0.0
        limit = best + (diverge_th - 1) * max(abs(best), first - best, noise)
        num_high = sum(loss > limit for loss in losses[max(num - 4, 0) : num])
        are_high = smooth_f == 0 or num_high >= 2
        if smoothed[-1] > limit and are_high:
            return num, StopReason.DIVERGED
    return len(losses), None


LOG_LR = np.linspace(-3, 3, 100)
CURVE = (
    2.5
    - 1.5 / (1 + np.exp(-2 * LOG_LR))
    + np.exp(np.minimum(6 * (LOG_LR - 1.5), 9.0))
    + 0.02 * np.sin(37 * np.arange(100))
)


def with_loss(index: int, loss: float) -> np.ndarray:
    """Return the curve with one loss replaced."""
    return np.where(np.arange(100) == index, loss, CURVE)


STREAMS: dict[str, np.ndarray] = {
    "curve": CURVE,
    "negative": CURVE - 10,
    "shifted-up": CURVE + 1000,
    "shifted-down": CURVE - 1000,
    "times-1e6": CURVE * 1e6,
    "times-1e-6": CURVE * 1e-6,
    "flat": np.ones(100),
    "zero": np.zeros(100),
    "rising": np.exp(np.linspace(0, 10, 100)),
    "falling-through-zero": np.linspace(1, -1, 100),
    "near-zero": np.r_[np.linspace(1, 1e-9, 50), np.linspace(1e-9, 20, 50)],
    "small-glitch": with_loss(40, 30.0),
    "large-glitch": with_loss(40, 300.0),
    "one-of-two-losses-explodes": np.r_[np.ones(20), np.tile([1e6, 0.5], 40)],
    "spikes-at-the-start": np.where(np.arange(100) < 2, 50.0, CURVE),
    "noise": np.cos(np.arange(100.0) ** 2),
    "nan-first": with_loss(0, math.nan),
    "nan": with_loss(50, math.nan),
    "nan-last": np.where(np.arange(100) == 99, math.nan, 2.0),
    "infinite": with_loss(20, math.inf),
    "minus-infinite": with_loss(20, -math.inf),
}


@pytest.mark.parametrize("smooth_f", [0, 0.05, 0.5])
@pytest.mark.parametrize("diverge_th", [1, 1.5, 5])
@pytest.mark.parametrize("stream", STREAMS)
def test_the_monitor_follows_the_documented_rule(
    stream: str, diverge_th: float, smooth_f: float
) -> None:
    """On every stream the monitor stops where the formula does, for the same reason."""
    losses = STREAMS[stream].tolist()
    assert decide(losses, smooth_f, diverge_th) == decide_slowly(losses, smooth_f, diverge_th)


@pytest.mark.parametrize(
    ("stream", "num", "reason"),
    [
        ("flat", 100, None),
        ("zero", 100, None),
        ("falling-through-zero", 100, None),
        ("small-glitch", 87, StopReason.DIVERGED),
        ("large-glitch", 87, StopReason.DIVERGED),
        ("one-of-two-losses-explodes", 23, StopReason.DIVERGED),
        ("nan-first", 1, StopReason.NON_FINITE),
        ("nan", 51, StopReason.NON_FINITE),
        ("nan-last", 100, StopReason.NON_FINITE),
        ("infinite", 21, StopReason.NON_FINITE),
        ("minus-infinite", 21, StopReason.NON_FINITE),
    ],
)
def test_a_stream_ends_at_its_known_point(stream: str, num: int, reason: StopReason | None) -> None:
    """Divergence stops at once; a stream without divergence runs to its end."""
    assert decide(STREAMS[stream].tolist()) == (num, reason)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(-30, 30))
def test_the_unit_of_the_loss_does_not_matter(losses: list[float], exponent: int) -> None:
    """A loss scaled by a power of two, which rounds nothing, stops at the same point."""
    losses = np.round(losses, 3).tolist()
    assert decide(losses) == decide([math.ldexp(loss, exponent) for loss in losses])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_losses_may_come_one_by_one_or_together(losses: list[float]) -> None:
    """Losses in batches of any size stop at the same point as one by one."""
    together, one_by_one = (DivergenceMonitor(0.3, 2.0) for _ in range(2))
    reason = together.update(losses)
    reasons = [one_by_one.update([loss]) for loss in losses[: len(together.losses)]]
    assert reasons == [*[None] * (len(reasons) - 1), reason]
    assert one_by_one.smoothed == together.smoothed


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_an_infinite_threshold_never_stops(losses: list[float]) -> None:
    """With `diverge_th=inf` only a loss that is not finite ends a sweep."""
    assert decide(losses, diverge_th=math.inf) == (len(losses), None)
    assert decide([*losses, math.nan], diverge_th=math.inf)[1] is StopReason.NON_FINITE


def test_a_falling_negative_loss_does_not_stop() -> None:
    """A loss that only falls never diverges, even below zero."""
    losses = np.linspace(-1, -50, 60).tolist()
    assert decide(losses, smooth_f=0, diverge_th=1.0) == (60, None)


def test_the_smoothed_loss_is_the_moving_average() -> None:
    """The smoothed loss is the exponentially weighted sum of the losses so far."""
    losses = CURVE[:40].tolist()
    monitor = DivergenceMonitor(0.3, math.inf)
    monitor.update(losses)
    for k, smoothed in enumerate(monitor.smoothed):
        weights = [0.7**k if i == 0 else 0.3 * 0.7 ** (k - i) for i in range(k + 1)]
        assert smoothed == pytest.approx(np.dot(weights, losses[: k + 1]), rel=1e-12)


@pytest.mark.parametrize("reason", StopReason, ids=lambda reason: reason.name.lower())
def test_each_reason_has_a_distinct_message_and_remedy(reason: StopReason) -> None:
    """Only a diverged or non-finite loss counts as divergence."""
    others = [other for other in StopReason if other is not reason]
    assert len(reason.message) > 10
    assert len(reason.remedy) > 10
    assert reason.message not in [other.message for other in others]
    assert reason.remedy not in [other.remedy for other in others]
    assert reason.is_divergence == (reason.value in ("diverged", "non-finite"))


@pytest.mark.parametrize("seed", range(5))
def test_a_first_loss_near_zero_does_not_end_a_noisy_sweep(seed: int) -> None:
    """Zero is a loss as any other: the scale of the losses is not known from one of them."""
    noise = np.random.default_rng(seed).normal(0.4, 0.3, 60)
    noise[0] = 0.001
    assert decide(noise.tolist()) == (60, None)
    num, reason = decide([*noise, *np.geomspace(1, 1e6, 30)])
    assert reason is StopReason.DIVERGED
    assert num < 80
