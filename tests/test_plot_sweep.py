"""What a plot draws, and what it does not change."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from processes import run_python
from strategies import result_of, u_shape

from ignite_lrfinder import (
    LRFinderError,
    LRFinderResult,
    StopReason,
    SweepSettings,
    Trial,
    plot_results,
)
from ignite_lrfinder.suggest.curve import Curve
from ignite_lrfinder.suggest.descent import Descent
from ignite_lrfinder.suggest.verdict import Verdict


def u_shaped(
    num_points: int = 100, ratios: tuple[float, ...] = (1.0,), *, is_flat: bool = False
) -> LRFinderResult:
    """Make a sweep with a valley at 1e-2 that diverges at the end."""
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


def curve_of(result: LRFinderResult) -> Curve:
    """Return the smoothed curve of a result."""
    assert isinstance(result.reading.curve, Curve)
    return result.reading.curve


def edge_of(result: LRFinderResult) -> int:
    """Return the point of the edge."""
    assert isinstance(result.reading.descent, Descent)
    return result.reading.descent.edge


def legend_of(ax: Axes) -> str:
    """Return the text of the legend."""
    legend = ax.get_legend()
    assert legend is not None
    return "\n".join(text.get_text() for text in legend.get_texts())


def lines_of(ax: Axes) -> dict[str, Line2D]:
    """Return the lines by their labels, up to the first colon."""
    return {str(line.get_label()).split(":")[0]: line for line in ax.get_lines()}


def test_a_plot_shows_points_a_smoothed_line_and_the_suggestion() -> None:
    """Losses are points, the smoothed curve is a line, and the suggestion a mark on the line."""
    result = u_shaped()
    ax = result.plot()
    lines, curve, lr = lines_of(ax), curve_of(result), result.lr_suggestion()
    raw, smooth, mark = (
        lines[name] for name in ("loss of each point", "smoothed loss", "suggested lr")
    )
    np.testing.assert_array_equal(raw.get_xydata(), np.c_[result.lr[:, 0], result.losses][10:-5])
    assert raw.get_linestyle() == "None"
    np.testing.assert_array_equal(smooth.get_ydata(), curve.smoothed[10:-5])
    [[x, y]] = np.asarray(mark.get_xydata())
    assert x == lr
    nearest = np.argmin(np.abs(np.log(curve.lr / lr)))
    assert abs(y - curve.smoothed[nearest]) < 0.2
    assert f"suggested lr: {lr:.2e}" in legend_of(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Learning rate", "Loss")


def test_skipped_points_are_drawn_faintly() -> None:
    """The skipped points are drawn, but do not stretch the plot upwards."""
    result = u_shaped()
    ax = result.plot(display_suggestion=False)
    faint = [line for line in ax.get_lines() if (line.get_alpha() or 1.0) < 0.2]
    drawn = np.concatenate([np.asarray(line.get_xdata()) for line in faint[:1]])
    np.testing.assert_array_equal(drawn, np.delete(result.lr[:, 0], slice(10, -5)))
    assert ax.get_ylim()[1] < result.losses[-1]


@pytest.mark.parametrize("log_lr", [True, False], ids=["log", "linear"])
@pytest.mark.parametrize("scale", ["log", "linear"])
def test_marks_lie_on_the_line_as_it_is_drawn(log_lr: bool, scale: str) -> None:
    """On a linear and a logarithmic axis, a mark lies on the line between its neighbors."""
    lr = np.geomspace(1e-3, 2, 40) if scale == "log" else np.linspace(0.05, 2, 40)
    result = result_of(lr, 2 - lr + 9 * np.maximum(lr - 1, 0) ** 2)
    curve = curve_of(result)
    lines = lines_of(result.plot(skip_start=0, skip_end=0, log_lr=log_lr, methods=True))
    axis = np.log if log_lr else np.asarray
    for name in ("suggested lr", "a tenth of the minimum", "slide"):
        [[x, y]] = np.asarray(lines[name].get_xydata())
        assert y == pytest.approx(np.interp(axis(x), axis(curve.lr), curve.smoothed))


def test_the_legend_lies_below_the_axes() -> None:
    """The legend covers nothing, fits into the figure, and can be left out."""
    result = u_shaped()
    for ax in (result.plot(), result.plot(methods=True), result.plot(figsize=(3, 2.6))):
        figure, legend = ax.figure, ax.get_legend()
        assert isinstance(figure, Figure)
        assert legend is not None
        figure.canvas.draw()
        box = legend.get_window_extent()
        assert box.y1 < ax.xaxis.label.get_window_extent().y0
        assert box.y0 >= 0
        assert ax.get_window_extent().height > figure.bbox.height / 3
    assert result.plot(legend=False).get_legend() is None


def test_a_small_figure_keeps_room_for_the_curve() -> None:
    """Its legend has the entries with a number, or only the suggestion."""
    result = u_shaped()
    small, tiny = result.plot(methods=True, figsize=(4, 3.2)), result.plot(figsize=(3, 2))
    assert ["suggested", "bounds", "steepest"] == [
        line.split(":")[0].split()[0] for line in legend_of(small).splitlines()[:3]
    ]
    (line,) = legend_of(tiny).splitlines()
    assert line.startswith("suggested lr: ")
    for ax in (small, tiny):
        ax.figure.canvas.draw()
        assert ax.get_position().height > 0.35


def test_a_legend_among_other_axes_lies_inside_its_own() -> None:
    """Nothing keeps room below an Axes of a figure without a layout."""
    rows = plt.figure().subplots(2, 1)
    rows_with_layout = plt.figure(layout="constrained").subplots(2, 1)
    for ax in (rows[0], rows_with_layout[0]):
        u_shaped().plot(ax=ax)
        ax.figure.draw_without_rendering()
        legend = ax.get_legend()
        assert legend is not None
        is_inside = legend.get_window_extent().y0 >= ax.get_window_extent().y0
        assert is_inside == (ax is rows[0])


def test_groups_that_differ_are_named_at_the_axis() -> None:
    """The curve is drawn over the rate of one of them."""
    assert u_shaped().plot().get_xlabel() == "Learning rate"
    ax = u_shaped(ratios=(0.0, 1.0)).plot()
    assert ax.get_xlabel() == "Learning rate of parameter group 1"


def test_rates_that_trials_have_shown_to_be_good_are_not_shaded_as_diverging() -> None:
    """The shaded range begins beyond them."""
    rates = (0.02, 0.2, 2.0)
    trials = [
        Trial(lr=lr, num_iter=50, losses=np.linspace(2.3, 0.5 + 0.1 * (lr != 2.0), 50))
        for lr in rates
    ]
    result = dataclasses.replace(u_shaped(), trials=tuple(trials))
    assert result.interval is not None
    ax = result.plot()
    shaded = {patch.get_label(): patch for patch in ax.patches}
    good, diverging = shaded["range of the best rate (trials)"], shaded["diverging"]
    assert isinstance(good, Rectangle)
    assert isinstance(diverging, Rectangle)
    assert diverging.get_x() >= good.get_x() + good.get_width()


@pytest.mark.parametrize("high", [2.0, 9.0, 50.0, 99.0, 1e6])
def test_tick_labels_do_not_collide(high: float) -> None:
    """From a fraction of a decade to six decades, at least two labels fit without overlap."""
    lr = np.geomspace(1e-3, 1e-3 * high, 60)
    ax = result_of(lr, u_shape(np.log10(lr), fall_at=-2.9, cliff_at=0)).plot(
        display_suggestion=False
    )
    assert isinstance(ax.figure, Figure)
    ax.figure.canvas.draw()
    low, up = ax.get_xlim()
    ticks = [*ax.xaxis.get_major_ticks(), *ax.xaxis.get_minor_ticks()]
    labels = [t.label1 for t in ticks if low <= t.get_loc() <= up and t.label1.get_text()]
    boxes = sorted((t.get_window_extent() for t in labels), key=lambda box: box.x0)
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_colors_follow_the_style() -> None:
    """In a dark style nothing is drawn in the color of its background."""
    with plt.style.context("dark_background"):
        ax = u_shaped().plot(methods=True)
        background = to_rgb(ax.get_facecolor())
        for line in ax.get_lines():
            assert np.abs(np.subtract(to_rgb(line.get_color()), background)).max() > 0.4


def test_the_interval_of_the_trials_is_a_band() -> None:
    """The interval of the trials is shaded; without trials nothing is."""
    rates = (0.01, 0.02, 0.04)
    losses = [np.r_[2.0, np.full(39, 1 + abs(np.log(lr / 0.02)))] for lr in rates]
    trials = [Trial(lr=a, num_iter=40, losses=b) for a, b in zip(rates, losses, strict=True)]
    result = dataclasses.replace(u_shaped(), trials=tuple(trials))
    ax = result.plot()
    _, band = ax.patches
    assert isinstance(band, Rectangle)
    assert result.interval == pytest.approx((band.get_x(), band.get_x() + band.get_width()))
    assert "range of the best rate (trials)" in legend_of(ax)
    assert len(u_shaped().plot().patches) == 1


def test_the_other_methods_are_marked_on_request() -> None:
    """Each method has its own marker on the curve and three digits in the legend."""
    result = u_shaped()
    assert "valley" not in lines_of(result.plot())
    ax = result.plot(methods=True)
    names = {"minimum": "a tenth of the minimum"}
    marks = [lines_of(ax)[names.get(m, m)] for m in result.suggestions() if m != "auto"]
    for mark, (name, lr) in zip(marks, list(result.suggestions().items())[1:], strict=True):
        assert np.asarray(mark.get_xdata()).tolist() == [lr]
        assert f"{names.get(name, name)}: {lr:.2e}" in legend_of(ax)
    assert len({str(mark.get_marker()) for mark in marks}) == 4


def test_the_bounds_are_a_bar() -> None:
    """The bar spans both bounds, and the legend gives them."""
    result = u_shaped()
    ax = result.plot()
    low, high = result.lr_bounds()
    assert np.asarray(lines_of(ax)["bounds"].get_xdata()).tolist() == [low, high]
    assert f"bounds: {low:.2e} to {high:.2e}" in legend_of(ax)


def test_diverging_rates_are_shaded() -> None:
    """The shade begins at the edge; a sweep that ended before it has no shade."""
    result = u_shaped()
    [shade] = result.plot().patches
    assert isinstance(shade, Rectangle)
    curve = curve_of(result)
    assert shade.get_x() == pytest.approx(curve.lr[edge_of(result)])
    assert shade.get_x() + shade.get_width() == pytest.approx(curve.lr[-1])
    assert "diverging" in legend_of(result.plot())
    short = result_of(result.lr[:55], result.losses[:55])
    assert not short.plot(skip_end=0).patches


def test_marks_can_be_left_out() -> None:
    """Without `display_suggestion` there are only the points and the line."""
    ax = u_shaped().plot(display_suggestion=False)
    assert legend_of(ax).splitlines() == ["loss of each point", "smoothed loss"]
    assert not ax.patches


def test_the_change_in_loss_is_drawn_below_the_loss() -> None:
    """The change is the slope of the smoothed loss per decade, over the same rates."""
    result = u_shaped()
    upper, lower = result.plot(derivative=True)
    curve = curve_of(result)
    line = lower.get_lines()[1]
    np.testing.assert_array_equal(line.get_xdata(), curve.lr[10:-5])
    slope = np.gradient(curve.smoothed, np.log10(curve.lr))
    np.testing.assert_allclose(line.get_ydata(), slope[10:-5])
    assert (upper.get_ylabel(), lower.get_yscale()) == ("Loss", "linear")
    assert lower.get_ylim() == pytest.approx((1.2 * slope.min(), -slope.min()))
    assert upper.get_xlim() == lower.get_xlim()
    assert upper.get_legend() is None
    assert "suggested lr" in legend_of(lower)


def test_the_slope_is_shown_over_the_rates_of_the_points_above() -> None:
    """Also where the smooth curve lacks some points: the first rate is 0, and the last loss NaN."""
    u, lr = u_shaped(), np.linspace(0.0, 1.0, 100)
    losses = np.append(1 - lr[:-1], np.nan)
    result = dataclasses.replace(u, lr=lr[:, None], losses=losses, smoothed_losses=losses)
    upper, lower = result.plot(derivative=True, log_lr=False, skip_start=20, skip_end=20)
    (smooth,) = [line for line in upper.get_lines() if line.get_label() == "smoothed loss"]
    np.testing.assert_array_equal(lower.get_lines()[1].get_xdata(), smooth.get_xdata())
    assert smooth.get_xdata()[0] == lr[20]


@pytest.mark.filterwarnings("error")
def test_two_panels_warn_once_and_a_refusal_opens_no_figure() -> None:
    """Arguments are checked before a figure is made."""
    with pytest.raises(ValueError, match="skip_start must be at least 0"):
        u_shaped().plot(derivative=True, skip_start=-1)
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes"):
        plot_results({"one": u_shaped()}, ax="x")  # type: ignore[arg-type]  # what it is about
    assert not plt.get_fignums()
    with pytest.warns(UserWarning, match="leave no curve") as caught:
        u_shaped().plot(derivative=True, skip_start=200)
    assert len(caught) == 1


def test_several_results_share_one_axis() -> None:
    """Each result has a line with its name and suggestion, distinct even in greyscale."""
    results = {"one": u_shaped(), "two": u_shaped(200), "three": u_shaped(is_flat=True)}
    ax = plot_results(results)
    text = legend_of(ax)
    assert f"one: {results['one'].lr_suggestion():.2e}" in text
    assert "three" in text.splitlines()
    styles = [line.get_linestyle() for line in ax.get_lines() if line.get_marker() == "None"]
    assert len(set(styles)) == 3
    with pytest.raises(TypeError, match="results must be a mapping"):
        plot_results([u_shaped()])  # type: ignore[arg-type]  # what it is about
    with pytest.raises(ValueError, match="at least one result"):
        plot_results({})


def with_trials() -> LRFinderResult:
    """Return a sweep with three long trials of a clear best, a short one, and one that diverged."""
    losses = {0.01: 1.5, 0.02: 1.0, 0.04: 1.2}
    trials = [
        Trial(lr=lr, num_iter=40, losses=np.r_[2.0, np.full(39, loss)])
        for lr, loss in losses.items()
    ]
    trials.append(Trial(lr=0.005, num_iter=10, losses=np.full(10, 1.9)))
    trials.append(Trial(lr=0.08, num_iter=40, losses=np.array([2.0, 90.0, np.inf])))
    return dataclasses.replace(u_shaped(), trials=tuple(trials))


def test_each_trial_is_drawn_over_its_iterations() -> None:
    """Trials are in order of their rate, and the legend says which diverged."""
    left, _ = with_trials().plot_trials()
    lines = left.get_lines()
    assert [len(line.get_xdata()) for line in lines] == [10, 40, 40, 40, 2]
    assert "8.00e-02, diverged" in legend_of(left)
    assert left.get_ylim()[1] < 3
    # A tenth of 40 iterations is averaged.
    assert lines[2].get_ydata()[-1] == pytest.approx(1.0)
    assert lines[2].get_ydata()[3] == pytest.approx((2.0 + 3 * 1.0) / 4)


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_the_lines_of_the_trials_stand_out_from_the_background(style: str) -> None:
    """The contrast is at least 2.5 to 1, and the lines of higher rates are lighter."""
    with plt.style.context(style):
        left, _ = with_trials().plot_trials()
    background = luminance(left.get_facecolor())
    lines = [luminance(line.get_color()) for line in left.get_lines()]
    assert sorted(lines) == lines
    assert len(set(lines)) == len(lines)
    for line in lines:
        low, high = sorted((line, background))
        assert (high + 0.05) / (low + 0.05) > 2.5


def luminance(color: Any) -> float:
    """Return the relative luminance of a color as WCAG 2 defines it, from 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_final_losses_are_drawn_with_their_parabola() -> None:
    """The long trials are points, the parabola passes through the best and its neighbors."""
    result = with_trials()
    _, right = result.plot_trials()
    points, curve, cliff, suggestion, best = right.get_lines()
    np.testing.assert_allclose(points.get_xdata(), [0.01, 0.02, 0.04])
    np.testing.assert_allclose(points.get_ydata(), [1.5, 1.0, 1.2])
    at = np.interp(np.log([0.01, 0.04]), np.log(curve.get_xdata()), curve.get_ydata())
    np.testing.assert_allclose(at, [1.5, 1.2])
    assert min(curve.get_ydata()) < 1.0
    assert cliff.get_xdata()[0] == pytest.approx(0.08)
    assert suggestion.get_xdata()[0] == result.lr_suggestion()
    assert "suggested for 400 iterations" in legend_of(right)
    verdict = result.reading.verdict
    assert isinstance(verdict, Verdict)
    assert best.get_xdata()[0] == verdict.best_lr
    [band] = right.patches
    assert isinstance(band, Rectangle)
    assert result.interval == pytest.approx((band.get_x(), band.get_x() + band.get_width()))


def test_trials_that_all_diverged_are_drawn() -> None:
    """Without a stable trial there is no comparison, and no suggestion."""
    broken = Trial(lr=0.1, num_iter=40, losses=np.array([2.0, np.nan]))
    left, right = dataclasses.replace(u_shaped(), trials=(broken,)).plot_trials()
    assert len(left.get_lines()) == 1
    assert not right.get_lines()


def test_plot_trials_without_trials_is_refused() -> None:
    """The error says how to get trials."""
    with pytest.raises(LRFinderError, match=r"must have trials.*verify='auto'"):
        u_shaped().plot_trials()


@pytest.mark.parametrize(
    "draw",
    [functools.partial(LRFinderResult.plot, derivative=True), LRFinderResult.plot_trials],
    ids=["derivative", "trials"],
)
def test_two_given_axes_are_drawn_on(draw: Callable[..., Any]) -> None:
    """They are returned and no figure is made; anything but two Axes is refused."""
    axes = Figure().subplots(1, 2)
    upper, lower = draw(with_trials(), ax=axes)
    assert upper is axes[0]
    assert lower is axes[1]
    assert not plt.get_fignums()
    with pytest.raises(TypeError, match="ax must be two matplotlib Axes"):
        draw(with_trials(), ax=axes[0])
    with pytest.raises(ValueError, match="ax must be two matplotlib Axes"):
        draw(with_trials(), ax=axes[:1])


def test_the_style_of_the_user_is_respected() -> None:
    """The figure has the size of the user's matplotlib settings."""
    with plt.rc_context({"figure.figsize": (3, 2)}):
        figure = u_shaped().plot().figure
    assert isinstance(figure, Figure)
    assert tuple(figure.get_size_inches()) == (3, 2)


@pytest.mark.parametrize(("log_lr", "scale"), [(True, "log"), (False, "linear")])
def test_log_lr_sets_the_scale_of_the_learning_rate(log_lr: bool, scale: str) -> None:
    """The learning rate has a logarithmic axis unless log_lr is False."""
    assert u_shaped().plot(log_lr=log_lr).get_xscale() == scale


def test_a_given_ax_is_drawn_on_and_pyplot_left_alone() -> None:
    """With a given Axes no figure is made or becomes current, and the Axes is returned."""
    ax = Figure().subplots()
    current = plt.figure()
    assert u_shaped().plot(ax=ax) is ax
    assert plt.get_fignums() == [current.number]
    assert plt.gcf() is current
    assert current.axes == []


def test_no_window_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotting never calls `pyplot.show`."""
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("a window was opened"))
    u_shaped().plot()


def test_keyword_arguments_make_the_figure() -> None:
    """Further arguments go to `pyplot.subplots`."""
    figure = u_shaped().plot(figsize=(3, 2)).figure
    assert isinstance(figure, Figure)
    assert tuple(figure.get_size_inches()) == (3, 2)


@pytest.mark.parametrize("num_groups", [2, 20])
def test_groups_share_one_curve_and_a_line_of_the_legend_each(num_groups: int) -> None:
    """All groups share one curve; the legend lists the first few suggestions."""
    ratios = tuple(0.5**i for i in range(num_groups))
    result = u_shaped(ratios=ratios)
    ax = result.plot()
    assert len(ax.get_lines()) == len(u_shaped().plot().get_lines())
    text = legend_of(ax)
    suggested = result.lr_suggestion()
    assert isinstance(suggested, list)
    for index, lr in list(enumerate(suggested))[:2]:
        assert f"group {index}: {lr:.2e}" in text
    assert len(text.splitlines()) <= 14
    assert ("and 15 more groups" in text) == (num_groups == 20)


def test_a_suggestion_among_the_trimmed_points_is_still_shown() -> None:
    """Trimming hides points, but not the suggestion."""
    result = u_shaped()
    lr = np.ravel(result.lr_suggestion())[0]
    ax = result.plot(skip_start=95, skip_end=0)
    low, high = ax.get_xlim()
    assert result.lr[95, 0] > lr
    assert low < lr < high


def test_a_short_sweep_is_shown_completely() -> None:
    """If trimming would leave no curve, all points are shown, with a warning."""
    with pytest.warns(UserWarning, match="leave no curve of 12 points"):
        ax = u_shaped(12).plot(display_suggestion=False)
    assert np.shape(ax.get_lines()[0].get_xdata()) == (12,)


def test_a_curve_without_a_suggestion_is_drawn_and_says_so() -> None:
    """A flat curve is drawn without a mark; the warning gives the reason."""
    with pytest.warns(UserWarning, match=r"No suggestion is shown\. .*flat"):
        ax = u_shaped(is_flat=True).plot()
    assert "no suggestion" in legend_of(ax)


@pytest.mark.parametrize("skip_end", [0, 5], ids=["shown", "drawn-faintly"])
def test_diverging_losses_do_not_flatten_the_valley(skip_end: int) -> None:
    """A loss of 1e9 at the end is cut off at the top."""
    result = u_shaped()
    losses = result.losses.clip(max=2.4)
    losses[-3:] = 1e9
    result = LRFinderResult(
        lr=result.lr,
        losses=losses,
        smoothed_losses=losses,
        stop_reason=StopReason.DIVERGED,
        settings=result.settings,
    )
    assert result.plot(skip_end=skip_end).get_ylim()[1] < 10


def test_a_rising_curve_is_visible() -> None:
    """Without a valley, most of the rise is shown."""
    rising = dataclasses.replace(u_shaped(), losses=np.linspace(1.0, 9.0, 100))
    ax = rising.plot(display_suggestion=False)
    low, high = ax.get_ylim()
    assert low < 1.0
    assert high > 5.0


@pytest.mark.parametrize("name", ["skip_start", "skip_end"])
def test_a_negative_trim_is_refused(name: str) -> None:
    """A negative number of points is refused."""
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        u_shaped().plot(**{name: -1})  # type: ignore[arg-type]  # one of two integers


@pytest.mark.parametrize(
    ("argument", "value"), [("skip_start", 1.5), ("skip_end", "2"), ("ax", 3)], ids=str
)
def test_an_argument_of_the_wrong_kind_is_refused(argument: str, value: object) -> None:
    """The error names the argument and shows its value."""
    with pytest.raises(TypeError, match=f"{argument} must be .*, got {value!r}"):
        u_shaped().plot(**{argument: value})  # type: ignore[arg-type]  # what it is about


def test_the_rise_is_visible_if_only_the_end_is_shown() -> None:
    """Trimming down to the rise after the minimum still shows the rise."""
    result = u_shaped()
    ax = result.plot(skip_start=70, skip_end=0)
    assert ax.get_ylim()[1] > 3 * result.losses[70]


def test_matplotlib_is_imported_only_for_a_plot() -> None:
    """Importing the package does not import matplotlib."""
    code = "import sys, ignite_lrfinder; sys.exit('matplotlib' in sys.modules)"
    assert run_python("-c", code).returncode == 0
