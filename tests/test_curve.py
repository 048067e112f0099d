"""The curve: smoothing without lag, the noise that is left, and which points count."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import autoregressive, result_of, u_shape

from ignite_lrfinder import LRFinderResult
from ignite_lrfinder.suggest.curve import Curve, Refusal, curve_of, curve_through
from ignite_lrfinder.suggest.smoothing import local_line, noise_of, running_median, smooth

SPACINGS = {
    "exponential": np.log(np.geomspace(1e-6, 1.0, 60)),
    "linear": np.log(np.linspace(1e-6, 1.0, 60)),
    "irregular": np.cumsum(np.random.default_rng(1).exponential(size=60)),
}
by_spacing = pytest.mark.parametrize("x", SPACINGS.values(), ids=SPACINGS.keys())


def noise_like(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return standard normal noise, one value for each x."""
    return np.random.default_rng(seed).standard_normal(len(x))


def curve(result: LRFinderResult) -> Curve:
    """Return the curve of a result that has one."""
    found = curve_of(result)
    assert isinstance(found, Curve)
    return found


@by_spacing
def test_local_line_is_a_weighted_polynomial_fit_at_each_point(x):
    """Each value is that of NumPy's polynomial fit through the nine nearest, tricube-weighted."""
    y = noise_like(x)
    expected = []
    for centre in x:
        nearest = np.argsort(np.abs(x - centre), kind="stable")[:9]
        distance = np.abs(x[nearest] - centre)
        weight = (1 - (distance / (distance.max() * 10 / 9)) ** 3) ** 3
        line = np.polynomial.Polynomial.fit(x[nearest], y[nearest], 1, w=np.sqrt(weight))
        expected.append(line(centre))
    np.testing.assert_allclose(local_line(x, y), expected, atol=1e-6)


def test_local_line_of_a_long_sweep_is_that_at_its_anchors():
    """Ten thousand points are fitted at some of them, with no visible difference."""
    x = np.linspace(0, 1, 10_000)
    np.testing.assert_allclose(local_line(x, np.sin(6 * x)), np.sin(6 * x), atol=0.04)
    np.testing.assert_allclose(local_line(x, 3 - 2 * x), 3 - 2 * x, atol=1e-9)


@by_spacing
def test_smoothing_has_no_direction(x):
    """A curve seen in a mirror is smoothed to the mirror image: nothing lags."""
    y = noise_like(x)
    np.testing.assert_allclose(smooth(-x[::-1], y[::-1])[::-1], smooth(x, y), atol=1e-9)


@pytest.mark.parametrize("num_points", [20, 100, 5000])
def test_a_step_is_smoothed_where_it_is(num_points):
    """Half the height is passed in the middle, where the step is."""
    x = np.linspace(0, 1, num_points)
    smoothed = smooth(x, np.where(x < 0.5, 1.0, 0.0))
    assert abs(x[np.argmax(smoothed < 0.5)] - 0.5) <= 1.5 / num_points


@pytest.mark.parametrize("num_points", [10, 60, 100, 2000])
def test_running_median_takes_full_windows(num_points):
    """Each value is the median of its window; at the ends, of the outermost one."""
    y = noise_like(np.empty(num_points))
    reach = {10: 1, 60: 2, 100: 3, 2000: 12}[num_points]
    inside = [np.clip(i, reach, num_points - 1 - reach) for i in range(num_points)]
    expected = [np.median(y[i - reach : i + reach + 1]) for i in inside]
    np.testing.assert_array_equal(running_median(y), expected)


def test_a_cliff_does_not_lift_the_curve_before_it():
    """Whether the loss blows up by a hundred or by a million, the valley looks the same."""
    x = np.linspace(-7, 1, 100)
    valley = np.minimum(2.0, np.abs(x + 1.5))
    steep, steeper = valley.copy(), valley.copy()
    steep[85:], steeper[85:] = 1e2, 1e6
    np.testing.assert_allclose(smooth(x, steep)[:82], smooth(x, steeper)[:82])
    assert smooth(x, steeper)[-1] == 1e6


@pytest.mark.parametrize("height", [1.0, 10.0])
def test_the_line_follows_the_points_up_to_a_cliff(height):
    """It misses none of the ten points before a cliff, however low, by six times the noise."""
    x = np.linspace(-7, 1, 100)
    y = np.minimum(2.0, 1 - x / 2) + 0.02 * noise_like(x)
    y[85:] = y[84] + height * np.arange(1, 16) / 4
    assert np.abs(smooth(x, y) - np.minimum(2.0, 1 - x / 2))[75:85].max() <= 6 * 0.02


def test_the_line_reaches_the_bottom_of_a_steep_fall_before_a_cliff():
    """A median whose window reaches into the cliff does not lift the last points before it."""
    x = np.linspace(-7, 1, 100)
    fall = np.clip((np.arange(100) - 60) / 10, 0.0, 1.0)
    y = 2.0 - 1.5 * fall**2 + 0.02 * noise_like(x)
    y[73:] = 1.2 + np.arange(27) / 2
    assert np.abs(smooth(x, y) - (2.0 - 1.5 * fall**2))[71:73].max() <= 3 * 0.02


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_correlation_of_the_noise_is_estimated(correlation):
    """Over many long sweeps of noise its median is right within 0.1."""
    lr = np.geomspace(1e-7, 10.0, 400)
    curves = [curve_through(lr, autoregressive(400, correlation, seed)) for seed in range(50)]
    assert np.median([each.correlation for each in curves]) == pytest.approx(correlation, abs=0.1)


@pytest.mark.parametrize("slope", [0.0, -5.0], ids=["flat", "falling"])
def test_noise_is_the_scatter_of_single_losses(slope):
    """Noise of 0.3 is found, on a slope too, within a tenth."""
    x = np.linspace(0, 1, 4000)
    assert noise_of(slope * x + 0.3 * noise_like(x)) == pytest.approx(0.3, rel=0.1)


def test_losses_without_scatter_have_the_noise_of_rounding():
    """It is not 0, so that a fall by rounding is none, and grows with the size of the loss."""
    assert 0 < noise_of(np.linspace(3.0, 4.0, 50)) < 1e-10
    assert noise_of(np.full(50, -5.0)) == pytest.approx(noise_of(np.full(50, 0.5)) * 10)


def test_noise_leaves_out_what_has_diverged():
    """Scatter beyond the divergence of a sweep is no noise of its valley."""
    calm = 0.01 * noise_like(np.empty(40)) + np.linspace(2, 1, 40)
    wild = 50 + 30 * noise_like(np.empty(60), seed=1)
    assert noise_of(np.concatenate([calm, wild])) == pytest.approx(0.01, rel=0.4)


def test_smoothed_noise_is_the_scatter_that_smoothing_leaves():
    """Over many sweeps of noise, the smoothed loss varies as much as is said, within 15 percent."""
    lr = np.geomspace(1e-7, 10.0, 100)
    curves = [curve(result_of(lr, noise_like(lr, seed))) for seed in range(300)]
    scatter = np.std([each.smoothed[40:60] for each in curves])
    assert np.median([each.smoothed_noise for each in curves]) == pytest.approx(scatter, rel=0.15)


@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), at=st.integers(10, 59))
def test_points_end_before_the_first_loss_that_is_not_finite(bad, at):
    """What comes after is left out, finite or not."""
    lr = np.geomspace(1e-5, 1.0, 60)
    losses = u_shape(np.log10(lr), fall_at=-3, cliff_at=-0.5)
    losses[at] = bad
    found = curve(result_of(lr, losses))
    np.testing.assert_array_equal(found.lr, lr[:at])
    np.testing.assert_array_equal(found.losses, losses[:at])


def test_reference_is_the_first_group_that_trains():
    """A group frozen at 0 throughout has no learning rate to read from."""
    lr = np.geomspace(1e-5, 1.0, 20)
    result = result_of(np.stack([0 * lr, lr, 3 * lr], axis=1), np.ones(20))
    np.testing.assert_array_equal(curve(result).lr, lr)


def test_a_first_learning_rate_of_zero_is_left_out():
    """A linear sweep that starts at 0 is read from its second point on."""
    lr = np.linspace(0.0, 1.0, 20)
    np.testing.assert_array_equal(curve(result_of(lr, np.ones(20))).lr, lr[1:])


@pytest.mark.parametrize(
    ("lr", "losses", "message"),
    [
        (np.geomspace(1e-5, 1, 9), np.ones(9), "too few points: 9 "),
        (np.geomspace(1e-5, 1, 50), np.full(50, np.nan), "too few points: 0 .* of 50"),
        (np.zeros(50), np.ones(50), "too few points: 0 .* of 50"),
        (np.full(50, 0.1), np.ones(50), "does not rise"),
    ],
    ids=["short", "nan", "frozen", "constant-lr"],
)
def test_a_result_without_a_curve_is_refused_with_a_reason(lr, losses, message):
    """The refusal says what is missing."""
    refusal = curve_of(result_of(lr, losses))
    assert isinstance(refusal, Refusal)
    assert re.search(message, refusal.reason)
