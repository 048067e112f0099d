"""What is drawn, and what a plot leaves alone."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ignite_lrfinder import LRFinderResult, StopReason, SweepSettings, Trial
from ignite_lrfinder.advice import suggest
from ignite_lrfinder.curve import curve_of
from ignite_lrfinder.plotting import plot_result


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    """Leave no figure open."""
    yield
    plt.close("all")


def u_shaped(
    num_points: int = 100, ratios: tuple[float, ...] = (1.0,), *, is_flat: bool = False
) -> LRFinderResult:
    """Make a sweep with a valley at 1e-2 and a cliff at the end."""
    lr = np.geomspace(1e-6, 10, num_points)
    x = np.log10(lr)
    losses = 2.3 - 1.8 / (1 + np.exp(-3 * (x + 3))) + np.exp(4 * x)
    noise = np.random.default_rng(0).normal(0, 0.02, num_points)
    return LRFinderResult(
        lr=lr[:, None] * np.array(ratios),
        losses=(0 if is_flat else losses) + noise,
        smoothed_losses=losses,
        stop_reason=StopReason.DIVERGED,
        settings=SweepSettings(
            start_lr=tuple(1e-6 * r for r in ratios),
            end_lr=tuple(10 * r for r in ratios),
            num_iter=num_points,
            step_mode="exp",
            smooth_f=0.05,
            diverge_th=5.0,
        ),
    )


def legend_of(ax: Axes) -> str:
    """Return the text of the legend."""
    legend = ax.get_legend()
    assert legend is not None
    return "\n".join(text.get_text() for text in legend.get_texts())


def test_the_curve_shows_raw_points_a_smooth_line_and_the_suggestion() -> None:
    """Raw losses are points, the zero-phase curve a line, the suggestion a marked point on it."""
    result = u_shaped()
    ax = plot_result(result)
    raw, smooth, _, mark = ax.get_lines()
    np.testing.assert_array_equal(raw.get_xydata(), np.c_[result.lr[:, 0], result.losses][10:-5])
    assert raw.get_linestyle() == "None"
    curve = curve_of(result)
    np.testing.assert_array_equal(smooth.get_ydata(), curve.smoothed[10:-5])
    [lr] = suggest(result)
    [[x, y]] = np.asarray(mark.get_xydata())
    assert x == lr
    nearest = np.argmin(np.abs(np.log(curve.lr / lr)))
    assert abs(y - curve.smoothed[nearest]) < 0.2
    assert f"suggested lr: {lr:.2e}" in legend_of(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Learning rate", "Loss")


def test_the_interval_of_the_trials_is_a_band() -> None:
    """What the trials cannot tell apart is shaded; without trials nothing is."""
    rates = (0.01, 0.02, 0.04)
    losses = [np.r_[2.0, np.full(39, 1 + abs(np.log(lr / 0.02)))] for lr in rates]
    trials = [Trial(lr=a, num_iter=40, losses=b) for a, b in zip(rates, losses, strict=True)]
    result = dataclasses.replace(u_shaped(), trials=tuple(trials))
    ax = plot_result(result)
    [band] = ax.patches
    assert isinstance(band, Rectangle)
    assert result.interval == pytest.approx((band.get_x(), band.get_x() + band.get_width()))
    assert "as good as the best" in legend_of(ax)
    assert not plot_result(u_shaped()).patches


@pytest.mark.parametrize(("log_lr", "scale"), [(True, "log"), (False, "linear")])
def test_the_axis_of_the_learning_rate_is_as_asked(log_lr: bool, scale: str) -> None:
    """The learning rate has a logarithmic axis unless log_lr is False."""
    assert plot_result(u_shaped(), log_lr=log_lr).get_xscale() == scale


def test_a_given_ax_is_drawn_on_and_pyplot_left_alone() -> None:
    """With an ax of the user's no figure is made, none becomes current, and the ax comes back."""
    ax = Figure().subplots()
    current = plt.figure()
    assert plot_result(u_shaped(), ax=ax) is ax
    assert plt.get_fignums() == [current.number]
    assert plt.gcf() is current
    assert current.axes == []


def test_no_window_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotting never calls `pyplot.show`."""
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("a window was opened"))
    plot_result(u_shaped())


def test_keyword_arguments_make_the_figure() -> None:
    """Further arguments go to `pyplot.subplots`."""
    figure = plot_result(u_shaped(), figsize=(3, 2)).figure
    assert isinstance(figure, Figure)
    assert tuple(figure.get_size_inches()) == (3, 2)


@pytest.mark.parametrize("num_groups", [2, 20])
def test_groups_share_one_curve_and_a_line_of_the_legend_each(num_groups: int) -> None:
    """Groups that move together are one curve, with their suggestions listed, twenty not all."""
    ratios = tuple(0.5**i for i in range(num_groups))
    result = u_shaped(ratios=ratios)
    ax = plot_result(result)
    assert len(ax.get_lines()) == 4
    text = legend_of(ax)
    for index, lr in list(enumerate(suggest(result)))[:2]:
        assert f"group {index}: {lr:.2e}" in text
    assert len(text.splitlines()) <= 8
    assert ("and 15 groups more" in text) == (num_groups == 20)


def test_a_suggestion_among_the_trimmed_points_is_still_shown() -> None:
    """Trimming hides points, but not the suggestion."""
    result = u_shaped()
    [lr] = suggest(result)
    ax = plot_result(result, skip_start=95, skip_end=0)
    low, high = ax.get_xlim()
    assert result.lr[95, 0] > lr
    assert low < lr < high


def test_a_short_sweep_is_shown_whole_rather_than_not_at_all() -> None:
    """Where trimming would leave nothing all points are shown, and a warning says so."""
    with pytest.warns(UserWarning, match="leave no curve of 12 points"):
        ax = plot_result(u_shaped(12), display_suggestion=False)
    assert np.shape(ax.get_lines()[0].get_xdata()) == (12,)


def test_a_curve_without_a_suggestion_is_drawn_and_says_so() -> None:
    """A flat curve is drawn without a mark; the warning carries the reason."""
    with pytest.warns(UserWarning, match=r"No suggestion is shown\. .*flat"):
        ax = plot_result(u_shaped(is_flat=True))
    assert "no suggestion" in legend_of(ax)


def test_losses_beyond_the_cliff_do_not_flatten_the_valley() -> None:
    """A loss of 1e9 at the end leaves the picture at the top."""
    result = u_shaped()
    losses = result.losses.copy()
    losses[-3:] = 1e9
    result = LRFinderResult(
        lr=result.lr,
        losses=losses,
        smoothed_losses=losses,
        stop_reason=StopReason.DIVERGED,
        settings=result.settings,
    )
    assert plot_result(result, skip_end=0).get_ylim()[1] < 10


@pytest.mark.parametrize("name", ["skip_start", "skip_end"])
def test_a_negative_trim_is_refused(name: str) -> None:
    """Trimming fewer than no points is refused."""
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1.*cannot be negative"):
        plot_result(u_shaped(), **{name: -1})  # type: ignore[arg-type]  # one of two integers


@pytest.mark.parametrize(
    ("argument", "value"), [("skip_start", 1.5), ("skip_end", "2"), ("ax", 3)], ids=str
)
def test_an_argument_of_the_wrong_kind_is_refused(argument: str, value: object) -> None:
    """The error names the argument and shows what came."""
    with pytest.raises(TypeError, match=f"{argument} must be .*, got {value!r}"):
        plot_result(u_shaped(), **{argument: value})  # type: ignore[arg-type]  # what it is about


def test_the_cliff_is_seen_where_only_the_end_is_shown() -> None:
    """Trimming down to the rise after the minimum still shows the rise."""
    result = u_shaped()
    ax = plot_result(result, skip_start=70, skip_end=0)
    assert ax.get_ylim()[1] > 3 * result.losses[70]


def test_matplotlib_is_imported_only_for_a_plot() -> None:
    """Importing the package does not import matplotlib."""
    code = "import sys, ignite_lrfinder; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
