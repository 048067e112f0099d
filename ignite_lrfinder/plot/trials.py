"""The trials of a result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.plot.axes import (
    CURVE_COLOR,
    SUGGESTION_COLOR,
    is_dark,
    legend_below,
    neutral_color,
    set_lr_axis,
    shade,
    two_axes,
)
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record import Scores, Trial, parabola_around_best
from ignite_lrfinder.suggest import Reading, Refusal, Verdict, num_planned_iters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The range of the colormap with a contrast of at least 2.5 to 1 against the background.
_SHADES_ON_LIGHT, _SHADES_ON_DARK = (0.0, 0.65), (0.3, 1.0)


def plot_trials(
    reading: Reading, *, ax: "Sequence[Axes] | None" = None, **kwargs: object
) -> "NDArray[Any]":
    """Draw the loss of each trial over its iterations, and its final loss over its rate.

    See `LRFinderResult.plot_trials` for the parameters.

    Raises:
        LRFinderError: if there were no trials.
    """
    trials = reading.record.trials
    if not trials:
        raise LRFinderError(
            "The result must have trials to draw, got none. Run the finder with verify='auto'."
        )
    left, right = two_axes(ax, 1, 2, {"figsize": (10.0, 4.8), **kwargs})
    _draw_losses(left, trials)
    _draw_scores(right, reading)
    return np.array([left, right], dtype=object)


def _draw_losses(ax: "Axes", trials: Sequence[Trial]) -> None:
    """Draw the running mean of each trial's losses, lighter for higher rates, short ones dashed."""
    trials = sorted(trials, key=lambda trial: trial.lr)
    longest = max(trial.num_iter for trial in trials)
    colors = _shades(ax, len(trials))
    for trial, color in zip(trials, colors, strict=True):
        finite = trial.losses[np.isfinite(trial.losses)]
        iterations = np.arange(1, len(finite) + 1)
        means = _running_mean(finite)
        label = f"{trial.lr:.2e}" + (", diverged" if trial.is_diverged else "")
        style = "-" if trial.num_iter == longest else "--"
        style = ":" if trial.is_diverged else style
        ax.plot(iterations, means, style, color=color, label=label)
    _limit(ax, [_running_mean(trial.losses) for trial in trials if not trial.is_diverged])
    ax.set_xlabel("Iteration of the trial")
    ax.set_ylabel("Loss, running mean")
    legend_below(ax, title="learning rate of the trial")


def _shades(ax: "Axes", num_shades: int) -> Array:
    """Return colors from dark to light that are visible on the background; shape (N, 4)."""
    from matplotlib import colormaps

    shades = np.linspace(*(_SHADES_ON_DARK if is_dark(ax) else _SHADES_ON_LIGHT), num_shades)
    return colormaps["viridis"](shades)


def _limit(ax: "Axes", curves: Sequence[Array]) -> None:
    """Limit the loss axis, so that trials that rise far above their start are cut off."""
    curves = [curve for curve in curves if len(curve)]
    if curves:
        start = max(float(curve[0]) for curve in curves)
        lowest = min(float(curve.min()) for curve in curves)
        if start > lowest:
            margin = 0.1 * (start - lowest)
            ax.set_ylim(lowest - margin, start + 3 * margin)


def _draw_scores(ax: "Axes", reading: Reading) -> None:
    """Draw the final losses of the longest trials, with parabola, interval and suggestion."""
    scores = reading.scores
    ax.set_ylabel("Loss, mean of the second half")
    if scores is None:
        ax.set_xscale("log")
        ax.set_xlabel("Learning rate")
        return
    rates = np.exp(scores.x)
    set_lr_axis(ax, log_lr=True, low=float(rates[0]) / 1.5, high=float(rates[-1]) * 1.5)
    is_finite = np.isfinite(scores.mean)
    ax.plot(
        rates[is_finite],
        scores.mean[is_finite],
        "o",
        color=CURVE_COLOR,
        label=f"trials of {scores.num_iter} iterations",
    )
    _draw_parabola(ax, scores)
    for lr in rates[~is_finite]:
        ax.axvline(float(lr), color=neutral_color(ax), linestyle=":", label="diverged")
    if reading.interval is not None:
        shade(
            ax, *reading.interval, color=SUGGESTION_COLOR, label="range of the best rate (trials)"
        )
    _draw_suggestion(ax, reading)
    legend_below(ax)


def _draw_parabola(ax: "Axes", scores: Scores) -> None:
    """Draw the parabola through the best trial and its neighbors, if there is one."""
    coefficients = parabola_around_best(scores)
    if coefficients is not None:
        best = scores.best
        x = np.linspace(scores.x[best - 1], scores.x[best + 1], 50)
        ax.plot(np.exp(x), np.polyval(coefficients, x - scores.x[best]), color=CURVE_COLOR)


def _draw_suggestion(ax: "Axes", reading: Reading) -> None:
    """Mark the suggestion, with an arrow from the best rate for runs as short as the trials."""
    verdict, lr = reading.verdict, reading.suggest("auto", reading.plan)
    if isinstance(lr, Refusal) or not isinstance(verdict, Verdict):
        return
    length = num_planned_iters(verdict, reading.plan)
    label = f"suggested for {length:.0f} iterations: {lr:.2e}"
    ax.axvline(lr, color=SUGGESTION_COLOR, linestyle="--", label=label)
    if lr != verdict.best_lr:
        ax.plot(
            [verdict.best_lr],
            [0.05],
            "|",
            color=SUGGESTION_COLOR,
            markersize=10,
            markeredgewidth=2,
            transform=ax.get_xaxis_transform(),
            label=f"best for {verdict.num_iter} iterations: {verdict.best_lr:.2e}",
        )
        ax.annotate(
            "",
            xy=(lr, 0.05),
            xytext=(verdict.best_lr, 0.05),
            xycoords=ax.get_xaxis_transform(),
            textcoords=ax.get_xaxis_transform(),
            arrowprops={"arrowstyle": "->", "color": SUGGESTION_COLOR},
        )


def _running_mean(losses: Array) -> Array:
    """Return the mean over the preceding tenth of the trial, at each iteration."""
    width = max(1, len(losses) // 10)
    sums = np.cumsum(np.concatenate([np.zeros(1), losses]))
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
