"""Suggestions: each method against curves whose answer is known, and what must not fool them."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import autoregressive, result_of, u_shape, usable_sweeps

from ignite_lrfinder import LRFinderResult, NoSuggestionError
from ignite_lrfinder.record.plan import Plan
from ignite_lrfinder.suggest.curve import Curve, curve_through
from ignite_lrfinder.suggest.descent import Descent, descent_of
from ignite_lrfinder.suggest.methods import METHODS, auto, slide

LR = np.geomspace(1e-7, 10.0, 161)  # 20 points for each decade
X = np.log10(LR)
by_method = pytest.mark.parametrize("method", METHODS)
few = settings(max_examples=30, deadline=None)


def suggest(result: LRFinderResult, method: str = "auto") -> tuple[float, ...]:
    """Return the learning rate that a method suggests, for each group."""
    return tuple(np.atleast_1d(result.lr_suggestion(method)).tolist())


def suggest_all(result: LRFinderResult) -> dict[str, tuple[float, ...]]:
    """Return the learning rate that each method suggests, for each group."""
    return {name: tuple(np.atleast_1d(lr).tolist()) for name, lr in result.suggestions().items()}


def bounds_of(result: LRFinderResult) -> tuple[float, float]:
    """Return the bounds of a sweep over one group."""
    (low, high) = np.ravel(result.lr_bounds()).tolist()
    return low, high


def descent(curve: Curve) -> Descent:
    """Return the descent of a curve that has one."""
    found = descent_of(curve)
    assert isinstance(found, Descent)
    return found


def decades(lr: float, expected: float) -> float:
    """Return how far a learning rate lies from the expected one, in decades."""
    return abs(np.log10(lr / expected))


def test_steepest_is_where_the_loss_falls_fastest_over_log_lr():
    """A logistic fall over the logarithm is steepest in its middle; over lr it is left of it."""
    result = result_of(LR, u_shape(X, fall_at=-3.0, cliff_at=0.5))
    assert decades(suggest(result, "steepest")[0], 1e-3) <= 2 / 20


def test_minimum_is_a_tenth_of_the_lowest_point():
    """A symmetric valley with its lowest point at 0.1 gives 0.01, however deep it is."""
    result = result_of(LR, np.minimum(1.5, np.abs(X + 1)) ** 2)
    assert decades(suggest(result, "minimum")[0], 1e-2) <= 1 / 20


def test_valley_is_two_thirds_down_the_fall():
    """A straight fall from 1e-5 to 1e-2 gives 1e-3."""
    losses = np.minimum(np.abs(X + 2), 3.0)
    assert decades(suggest(result_of(LR, losses), "valley")[0], 1e-3) <= 0.2


def test_slide_stops_where_the_slopes_at_the_ends_of_its_interval_agree():
    """A logistic fall is as steep on both sides of its middle, so the interval lies across it."""
    result = result_of(LR, u_shape(X, fall_at=-3.0, cliff_at=0.5))
    assert decades(suggest(result, "slide")[0], 1e-3 / np.sqrt(16)) <= 2 / 20


def test_slide_goes_to_the_first_rate_where_the_slopes_never_agree():
    """A loss that falls ever less steeply bends upwards everywhere."""
    losses = (X - 1) ** 2
    assert slide(descent(Curve(lr=LR, losses=losses, smoothed=losses, noise=0.0))) == LR[0]


def fall_and_cliff(lr, *, fall_at, width=0.0):
    """Return the curve of a loss that falls over some decades, and breaks down above 0.1."""
    share = np.clip((np.log10(lr / fall_at) + width) / width, 0, 1) if width else lr > fall_at
    losses = np.where(lr > 0.1, 50.0, 2.0 - share)
    return Curve(lr=lr, losses=losses, smoothed=losses, noise=0.0)


@pytest.mark.parametrize("num_iter", [50, 100, 400])
def test_auto_is_a_sixth_of_the_edge_less_four_points(num_iter):
    """It is a third for a rate that decays, where the loss falls just before the edge."""
    lr = np.geomspace(1e-7, 10.0, num_iter)
    curve = fall_and_cliff(lr, fall_at=0.05)
    expected = lr[np.argmax(lr > 0.1) - 4] / 6
    assert auto(descent(curve)) == pytest.approx(expected)
    assert auto(descent(curve), Plan("decay")) == pytest.approx(2 * expected)


def test_auto_stays_near_the_valley_where_the_edge_is_far_above_it():
    """Where the loss lies flat over decades, it is 0.7 of the valley, or the valley for a decay."""
    found = descent(fall_and_cliff(LR, fall_at=1e-4, width=0.5))
    assert auto(found) == pytest.approx(0.7 * METHODS["valley"](found))
    assert auto(found, Plan("decay")) == pytest.approx(METHODS["valley"](found))


def test_auto_stays_near_the_steepest_fall_where_the_loss_goes_on_falling_slowly():
    """A fall at 1e-5 and a slow one up to the edge give four times the former for any plan."""
    losses = np.where(X > -1, 50.0, 2.0 - (X > -5) - 0.05 * np.maximum(X + 5, 0))
    found = descent(Curve(lr=LR, losses=losses, smoothed=losses, noise=0.0))
    for plan in (Plan(), Plan("decay")):
        assert auto(found, plan) == pytest.approx(4 * METHODS["steepest"](found))
        assert decades(auto(found, plan), 4e-5) <= 1 / 20


def test_what_follows_a_breakdown_is_not_read():
    """A loss that blew up and then dies far below its start suggests nothing up there."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-1.0, noise=0.02)
    expected = suggest_all(result_of(LR, losses))
    losses[X > 0] = 0.5
    for name, (lr,) in suggest_all(result_of(LR, losses)).items():
        assert decades(lr, expected[name][0]) <= 2 / 20


@pytest.mark.parametrize("method", ["auto", "minimum", "slide"])
def test_a_fraction_of_an_early_point_is_the_first_one_tested(method):
    """Nothing below the range of the sweep is suggested."""
    lr = np.geomspace(1e-3, 1.0, 100)
    losses = np.abs(np.log10(lr) + 2.5)
    assert suggest(result_of(lr, losses), method) == (1e-3,)


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_is_back_at_its_start_is_read_up_to_there(seed):
    """A second fall, even a deeper one, belongs to a training that has lost what it had learned."""
    losses = u_shape(X, fall_at=-4.0, cliff_at=-2.0, noise=0.03, seed=seed)
    expected = suggest_all(result_of(LR, losses))
    losses[X > -1.5] = 0.8 + 0.03 * noisy(seed)[X > -1.5]
    for name, (lr,) in suggest_all(result_of(LR, losses)).items():
        assert decades(lr, expected[name][0]) <= 4 / 20


def test_bounds_go_from_the_start_of_the_fall_to_the_peak_of_a_decaying_rate():
    """A straight fall begins at 1e-5; the upper bound is what `lr_suggestion` returns as a peak."""
    result = result_of(LR, np.clip(-X, 2.0, 5.0) + 2 * np.maximum(X, 0))
    low, high = bounds_of(result)
    assert decades(low, 1e-5) <= 0.5
    assert high == result.lr_suggestion(schedule="decay")


def test_noise_before_the_fall_does_not_begin_it():
    """The lower bound is near the fall, though some earlier points are higher than later ones."""
    for seed in range(5):
        losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5, noise=0.5, seed=seed)
        low, _ = bounds_of(result_of(LR, losses))
        assert decades(low, 10**-3.5) <= 1.0


@by_method
@given(result=usable_sweeps())
@few
def test_suggestions_lie_within_what_was_tested(method, result):
    """No method leaves the range of the sweep."""
    (lr,) = suggest(result, method)
    assert result.lr[0, 0] <= lr <= result.lr[-1, 0]


@given(result=usable_sweeps())
@few
def test_bounds_lie_in_order_within_what_was_tested(result):
    """The suggestion for a constant rate lies within the bounds, and all were tested."""
    low, high = bounds_of(result)
    assert result.lr[0, 0] <= low <= suggest(result)[0] <= high <= result.lr[-1, 0]


@by_method
@given(
    result=usable_sweeps(),
    scale=st.floats(1e-6, 1e6),
    shift=st.floats(-100, 100),
)
@few
def test_scale_and_level_of_the_loss_do_not_matter(method, result, scale, shift):
    """The loss times a factor, or plus a constant that may make it negative, gives the same."""
    (lr,) = suggest(result, method)
    for losses in (scale * result.losses, result.losses + shift):
        assert suggest(result_of(result.lr, losses), method) == pytest.approx((lr,), rel=1e-6)


@by_method
@pytest.mark.parametrize("value", [1e6, -1e6], ids=["high", "low"])
@pytest.mark.parametrize("at", [0, 1, 60, 90, 105, 130])
def test_one_wild_point_does_not_move_a_suggestion(method, value, at):
    """One loss that is far off, anywhere, moves it by a neighbor's width at most."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5, noise=0.02)
    (expected,) = suggest(result_of(LR, losses), method)
    losses[at] = value
    (suggested,) = suggest(result_of(LR, losses), method)
    assert decades(suggested, expected) <= 1.01 / 20


@by_method
def test_spikes_at_the_start_do_not_move_a_suggestion(method):
    """A loss that settles during the first points is no descent."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5, noise=0.02)
    expected = suggest(result_of(LR, losses), method)
    losses[:3] = 50.0, 30.0, 10.0
    assert suggest(result_of(LR, losses), method) == pytest.approx(expected)


@by_method
@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=["nan", "inf"])
def test_what_follows_a_broken_loss_is_not_read(method, bad):
    """Losses after the first NaN or infinity change nothing, low as they may be."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5, noise=0.02)
    losses[120:] = bad
    expected = suggest(result_of(LR, losses), method)
    losses[121:] = -5.0
    assert suggest(result_of(LR, losses), method) == expected


def noisy(seed: int) -> np.ndarray:
    """Return noise of a loss, for all of LR."""
    return 0.1 * np.random.default_rng(seed).standard_normal(len(LR))


HOPELESS = {
    "constant": (0 * X + 0.1, "is flat"),
    "rounding": (1 + 1e-16 * noisy(0), "is flat"),
    **{f"noise-{seed}": (2.3 + noisy(seed), "is flat") for seed in range(4)},
    "rising": (X, "only rises"),
    "rising-fast": (np.exp(X), "only rises"),
    "rising-slowly": (np.sqrt(X + 7), "only rises"),
    "rising-late": (np.maximum(X, -1.0), "only rises"),
    "rising-and-noise": (X + noisy(0), "only rises"),
    "step-up": (np.where(X > -2, 3.0, 2.0), "only rises"),
}


@by_method
@pytest.mark.parametrize(("losses", "shape"), HOPELESS.values(), ids=HOPELESS.keys())
def test_a_curve_without_a_descent_is_refused(method, losses, shape):
    """The error says which shape it is and what to change, and never gives a number."""
    text = f"The curve {shape}: the loss (fell by|did not fall).*(raise end_lr|Lower)"
    with pytest.raises(NoSuggestionError, match=text):
        suggest(result_of(LR, losses), method)
    with pytest.raises(NoSuggestionError, match=shape):
        suggest_all(result_of(LR, losses))


@pytest.mark.parametrize("has_cliff", [False, True], ids=["flat", "flat-then-cliff"])
@pytest.mark.parametrize(
    ("correlation", "most"), [(0.0, 4), (0.5, 6), (0.8, 6), (0.9, 12)], ids=lambda value: f"{value}"
)
def test_noise_alone_seldom_suggests_a_rate(correlation, most, has_cliff):
    """Of 100 curves of noise, correlated in time or not, with a cliff or not, few are read."""
    lr = np.geomspace(1e-7, 10.0, 100)
    cliff = np.zeros(100)
    cliff[-8:] = np.geomspace(0.02, 20.0, 8) if has_cliff else 0.0
    curves = [2.3 + 0.05 * autoregressive(100, correlation, seed) + cliff for seed in range(100)]
    readings = [descent_of(curve_through(lr, losses)) for losses in curves]
    assert sum(isinstance(found, Descent) for found in readings) <= most


@pytest.mark.parametrize("seed", range(5))
def test_a_fall_above_correlated_noise_is_read(seed):
    """A fall of twenty standard deviations stands out from noise that is correlated by 0.8."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5) + 0.05 * autoregressive(len(X), 0.8, seed)
    assert 1e-3 < suggest(result_of(LR, losses))[0] < 0.2


def test_correlated_noise_is_named_in_the_refusal():
    """The error says that the losses of neighboring points are correlated, and what to change."""
    losses = 2.3 + 0.05 * autoregressive(len(X), 0.9, seed=0)
    with pytest.raises(NoSuggestionError, match=r"curve wanders.*correlated.*Shuffle the data"):
        suggest(result_of(LR, losses))


@pytest.mark.parametrize("seed", range(5))
def test_noisy_losses_that_fall_give_a_number(seed):
    """Noise as large as the fall does not justify a refusal."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5, noise=0.7, seed=seed)
    assert 1e-3 < suggest(result_of(LR, losses))[0] < 0.2


def test_a_fall_at_once_gives_a_number():
    """A loss that falls within the first points, and is noise from there to the cliff, is read."""
    losses = 1 + np.exp(-np.arange(len(LR)) / 4) + np.exp(6 * (X + 0.5)) + 0.2 * noisy(0)
    assert 1e-3 < suggest(result_of(LR, losses))[0] < 0.2


def test_a_sweep_that_learns_at_once_and_never_diverges_stays_near_the_fall():
    """Without an edge, the end of the sweep does not justify a rate decades above the fall."""
    losses = 2 * np.exp(-np.arange(len(LR)) / 4)
    assert suggest(result_of(1e4 * LR, losses))[0] <= 4 * LR[len(LR) // 10] * 1e4


@pytest.mark.parametrize("num_iter", [12, 50, 500])
def test_linear_sweeps_give_a_number(num_iter):
    """Equal steps of the learning rate, of which the valley fills half, are read as well."""
    lr = np.linspace(1e-4, 10.0, num_iter)
    losses = 1 + np.exp(-lr) + np.maximum(lr - 6, 0) ** 2
    for (suggested,) in suggest_all(result_of(lr, losses)).values():
        assert 1e-4 <= suggested <= 6


def test_groups_are_read_at_the_same_moment():
    """Groups keep their ratio at that moment, and a frozen one stays at 0."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5)
    groups = np.stack([0 * LR, LR, LR / 7, np.sqrt(LR)], axis=1)
    (lr,) = suggest(result_of(LR, losses), "valley")
    expected = [0.0, lr, lr / 7, np.sqrt(lr)]
    assert suggest(result_of(groups, losses), "valley") == pytest.approx(expected, rel=1e-12)


def test_a_tested_point_is_returned_bit_for_bit():
    """Where the suggestion is a point of the sweep, its recorded learning rates come back."""
    losses = u_shape(X, fall_at=-3.0, cliff_at=-0.5)
    groups = np.stack([LR, LR / 7, np.linspace(0, 1, len(LR))], axis=1)
    suggested = suggest(result_of(groups, losses), "steepest")
    point = int(np.argmax(suggested[0] == LR))
    assert suggested == tuple(groups[point].tolist())


def test_all_methods_are_suggested_by_name():
    """Each name comes with what `suggest` gives for it, the default first."""
    result = result_of(LR, u_shape(X, fall_at=-3.0, cliff_at=-0.5))
    assert suggest_all(result) == {name: suggest(result, name) for name in METHODS}
    assert list(suggest_all(result)) == ["auto", "steepest", "valley", "minimum", "slide"]


def test_an_unknown_method_is_refused():
    """The error names the methods that there are."""
    message = "method must be one of 'auto', 'steepest', 'valley', 'minimum', 'slide', got "
    message += "'best'. "
    with pytest.raises(ValueError, match=re.escape(message)):
        suggest(result_of(LR, X), "best")


def test_a_method_that_is_no_name_is_refused():
    """Something else than a string is of the wrong kind, not an unhashable key."""
    with pytest.raises(TypeError, match="method must be a string, got "):
        suggest(result_of(LR, X), ["auto"])  # type: ignore[arg-type] # it is what is tested
