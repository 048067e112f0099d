"""Trials: the planner and the verdict against losses whose best learning rate is known."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import result_of, u_shape

from ignite_lrfinder import LRFinderError, LRFinderResult, NoSuggestionError, Trial, Trials
from ignite_lrfinder.protocols import Schedule
from ignite_lrfinder.record.plan import Plan
from ignite_lrfinder.suggest.trials import PlannedTrial, next_trial
from ignite_lrfinder.suggest.verdict import Verdict, suggested_lr

LR = np.geomspace(1e-7, 10.0, 100)
SWEEP = result_of(LR, u_shape(np.log10(LR), fall_at=-3.0, cliff_at=0.0))
few = settings(max_examples=40, deadline=None)
schedules = pytest.mark.parametrize("schedule", ["constant", "decay"])

Loss = Callable[[float], float]


def parabola(best: float, cliff: float = math.inf) -> Loss:
    """Return a final loss: 1 at `best`, 2 as before training far below, more above, then inf."""

    def final(lr: float) -> float:
        squared = np.log10(lr / best) ** 2
        rise = squared / (1 + squared) if lr < best else min(squared, 9.0)
        return math.inf if lr >= cliff else 1 + rise

    return final


def run(planned: PlannedTrial, loss: Loss, *, noise: float = 0.0, start: float = 2.0) -> Trial:
    """Return a trial that falls from the starting loss to `loss`, with the same noise each time."""
    final = loss(planned.lr)
    if not math.isfinite(final):
        return Trial(lr=planned.lr, num_iter=planned.num_iter, losses=np.array([start, np.nan]))
    scatter = noise * np.random.default_rng(0).standard_normal(planned.num_iter)
    fall = np.exp(-np.arange(planned.num_iter) / 5)
    losses = final + (start - final) * fall + scatter
    return Trial(lr=planned.lr, num_iter=planned.num_iter, losses=losses)


def run_all(
    loss: Loss, sweep: LRFinderResult = SWEEP, given: Trials | None = None, noise: float = 0.0
) -> list[Trial]:
    """Run what the planner asks for until it is done."""
    trials: list[Trial] = []
    while (planned := next_trial(given or Trials(), sweep.reading, trials)) is not None:
        trials.append(run(planned, loss, noise=noise))
        assert len(trials) < 400
    return trials


def with_trials(trials: list[Trial]) -> LRFinderResult:
    """Return the result of a sweep that these trials followed."""
    return dataclasses.replace(SWEEP, trials=tuple(trials))


def verdict(sweep: LRFinderResult, trials: list[Trial]) -> Verdict:
    """Return what trials support after a sweep."""
    found = dataclasses.replace(sweep, trials=tuple(trials)).reading.verdict
    assert isinstance(found, Verdict)
    return found


def of(**changes: object) -> Verdict:
    """Return a verdict with some fields changed."""
    plain = Verdict(
        best_lr=0.1,
        shoulder_lr=1.0,
        highest_stable_lr=1.0,
        num_iter=100,
        noise=0.0,
    )
    return dataclasses.replace(plain, **changes)


def curve_suggestion() -> float:
    """Return what the curve of the sweep suggests for a constant rate."""
    rate = SWEEP.lr_suggestion()
    assert isinstance(rate, float)
    return rate


@pytest.mark.parametrize("factor", [0.05, 1.0, 20.0])
def test_early_stopping_leaves_out_long_trials_where_noise_hides_little(factor):
    """Short trials around the best rate are the last, wherever that is, and the words say why."""
    rate = curve_suggestion()
    trials = run_all(parabola(rate * factor), given=Trials(early_stopping=True), noise=0.05)
    assert trials[0].lr == pytest.approx(2.5 * rate)
    assert {trial.num_iter for trial in trials} == {60}
    lrs = sorted(trial.lr for trial in trials)
    assert lrs[0] < rate * factor < lrs[-1]
    result = with_trials(trials)
    assert result.reading.is_certain
    spent = f"{len(trials)} in {60 * len(trials)} iterations"
    assert f"{spent}, enough because batch noise is low" in str(result)
    assert {trial.num_iter for trial in run_all(parabola(rate * factor))} == {60, 130}


@pytest.mark.parametrize("factor", [1 / 400, 400.0])
def test_a_best_rate_at_the_end_of_the_short_trials_asks_for_long_ones(factor):
    """Where the short trials found no rate that is worse on one side, they are not enough."""
    trials = run_all(parabola(curve_suggestion() * factor), given=Trials(early_stopping=True))
    assert trials[-1].num_iter == 130
    short = with_trials([trial for trial in trials if trial.num_iter == 60])
    assert not short.reading.is_certain
    assert "enough" not in str(short)


def test_noise_that_hides_the_gain_asks_for_long_trials():
    """Batch noise as large as the gain changes "auto" into `verify=True`."""
    loss = parabola(curve_suggestion())
    trials = run_all(loss, given=Trials(early_stopping=True), noise=1.0)
    assert trials_equal(trials, run_all(loss, noise=1.0))
    assert trials[-1].num_iter == 130
    assert not with_trials(trials).reading.is_certain
    assert "enough" not in str(with_trials(trials))


def test_trials_at_rates_where_outputs_die_go_down():
    """Where no rate tried does better than another, the sweep has seen that lower ones do."""
    best = curve_suggestion() / 50
    assert SWEEP.losses.min() < 1.2

    def dead(lr: float) -> float:
        return 1.9 if lr > 4 * best else 1 + abs(math.log(lr / best))

    found = verdict(SWEEP, run_all(dead))
    assert abs(math.log(found.best_lr / best)) < math.log(2)


def test_level_trials_above_a_worse_one_end_the_search():
    """Two rates that do equally well are no reason to go below one that does worse."""
    rate = 2.5 * curve_suggestion()

    def level(lr: float) -> float:
        return 1.8 if lr < rate / 2 or lr > 2 * rate else 1.7

    trials = run_all(level, given=Trials(max_iter=3000), noise=0.01)
    assert min(trial.lr for trial in trials) == pytest.approx(rate / 4)


def test_a_budget_without_room_for_long_trials_runs_short_ones():
    """200 iterations are three trials of 60, of which the best has neighbors on both sides."""
    rate = curve_suggestion()
    trials = run_all(parabola(rate * 4), given=Trials(max_iter=200))
    assert [trial.num_iter for trial in trials] == [60, 60, 60]
    suggested = with_trials(trials).lr_suggestion()
    assert isinstance(suggested, float)
    assert rate < suggested < 4 * rate


def test_trials_after_a_curve_without_a_suggestion_do_not_stop_early():
    """Where the curve says nothing, short trials may all be in the wrong place."""
    flat = result_of(LR, np.ones_like(LR))
    loss = parabola(1.0)
    stopped = run_all(loss, flat, Trials(early_stopping=True))
    assert trials_equal(stopped, run_all(loss, flat))
    assert stopped[-1].num_iter == 130


def trials_equal(some: list[Trial], others: list[Trial]) -> bool:
    """Return whether trials had the same rates and lengths."""
    return [(t.lr, t.num_iter) for t in some] == [(t.lr, t.num_iter) for t in others]


@few
@given(st.floats(-3.5, -0.3), st.floats(0.0, 0.02))
def test_the_best_rate_is_found(log10_best, noise):
    """Wherever the best rate lies within some decades below the edge, the verdict comes near it."""
    best = 10**log10_best
    trials = run_all(parabola(best), noise=noise)
    found, interval = verdict(SWEEP, trials), with_trials(trials).interval
    assert interval is not None
    assert abs(math.log(found.best_lr / best)) < math.log(1.5)
    assert interval[0] <= found.best_lr <= interval[1] <= 2 * found.best_lr


@pytest.mark.parametrize("best", [1e-4, 1.0])
def test_the_range_is_extended_towards_a_best_at_its_end(best):
    """A best rate outside of the first three trials is followed down, and up."""
    found = verdict(SWEEP, run_all(parabola(best)))
    assert abs(math.log(found.best_lr / best)) < math.log(2)


@few
@given(st.floats(-3.0, 0.0), st.floats(0.1, 1.5))
def test_nothing_at_or_beyond_a_diverged_trial_is_suggested(log10_best, gap):
    """Where the loss blows up near the best rate, each plan stays at a rate that was stable."""
    cliff = 10 ** (log10_best + gap)
    trials = run_all(parabola(10**log10_best, cliff))
    found = verdict(SWEEP, trials)
    stable = max(trial.lr for trial in trials if not trial.is_diverged)
    assert found.highest_stable_lr <= stable < cliff
    for schedule in ("constant", "decay"):
        assert suggested_lr(found, Plan(schedule, 10**6)) <= stable


def test_a_stable_trial_beyond_a_diverged_one_does_not_count():
    """A rate that survives by luck above one that diverged is no evidence of stability."""
    planned = [PlannedTrial(lr, 20) for lr in (0.1, 0.2, 0.4, 0.8)]
    trials = [run(p, lambda lr: math.inf if lr == 0.4 else 0.1 / lr) for p in planned]
    found = verdict(SWEEP, trials)
    assert found.highest_stable_lr == 0.2
    assert found.best_lr == pytest.approx(0.2)
    assert 0.2 <= found.shoulder_lr < 0.4


@few
@given(
    st.floats(-6.0, 1.0),
    st.floats(-6.0, 1.0),
    st.integers(10, 60),
    st.integers(1, 100),
    st.integers(0, 500),
)
def test_the_budget_is_kept(log10_best, log10_cliff, short, longer, spare):
    """Whatever the losses, no more is trained than `max_iter`, at two lengths, each rate once."""
    longest = short + longer
    given = Trials(max_iter=3 * (short + longest) + spare, short_iter=short, long_iter=longest)
    trials = run_all(parabola(10**log10_best, 10**log10_cliff), given=given)
    assert sum(len(trial.losses) for trial in trials) <= given.max_iter
    assert {trial.num_iter for trial in trials} <= {short, longest}
    rates = [(trial.lr, trial.num_iter) for trial in trials]
    assert len(set(rates)) == len(rates)
    assert all(math.isfinite(trial.lr) and trial.lr > 0 for trial in trials)


@few
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.floats(-3.0, -0.5))
def test_scaling_and_shifting_the_loss_changes_nothing(scale, shift, log10_best):
    """The same trials are asked for and the same is said, in whatever unit the loss is."""
    other = result_of(LR, SWEEP.losses * scale + shift)
    trials: list[Trial] = []
    while (planned := next_trial(Trials(), SWEEP.reading, trials)) is not None:
        twin = [dataclasses.replace(t, losses=t.losses * scale + shift) for t in trials]
        twin_planned = next_trial(Trials(), other.reading, twin)
        assert twin_planned is not None
        assert twin_planned.num_iter == planned.num_iter
        assert twin_planned.lr == pytest.approx(planned.lr, rel=1e-3)
        trials.append(run(planned, parabola(10**log10_best), noise=0.01))
    twin = [dataclasses.replace(t, losses=t.losses * scale + shift) for t in trials]
    mine, theirs = verdict(SWEEP, trials), verdict(other, twin)
    assert theirs.best_lr == pytest.approx(mine.best_lr, rel=1e-3)
    assert theirs.shoulder_lr == pytest.approx(mine.shoulder_lr, rel=1e-3)
    interval = dataclasses.replace(other, trials=tuple(twin)).interval
    assert interval == pytest.approx(with_trials(trials).interval, rel=1e-3)


@pytest.mark.parametrize(
    "losses",
    [
        np.full(100, 2.0),
        2 + 0.1 * np.arange(100),
        2 + np.random.default_rng(0).standard_normal(100),
        np.array([2.0, 2.0, np.nan]),
        np.array([2.0]),
    ],
    ids=["flat", "only rising", "noise", "broken down at once", "one point"],
)
def test_trials_begin_wherever_a_sweep_ended(losses):
    """A sweep that supports no suggestion still says where to begin, below where it ended."""
    sweep = result_of(LR[: len(losses)], losses)
    planned = next_trial(Trials(), sweep.reading, [])
    assert planned is not None
    assert 0 < planned.lr <= LR[len(losses) - 1]
    verdict(sweep, run_all(parabola(planned.lr / 3), sweep))


def test_a_sweep_without_a_finite_loss_is_an_error():
    """Where not even the first loss is finite, no learning rate will help."""
    with pytest.raises(LRFinderError, match="must have a point with a finite loss"):
        next_trial(Trials(), result_of([0.1, 0.2], [np.nan, np.nan]).reading, [])


def test_trials_that_all_diverge_go_down_and_then_are_an_error():
    """Diverged trials cost little, so rates fall by decades before the planner gives up."""
    trials = [Trial(lr=0.1, num_iter=40, losses=np.array([np.inf]))]
    planned = next_trial(Trials(), SWEEP.reading, trials)
    assert planned is not None
    assert planned.lr < 0.1
    with pytest.raises(NoSuggestionError, match="No trial was stable, of 1, so"):
        with_trials(trials).lr_suggestion()


def test_trials_that_gain_no_more_than_noise_name_it():
    """A gain within its error, at rates that do no better than the lowest, supports no rate."""
    rng = np.random.default_rng(0)
    noise = [0.5 * rng.standard_normal(60) for _ in range(3)]
    trials = [
        Trial(lr=lr, num_iter=60, losses=5.0 - 1e-6 + row - row[30:].mean())
        for lr, row in zip((0.01, 0.04, 0.16), noise, strict=True)
    ]
    flat = dataclasses.replace(SWEEP, losses=np.full(len(SWEEP.losses), 5.0))
    with pytest.raises(NoSuggestionError, match="below the loss before training, by more than"):
        dataclasses.replace(flat, trials=tuple(trials)).lr_suggestion()


@pytest.mark.parametrize(
    ("lengths", "is_fine", "is_named"),
    [
        ((30, 30), True, True),
        ((30, 20), False, False),
        ((2, 2), False, True),
        ((2, 2), True, False),
    ],
    ids=["same", "different", "soon", "soon, where the sweep was fine"],
)
def test_trials_that_become_nan_in_the_same_iteration_name_it(lengths, is_fine, is_named):
    """Whatever the rate, the loss of the same batch is not finite, so the batch is the suspect."""
    trials = [
        Trial(lr=lr, num_iter=40, losses=np.r_[np.ones(length - 1), np.nan])
        for lr, length in zip((0.1, 0.01), lengths, strict=True)
    ]
    losses = SWEEP.losses.copy()
    losses[lengths[0] - 1] = 2.0 if is_fine else np.nan
    result = dataclasses.replace(SWEEP, losses=losses, trials=tuple(trials))
    with pytest.raises(NoSuggestionError, match="No trial was stable") as caught:
        result.lr_suggestion()
    text = f"in iteration {lengths[0]}, as with a broken sample"
    assert (text in str(caught.value)) == is_named


def test_no_trial_follows_one_that_was_cut_short():
    """Where the data ended in a trial they would end in the next."""
    cut = Trial(lr=0.1, num_iter=40, losses=np.ones(7))
    assert cut.is_cut_short
    assert next_trial(Trials(), SWEEP.reading, [cut]) is None
    assert verdict(SWEEP, [cut]).best_lr == pytest.approx(0.1)


def test_trials_on_different_batches_are_told_from_their_first_loss():
    """Before its first step a trial's loss does not depend on its rate, only on its batch."""
    same = run_all(parabola(0.05))
    assert with_trials(same).is_paired
    other = dataclasses.replace(same[0], losses=same[0].losses + 0.1)
    assert not with_trials([other, *same[1:]]).is_paired


def test_the_interval_is_wide_where_trials_cannot_be_told_apart():
    """With noise of their own, trials of nearly the same loss leave all rates tried possible."""
    rng = np.random.default_rng(0)
    lr = [0.01, 0.02, 0.04, 0.08]
    losses = [1 + 1e-3 * np.log(rate) ** 2 + rng.standard_normal(200) for rate in lr]
    trials = [Trial(lr=a, num_iter=200, losses=b) for a, b in zip(lr, losses, strict=True)]
    assert with_trials(trials).interval == pytest.approx((0.01, 0.08))


def test_without_a_stable_trial_there_is_no_interval():
    """Nothing was tried, or all broke down: no rate is as good as the best."""
    broken = Trial(lr=0.1, num_iter=40, losses=np.array([2.0, np.nan]))
    assert SWEEP.interval is None
    assert with_trials([broken]).interval is None


@few
@given(st.floats(0.01, 3.0), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_noise_is_measured_as_a_share_of_the_gain(noise: float, scale: float, level: float):
    """Half a loss of noise on a gain of one is a half, whatever the unit of the loss."""
    scatter = noise * np.random.default_rng(0).standard_normal(4000)
    trial = Trial(lr=0.1, num_iter=4000, losses=level + scale * (1 + scatter))
    sweep = result_of(LR, level + scale * np.full(100, 2.0))
    assert verdict(sweep, [trial]).noise == pytest.approx(noise, rel=0.1)


def test_trials_that_gained_nothing_support_no_number():
    """Where no trial ended below the loss before training, the error says what to change."""
    result = with_trials([Trial(lr=0.1, num_iter=40, losses=np.full(40, 3.0))])
    with pytest.raises(
        NoSuggestionError,
        match=r"No trial ended below the loss before training, of 1, .*run longer",
    ):
        result.lr_suggestion()


@pytest.mark.parametrize("num_losses", [60, 2])
def test_trials_with_the_same_losses_support_no_number(num_losses):
    """An optimizer of another model changes no loss; a trial cut short says nothing of that."""
    losses = np.linspace(2.0, 1.4, 60)
    trials = [
        Trial(lr=0.01, num_iter=60, losses=losses),
        Trial(lr=0.04, num_iter=60, losses=losses[:num_losses]),
    ]
    if num_losses < 60:
        assert with_trials(trials).suggestions()
        return
    with pytest.raises(NoSuggestionError, match=r"2 trials have the same losses.*no effect"):
        with_trials(trials).lr_suggestion()


def test_trials_that_only_end_alike_are_compared():
    """Errors that all reach zero are the best that there is."""
    trials = [
        Trial(lr=0.01 * 4**i, num_iter=60, losses=np.maximum(2 - rate * np.arange(60), 0))
        for i, rate in enumerate((0.08, 0.16, 0.32))
    ]
    assert with_trials(trials).suggestions()["auto"]


def test_a_gain_within_noise_counts_where_lower_rates_do_worse():
    """Then the trials tell rates apart, although they hardly gained."""
    scatter = np.random.default_rng(0).standard_normal(60)
    scatter -= scatter[30:].mean()
    finals = {0.01: 9.0, 0.04: 1.95, 0.16: 2.5}
    trials = [Trial(lr=lr, num_iter=60, losses=f + scatter) for lr, f in finals.items()]
    assert verdict(SWEEP, trials).noise > 1
    level = [
        Trial(lr=lr, num_iter=60, losses=1.95 + scatter * s)
        for lr, s in ((0.01, 1.0), (0.04, 1.01))
    ]
    with pytest.raises(NoSuggestionError, match="by more than noise"):
        with_trials(level).lr_suggestion()


def test_bounds_begin_at_most_at_the_suggestion_for_a_constant_rate():
    """The upper bound is the peak for a decaying rate, and the lower one never above the other."""
    low = curve_suggestion() / 1000
    trials = [run(PlannedTrial(low * f, 60), parabola(low)) for f in (0.25, 1.0, 4.0)]
    result = with_trials(trials)
    constant, peak = result.lr_suggestion(), result.lr_suggestion(schedule="decay")
    assert result.lr_bounds() == (constant, peak)
    assert SWEEP.lr_bounds()[0] != constant


@pytest.mark.parametrize("later", [0.2, 1e6], ids=["trains at once", "explodes at once"])
def test_the_loss_before_training_is_the_first_where_the_sweep_changes_it_at_once(later):
    """The gain of trials is measured from there, whatever a sweep that starts high has done."""
    sweep = result_of(LR, np.where(np.arange(100) < 2, 2.0, later))
    scatter = 0.1 * np.random.default_rng(0).standard_normal(60)
    trial = Trial(lr=0.1, num_iter=60, losses=1.0 + scatter)
    assert verdict(sweep, [trial]).noise == pytest.approx(0.1, rel=0.3)


def test_trials_go_down_where_rates_make_training_worse():
    """Noise may hide which of several exploded trials is best; a lower rate is always the way."""

    def exploded(lr: float) -> float:
        return 9.0 if lr > curve_suggestion() / 100 else 1.0

    lrs = [trial.lr for trial in run_all(exploded, noise=0.1) if trial.num_iter == 60]
    assert lrs == sorted(lrs, reverse=True)
    assert exploded(lrs[-1]) == 1.0


def test_where_noise_hides_the_best_rate_the_middle_of_the_interval_is_taken():
    """The lowest of trials that cannot be told apart is an accident."""
    rng = np.random.default_rng(1)
    trials = [
        Trial(lr=lr, num_iter=200, losses=1.9 + rng.standard_normal(200))
        for lr in (0.01, 0.02, 0.04, 0.08)
    ]
    interval = with_trials(trials).interval
    assert interval is not None
    low, high = interval
    assert high > low
    assert verdict(SWEEP, trials).best_lr == pytest.approx(math.sqrt(low * high))


def test_noise_lowers_a_constant_rate_only():
    """Where batches hide the gain the constant rate falls with the root of the run."""
    noises = [0.0, 0.5, 1.0, 1.5, 9.0]
    constant = [suggested_lr(of(noise=noise), Plan("constant", 1000)) for noise in noises]
    assert constant == pytest.approx([0.1 * 10**-a for a in (0.2, 0.2, 0.3, 0.4, 0.4)])
    decay = {suggested_lr(of(noise=noise), Plan("decay", 1000)) for noise in noises}
    assert len(decay) == 1


def test_the_shoulder_gives_up_a_tenth_of_the_gain():
    """From 2 to 1 at the best rate, the loss is 1.1 half way to a rate that ends at 1.2."""
    planned = [PlannedTrial(lr, 400) for lr in (0.05, 0.1, 0.2)]
    trials = [run(p, {0.05: 1.5, 0.1: 1.0, 0.2: 1.2}.__getitem__) for p in planned]
    sweep = result_of(LR, np.full(100, 2.0))
    assert verdict(sweep, trials).shoulder_lr == pytest.approx(0.1 * math.sqrt(2), rel=1e-2)


def test_a_constant_rate_falls_and_a_decaying_one_rises_with_the_run():
    """The correction is monotone in the length of the run, and 1 for short ones."""
    lengths = [1, 100, 300, 1000, 3000, 30_000]
    constant = [suggested_lr(of(shoulder_lr=9.0), Plan("constant", n)) for n in lengths]
    decay = [suggested_lr(of(shoulder_lr=9.0), Plan("decay", n)) for n in lengths]
    assert constant == sorted(constant, reverse=True)
    assert decay == sorted(decay)
    assert constant[:2] == decay[:2] == pytest.approx([0.1, 0.1])
    assert constant[-1] == pytest.approx(0.1 * 300**-0.2)
    assert decay[-1] == pytest.approx(0.1 * 300**0.15)


@schedules
@given(st.floats(1e-6, 1.0), st.floats(1.0, 100.0), st.integers(1, 10**7))
def test_a_suggestion_is_stable_and_below_the_shoulder(
    schedule: Schedule, stable: float, shoulder: float, total_iters: int
):
    """No correction goes beyond what was stable, or to where the trials did worse."""
    found = of(best_lr=stable, highest_stable_lr=stable, shoulder_lr=stable * shoulder)
    suggested = suggested_lr(found, Plan(schedule, total_iters))
    share = {"constant": 0.4, "decay": 0.7}[schedule]
    assert 0 < suggested <= min(stable, share * found.shoulder_lr)


def test_a_run_of_unknown_length_is_ten_trials_long():
    """Without `total_iters` the correction is the one of a usual run."""
    assert suggested_lr(of(), Plan()) == suggested_lr(of(), Plan("constant", 1000))


def test_settings_may_be_numpy_integers():
    """They become plain ones."""
    numbers: dict[str, Any] = {"max_iter": np.int64(700), "short_iter": np.int32(60)}
    settings = Trials(**numbers)
    assert settings == Trials()
    assert type(settings.max_iter) is int


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_iter": 10.5}, TypeError, "max_iter must be an integer, got 10.5"),
        ({"short_iter": True}, TypeError, "short_iter must be an integer, got True"),
        ({"short_iter": 9}, ValueError, "short_iter must be at least 10, got 9"),
        ({"long_iter": 60}, ValueError, "long_iter must be greater than short_iter=60, got 60"),
        ({"max_iter": 179}, ValueError, "max_iter must be at least 180, got 179"),
    ],
)
def test_settings_that_leave_no_room_are_refused(arguments, error, message):
    """A wrong setting is named, with what it must be and what it was."""
    with pytest.raises(error, match=message):
        Trials(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "cosine"}, "schedule must be 'constant' or 'decay', got 'cosine'"),
        ({"total_iters": 0}, "total_iters must be at least 1, got 0"),
    ],
)
def test_a_plan_that_is_none_is_refused(arguments, message):
    """A wrong plan is named, with what it must be and what it was."""
    with pytest.raises(ValueError, match=message):
        Plan(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, r"lr must be in \(0, inf\), got 0.0"),
        ({"lr": math.nan}, r"lr must be in \(0, inf\), got nan"),
        ({"losses": 1.0}, r"losses must be of shape \(n,\), got \(\)"),
        ({"losses": [[1.0]]}, r"losses must be of shape \(n,\), got \(1, 1\)"),
    ],
)
def test_what_no_trial_can_have_given_is_refused(changes: dict, message: str):
    """A result read from a file has trials that can be compared."""
    with pytest.raises(ValueError, match=message):
        Trial(**{"lr": 0.1, "num_iter": 2, "losses": [1.0, 2.0], **changes})
