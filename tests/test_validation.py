"""`val_loss`: the recorded losses, the restored state, the muted handlers."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Log, Training, data, seed_all
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping
from ignite.metrics import Accuracy, Loss
from torch import nn
from torch.utils.data import DataLoader

from ignite_lrfinder import FastaiLRFinder, StopReason, Trials

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
    pytest.mark.filterwarnings("ignore:The loss must be finite until it has fallen:UserWarning"),
]
TRIALS = Trials(max_iter=75, short_iter=10, long_iter=15)


class Validated:
    """A training with an evaluator on shuffled data."""

    def __init__(self, training: Training) -> None:
        self.training = training
        metrics = {"loss": Loss(nn.functional.cross_entropy), "accuracy": Accuracy()}
        self.evaluator = create_supervised_evaluator(training.model, metrics=metrics)
        generator = torch.Generator().manual_seed(7)
        self.loader = DataLoader(data(40), 16, shuffle=True, generator=generator)
        self.losses: list[float] = []

    def val_loss(self) -> float:
        """Return the validation loss, and record it."""
        self.losses.append(self.evaluator.run(self.loader).metrics["loss"])
        return self.losses[-1]

    def sweep(self, **arguments: object) -> FastaiLRFinder:
        """Sweep with the validation loss, unless the arguments have a different one."""
        finder = FastaiLRFinder()
        t = self.training
        arguments = {"num_iter": 30, "end_lr": 1.0, "val_loss": self.val_loss} | arguments
        with finder.attach(t.trainer, t.to_save, **arguments) as trainer:  # type: ignore[arg-type]  # any of them
            trainer.run(t.loader, max_epochs=1)
        return finder


@pytest.fixture
def validated(make_training: Callable[..., Training]) -> Callable[..., Validated]:
    """Return a function that makes the same training and evaluator each time."""
    return lambda *args, **kwargs: Validated(make_training(*args, **kwargs))


def test_the_loss_of_a_point_is_the_validation_loss_after_its_step(
    validated: Callable[..., Validated],
) -> None:
    """Each point has the loss that `val_loss` returned after its step."""
    v = validated()
    result = v.sweep(smooth_f=0).result
    assert len(result) == 30
    np.testing.assert_array_equal(result.losses, v.losses)


def test_the_first_validation_is_after_the_first_step(validated: Callable[..., Validated]) -> None:
    """The first point is the loss after one step at `start_lr`, taken by hand."""
    v, twin = validated("sgd-momentum"), validated("sgd-momentum")
    result = v.sweep(start_lr=0.1).result
    twin.training.optimizer.param_groups[0]["lr"] = 0.1
    twin.training.trainer.run(twin.training.loader, max_epochs=1, epoch_length=1)
    assert twin.val_loss() == pytest.approx(result.losses[0], rel=1e-6)


@pytest.mark.product
@pytest.mark.parametrize("verify", [False, TRIALS], ids=["sweep", "trials"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd-momentum"])
@pytest.mark.parametrize("has_run", [True, False], ids=["used", "fresh"])
def test_validation_leaves_no_trace(
    validated: Callable[..., Validated], optimizer: str, verify: bool | Trials, has_run: bool
) -> None:
    """Later training and validations are bit for bit the same as without the finder."""

    def course(*, with_sweep: bool) -> tuple[list[float], list[float], dict[str, float]]:
        v = validated(optimizer)
        seed_all(1)
        v.training.trainer.run(v.training.loader, max_epochs=1)
        if has_run:
            v.val_loss()
        if with_sweep:
            v.sweep(verify=verify)
        v.losses.clear()
        state = v.evaluator.state
        assert (state.epoch, state.iteration) == ((1, 3) if has_run else (0, 0))
        v.val_loss()
        v.training.trainer.run(v.training.loader, max_epochs=2)
        v.val_loss()
        return list(v.training.losses[-12:]), v.losses, v.evaluator.state.metrics

    assert course(with_sweep=True) == course(with_sweep=False)


def test_the_evaluator_is_restored(validated: Callable[..., Validated]) -> None:
    """Its state, the sums of its metrics and its handlers are restored."""
    v = validated()
    v.val_loss()
    metric = Loss(nn.functional.cross_entropy)
    metric.attach(v.evaluator, "second")
    v.val_loss()
    before = (dict(v.evaluator.state.metrics), metric._sum, v.evaluator.state.output)
    has_handler = v.evaluator.has_event_handler(metric.completed, Events.EPOCH_COMPLETED)
    v.sweep()
    assert v.evaluator.state.metrics == before[0]
    assert metric._sum == before[1]
    assert v.evaluator.state.output is before[2]
    assert has_handler


def test_validation_restores_train_mode(make_training: Callable[..., Training]) -> None:
    """A train step that never calls `train()` still trains in train mode."""
    t = make_training()
    t.model.get_submodule("layers.1").eval()

    def modes() -> tuple[bool, bool]:
        return t.model.training, t.model.get_submodule("layers.1").training

    def step(engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        assert modes() == (True, False)
        t.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(t.model(batch[0]), batch[1])
        loss.backward()
        t.optimizer.step()
        return loss.item()

    def val_loss() -> float:
        t.model.eval()
        assert not t.model.training
        with torch.no_grad():
            return nn.functional.cross_entropy(t.model(x), y).item()

    x, y = data(40)[:]
    finder = FastaiLRFinder()
    with finder.attach(Engine(step), t.to_save, num_iter=20, val_loss=val_loss) as trainer:
        trainer.run(t.loader)
    assert len(finder.result) > 10
    assert modes() == (True, False)


def test_a_module_that_overrides_train_is_restored() -> None:
    """A module's own `train()` is called, for example to split merged weights."""

    class Merging(nn.Linear):
        is_merged = False

        def train(self, mode: bool = True) -> "Merging":
            self.is_merged = not mode
            return super().train(mode)

    model = Merging(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    merged: list[bool] = []

    def step(engine: Engine, batch: torch.Tensor) -> float:
        merged.append(model.is_merged)
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    def val_loss() -> torch.Tensor:
        model.eval()
        return model(torch.ones(1, 2)).square().mean()

    to_save = {"model": model, "optimizer": optimizer}
    with FastaiLRFinder().attach(Engine(step), to_save, num_iter=12, val_loss=val_loss) as trainer:
        trainer.run([torch.ones(3, 2)])
    assert not any(merged)
    assert not model.is_merged


def test_handlers_of_the_evaluator_are_muted(
    validated: Callable[..., Validated], tmp_path: Path
) -> None:
    """Checkpoints, early stopping and user-defined handlers of the evaluator do not run."""
    v = validated()
    calls: list[int] = []
    saver = DiskSaver(tmp_path, require_empty=False)
    checkpoint = Checkpoint({"model": v.training.model}, saver)
    stopping = EarlyStopping(1, lambda engine: -engine.state.metrics["loss"], v.training.trainer)
    for handler in (checkpoint, stopping, lambda engine: calls.append(1)):
        v.evaluator.add_event_handler(Events.COMPLETED, handler)
    result = v.sweep().result
    assert len(result) == 30
    assert not list(tmp_path.iterdir())
    assert not calls
    assert stopping.counter == 0
    v.val_loss()
    assert calls == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_handler_of_the_evaluator_can_be_kept(validated: Callable[..., Validated]) -> None:
    """A handler named in `keep_handlers` runs, here to compute the validation loss."""
    v = validated()

    def halve(engine: Engine) -> None:
        engine.state.metrics["half"] = engine.state.metrics["loss"] / 2

    v.evaluator.add_event_handler(Events.COMPLETED, halve)
    half = lambda: v.evaluator.run(v.loader).metrics["half"]  # noqa: E731  # as users write it
    result = v.sweep(val_loss=half, keep_handlers=[halve]).result
    assert len(result) == 30
    assert 0.3 < result.losses[0] < 0.8


def run_on(evaluator: Engine, loader: object) -> float:
    """Return the validation loss, like a helper of the user."""
    return evaluator.run(loader).metrics["loss"]  # type: ignore[arg-type]  # any iterable


@pytest.mark.parametrize("kind", ["function", "partial", "helper", "object", "owner"])
def test_evaluators_are_found_by_any_reference(
    validated: Callable[..., Validated], kind: str
) -> None:
    """They are found in a closure, a partial, a helper's closure, an object or an attribute."""
    v = validated()
    evaluator, loader = v.evaluator, v.loader

    def function() -> float:
        return run_on(evaluator, loader)

    class Caller:
        def __init__(self) -> None:
            self.engine = evaluator

        def __call__(self) -> float:
            return run_on(self.engine, loader)

    kinds = {
        "function": function,
        "partial": functools.partial(run_on, evaluator, loader),
        "helper": lambda: function(),
        "object": Caller(),
        "owner": lambda: run_on(v.evaluator, loader),
    }
    v.val_loss()
    calls: list[int] = []
    v.evaluator.add_event_handler(Events.COMPLETED, lambda: calls.append(1))
    iteration, metrics = v.evaluator.state.iteration, dict(v.evaluator.state.metrics)
    v.sweep(val_loss=kinds[kind])
    assert not calls
    assert (v.evaluator.state.iteration, v.evaluator.state.metrics) == (iteration, metrics)


def test_trials_record_the_validation_loss(validated: Callable[..., Validated]) -> None:
    """Each iteration of a trial has the validation loss after its step, from the same start."""
    v = validated()
    result = v.sweep(verify=TRIALS).result
    in_trials = np.concatenate([trial.losses for trial in result.trials])
    np.testing.assert_array_equal(np.r_[result.losses, in_trials], v.losses)
    assert len(result.trials) >= 5
    # After the first step the losses differ by the rate, and are of the same data nevertheless.
    assert len({trial.losses[0] for trial in result.trials}) > 1
    assert result.is_paired
    assert "different batches" not in repr(result)


def test_under_accumulation_each_step_is_validated_once() -> None:
    """Micro-batches without a step are not validated."""
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def step(engine: Engine, batch: object) -> float:
        if engine.state.iteration % 3 == 0:
            parameter.grad = torch.ones_like(parameter)
            optimizer.step()
        return -1.0

    calls: list[float] = []

    def val_loss() -> float:
        calls.append(float(len(calls)))
        return calls[-1]

    finder = FastaiLRFinder()
    with finder.attach(
        Engine(step), {"optimizer": optimizer}, num_iter=5, val_loss=val_loss, diverge_th=np.inf
    ) as trainer:
        trainer.run([0] * 4)
    assert calls == list(range(5)) == finder.result.losses.tolist()


@pytest.mark.parametrize("output", ["some text", None, (torch.ones(3), torch.ones(2))])
def test_with_val_loss_the_trainer_need_not_return_a_loss(output: object) -> None:
    """With a validation loss the trainer may return anything."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1e-3)

    def step(engine: Engine, batch: object) -> object:
        optimizer.step()
        return output

    finder = FastaiLRFinder()
    with finder.attach(
        Engine(step), {"optimizer": optimizer}, num_iter=5, val_loss=lambda: 1.0
    ) as trainer:
        trainer.run([0] * 5)
    assert finder.result.losses.tolist() == [1.0] * 5


def test_a_nan_validation_loss_ends_the_sweep(validated: Callable[..., Validated]) -> None:
    """The first non-finite loss is the last point."""
    losses = Log([1.0, float("nan"), 1.0, 1.0])
    result = validated().sweep(val_loss=losses.pop).result
    assert result.stop_reason is StopReason.NON_FINITE
    assert len(result) == 3


def test_an_infinite_training_loss_ends_a_validated_sweep() -> None:
    """If a scaler skips every step because the training loss is infinite, the sweep ends."""
    parameter = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")

    def step(engine: Engine, batch: object) -> float:
        optimizer.zero_grad()
        loss = parameter * (float("inf") if engine.state.iteration > 4 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    finder = FastaiLRFinder()
    to_save = {"optimizer": optimizer, "scaler": scaler}
    with finder.attach(Engine(step), to_save, num_iter=50, val_loss=lambda: 1.0) as trainer:
        trainer.run([0] * 50)
    assert finder.result.stop_reason is StopReason.NON_FINITE
    assert len(finder.result) == 4


def test_an_error_in_val_loss_is_raised_and_all_is_restored(
    validated: Callable[..., Validated],
) -> None:
    """The run raises it, and the training continues as without the finder."""
    v, twin = validated(), validated()

    def fail() -> float:
        if len(v.training.losses) == 7:
            raise ZeroDivisionError("no data")
        return v.val_loss()

    with pytest.raises(ZeroDivisionError, match="no data"):
        v.sweep(val_loss=fail)
    v.training.losses.clear()
    for each in (v, twin):
        seed_all(1)
        each.training.trainer.run(each.training.loader, max_epochs=2)
    assert v.training.losses == twin.training.losses


def test_an_lr_written_in_val_loss_is_overruled_with_a_warning(
    validated: Callable[..., Validated],
) -> None:
    """A learning rate written by `val_loss` is restored, and the warning names the writer."""
    v = validated()

    def write() -> float:
        v.training.optimizer.param_groups[0]["lr"] = 7.0
        return 1.0

    with pytest.warns(UserWarning, match="got one written by val_loss"):
        result = v.sweep(val_loss=write).result
    assert result.lr[1, 0] < 0.01


def test_an_invalid_val_loss_is_refused(validated: Callable[..., Validated]) -> None:
    """The errors name `val_loss` and its value."""
    with pytest.raises(TypeError, match=r"val_loss must be callable or None, got 3\. Pass a"):
        validated().sweep(val_loss=3)
    with pytest.raises(TypeError, match=r"^val_loss must be a loss \(.*\), got None\. Let it"):
        validated().sweep(val_loss=lambda: None)
