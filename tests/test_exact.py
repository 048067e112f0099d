"""The promise "exact": the learning rate recorded for a point is the one its step used."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Log
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import LinearCyclicalScheduler
from probe import Probe
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, OneCycleLR

from ignite_lrfinder import FastaiLRFinder, LRFinderError, Trials

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
    pytest.mark.filterwarnings("ignore:The loss must be finite until it has fallen:UserWarning"),
]
OVERWRITTEN = "ignore:The learning rate must be left to the finder:UserWarning"


@pytest.mark.parametrize("num_iter", [1, 2, 3, 1000])
@pytest.mark.parametrize("step_mode", ["exp", "linear"])
@pytest.mark.parametrize(
    "dtype",
    [None, torch.float64, torch.float32, torch.bfloat16],
    ids=["float", "float64", "float32", "bfloat16"],
)
def test_each_step_uses_the_recorded_lr(
    dtype: torch.dtype | None, step_mode: str, num_iter: int
) -> None:
    """Every step uses the recorded learning rate, whether a float or a tensor of any dtype."""
    probe = Probe.make(1e-3, 5e-3, dtype=dtype)
    result = probe.sweep(num_iter=num_iter, step_mode=step_mode, end_lr=3.0)
    probe.assert_exact(result, num_iter)


@pytest.mark.parametrize("step_mode", ["exp", "linear"])
@pytest.mark.parametrize("num_iter", [2, 7, 100])
def test_the_sweep_goes_from_start_lr_to_end_lr(num_iter: int, step_mode: str) -> None:
    """The first step uses exactly `start_lr`, the last exactly `end_lr`, and there is no other."""
    probe = Probe.make(0.1)
    probe.sweep(num_iter=num_iter, step_mode=step_mode, start_lr=1.1e-7, end_lr=0.7)
    assert (probe.used[0], probe.used[-1]) == ([1.1e-7], [0.7])
    assert len(probe.used) == num_iter


@pytest.mark.parametrize(
    ("kwargs", "first", "last"),
    [
        ({"start_lr": 1, "end_lr": 2}, [0.25, 1.0], [0.5, 2.0]),
        ({"start_lr": np.float64(0.5), "end_lr": np.int64(4)}, [0.125, 0.5], [1.0, 4.0]),
        ({"start_lr": [0.25, 0.5], "end_lr": 2.0}, [0.25, 0.5], [1.0, 2.0]),
        ({"start_lr": (0.25, 0.5), "end_lr": np.array([2.0, 1.0])}, [0.25, 0.5], [2.0, 1.0]),
        ({"start_lr": 0.5, "end_lr": [1, 2]}, [0.5, 0.5], [1.0, 2.0]),
        ({"start_lr": torch.tensor(0.5), "end_lr": torch.tensor([1.0, 2.0])}, [0.5, 0.5], [1, 2]),
        ({"end_lr": 4.0}, [0.0625, 0.25], [1.0, 4.0]),
        ({"start_lr": 0, "step_mode": "linear", "end_lr": [1, 2]}, [0.0, 0.0], [1.0, 2.0]),
    ],
    ids=["ints", "numpy", "list-and-float", "tuple-and-array", "float-and-list", "tensors",
         "end-only", "from-zero"],
)  # fmt: skip
def test_any_kind_of_number_sets_the_range(
    kwargs: dict, first: list[float], last: list[float]
) -> None:
    """Numbers of Python, NumPy and torch are accepted, for all groups or for each group."""
    probe = Probe.make(0.0625, 0.25)
    result = probe.sweep(num_iter=5, **kwargs)
    probe.assert_exact(result, 5)
    assert (probe.used[0], probe.used[-1]) == (first, last)


@pytest.mark.parametrize("step_mode", ["exp", "linear"])
@pytest.mark.parametrize("lrs", [(0.0, 1e-3), (1e-3, 0.0)], ids=["first", "second"])
def test_a_frozen_group_stays_frozen(lrs: tuple[float, float], step_mode: str) -> None:
    """A group with the learning rate 0 keeps it while the others are swept."""
    probe = Probe.make(*lrs)
    result = probe.sweep(num_iter=5, step_mode=step_mode)
    probe.assert_exact(result, 5)
    assert all(row[lrs.index(0.0)] == 0 for row in probe.used)


@pytest.mark.parametrize(
    "kwargs", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str
)
@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["float", "tensor"])
def test_each_way_to_step_uses_the_recorded_lr(dtype: torch.dtype | None, kwargs: dict) -> None:
    """Fused, foreach and plain loops all read the learning rate that is recorded."""
    probe = Probe.make(1e-3, 5e-3, dtype=dtype, **kwargs)
    probe.assert_exact(probe.sweep(num_iter=6), 6)


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["float", "tensor"])
def test_a_compiled_step_uses_the_recorded_lr(dtype: torch.dtype | None) -> None:
    """A compiler of the user's step sees none of the finder's, and no rate is written by it."""
    probe = Probe.make(1e-3, dtype=dtype)
    step = torch.compile(lambda: probe.optimizer.step(), backend="aot_eager")

    def train_step(engine: Engine, batch: object) -> float:
        (parameter,) = probe.parameters
        parameter.data.zero_()
        parameter.grad = torch.ones_like(parameter)
        step()
        probe.used.append([0.0 - parameter.item()])
        return probe.loss(engine)

    probe.assert_exact(probe.sweep(Engine(train_step), num_iter=6), 6)


def test_lbfgs_uses_the_recorded_lr() -> None:
    """A step with a closure, called before the hook and within the step, is one point."""
    probe = Probe.make(1e-3, optimizer=make_lbfgs)

    def train_step(engine: Engine, batch: object) -> float:
        probe.optimizer.state.clear()  # from rest its first direction is the gradient
        return probe.train_step(engine, batch)

    # On its first step LBFGS divides by the sum of gradients, which is 1.
    probe.assert_exact(probe.sweep(Engine(train_step), num_iter=6, end_lr=1.0), 6)


def make_lbfgs(groups: list[dict], **kwargs: float) -> torch.optim.Optimizer:
    """Make an LBFGS, which requires its only group as a list of parameters."""
    return torch.optim.LBFGS(groups[0]["params"], lr=groups[0]["lr"], max_iter=1)


class ScalesItself(torch.optim.SGD):
    """An optimizer that writes its learning rate and then calls its parent's step."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        self.param_groups[0]["lr"] *= 2
        return super().step(closure)


@pytest.mark.filterwarnings(OVERWRITTEN)
def test_a_subclass_that_calls_its_parents_step_uses_the_recorded_lr() -> None:
    """A rate that the subclass writes before it calls its parent's `step` has no effect."""
    probe = Probe.make(1e-3, optimizer=ScalesItself)
    probe.assert_exact(probe.sweep(num_iter=6), 6)


class HasNoHooks:
    """An optimizer that is not a torch optimizer."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.param_groups = [{"params": list(parameters), "lr": lr}]

    def step(self, closure: object = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data -= group["lr"] * parameter.grad

    def state_dict(self) -> dict[str, float]:
        return {"lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.param_groups[0]["lr"] = state["lr"]


def probe_without_hooks() -> Probe:
    """Make a probe whose optimizer is not a torch optimizer."""
    probe = Probe.make(1e-3)
    probe.optimizer = HasNoHooks(probe.parameters, 1e-3)  # type: ignore[assignment]
    return probe


def test_an_optimizer_without_hooks_uses_the_recorded_lr() -> None:
    """An object that only looks like an optimizer is swept and restored."""
    probe = probe_without_hooks()
    probe.assert_exact(probe.sweep(num_iter=6), 6)
    assert probe.optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.filterwarnings(OVERWRITTEN)
def test_an_lr_written_before_a_step_without_hooks_is_overruled() -> None:
    """A rate that the train step writes before such an optimizer's step is overruled."""
    probe = probe_without_hooks()

    def train_step(engine: Engine, batch: object) -> float:
        probe.optimizer.param_groups[0]["lr"] = 0.5
        return probe.train_step(engine, batch)

    probe.assert_exact(probe.sweep(Engine(train_step), num_iter=6), 6)


def test_an_optimizer_without_hooks_that_never_steps_is_an_error() -> None:
    """If such an optimizer never steps, the error is the same as for any optimizer."""
    probe = probe_without_hooks()
    trainer = Engine(lambda engine, batch: probe.loss(engine))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, probe.step)
    with pytest.raises(LRFinderError, match=r"keep_handlers=\[handler\]"):
        probe.sweep(trainer, num_iter=6)
    assert probe.used == []


@pytest.mark.filterwarnings(OVERWRITTEN)
@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["float", "tensor"])
def test_a_tensor_that_replaces_the_lr_changes_no_point(dtype: torch.dtype | None) -> None:
    """A train step that replaces the learning rate by a tensor is overruled."""
    probe = Probe.make(1e-3, dtype=dtype)

    def train_step(engine: Engine, batch: object) -> float:
        probe.optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
        return probe.train_step(engine, batch)

    probe.assert_exact(probe.sweep(Engine(train_step), num_iter=6), 6)


class Halving:
    """A scheduler that is not one of torch's."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.5


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["float", "tensor"])
def test_a_scheduler_in_the_train_step_changes_no_point(
    dtype: torch.dtype | None, is_before: bool
) -> None:
    """A scheduler stepped before or after the optimizer is overruled, and the warning names it."""
    probe = Probe.make(1e-3, dtype=dtype)
    scheduler = Halving(probe.optimizer)

    def train_step(engine: Engine, batch: object) -> float:
        if is_before:
            scheduler.step()
        probe.step()
        if not is_before:
            scheduler.step()
        return probe.loss(engine)

    with pytest.warns(UserWarning, match="written by the train step"):
        result = probe.sweep(Engine(train_step), num_iter=9)
    probe.assert_exact(result, 9)


@pytest.mark.parametrize("verify", [False, Trials(max_iter=75, short_iter=10, long_iter=15)])
def test_a_scheduler_of_torch_takes_no_step(verify: bool | Trials) -> None:
    """A sweep may be longer than its schedule, and keeps the momentum that it found."""
    probe = Probe.make(1e-3, momentum=0.9)
    scheduler = OneCycleLR(probe.optimizer, 0.1, total_steps=3)
    before, seen = scheduler.state_dict(), Log()
    momentum = probe.optimizer.param_groups[0]["momentum"]

    def train_step(engine: Engine, batch: object) -> float:
        probe.step()
        scheduler.step()
        seen.append((probe.optimizer.param_groups[0]["momentum"], scheduler.last_epoch))
        return probe.loss(engine)

    result = probe.sweep(Engine(train_step), num_iter=9, verify=verify)
    assert len(seen) == 9 + sum(len(trial.losses) for trial in result.trials)
    assert set(seen) == {(momentum, 0)}
    assert scheduler.state_dict() == before
    probe.step()
    scheduler.step()
    assert scheduler.last_epoch == 1


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning")
@pytest.mark.filterwarnings("ignore:User code ended the sweep:UserWarning")
@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
def test_schedulers_step_again_after_blocks_that_overlap(fails: bool) -> None:
    """The block that ran last may end first; then all schedulers step, and torch is as it was."""
    step, schedulers, seen = LRScheduler.step, [], Log()

    def trainer_of(probe: Probe) -> Engine:
        scheduler = ExponentialLR(probe.optimizer, 0.5)
        schedulers.append(scheduler)

        def train_step(engine: Engine, batch: object) -> float:
            probe.step()
            scheduler.step()
            seen.append(scheduler.last_epoch)
            if fails and engine.state.iteration == 3:
                raise RuntimeError("as the test wants")
            return probe.loss(engine)

        return Engine(train_step)

    outer, inner = Probe.make(1e-3), Probe.make(1e-3)
    with FastaiLRFinder().attach(trainer_of(outer), outer.optimizer, num_iter=9) as outer_trainer:
        with (
            contextlib.suppress(RuntimeError),
            FastaiLRFinder().attach(trainer_of(inner), inner.optimizer, num_iter=9) as trainer,
        ):
            trainer.run([0] * 9)
        with contextlib.suppress(RuntimeError):
            outer_trainer.run([0] * 9)
    assert set(seen) == {0}
    assert LRScheduler.step is step
    for scheduler in schedulers:
        scheduler.optimizer.step()
        scheduler.step()
        assert scheduler.last_epoch == 1


class Returning(ExponentialLR):
    """A scheduler whose step returns the rate, as torch's does not."""

    def step(self, epoch: int | None = None) -> Any:
        super().step(epoch)
        return self.get_last_lr()


def test_a_scheduler_derived_from_one_of_torch_runs_what_it_adds() -> None:
    """Only what torch defines is left out, and nothing is added to its state."""
    probe = Probe.make(1e-3)
    scheduler = Returning(probe.optimizer, 0.5)
    before, seen = scheduler.state_dict(), Log()

    def train_step(engine: Engine, batch: object) -> float:
        probe.step()
        seen.append((scheduler.step(), scheduler.state_dict() == before))
        return probe.loss(engine)

    probe.assert_exact(probe.sweep(Engine(train_step), num_iter=6), 6)
    assert seen == [([1e-3], True)] * 6
    probe.step()
    assert scheduler.step() == [5e-4]


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_a_late_write_after_the_step_is_named(num_steps: int) -> None:
    """A write at any point causes a warning, although the next point overrules it."""
    probe = Probe.make(1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        probe.step()
        if engine.state.iteration == num_steps:
            probe.optimizer.param_groups[0]["lr"] = 9.0
        return probe.loss(engine)

    with pytest.warns(UserWarning, match="written by the train step"):
        result = probe.sweep(Engine(train_step), num_iter=9)
    probe.assert_exact(result, 9)


EVENTS = [
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name.lower())
def test_a_scheduler_in_a_kept_handler_changes_no_point(event: Events) -> None:
    """A kept scheduler is overruled on any event, and the warning names its handler."""
    probe = Probe.make(1e-3)
    scheduler = Halving(probe.optimizer)
    trainer = Engine(probe.train_step)

    def decay() -> None:
        scheduler.step()

    trainer.add_event_handler(event, decay)
    with pytest.warns(
        UserWarning, match=r"written by decay\. .* Pass mute_handlers=\[decay\] to"
    ) as caught:
        result = probe.sweep(trainer, num_iter=9, keep_handlers="all")
    probe.assert_exact(result, 9)
    assert sum("written by" in str(warning.message) for warning in caught) == 1


@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["float", "tensor"])
def test_a_kept_ignite_scheduler_changes_no_point(dtype: torch.dtype | None) -> None:
    """With `keep_handlers="all"` an attached Ignite scheduler runs, is overruled and named."""
    probe = Probe.make(1e-3, 2e-3, dtype=dtype)
    scheduler = LinearCyclicalScheduler(probe.optimizer, "lr", 1.0, 2.0, 5)
    trainer = Engine(probe.train_step)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    with pytest.warns(UserWarning, match=r"written by LinearCyclicalScheduler\."):
        result = probe.sweep(trainer, num_iter=9, keep_handlers="all")
    probe.assert_exact(result, 9)


def test_an_attached_ignite_scheduler_is_muted() -> None:
    """By default an attached scheduler is muted, so there is no warning."""
    probe = Probe.make(1e-3)
    scheduler = LinearCyclicalScheduler(probe.optimizer, "lr", 1.0, 2.0, 5)
    trainer = Engine(probe.train_step)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    probe.assert_exact(probe.sweep(trainer, num_iter=9), 9)
    assert scheduler.event_index == 0


@pytest.mark.parametrize("has_hooks", [True, False], ids=["hooks", "no-hooks"])
@pytest.mark.parametrize("every", [1, 2, 3, 5, 7, 10, 256])
def test_micro_batches_of_one_step_are_one_point(every: int, has_hooks: bool) -> None:
    """A point has the mean loss of its micro-batches, even if epochs do not end with a step."""
    probe = Probe.make(1e-3) if has_hooks else probe_without_hooks()

    def train_step(engine: Engine, batch: object) -> float:
        if engine.state.iteration % every == 0:
            probe.step()
        return probe.loss(engine)

    result = probe.sweep(Engine(train_step), num_iter=4)
    probe.assert_exact(result, 4)
    expected = np.array(probe.losses).reshape(4, every).mean(1)
    np.testing.assert_allclose(result.losses, expected, rtol=1e-14)


def test_accumulation_that_ends_with_the_epoch_makes_uneven_points() -> None:
    """A step after the last few batches of an epoch is a point."""
    probe = Probe.make(1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        in_epoch = (engine.state.iteration - 1) % 7 + 1
        if in_epoch in (3, 6, 7):
            probe.step()
        return probe.loss(engine)

    result = probe.sweep(Engine(train_step), num_iter=5)
    probe.assert_exact(result, 5)
    parts = np.split(np.array(probe.losses), [3, 6, 7, 10])
    np.testing.assert_allclose(result.losses, [part.mean() for part in parts], rtol=1e-14)


@pytest.mark.parametrize("steps", [1, 3])
def test_ignites_gradient_accumulation_makes_points_of_steps(steps: int) -> None:
    """With `create_supervised_trainer` a point is a step, and its loss the mean of its batches."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    used, losses = Log(), Log()
    optimizer.register_step_post_hook(lambda o, args, kwargs: used.append(o.param_groups[0]["lr"]))

    def loss_fn(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.mse_loss(y_pred, y)
        losses.append(loss.item())
        return loss

    trainer = create_supervised_trainer(
        model, optimizer, loss_fn, gradient_accumulation_steps=steps
    )
    finder = FastaiLRFinder()
    x = torch.randn(7, 4, 2)
    batches = [(part, part.sum(1, keepdim=True)) for part in x]
    to_save = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, to_save, num_iter=5, end_lr=0.1) as sweeping:
        sweeping.run(batches)
    assert finder.result.lr[:, 0].tolist() == used
    expected = np.array(losses).reshape(5, steps).mean(1)
    np.testing.assert_allclose(finder.result.losses, expected, rtol=1e-6)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("is_fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("place", ["to_save", "trainer.state", "closure"])
def test_a_step_that_the_scaler_skips_is_not_a_point(
    place: str, is_fused: bool, every: int
) -> None:
    """A skipped step uses no learning rate, and its loss is in no point."""
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3, fused=is_fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    used, taken, pending = Log(), Log(), []

    def train_step(engine: Engine, batch: object) -> float:
        i = engine.state.iteration
        pending.append(1 + 0.01 * i)
        if i % every == 0:
            parameter.data.zero_()
            scaler.scale(parameter).backward()  # the gradient is the scale
            is_skipped = i in (2, 8, 10)
            if is_skipped:
                assert parameter.grad is not None
                parameter.grad.fill_(torch.inf)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if not is_skipped:
                used.append(0.0 - parameter.item())
                taken.append(np.mean(pending))
            pending.clear()
        return 1 + 0.01 * i

    trainer = Engine(train_step)
    if place == "trainer.state":
        trainer.state.scaler = scaler  # type: ignore[attr-defined]  # as Ignite itself does
    probe = Probe([parameter], optimizer)
    to_save = {"scaler": scaler} if place == "to_save" else {}
    result = probe.sweep(trainer, to_save, num_iter=6)
    np.testing.assert_array_equal(used, result.lr[:, 0].astype(np.float32))
    np.testing.assert_allclose(result.losses, taken, rtol=1e-14)
    assert scaler.get_scale() == 4.0
    assert "step" not in vars(scaler)


def test_several_steps_in_one_iteration_share_its_point() -> None:
    """A train step that steps twice uses the learning rate of its point twice."""
    probe = Probe.make(1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        probe.step()
        return probe.train_step(engine, batch)

    result = probe.sweep(Engine(train_step), num_iter=6)
    assert probe.used == np.repeat(result.lr, 2, axis=0).tolist()


def test_only_the_optimizer_of_to_save_is_swept() -> None:
    """In a train step with two optimizers, steps of the other one are not points."""
    probe, other = Probe.make(1e-3), Probe.make(0.25)

    def train_step(engine: Engine, batch: object) -> float:
        other.step()
        if engine.state.iteration % 5 == 0:
            probe.step()
        return probe.loss(engine)

    probe.assert_exact(probe.sweep(Engine(train_step), num_iter=6), 6)
    assert other.used == [[0.25]] * 30


@pytest.mark.parametrize("every", [1, 2])
def test_a_step_in_a_kept_handler_uses_the_recorded_lr(every: int) -> None:
    """A handler that takes the step works if `keep_handlers` names it."""
    probe = Probe.make(1e-3)
    trainer = Engine(lambda engine, batch: probe.loss(engine))

    def take_step() -> None:
        probe.step()

    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), take_step)
    result = probe.sweep(trainer, num_iter=5, keep_handlers=[take_step])
    probe.assert_exact(result, 5)
    expected = np.array(probe.losses).reshape(5, every).mean(1)
    np.testing.assert_allclose(result.losses, expected, rtol=1e-14)


def test_a_step_in_a_handler_added_inside_the_block_uses_the_recorded_lr() -> None:
    """A handler added inside the block may take the step, before the loss is recorded."""
    probe, finder = Probe.make(1e-3), FastaiLRFinder()
    trainer = Engine(lambda engine, batch: probe.loss(engine))
    with finder.attach(trainer, {"optimizer": probe.optimizer}, num_iter=5) as sweeping:
        sweeping.add_event_handler(Events.ITERATION_COMPLETED, probe.step)
        sweeping.run([0] * 4)
    probe.assert_exact(finder.result, 5)
    assert finder.result.losses.tolist() == probe.losses


def test_a_step_in_a_muted_handler_is_an_error_that_says_what_to_do() -> None:
    """Without a single step the sweep ends with an error that names `keep_handlers`."""
    probe = Probe.make(1e-3)
    trainer = Engine(lambda engine, batch: probe.loss(engine))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, probe.step)
    with pytest.raises(LRFinderError, match=r"keep_handlers=\[handler\]"):
        probe.sweep(trainer, num_iter=5)
    assert probe.used == []
