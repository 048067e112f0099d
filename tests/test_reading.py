"""A record is read once, and the result answers every question from that reading."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Training
from probe import num_calls
from strategies import result_of, u_shape

from ignite_lrfinder import (
    FastaiLRFinder,
    LRFinderResult,
    NoSuggestionError,
    StopReason,
    Trial,
    plot_results,
)
from ignite_lrfinder.suggest.curve import Refusal
from ignite_lrfinder.suggest.smoothing import smooth

LR = np.geomspace(1e-7, 10.0, 100)
X = np.log10(LR)


def swept() -> LRFinderResult:
    """Return a sweep with a clear valley."""
    return result_of(LR, u_shape(X, fall_at=-3.0, cliff_at=-0.5, noise=0.02))


def with_trials(result: LRFinderResult) -> LRFinderResult:
    """Return the result with three trials, the middle one the best."""
    finals = {0.01: 1.5, 0.02: 1.0, 0.04: 1.2}
    trials = [
        Trial(lr=lr, num_iter=40, losses=np.r_[2.0, np.full(39, final)])
        for lr, final in finals.items()
    ]
    return dataclasses.replace(result, trials=tuple(trials))


def num_smoothed(act: Callable[[], object]) -> int:
    """Return how many curves are smoothed while something is done."""
    return num_calls(smooth, act)


ASKED: dict[str, Callable[[LRFinderResult], object]] = {
    "plot": LRFinderResult.plot,
    "derivative": lambda result: result.plot(derivative=True),
    "trials": LRFinderResult.plot_trials,
    "repr": repr,
    "html": LRFinderResult._repr_html_,
    "suggestions": LRFinderResult.suggestions,
    "several": lambda result: plot_results({"one": result}),
    "all": lambda result: [ask(result) for name, ask in ASKED.items() if name != "all"],
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED.keys())
def test_a_result_smooths_one_curve_for_any_question(
    ask: Callable[[LRFinderResult], object],
) -> None:
    """A plot, a repr or a notebook's display smooths one curve, and so do all of them together."""
    result = with_trials(swept())
    assert num_smoothed(lambda: ask(result)) == 1
    assert num_smoothed(lambda: ask(result)) == 0


def test_a_sweep_with_trials_reads_its_curve_a_few_times(
    make_training: Callable[..., Training],
) -> None:
    """Planning the trials takes the curve of the sweep from one reading, not one for each trial."""
    training, finder = make_training("sgd-momentum"), FastaiLRFinder()

    def sweep() -> None:
        with finder.attach(
            training.trainer, training.to_save, num_iter=60, start_lr=1e-5, verify=True
        ) as trainer:
            trainer.run(training.loader)

    assert num_smoothed(sweep) <= 2
    assert len(finder.result.trials) > 3


def test_a_loaded_result_gives_the_same_answers(tmp_path: Path) -> None:
    """A result from a file answers what the original answers, without a finder."""
    result = with_trials(swept())
    result.save(tmp_path / "result.json")
    loaded = LRFinderResult.load(tmp_path / "result.json")
    for ask in (
        LRFinderResult.lr_suggestion,
        LRFinderResult.suggestions,
        LRFinderResult.lr_bounds,
        LRFinderResult.summary,
        repr,
    ):
        assert ask(loaded) == ask(result)
    assert loaded.plot().get_ylim() == result.plot().get_ylim()
    assert len(loaded.plot_trials()) == 2


def test_a_finder_shows_its_last_result(make_training: Callable[..., Training]) -> None:
    """At the prompt a finder is the summary of its result, or says that there is none yet."""
    training, finder = make_training(), FastaiLRFinder()
    assert repr(finder) == "FastaiLRFinder: no sweep has run yet."
    assert finder._repr_html_() is None
    with finder.attach(training.trainer, training.to_save, num_iter=30) as trainer:
        trainer.run(training.loader)
    assert repr(finder) == finder.summary() == finder.result.summary()
    assert finder._repr_html_() == finder.result._repr_html_()


def test_finders_and_results_are_drawn_together(make_training: Callable[..., Training]) -> None:
    """A finder stands for its last result; anything else is refused with its value."""
    training, finder = make_training(), FastaiLRFinder()
    with finder.attach(training.trainer, training.to_save, num_iter=30) as trainer:
        trainer.run(training.loader)
    both = plot_results({"finder": finder, "result": finder.result}, display_suggestion=False)
    one, other = both.get_lines()
    np.testing.assert_array_equal(one.get_ydata(), other.get_ydata())
    with pytest.raises(TypeError, match="results must be a mapping from names to results, got 3"):
        plot_results({"three": 3})  # type: ignore[dict-item]  # it is refused


def test_trials_suggest_and_are_drawn_where_the_curve_is_too_short() -> None:
    """The suggestion of the trials is shown although the sweep has too few points for a curve."""
    result = with_trials(result_of(LR[:5], u_shape(X, fall_at=-3.0, cliff_at=-0.5)[:5]))
    assert isinstance(result.reading.curve, Refusal)
    ax = result.plot(skip_start=0, skip_end=0)
    legend = ax.get_legend()
    assert legend is not None
    text = [label.get_text() for label in legend.get_texts()]
    assert f"suggested lr: {result.lr_suggestion():.2e}" in text


def ended(reason: StopReason, num_points: int, **fields: object) -> LRFinderResult:
    """Return a sweep without a fall that ended early, after a number of points of 100."""
    result = result_of(LR, 1 + 0.01 * np.random.default_rng(0).standard_normal(100))
    kept = {name: getattr(result, name)[:num_points] for name in ("lr", "losses")}
    if reason is StopReason.NON_FINITE:
        kept["losses"] = np.r_[kept["losses"][:-1], np.nan]
    kept["smoothed_losses"] = kept["losses"]
    return dataclasses.replace(result, **kept, stop_reason=reason, **fields)


EARLY_ENDS: dict[str, tuple[LRFinderResult, str]] = {
    "nan": (
        ended(StopReason.NON_FINITE, 26, non_finite_batch=6),
        f"got NaN at point 26 of 100, with the learning rate {LR[25]:.3g}, on batch 6 of the data.",
    ),
    "nan-unknown-batch": (
        ended(StopReason.NON_FINITE, 5),
        f"got NaN at point 5 of 100, with the learning rate {LR[4]:.3g}. Check the data",
    ),
    "out-of-data": (
        ended(StopReason.OUT_OF_DATA, 5),
        "after 5 of 100 points, too early for a suggestion: the data ended and could not be "
        "started again. Pass a loader that can be iterated again",
    ),
    "terminated": (
        ended(StopReason.TERMINATED, 40),
        "after 40 of 100 points, too early for a suggestion: something other than the finder",
    ),
}


@pytest.mark.parametrize(("result", "expected"), EARLY_ENDS.values(), ids=EARLY_ENDS)
def test_an_early_end_is_blamed_rather_than_the_shape_of_the_curve(
    result: LRFinderResult, expected: str
) -> None:
    """Errors and words say what ended the sweep, and neither "flat" nor "raise num_iter"."""
    texts = [result.summary(), result._repr_html_()]
    for ask in (result.lr_suggestion, result.suggestions, result.lr_bounds):
        with pytest.raises(NoSuggestionError) as caught:
            ask()
        texts.append(str(caught.value))
    with pytest.warns(UserWarning, match="No suggestion is shown") as warned:
        result.plot(skip_start=0, skip_end=0)
    texts += [str(warning.message) for warning in warned]
    for text in texts:
        assert expected in text
        assert "flat" not in text
        assert "aise num_iter" not in text


def test_trials_that_a_nan_in_the_data_breaks_are_not_called_unstable() -> None:
    """The data is blamed for trials that break down as the sweep did."""
    result = ended(StopReason.NON_FINITE, 5)
    losses = np.array([1.0, 1.0, 1.0, 1.0, np.nan])
    trials = tuple(Trial(lr=lr, num_iter=40, losses=losses) for lr in (1e-7, 1e-6))
    result = dataclasses.replace(result, trials=trials)
    with pytest.raises(NoSuggestionError, match="got NaN at point 5 of 100"):
        result.lr_suggestion()
