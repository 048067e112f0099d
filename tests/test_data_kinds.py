"""The finder on the data that trainings have: it is read in order, and goes on where it was."""

import dataclasses
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from conftest import Log, Net, Training, data, seed_all
from ignite.contrib.engines.tbptt import Tbptt_Events, create_supervised_tbptt_trainer
from ignite.engine import Engine, Events, create_supervised_trainer
from torch import nn
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from twins import Augmented, assert_no_trace, assert_same, end_workers

from ignite_lrfinder import FastaiLRFinder, LRFinderResult, StopReason, Trials

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]
TRIALS = Trials(max_iter=75, short_iter=10, long_iter=15)
with_and_without_trials = pytest.mark.parametrize(
    "verify", [False, TRIALS], ids=["sweep", "trials"]
)
Begun = TypeVar("Begun", bound="Reading")


@dataclasses.dataclass
class Reading(Training):
    """A training that notes the batches it reads and the rates its steps use."""

    epoch_length: int | None = None
    read: Log = dataclasses.field(default_factory=Log)
    used: Log = dataclasses.field(default_factory=Log)

    def train(self, num_epochs: int = 2) -> None:
        """Train on for some epochs."""
        self.trainer.run(
            self.loader,
            max_epochs=self.trainer.state.epoch + num_epochs,
            epoch_length=self.epoch_length if self.trainer.state.epoch == 0 else None,
        )

    def find(self, *, batches: Iterable | None = None, **kwargs: Any) -> LRFinderResult:
        """Run the finder, and forget what was noted before it."""
        self.read.clear()
        self.used.clear()
        self.losses.clear()
        finder = FastaiLRFinder()
        arguments = {"num_iter": 30, "start_lr": 1e-5, "end_lr": 10.0, "diverge_th": 1e6, **kwargs}
        before = torch.get_rng_state(), random.getstate()
        with finder.attach(self.trainer, self.to_save, **arguments) as trainer:
            trainer.run(self.loader if batches is None else batches, epoch_length=self.epoch_length)
        assert_same((torch.get_rng_state(), random.getstate()), before)
        assert self.used == expected_rates(finder.result)
        return finder.result


def expected_rates(result: LRFinderResult) -> list[float]:
    """Return the learning rates that steps of a sweep and its trials should have used."""
    trials = [[trial.lr] * len(trial.losses) for trial in result.trials]
    return sum(trials, result.lr[:, 0].tolist())


def make_reading(loader: Callable[[], Any], epoch_length: int | None = None) -> Reading:
    """Make a training that reads pairs, or dicts with the keys "x" and "y"."""
    seed_all(0)
    net = Net()
    optimizer = SGD(net.parameters(), lr=1e-3, momentum=0.9)
    reading = Reading(net, optimizer, Engine(lambda e, b: None), loader(), Log(), epoch_length)

    def prepare(
        batch: Any, device: object = None, non_blocking: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch
        reading.read.append(x[:, 0].tolist())
        return x, y

    def loss_fn(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(scores, labels)
        reading.losses.append(loss.item())
        return loss

    reading.trainer = create_supervised_trainer(net, optimizer, loss_fn, prepare_batch=prepare)
    optimizer.register_step_post_hook(
        lambda o, args, kwargs: reading.used.append(o.param_groups[0]["lr"])
    )
    return reading


class Unsized:
    """A loader of a user's own that shuffles with its own generator and does not say its length."""

    def __init__(self) -> None:
        self.base = data()
        self.rng = random.Random(3)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        order = list(range(96))
        self.rng.shuffle(order)
        for i in range(0, 96, 8):
            yield self.base[order[i : i + 8]]


class Stream(IterableDataset):
    """A stream of noisy samples, shared among workers, that ends after some or never."""

    def __init__(self, num_samples: int | None = 96) -> None:
        self.base = data()
        self.num_samples = num_samples
        self.rng = np.random.default_rng(6)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        i, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while self.num_samples is None or i < self.num_samples:
            x, y = self.base[i % 96]
            yield x + float(self.rng.normal()) + 0.1 * torch.rand(()), y
            i += stride


def as_dict(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Collate samples into a dict."""
    x, y = zip(*samples, strict=True)
    return {"x": torch.stack(x), "y": torch.stack(y)}


KINDS: dict[str, tuple[Callable[[], Any], int | None]] = {
    "no-length": (Unsized, None),
    "no-length-epochs-by-hand": (Unsized, 7),
    "stream": (lambda: DataLoader(Stream(), 8), None),
    "endless-stream": (lambda: DataLoader(Stream(None), 8), 9),
    "dicts": (lambda: DataLoader(data(), 8, shuffle=True, collate_fn=as_dict), None),
    "short-epochs-by-hand": (lambda: DataLoader(data(), 8, shuffle=True), 5),
    "long-epochs-by-hand": (lambda: DataLoader(data(), 8, shuffle=True), 17),
}
WORKERS: dict[str, tuple[Callable[[], Any], int | None]] = {
    "workers": (lambda: DataLoader(Augmented(), 8, shuffle=True, num_workers=2), None),
    "stream-workers": (lambda: DataLoader(Stream(), 8, num_workers=2), None),
    "persistent": (
        lambda: DataLoader(Augmented(), 8, shuffle=True, num_workers=2, persistent_workers=True),
        None,
    ),
    "persistent-stream-by-hand": (
        lambda: DataLoader(Stream(None), 8, num_workers=2, persistent_workers=True),
        6,
    ),
}


def epochs_before(reading: Reading) -> None:
    """Train for an epoch."""
    reading.train(1)


def part_of_an_epoch(reading: Reading) -> None:
    """Interrupt the second epoch after two of its batches."""
    length = reading.epoch_length or 12
    reading.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=length + 2), lambda engine: engine.interrupt()
    )
    reading.train(3)


def resume(reading: Training) -> None:
    """Go on with a run that was interrupted."""
    assert isinstance(reading, Reading)
    reading.trainer.run(reading.loader)


def train_on(reading: Training) -> None:
    """Train for two epochs more."""
    assert isinstance(reading, Reading)
    reading.train()


MOMENTS: dict[str, tuple[Callable[[Reading], None], Callable[[Training], None]]] = {
    "fresh": (lambda reading: None, train_on),
    "after-an-epoch": (epochs_before, train_on),
    "interrupted": (part_of_an_epoch, resume),
}


def begun(make: Callable[[], Begun], before: Callable[[Begun], None]) -> Begun:
    """Make a training, which seeds everything, and let it run up to some moment."""
    reading = make()
    before(reading)
    return reading


def assert_read_alike(
    reading: Reading, without: Reading, go_on: Callable[[Training], object]
) -> None:
    """Let two trainings go on and compare all that they are, and the batches they read."""
    reading.read.clear()
    without.read.clear()
    assert_no_trace(reading, without, go_on)
    assert len(reading.read) == len(reading.losses) > 0
    assert reading.read == without.read


@pytest.mark.product
@with_and_without_trials
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_later_batches_are_those_there_would_have_been(
    kind: str, moment: str, verify: bool | Trials
) -> None:
    """Whatever the data and however epochs are cut, training goes on with the same batches."""
    before, go_on = MOMENTS[moment]
    without, reading = (begun(lambda: make_reading(*KINDS[kind]), before) for _ in range(2))
    result = reading.find(verify=verify)
    assert bool(result.trials) == bool(verify)
    assert len(result) == 30
    assert_read_alike(reading, without, go_on)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sweep_and_each_trial_read_what_a_training_would_read(kind: str) -> None:
    """From its first batch on a sweep, and each trial again, reads the epochs of a training."""
    without, reading = (make_reading(*KINDS[kind]) for _ in range(2))
    result = reading.find(verify=TRIALS)
    without.train(6)
    num_read = 0
    for length in (len(result), *(len(trial.losses) for trial in result.trials)):
        assert reading.read[num_read : num_read + length] == without.read[:length]
        num_read += length
    assert num_read == len(reading.read)
    assert result.losses[0] == without.losses[0]


@pytest.mark.product
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch"])
@pytest.mark.parametrize("kind", WORKERS)
def test_workers_give_later_batches_as_there_would_have_been(kind: str, moment: str) -> None:
    """After sweep and trials processes, also ones that live on, read as without the finder."""
    before, go_on = MOMENTS[moment]
    without, reading = (begun(lambda: make_reading(*WORKERS[kind]), before) for _ in range(2))
    result = reading.find(verify=TRIALS, num_iter=20)
    assert len(result.trials) >= 5
    assert_read_alike(reading, without, go_on)
    for one in (reading, without):
        end_workers(one.loader)


def once(num_batches: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Generate batches that can be read once."""
    samples = data()
    for i in range(num_batches):
        yield samples[torch.arange(i, i + 8) % 96]


ONCE: dict[str, Callable[[int], Iterator]] = {
    "generator": once,
    "zip": lambda n: zip(*zip(*once(n), strict=True), strict=True),
    "chain": lambda n: itertools.chain(once(5), once(n - 5)),
}


@with_and_without_trials
@pytest.mark.parametrize("epoch_length", [None, 5], ids=["whole", "epochs-by-hand"])
@pytest.mark.parametrize("source", ONCE)
def test_a_source_that_is_used_up_ends_the_sweep_and_all_else_is_back(
    source: str, epoch_length: int | None, verify: bool | Trials
) -> None:
    """Where the batches end before the points, each was read once, the warning says it, no more."""
    without, reading = (make_reading(list, epoch_length) for _ in range(2))
    with pytest.warns(UserWarning, match=re.escape(StopReason.OUT_OF_DATA.remedy)) as caught:
        result = reading.find(batches=ONCE[source](13), num_iter=20, verify=verify)
    assert len(caught) == 1
    assert result.stop_reason is StopReason.OUT_OF_DATA
    assert result.trials == ()
    assert len(result) == 13
    assert reading.read == [x[:, 0].tolist() for x, _ in ONCE[source](13)]

    def go_on(reading: Training) -> None:
        reading.trainer.run(once(12), max_epochs=2, epoch_length=6)

    assert_read_alike(reading, without, go_on)


def endless(loader: Iterable) -> Iterator:
    """Go through a loader again and again."""
    while True:
        yield from loader


@pytest.mark.filterwarnings("ignore:The finder could not restore:UserWarning")
@with_and_without_trials
def test_a_loader_that_a_generator_repeats_gives_the_same_batches_again(
    verify: bool | Trials,
) -> None:
    """A fresh endless generator over the same loader goes on as without the finder."""

    def go_on(reading: Training) -> None:
        reading.trainer.run(endless(reading.loader), max_epochs=2, epoch_length=9)

    without, reading = (
        make_reading(lambda: DataLoader(data(), 8, shuffle=True), 9) for _ in range(2)
    )
    result = reading.find(batches=endless(reading.loader), verify=verify)
    assert (len(result), bool(result.trials)) == (30, bool(verify))
    assert_read_alike(reading, without, go_on)


class Recurrent(nn.Module):
    """A recurrent network over sequences of shape (T, N, 6), which returns its hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(
        self, x: torch.Tensor, hidden: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores of shape (T, N, 3) and the hidden state."""
        features, after = self.rnn(x, hidden)
        return self.head(features), after


def sequences() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Make batches of sequences whose label is the sign pattern of a running sum."""
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(7, 8, 4, 6, generator=generator)
    return [(part, part.cumsum(0)[..., :3].argmax(-1)) for part in x]


@with_and_without_trials
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch"])
def test_truncated_back_propagation_is_swept_sequence_by_sequence(
    moment: str, verify: bool | Trials
) -> None:
    """All steps within a sequence share its point, whose loss is their mean; no trace is left."""

    def make() -> Reading:
        seed_all(0)
        net = Recurrent()
        optimizer = Adam(net.parameters(), lr=1e-3)
        reading = Reading(net, optimizer, Engine(lambda e, b: None), sequences(), Log())

        def loss_fn(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten())
            reading.losses.append(loss.item())
            return loss

        reading.trainer = create_supervised_tbptt_trainer(
            net,
            optimizer,
            loss_fn,  # type: ignore[arg-type]  # a function will do
            tbtt_step=3,
        )
        reading.trainer.add_event_handler(
            Tbptt_Events.TIME_ITERATION_COMPLETED,
            lambda: reading.read.append([optimizer.param_groups[0]["lr"]]),
        )
        return reading

    before, go_on = MOMENTS[moment]
    without, reading = begun(make, before), begun(make, before)
    reading.read.clear()
    reading.losses.clear()
    finder = FastaiLRFinder()
    arguments = {"num_iter": 20, "start_lr": 1e-5, "end_lr": 1.0, "verify": verify}
    with finder.attach(reading.trainer, reading.to_save, **arguments) as trainer:
        trainer.run(reading.loader)
    result = finder.result
    assert bool(result.trials) == bool(verify)
    assert reading.read == [[lr] for lr in np.repeat(expected_rates(result), 3)]
    losses = np.array(reading.losses[: 3 * len(result)]).reshape(-1, 3).mean(1)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-12)
    assert_no_trace(reading, without, go_on)


@with_and_without_trials
@pytest.mark.parametrize("moment", ["after-an-epoch", "interrupted"])
def test_a_training_whose_handler_steps_goes_on_as_without(
    moment: str, verify: bool | Trials
) -> None:
    """Named in `keep_handlers`, a handler that takes the step is swept and leaves no trace."""
    before, go_on = MOMENTS[moment]
    steppers: dict[int, Callable[[], None]] = {}

    def make() -> Reading:
        reading = make_reading(lambda: DataLoader(data(), 8, shuffle=True))
        net, optimizer = reading.model, reading.optimizer

        def gradients(engine: Engine, batch: list[torch.Tensor]) -> float:
            net.train()
            loss = nn.functional.cross_entropy(net(batch[0]), batch[1])
            loss.backward()
            reading.losses.append(loss.item())
            reading.read.append(batch[0][:, 0].tolist())
            return loss.item()

        def take_step() -> None:
            optimizer.step()
            optimizer.zero_grad()

        reading.trainer = Engine(gradients)
        reading.trainer.add_event_handler(Events.ITERATION_COMPLETED, take_step)
        steppers[id(reading)] = take_step
        return reading

    without, reading = begun(make, before), begun(make, before)
    result = reading.find(keep_handlers=[steppers[id(reading)]], verify=verify)
    assert bool(result.trials) == bool(verify)
    assert len(result) == 30
    assert_read_alike(reading, without, go_on)


def endlessly(loader: Iterable) -> Iterator[Any]:
    """Give the batches of a loader again and again."""
    while True:
        yield from loader


@pytest.mark.parametrize("kind", ["generator", "persistent-workers"])
def test_a_loader_behind_a_generator_is_put_back(
    make_training: Callable[..., Training], kind: str
) -> None:
    """What a generator function was given goes on as without the finder, its workers too."""

    def loader() -> DataLoader:
        workers = {"num_workers": 2, "persistent_workers": True} if kind != "generator" else {}
        generator = torch.Generator().manual_seed(3)
        return DataLoader(data(), 8, shuffle=True, generator=generator, **workers)

    def course(*, is_swept: bool) -> list[float]:
        training = make_training(loader=loader)
        if is_swept:
            finder = FastaiLRFinder()
            with finder.attach(training.trainer, training.to_save, num_iter=15) as trainer:
                trainer.run(endlessly(training.loader), epoch_length=9)
        training.losses.clear()
        seed_all(2)
        training.trainer.run(endlessly(training.loader), max_epochs=2, epoch_length=9)
        end_workers(training.loader)
        return list(training.losses)

    assert course(is_swept=True) == course(is_swept=False)
