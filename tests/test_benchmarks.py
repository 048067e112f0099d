"""The benchmark: its scores against numbers computed by hand, and every task runs."""

import dataclasses
import importlib
import math

import numpy as np
import pytest
import torch
from conftest import Log

from benchmarks import claims, ways
from benchmarks.figure import draw
from benchmarks.grid_search import grid_search
from benchmarks.held_out_tasks import clipped_momentum, pinball_loss
from benchmarks.measurement import Outcome, counting_steps, measure
from benchmarks.oracle import (
    ALL_TASKS,
    SCHEDULES,
    SEEDS,
    Record,
    final_loss,
    load,
    rates_to_add,
    save,
    with_rates,
)
from benchmarks.real_tasks import contrastive_loss, dice_loss, variational_loss
from benchmarks.regret import best_lr, regret
from benchmarks.tasks import TASKS, gaussian_nll, train_step
from benchmarks.tools import TOOLS, Tool, averaged, for_any_plan, training
from benchmarks.trust import row, table

by_task = pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)

# Means over the seeds: 3, 1, and (5 + 2) / 2, as a training that diverged counts as no gain.
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
        pytest.param("constant", 1.0, (3.5 - 1) / (5 - 1), id="diverged"),
        pytest.param("constant", 10**-1.5, (2 - 1) / (5 - 1), id="halfway-in-log-lr"),
        pytest.param("constant", 2.0, 1.0, id="above-the-grid"),
        pytest.param("constant", 0.001, 1.0, id="below-the-grid"),
        pytest.param("cosine", 0.01, 1.0, id="worse-than-before-training"),
        pytest.param("cosine", 0.1, (2 - 1.5) / (5 - 1.5), id="another-schedule"),
    ],
)
def test_regret_is_the_share_of_the_gain_that_is_lost(schedule, lr, expected):
    """The regret is the one computed by hand from a table."""
    assert regret(RECORD, schedule, lr) == pytest.approx(expected)


def test_the_best_rate_has_the_lowest_loss_of_the_grid():
    """The best rate depends on the schedule."""
    assert best_lr(RECORD, "constant") == 0.1
    assert best_lr(RECORD, "cosine") == 1.0


@by_task
def test_a_task_takes_a_finite_loss_on_a_batch(task):
    """A step at a small rate has a finite loss and changes the network."""
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
    """Equal seeds give equal networks and batches, bit for bit; different seeds do not."""
    first, again, other = (next(task.batches(seed, 1))[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    models = [task.initial_model(seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert any(not torch.equal(models[0][name], models[2][name]) for name in models[0])


def test_rates_are_added_where_the_loss_is_steep_near_its_lowest():
    """Before the cliff, halfway in log(lr); not where both neighbors lose much, nor in between."""
    losses = [[4.9], [4.0], [1.3], [1.0], [None]]
    grid = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    record = Record(grid=grid, num_iter=10, start=5.0, constant=losses, cosine=losses)
    assert rates_to_add(record) == [0.003162, 0.3162]
    fine = dataclasses.replace(record, grid=[1e-4, 1e-3, 9e-2, 1e-1, 0.12])
    assert rates_to_add(fine) == [0.009487]


def test_added_rates_are_trained_and_sorted_into_the_grid():
    """The record has them in their places, with the losses of all seeds."""
    task = dataclasses.replace(TASKS[0], num_iter=2)
    before = Record(grid=[1.0], num_iter=2, start=5.0, constant=[[3.0] * 4], cosine=[[2.0] * 4])
    after = with_rates(task, before, [0.1])
    assert (after.grid, after.constant[1], after.cosine[1]) == ([0.1, 1.0], [3.0] * 4, [2.0] * 4)
    assert after.constant[0] == [final_loss(task, seed, 0.1, "constant") for seed in SEEDS]


def test_a_grid_search_is_judged_with_the_other_seeds():
    """The rate that is best with one seed has the regret that it has with the others."""
    losses = [[1.0, 5.0, 5.0, 5.0], [2.0, 1.0, 3.0, 2.0], [4.0, 3.0, 1.0, 2.0]]
    record = dataclasses.replace(RECORD, constant=losses, cosine=losses[::-1])
    constant, cosine = grid_search("a task", record, 0)
    assert (constant.lr, cosine.lr) == (0.01, 1.0)
    assert constant.regret == cosine.regret == 1.0
    constant, _ = grid_search("a task", record, 1)
    assert constant.lr == 0.1
    assert constant.num_iter == 3 * RECORD.num_iter
    reached, best = (2 + 3 + 2) / 3, min((2 + 3 + 2) / 3, (4 + 1 + 2) / 3, (1 + 5 + 5) / 3)
    assert constant.regret == pytest.approx((reached - best) / (5 - best))
    constant, _ = grid_search("a task", record, 2)
    reached, best = (4 + 3 + 2) / 3, (2 + 1 + 2) / 3
    assert constant.regret == pytest.approx((reached - best) / (5 - best))


@by_task
def test_the_oracle_has_every_task(task):
    """Its grid is complete for both schedules, and the best rate is inside the grid."""
    record = load()[task.name]
    assert record.num_iter == task.num_iter
    starts = [task.validation_loss(task.initial_model(seed)) for seed in SEEDS]
    assert record.start == pytest.approx(np.mean(starts), rel=0.05)
    for schedule in SCHEDULES:
        rows = getattr(record, schedule)
        assert [len(row) for row in rows] == [len(SEEDS)] * len(record.grid)
        assert record.grid[0] < best_lr(record, schedule) < record.grid[-1]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0] * 10),
        ("cosine", [(1 + math.cos(math.pi * i / 10)) / 2 for i in range(10)]),
        ("warm-up", [1.0, *((1 + math.cos(math.pi * i / 9)) / 2 for i in range(9))]),
    ],
)
def test_a_training_of_the_oracle_follows_its_schedule(schedule, expected):
    """The rate is constant, decays along half a cosine, or does so after a tenth of warm-up."""
    task = dataclasses.replace(TASKS[0], num_iter=10)
    used = Log()

    def spy(params, lr):
        optimizer = torch.optim.SGD(params, lr=lr)
        optimizer.register_step_pre_hook(lambda *_: used.append(optimizer.param_groups[0]["lr"]))
        return optimizer

    assert final_loss(dataclasses.replace(task, optimizer=spy), 0, 0.1, schedule) is not None
    assert used == pytest.approx([0.1 * share for share in expected])


def test_the_clipped_optimizer_takes_steps_of_bounded_length():
    """The gradient of a step is clipped to a norm of 1, in place."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = clipped_momentum([parameter], lr=0.5)
    (parameter @ torch.tensor([30.0, 40.0])).backward()
    optimizer.step()
    assert parameter.tolist() == pytest.approx([-0.3, -0.4], rel=1e-4)


def test_the_pinball_loss_is_lowest_at_the_quantile():
    """Of 101 evenly spaced targets, a fifth is above the best constant prediction."""
    target = torch.arange(101.0)
    losses = [pinball_loss(torch.full((101,), float(k)), target).item() for k in range(101)]
    assert int(np.argmin(losses)) == 80


def test_best_rates_span_three_decades():
    """The tasks need very different learning rates."""
    best = [best_lr(record, s) for record in load().values() for s in SCHEDULES]
    assert max(best) / min(best) > 1e3


def test_records_survive_their_file(tmp_path):
    """Loaded records equal saved ones, diverged trainings included."""
    save({TASKS[0].name: RECORD}, tmp_path / "oracle.json")
    assert load(tmp_path / "oracle.json") == {TASKS[0].name: RECORD}


def test_gaussian_nll_agrees_with_torch():
    """It is the negative log density of torch's normal distribution without its constant."""
    prediction, target = torch.randn(20, 2), torch.randn(20, 1)
    normal = torch.distributions.Normal(prediction[:, :1], prediction[:, 1:].exp())
    expected = -normal.log_prob(target).mean() - math.log(2 * math.pi) / 2
    assert gaussian_nll(prediction, target).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")  # says Ignite
@pytest.mark.parametrize("tool", ["ours, sweep", "Ignite"])
def test_every_training_step_is_counted(tool):
    """The number of steps of a tool equals the number of losses that were computed."""
    losses = Log()
    setup = training(TASKS[3], 0)

    def loss(*args):
        losses.append(args)
        return TASKS[3].loss(*args)

    with counting_steps() as steps:
        TOOLS[tool].suggest(dataclasses.replace(setup, loss=loss))
    assert len(losses) == len(steps) >= 50


def test_an_outcome_has_the_regret_of_the_suggested_rate():
    """The regret of an outcome is the regret of its rate in the record of the task."""
    (outcome,) = measure("ours, sweep", TASKS[3], 0, record=RECORD, schedules=["constant"])
    assert outcome.lr is not None
    assert outcome.regret == regret(RECORD, "constant", outcome.lr)


def test_refusals_and_trainings_that_blow_up_are_counted_separately():
    """Refusals do not enter the mean and the worst regret; half of the gain lost is a blow-up."""
    outcomes = [
        Outcome("half", TASKS[3].name, "constant", 100, None, None),
        Outcome("half", TASKS[3].name, "constant", 100, 0.1, 0.25),
        Outcome("half", TASKS[3].name, "constant", 300, 0.3, 0.75),
        Outcome("half", TASKS[3].name, "constant", 300, 0.2, 0.5),
    ]
    assert row("half", outcomes, ["constant"]) == ["half", "0.500 / 0.75", "1", "2", "200 / 300"]
    header, _, line = table(outcomes, ["constant"]).splitlines()
    assert header.count("|") == line.count("|") == 6
    assert "of 4" in header


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("SGD", 0.1), ("momentum", 0.01), ("Adam", 1e-3), ("RMSprop", 1e-3)],
)
def test_the_usual_rate_depends_on_the_optimizer(optimizer, rate):
    """Plain SGD, momentum, and adaptive optimizers have a usual rate each."""
    (task, *_) = [task for task in TASKS if task.name.endswith(optimizer)]
    assert TOOLS["usual rate"].suggest(training(task, 0)) == {"constant": rate, "cosine": rate}


def test_an_averaged_finder_takes_its_budget_and_returns_the_median():
    """Eight runs on different batches, of which one is refused, give the median of seven."""
    lrs = [1e-3, 1e-2, 1e-1, None, 1e-2, 1e-4, 1e-2, 1.0]
    first_batches = []

    def tool(setup):
        first_batches.append(float(next(iter(setup.loader))[0].sum()))
        return for_any_plan(lrs[len(first_batches) - 1])

    suggestion = averaged(training(TASKS[0], 0), tool=tool)
    assert suggestion["cosine"] == pytest.approx(1e-2)
    assert len(set(first_batches)) == len(lrs)


def test_the_variational_loss_sums_over_pixels():
    """It is a sum over pixels and codes, and a mean over images, of torch's own parts."""
    scores, mean, log_variance = torch.randn(4, 6), torch.randn(4, 2), torch.randn(4, 2)
    target = torch.rand(4, 6)
    code = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    divergence = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0))
    pixels = torch.nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
    expected = pixels.sum(1).mean() + divergence.sum(1).mean()
    output = torch.cat([scores, mean, log_variance], dim=1)
    assert variational_loss(output, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_contrastive_loss_finds_the_other_view():
    """Equal views of orthogonal images give the loss of a softmax over 2N - 1 candidates."""
    views = torch.eye(4)[:, None].repeat(1, 2, 1)
    expected = -math.log(math.exp(5) / (math.exp(5) + 6))
    assert contrastive_loss(views, torch.empty(0)).item() == pytest.approx(expected, rel=1e-5)


def test_the_dice_loss_is_zero_for_the_mask_itself():
    """It is nearly 1 for the opposite of the mask."""
    mask = torch.tensor([[1.0, 0.0] * 50])
    assert dice_loss(100 * (mask - 0.5), mask).item() == pytest.approx(0, abs=1e-5)
    assert dice_loss(-100 * (mask - 0.5), mask).item() == pytest.approx(1, abs=0.02)


def test_a_tool_that_is_not_installed_names_its_module():
    """The reason contains the name of the missing module."""
    reason = Tool(lambda t: {}, "no_such_finder").why_missing()
    assert reason is not None
    assert "no_such_finder" in reason
    assert TOOLS["Ignite"].why_missing() is None


def test_the_figure_has_a_point_for_each_task_and_tool(tmp_path, monkeypatch):
    """Each tool is one line of points over the tasks; a refusal is drawn beyond 1."""
    plt = importlib.import_module("matplotlib.pyplot")
    monkeypatch.setattr(plt, "close", lambda figure: None)
    outcomes = [
        Outcome("ours, sweep", "first", "constant", 100, 1e-3, 0.2),
        Outcome("ours, sweep", "first", "constant", 100, 1e-2, 0.4),
        Outcome("ours, sweep", "second", "constant", 100, None, None),
    ]
    draw(outcomes, tmp_path / "trust.png")
    (line,) = plt.gcf().axes[0].get_lines()
    regrets = [float(x) for x in np.asarray(line.get_xdata())]
    assert regrets[0] == pytest.approx(0.3)
    assert regrets[1] > 1
    assert (tmp_path / "trust.png").stat().st_size > 0
    monkeypatch.undo()


@pytest.mark.parametrize("way", ways.WAYS)
def test_a_way_of_training_is_measured(way):
    """Each way that needs no GPU gives a row, and its sweep reads few numbers."""
    bare, bare_waits, *others = ways.measure(ways.WAYS[way], 50, 1, torch.device("cpu"))
    assert float(bare) > 0
    assert len(others) == 4
    our_waits, their_waits = int(others[1]), int(others[3])
    assert our_waits - int(bare_waits) <= 50 / 10 + 5 < their_waits - int(bare_waits)


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")  # says Ignite
@pytest.mark.parametrize(
    ("finder", "num_exact", "leaves_no_trace"), [("ours, sweep", 100, True), ("Ignite", 1, False)]
)
def test_the_claims_of_the_readme_hold(finder, num_exact, leaves_no_trace):
    """Of 100 recorded rates so many were used, and a training afterwards is unchanged or not."""
    assert claims.num_exact(finder) == (num_exact, 100)
    assert claims.leaves_no_trace(finder) is leaves_no_trace


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")  # says Ignite
@pytest.mark.parametrize("finder", claims.FINDERS)
def test_the_suggestions_of_the_claims_are_compared_with_the_best_rates(finder, monkeypatch):
    """A finder of the claims is a tool, and each suggestion gives a factor or a refusal."""
    monkeypatch.setattr(claims, "TASKS", TASKS[3:4])
    off, num_refused = claims.factors(finder, 1)
    assert len(off) + num_refused == 1
    assert min(off, default=1.0) >= 1
