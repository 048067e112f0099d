"""The plan of the training is given once, and every answer is for it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Training
from matplotlib.figure import Figure

from ignite_lrfinder import FastaiLRFinder, LRFinderResult, Trials
from ignite_lrfinder.record.plan import Plan


@pytest.fixture
def planned(make_training: Callable[..., Training]) -> FastaiLRFinder:
    """Return a finder that was told of a long training with a decaying rate."""
    training, finder = make_training("sgd-momentum"), FastaiLRFinder()
    with finder.attach(
        training.trainer,
        training.to_save,
        num_iter=100,
        start_lr=1e-5,
        verify=Trials(max_iter=250, short_iter=10, long_iter=40),
        schedule="decay",
        total_iters=5000,
    ) as trainer:
        trainer.run(training.loader)
    return finder


def test_answers_are_for_the_plan_given_to_attach(planned: FastaiLRFinder) -> None:
    """The suggestion, the words, the plot, the page and the optimizer get the same rate."""
    lr = planned.lr_suggestion(schedule="decay", total_iters=5000)
    assert lr != planned.lr_suggestion(schedule="constant")
    assert planned.lr_suggestion() == planned.suggestions()["auto"] == lr
    assert f"{lr:.2e}, for the peak of a rate that decays" in planned.summary()
    assert f"{lr:.2e}" in planned.result._repr_html_()
    ax = Figure().subplots()
    planned.plot(ax=ax)
    assert f"suggested lr: {lr:.2e}" in [line.get_label() for line in ax.get_lines()]
    axes = Figure().subplots(1, 2)
    planned.plot_trials(ax=axes)
    labels = [line.get_label() for line in axes[1].get_lines()]
    assert f"suggested for 5000 iterations: {lr:.2e}" in labels


def test_a_call_can_name_another_plan(planned: FastaiLRFinder) -> None:
    """What a call leaves out of its plan is as given to `attach`."""
    finder = planned.result
    assert finder.lr_suggestion(total_iters=5000) == finder.lr_suggestion()
    assert finder.lr_suggestion(schedule="constant") == finder.lr_suggestion(
        schedule="constant", total_iters=5000
    )
    assert "for a constant rate" in finder.summary(schedule="constant")


def test_applying_sets_the_rate_for_the_plan(
    planned: FastaiLRFinder, make_training: Callable[..., Training]
) -> None:
    """Without arguments the optimizer gets the peak that was asked for."""
    training = make_training("sgd-momentum")
    planned.apply_suggested_lr(training.optimizer)
    assert training.optimizer.param_groups[0]["lr"] == planned.lr_suggestion(schedule="decay")


def test_a_plan_is_saved_with_the_result(planned: FastaiLRFinder, tmp_path: Path) -> None:
    """A loaded result answers for the same plan; an older file without one for a constant rate."""
    path = tmp_path / "result.json"
    planned.result.save(path)
    assert LRFinderResult.load(path).lr_suggestion() == planned.lr_suggestion()
    content = json.loads(path.read_text())
    del content["settings"]["plan"]
    path.write_text(json.dumps(content))
    plan = LRFinderResult.load(path).settings.plan
    assert (plan.schedule, plan.total_iters) == ("constant", None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"schedule": "cosine"},
            ValueError,
            "schedule must be 'constant' or 'decay', got 'cosine'",
        ),
        ({"schedule": 3}, TypeError, "schedule must be 'constant' or 'decay', got 3"),
        ({"total_iters": 0}, ValueError, "total_iters must be at least 1, got 0"),
        ({"total_iters": 1.5}, TypeError, "total_iters must be an integer, got 1.5"),
        ({"total_iters": True}, TypeError, "total_iters must be an integer, got True"),
    ],
)
def test_a_bad_plan_is_refused(arguments: dict, error: type[Exception], message: str) -> None:
    """The error names what the plan must be."""
    with pytest.raises(error, match=message):
        Plan(**arguments)
