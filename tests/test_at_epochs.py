"""The finder at chosen epochs: it sets the learning rate, and changes nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Log, Training, seed_all
from ignite.engine import Engine, Events

from ignite_lrfinder import LRFinderAtEpochs, Trials

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]
# Late in so small a training a curve may have no fall left.
may_refuse = pytest.mark.filterwarnings("ignore:The learning rate stays as it is:UserWarning")
SWEEP = {"start_lr": 1e-5, "num_iter": 100}


def watch_rates(training: Training) -> list[float]:
    """Record the learning rate of each epoch."""
    rates: list[float] = []

    @training.trainer.on(Events.EPOCH_COMPLETED)
    def note() -> None:
        rates.append(float(training.optimizer.param_groups[0]["lr"]))

    return rates


@may_refuse
@pytest.mark.parametrize("verify", [False, Trials(max_iter=75, short_iter=10, long_iter=15)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd-momentum", "adam-tensor-lr"])
def test_only_the_learning_rate_changes(
    make_training: Callable[..., Training], optimizer: str, verify: bool | Trials
) -> None:
    """The training equals one in which the same rate was set by hand at each epoch."""
    training, by_hand = make_training(optimizer), make_training(optimizer)
    at_epochs = LRFinderAtEpochs([1, 3], training.to_save, verify=verify, **SWEEP)
    at_epochs.attach(training.trainer)
    rates = watch_rates(training)
    epochs: list[list[float]] = []

    @training.trainer.on(Events.EPOCH_COMPLETED)
    def keep() -> None:
        epochs.append(list(training.losses[-12:]))

    seed_all(1)
    training.trainer.run(training.loader, max_epochs=4)

    @by_hand.trainer.on(Events.EPOCH_STARTED)
    def set_rate(engine: Engine) -> None:
        for group in by_hand.optimizer.param_groups:
            rate = rates[engine.state.epoch - 1]
            group["lr"] = torch.tensor(rate) if torch.is_tensor(group["lr"]) else rate

    seed_all(1)
    by_hand.trainer.run(by_hand.loader, max_epochs=4)
    assert [loss for losses in epochs for loss in losses] == by_hand.losses
    assert 1e-3 != rates[0] == rates[1]
    assert rates[2] == rates[3]


@may_refuse
def test_results_are_stored_by_epoch(make_training: Callable[..., Training]) -> None:
    """Only the chosen epochs are swept, each once, and every result is stored."""
    training = make_training()
    at_epochs = LRFinderAtEpochs({2, 4}, training.to_save, **SWEEP)
    at_epochs.attach(training.trainer)
    rates = watch_rates(training)
    training.trainer.run(training.loader, max_epochs=4)
    assert list(at_epochs.results) == [2, 4]
    assert all(len(result) > 40 for result in at_epochs.results.values())
    assert rates[0] == 1e-3 != rates[1] == rates[2]


def test_without_a_suggestion_the_rate_stays_and_a_warning_says_why(
    make_training: Callable[..., Training],
) -> None:
    """On a flat curve the training continues unchanged, with a warning."""
    training = make_training()
    at_epochs = LRFinderAtEpochs([1], training.to_save, start_lr=1e-12, end_lr=1e-10, num_iter=20)
    at_epochs.attach(training.trainer)
    rates = watch_rates(training)
    with pytest.warns(UserWarning, match="stays as it is in epoch 1.*curve"):
        training.trainer.run(training.loader, max_epochs=2)
    assert rates == [1e-3, 1e-3]
    assert list(at_epochs.results) == [1]


def test_a_scheduler_continues_with_the_suggested_rate(
    make_training: Callable[..., Training],
) -> None:
    """An existing torch scheduler continues from the new rate."""
    training = make_training("sgd-momentum")
    scheduler = torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.5)
    to_save = {**training.to_save, "scheduler": scheduler}
    at_epochs = LRFinderAtEpochs([2], to_save, lr_scheduler=scheduler, schedule="decay", **SWEEP)
    rates = watch_rates(training)
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: scheduler.step())
    at_epochs.attach(training.trainer)
    training.trainer.run(training.loader, max_epochs=3)
    assert rates[0] == 1e-3
    assert rates[1] != pytest.approx(0.5e-3, rel=0.1)
    assert rates[2] == pytest.approx(rates[1] / 2)
    assert scheduler.base_lrs[0] == pytest.approx(2 * rates[1])


def test_a_given_epoch_length_is_used(make_training: Callable[..., Training]) -> None:
    """Data without a length is swept in epochs of the training's length."""
    training = make_training(loader=lambda: [make_training().loader.dataset[:8]] * 5)  # type: ignore[attr-defined]  # a DataLoader
    lengths: list[int | None] = []
    training.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: lengths.append(engine.state.epoch_length)
    )
    LRFinderAtEpochs([1], training.to_save, **SWEEP).attach(training.trainer)
    training.trainer.run(Again(training.loader), max_epochs=2, epoch_length=3)
    assert set(lengths) == {3}
    assert training.trainer.state.iteration == 6


class Again:
    """An iterable without a length."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __iter__(self) -> Any:
        return iter(self.data)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 3}, TypeError, "epochs must be a collection of integers, got 3"),
        ({"epochs": "12"}, TypeError, "epochs must be a collection of integers, got '12'"),
        ({"epochs": [1.5]}, TypeError, "each of epochs must be an integer, got 1.5"),
        ({"epochs": [True]}, TypeError, "each of epochs must be an integer, got True"),
        ({"epochs": [0]}, ValueError, "each of epochs must be at least 1, got 0"),
        ({"epochs": [1], "schedule": "cosine"}, ValueError, "schedule must be 'constant'"),
        ({"epochs": [1], "num_iters": 3}, TypeError, "unexpected keyword argument 'num_iters'"),
    ],
)
def test_wrong_arguments_are_refused_at_once(
    make_training: Callable[..., Training], arguments: dict, error: type[Exception], message: str
) -> None:
    """The error comes before any training and says what to pass."""
    with pytest.raises(error, match=message):
        LRFinderAtEpochs(to_save=make_training().to_save, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"end_lr": "x"}, TypeError, "end_lr must be"),
        ({"verify": "yes"}, ValueError, "verify must be"),
        ({"num_iter": 0}, ValueError, "num_iter must be at least 1"),
    ],
)
def test_arguments_of_attach_are_checked_at_the_first_epoch(
    make_training: Callable[..., Training], arguments: dict, error: type[Exception], message: str
) -> None:
    """The error does not wait for the epoch of the first sweep."""
    training = make_training()
    LRFinderAtEpochs([30], training.to_save, **arguments).attach(training.trainer)
    with pytest.raises(error, match=message):
        training.trainer.run(training.loader, max_epochs=30)
    assert training.trainer.state.epoch == 1


def test_what_becomes_valid_later_is_not_refused_at_the_first_epoch(
    make_training: Callable[..., Training],
) -> None:
    """A warm-up may begin at 0, and a handler that is named may be added later."""
    training, seen = make_training(), Log()
    training.optimizer.param_groups[0]["lr"] = 0.0

    def report() -> None:
        seen.append(1)

    def warm_up(engine: Engine) -> None:
        if engine.state.epoch == 2:
            training.optimizer.param_groups[0]["lr"] = 1e-6
            engine.add_event_handler(Events.ITERATION_STARTED, report)

    training.trainer.add_event_handler(Events.EPOCH_STARTED, warm_up)
    muted = [warm_up, report]
    at_epochs = LRFinderAtEpochs([2], training.to_save, mute_handlers=muted, num_iter=60)
    at_epochs.attach(training.trainer)
    training.trainer.run(training.loader, max_epochs=2)
    assert len(at_epochs.results[2]) > 10
    assert len(seen) == training.trainer.state.epoch_length
