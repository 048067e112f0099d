"""Reasons to be careful with a suggestion: each is named where it holds, and only there."""

import dataclasses
import re

import numpy as np
import pytest
from strategies import result_of, u_shape

from ignite_lrfinder import LRFinderResult, StopReason, Trial
from ignite_lrfinder.record import Plan
from ignite_lrfinder.suggest import cautions

LR = np.geomspace(1e-7, 10.0, 100)
X = np.log10(LR)


def swept() -> LRFinderResult:
    """Return a sweep with a narrow valley."""
    return result_of(LR, u_shape(X, fall_at=-2.0, cliff_at=-0.5, noise=0.0))


def with_trials(
    *lrs: float, reached: float = 1.0, is_validation: bool = False, num_iter: int = 100
) -> LRFinderResult:
    """Return a sweep with trials, of which the second is the best."""
    rng = np.random.default_rng(0)
    trials = []
    for lr in lrs:
        loss = reached + 0.1 * abs(np.log(lr / lrs[1]))
        row = loss + 0.001 * rng.standard_normal(num_iter) * (reached > 0)
        row[0] = 2.0
        trials.append(Trial(lr=lr, num_iter=num_iter, losses=row, is_validation=is_validation))
    return dataclasses.replace(swept(), trials=tuple(trials))


def text_of(result: LRFinderResult, plan: Plan | None = None) -> str:
    """Return the cautions as one text."""
    return " ".join(cautions(result.reading, plan or Plan()))


def test_a_good_sweep_and_good_trials_cause_no_caution() -> None:
    """Nothing is named where all is well."""
    assert text_of(swept()) == ""
    assert text_of(with_trials(0.01, 0.05, 0.25)) == ""


@pytest.mark.parametrize(("factor", "warns"), [(9.0, False), (11.0, True)])
def test_methods_that_disagree_by_more_than_ten_are_named(factor: float, warns: bool) -> None:
    """Methods within a factor of 10 cause no warning."""
    rates = {"steepest": 0.5, "valley": 0.5, "minimum": 0.5 * factor, "slide": 0.001}
    reading = swept().reading
    low = reading.suggest("auto", Plan())
    assert isinstance(low, float)
    rates = {name: rate / 0.5 * low for name, rate in rates.items()}
    found = cautions(dataclasses.replace(reading, rates=rates), Plan())
    assert ("The methods disagree by a factor of 11." in " ".join(found)) == warns
    assert len(found) == warns


@pytest.mark.parametrize(("factor", "warns"), [(9.0, False), (0.02, True), (30.0, True)])
def test_trials_that_contradict_the_curve_are_named(factor: float, warns: bool) -> None:
    """Not the methods disagree then, but the trials with all of them."""
    lr = swept().lr_suggestion()
    assert isinstance(lr, float)
    best = factor * lr * 10**0.2  # corrected for an assumed run of ten trials
    text = text_of(with_trials(best / 5, best, best * 5))
    assert ("than the curve does, and the suggestion follows the trials" in text) == warns
    assert ("lower than the curve" in text) == (warns and factor < 1)
    assert "disagree" not in text


def test_a_suggestion_at_the_start_of_the_sweep_is_named() -> None:
    """If the lowest tested rate is suggested, a lower rate may do better."""
    result = swept()
    first = int(np.searchsorted(LR, result.lr_suggestion())) + 1
    early = result_of(LR[first:], result.losses[first:] + 0.5 * (X[first:] < -1.8))
    assert early.lr_suggestion() == LR[first]
    assert "lowest rate that was tested. Lower start_lr" in text_of(early)


@pytest.mark.parametrize(
    ("lrs", "end"),
    [((0.01, 0.05, 0.25), None), ((0.25, 0.05, 0.25 * 1.5), "below"), ((0.01, 0.2), "above")],
    ids=["inside", "below", "above"],
)
def test_a_best_trial_at_an_end_of_the_trials_is_named(
    lrs: tuple[float, ...], end: str | None
) -> None:
    """If the best trial has no neighbor on one side, a rate beyond it may do better."""
    text = text_of(with_trials(*lrs))
    assert ("No trial was run" in text) == (end is not None)
    assert end is None or f"No trial was run {end} the best one" in text


def test_a_single_trial_is_named() -> None:
    """No other rate was compared with it; a trial that supports nothing is named elsewhere."""
    only = Trial(lr=0.05, num_iter=100, losses=np.linspace(2.0, 1.0, 100))
    assert "Only one trial was run" in text_of(dataclasses.replace(swept(), trials=(only,)))
    bad = Trial(lr=0.05, num_iter=100, losses=np.full(100, 9.0))
    assert text_of(dataclasses.replace(swept(), trials=(bad,))) == ""


@pytest.mark.parametrize("is_equal", [True, False])
def test_trials_that_support_nothing_cause_no_caution(is_equal: bool) -> None:
    """The refusal says it all; more trials below would not help."""
    rows = [np.full(60, 9.0) + (0.0 if is_equal else i) for i in range(3)]
    trials = [
        Trial(lr=lr, num_iter=60, losses=row)
        for lr, row in zip((0.01, 0.04, 0.16), rows, strict=True)
    ]
    result = dataclasses.replace(swept(), trials=tuple(trials))
    assert "No suggestion" in result.summary()
    assert text_of(result) == ""


@pytest.mark.parametrize(
    ("reached", "text"),
    [(2 / 50, ""), (2 / 200, "fell 2..-fold within"), (0.0, "fell to 0 within")],
)
def test_a_loss_that_fell_a_hundredfold_is_named(reached: float, text: str) -> None:
    """Then the trials compare how fast a start is unlearned."""
    result = with_trials(0.01, 0.05, 0.25, reached=reached)
    losses = result.losses + 2 - result.losses[0]
    found = text_of(dataclasses.replace(result, losses=losses))
    assert bool(text) == ("says little about the end of a longer run" in found)
    assert re.search(text, found)


@pytest.mark.parametrize(
    ("num_batches", "is_validation", "total_iters", "text"),
    [
        (None, False, None, ""),
        (50, False, None, ""),
        (25, False, None, "4 times.*Judge them by val_loss, in trials.*: verify=Trials.[.]{3}[)]"),
        (25, False, 1000, "Judge them by val_loss, in.*Trials.max_iter=3000, long_iter=500"),
        (25, False, 150, "Judge them by val_loss[.]$"),
        (25, True, None, ""),
        (25, True, 150, ""),
        (25, True, 300, "may rise later.*Trials.max_iter=900, long_iter=150"),
    ],
)
def test_trials_on_few_samples_are_named(
    num_batches: int | None, is_validation: bool, total_iters: int | None, text: str
) -> None:
    """Their losses are of samples that they have trained on before."""
    result = with_trials(0.01, 0.05, 0.25, is_validation=is_validation)
    result = dataclasses.replace(result, num_batches=num_batches)
    found = text_of(result, Plan("constant", total_iters))
    assert ("went through the data" in found) == bool(text)
    assert re.search(text, found)


@pytest.mark.parametrize("num_iter", [60, 100])
@pytest.mark.parametrize("has_trials", [True, False])
def test_a_loss_that_became_nan_while_it_fell_is_named(num_iter: int, has_trials: bool) -> None:
    """The batch may be broken; a loss that had risen before shows that the rate was too high."""
    lr = np.geomspace(1e-7, 10.0, 100)[:num_iter]
    x = np.log10(lr)
    losses = np.clip(-x, 3.0, 5.0) + np.maximum(x, 0.0)
    losses[-1] = np.nan
    result = dataclasses.replace(
        with_trials(0.01, 0.05, 0.25) if has_trials else swept(),
        lr=lr[:, None],
        losses=losses,
        smoothed_losses=losses,
        stop_reason=StopReason.NON_FINITE,
    )
    text = "The loss became NaN or infinite while it was falling"
    assert (text in text_of(result)) == (num_iter == 60 and not has_trials)
