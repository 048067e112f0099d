"""The benchmark: its measure against numbers worked out by hand, and that every task can be run."""

import importlib
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks import ways
from benchmarks.figure import draw
from benchmarks.measurement import Outcome, measure
from benchmarks.oracle import SCHEDULES, Record, load, save
from benchmarks.regret import best_lr, regret
from benchmarks.tasks import TASKS, gaussian_nll, train_step
from benchmarks.tools import TOOLS, Suggestion, Tool, training
from benchmarks.trust import row

by_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)

# Means of the seeds: 3, 1, then one training that broke down, which counts as no gain: (5 + 2) / 2.
RECORD = Record(
    grid=[0.01, 0.1, 1.0],
    num_iter=100,
    start=5.0,
    constant=[[2.0, 4.0], [1.0, 1.0], [None, 2.0]],
    cosine=[[9.0, 9.0], [1.0, 3.0], [1.0, 2.0]],
)


@pytest.mark.parametrize(
    ("schedule", "lr", "expected"),
    [
        pytest.param("constant", 0.1, 0.0, id="best-of-the-grid"),
        pytest.param("constant", 0.01, (3 - 1) / (5 - 1), id="mean-over-the-seeds"),
        pytest.param("constant", 1.0, (3.5 - 1) / (5 - 1), id="broke-down"),
        pytest.param("constant", 10**-1.5, (2 - 1) / (5 - 1), id="halfway-over-the-logarithm"),
        pytest.param("constant", 2.0, 1.0, id="above-the-grid"),
        pytest.param("constant", 0.001, 1.0, id="below-the-grid"),
        pytest.param("cosine", 0.01, 1.0, id="worse-than-before-training"),
        pytest.param("cosine", 0.1, (2 - 1.5) / (5 - 1.5), id="another-schedule"),
    ],
)
def test_regret_is_the_share_of_the_gain_that_is_lost(schedule, lr, expected):
    """The regret is what a hand-drawn table gives."""
    assert regret(RECORD, schedule, lr) == pytest.approx(expected)


def test_the_best_rate_has_the_lowest_loss_of_the_grid():
    """The best rate depends on the schedule."""
    assert best_lr(RECORD, "constant") == 0.1
    assert best_lr(RECORD, "cosine") == 1.0


@by_task
def test_a_task_takes_a_finite_loss_on_a_batch(task):
    """A step at a tiny rate gives a finite loss and changes the network."""
    model = task.initial_model(0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = task.optimizer(model.parameters(), lr=1e-4)
    (batch,) = task.batches(0, 1)
    assert len(batch[0]) == len(batch[1]) == task.batch_size
    assert math.isfinite(train_step(model, optimizer, task.loss, batch))
    pairs = zip(before, model.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)


@by_task
def test_a_task_is_the_same_for_the_same_seed(task):
    """The network and the batches are bit for bit those of the seed, and others for another."""
    first, again, other = (next(task.batches(seed, 1))[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    models = [task.initial_model(seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert any(not torch.equal(models[0][name], models[2][name]) for name in models[0])


@by_task
def test_the_oracle_knows_every_task(task):
    """Its grid is that of both schedules, and it shows a gain inside the grid."""
    record = load()[task.name]
    assert record.num_iter == task.num_iter
    assert record.start == pytest.approx(
        sum(task.validation_loss(task.initial_model(seed)) for seed in (0, 1)) / 2, rel=0.05
    )
    for schedule in SCHEDULES:
        assert len(getattr(record, schedule)) == len(record.grid)
        assert record.grid[0] < best_lr(record, schedule) < record.grid[-1]


def test_best_rates_lie_three_decades_apart():
    """The tasks ask for very different learning rates."""
    best = [best_lr(record, s) for record in load().values() for s in SCHEDULES]
    assert max(best) / min(best) > 1e3


def test_records_come_back_from_their_file(tmp_path):
    """What is saved is what is loaded, with the trainings that broke down."""
    save({TASKS[0].name: RECORD}, tmp_path / "oracle.json")
    assert load(tmp_path / "oracle.json") == {TASKS[0].name: RECORD}


def test_gaussian_likelihood_is_that_of_torch():
    """It is the negative logarithm of the normal density, less half the logarithm of two pi."""
    prediction, target = torch.randn(20, 2), torch.randn(20, 1)
    normal = torch.distributions.Normal(prediction[:, :1], prediction[:, 1:].exp())
    expected = -normal.log_prob(target).mean() - math.log(2 * math.pi) / 2
    assert gaussian_nll(prediction, target).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")  # says Ignite
@pytest.mark.parametrize("tool", ["ours", "Ignite"])
def test_every_training_step_is_counted(tool):
    """The count is that of the optimizer's steps."""
    steps = []
    setup = training(TASKS[3], 0)
    setup.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    TOOLS[tool].suggest(setup)
    assert setup.loss.count == len(steps) >= 50


def test_a_refusal_is_counted_apart(monkeypatch):
    """It takes no part in the mean and the worst."""
    answers: Iterator[Suggestion] = itertools.cycle([{"constant": None}, {"constant": 0.1}])
    tool = Tool(lambda t: next(answers))
    monkeypatch.setattr("benchmarks.measurement.TOOLS", {"half": tool})
    outcomes = [
        measure("half", TASKS[3], seed, record=RECORD, schedules=["constant"])[0] for seed in (0, 1)
    ]
    assert [outcome.regret for outcome in outcomes] == [None, 0.0]
    assert "0.000 / 0.000" in row("half", outcomes, ["constant"])
    assert "1 of 2" in row("half", outcomes, ["constant"])


def test_what_is_not_installed_says_so():
    """The reason names the module."""
    reason = Tool(lambda t: {}, "no_such_finder").why_missing()
    assert reason is not None
    assert "no_such_finder" in reason
    assert TOOLS["Ignite"].why_missing() is None


def test_the_figure_has_a_point_for_each_task_and_tool(tmp_path, monkeypatch):
    """Each tool is one line of points over the tasks, beyond 1 where it refused."""
    plt = importlib.import_module("matplotlib.pyplot")
    monkeypatch.setattr(plt, "close", lambda figure: None)
    outcomes = [
        Outcome("ours", "first", "constant", 100, 1e-3, 0.2),
        Outcome("ours", "first", "constant", 100, 1e-2, 0.4),
        Outcome("ours", "second", "constant", 100, None, None),
    ]
    draw(outcomes, tmp_path / "trust.png")
    (line,) = plt.gcf().axes[0].get_lines()
    regrets = [float(x) for x in np.asarray(line.get_xdata())]
    assert regrets[0] == pytest.approx(0.3)
    assert regrets[1] > 1
    assert (tmp_path / "trust.png").stat().st_size > 0
    monkeypatch.undo()
    plt.close("all")


@pytest.mark.parametrize("way", ways.WAYS)
def test_a_way_of_training_is_measured(way):
    """Each way that needs no GPU gives a row, and a sweep of it hardly reads numbers."""
    bare, bare_waits, *others = ways.measure(ways.WAYS[way], 50, 1, torch.device("cpu"))
    assert float(bare) > 0
    assert len(others) == 4
    our_waits, their_waits = int(others[1]), int(others[3])
    assert our_waits - int(bare_waits) <= 50 / 10 + 5 < their_waits - int(bare_waits)
