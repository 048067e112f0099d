"""Hypothesis strategies: results of sweeps, as a finder would hand them on."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from ignite_lrfinder import LRFinderResult, StopReason, SweepSettings


def result_of(lr: ArrayLike, losses: ArrayLike) -> LRFinderResult:
    """Return the result of a sweep over `lr`, of shape (T,) or (T, G), with these losses."""
    lr = np.asarray(lr, dtype=np.float64)
    lr = lr[:, None] if lr.ndim == 1 else lr
    settings = SweepSettings(
        start_lr=tuple(lr[0].tolist()),
        end_lr=tuple(lr[-1].tolist()),
        num_iter=len(lr),
        step_mode="exp",
        smooth_f=0.05,
        diverge_th=5.0,
    )
    losses = np.asarray(losses, dtype=np.float64)
    return LRFinderResult(
        lr=lr,
        losses=losses,
        smoothed_losses=losses,
        stop_reason=StopReason.COMPLETED,
        settings=settings,
    )


def u_shape(
    log10_lr: np.ndarray, *, fall_at: float, cliff_at: float, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return a loss that falls from 2 to 1 about 10**fall_at and blows up at 10**cliff_at."""
    fall = 1 / (1 + np.exp(4 * (log10_lr - fall_at)))
    blow_up = np.exp(6 * np.minimum(log10_lr - cliff_at, 1.0))
    scatter = np.random.default_rng(seed).standard_normal(len(log10_lr))
    return 1 + fall + blow_up + noise * scatter


def autoregressive(num: int, correlation: float, seed: int) -> np.ndarray:
    """Return noise with standard deviation 1, of which neighbors are correlated; shape (num,)."""
    noise = np.random.default_rng(seed).standard_normal(num)
    for i in range(1, num):
        noise[i] = correlation * noise[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
    return noise


@st.composite
def usable_sweeps(draw: st.DrawFn) -> LRFinderResult:
    """Draw a sweep over 40 to 300 points, with noise, that has a valley to be found."""
    num_iter = draw(st.integers(40, 300))
    lr = np.geomspace(1e-7, 10.0, num_iter)
    fall_at = draw(st.floats(-4.5, -2.5))
    losses = u_shape(
        np.log10(lr),
        fall_at=fall_at,
        cliff_at=fall_at + draw(st.floats(1.5, 2.5)),
        noise=draw(st.floats(0.01, 0.1)),
        seed=draw(st.integers(0, 2**16)),
    )
    return result_of(lr, losses)
