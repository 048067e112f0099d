"""Twins: the same training with and without the finder, compared bit for bit."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from conftest import HAS_MAX_ITERS, Training, data
from ignite.engine import Engine, Events
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from ignite_lrfinder import FastaiLRFinder


class Augmented(Dataset):
    """Data that draws from every global random generator and from its own."""

    def __init__(self) -> None:
        self.base = data()
        self.rng = np.random.default_rng(3)
        self.num_drawn = 0

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.base[index]
        self.num_drawn += 1
        noise = random.random() + np.random.rand() + self.rng.random() + torch.rand(()).item()  # noqa: NPY002  # on purpose
        return x + 0.01 * noise, y


class ShuffledInPlace:
    """A custom loader that shuffles its indices in place each epoch."""

    def __init__(self) -> None:
        self.base = data()
        self.order = list(range(len(self.base)))
        self.epochs = 0

    def __len__(self) -> int:
        return 12

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        self.epochs += 1
        random.shuffle(self.order)
        for i in range(12):
            yield self.base[self.order[8 * i : 8 * i + 8]]


class Unrestorable:
    """An object whose state cannot be loaded."""

    def state_dict(self) -> dict:
        """Return nothing."""
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        """Fail."""
        raise OSError("on purpose")


def own_generator() -> torch.Generator:
    """Make a generator that only the loader draws from."""
    return torch.Generator().manual_seed(11)


LOADERS: dict[str, Callable[[], object]] = {
    "shuffling": lambda: DataLoader(data(), 8, shuffle=True),
    "own-generator": lambda: DataLoader(data(), 8, shuffle=True, generator=own_generator()),
    "sampler-generator": lambda: DataLoader(
        data(), 8, sampler=RandomSampler(data(), generator=own_generator())
    ),
    "weighted": lambda: DataLoader(
        data(), 8, sampler=WeightedRandomSampler([1.0, 2.0] * 48, 96, generator=own_generator())
    ),
    "augmented": lambda: DataLoader(Augmented(), 8, shuffle=True),
    "shuffled-in-place": ShuffledInPlace,
    "list": lambda: [data()[8 * i : 8 * i + 8] for i in range(12)],
}
WORKER_LOADERS: dict[str, Callable[[], object]] = {
    "workers": lambda: DataLoader(Augmented(), 8, shuffle=True, num_workers=2),
    "persistent-workers": lambda: DataLoader(
        Augmented(), 8, shuffle=True, num_workers=2, persistent_workers=True
    ),
}


def end_workers(loader: Any) -> None:
    """End the workers that outlive an epoch; the garbage collector waits seconds for each."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()


def random_state() -> tuple[Any, ...]:
    """Return the state of every global random generator."""
    return torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002


def set_random_state(state: tuple[Any, ...]) -> None:
    """Set the state of every global random generator."""
    torch.set_rng_state(state[0])
    random.setstate(state[1])
    np.random.set_state(state[2])  # noqa: NPY002


def handlers_of(trainer: Engine) -> dict[Any, list[Any]]:
    """Return the handlers of each event that has any, in their order."""
    return {event: list(entries) for event, entries in trainer._event_handlers.items() if entries}


def state_of(training: Training) -> dict[str, object]:
    """Collect all that a training consists of."""
    model, optimizer, trainer = training.model, training.optimizer, training.trainer
    state = dict(vars(trainer.state))
    for name in ("times", "dataloader"):
        del state[name]
    return {
        "parameters": dict(model.named_parameters()),
        "gradients": {name: p.grad for name, p in model.named_parameters()},
        "buffers": dict(model.named_buffers()),
        "modes": [module.training for module in model.modules()],
        "attributes": {k: v for k, v in vars(model).items() if isinstance(v, int)},
        "optimizer": optimizer.state_dict(),
        "trainer.state": state,
        "handlers": handlers_of(trainer),
        "random state": random_state(),
        "losses": list(training.losses),
    }


def assert_same(a: object, b: object, where: str = "") -> None:
    """Compare two states bit for bit, NaN and -0.0 included."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor), where
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes(), where
    elif isinstance(a, np.ndarray):
        assert a.tobytes() == np.asarray(b).tobytes(), where
    elif isinstance(a, dict):
        assert isinstance(b, dict), where
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple)), where
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif callable(a):
        assert getattr(a, "__qualname__", type(a)) == getattr(b, "__qualname__", type(b)), where
    elif not isinstance(a, Engine) and type(a).__name__ != "ReferenceType":
        assert a == b, where


def assert_no_trace(
    with_sweep: Training, without: Training, go_on: Callable[[Training], object]
) -> None:
    """Compare two trainings now, continue both, and compare them again."""
    with_sweep.losses[:] = without.losses[:] = []
    assert_same(state_of(with_sweep), state_of(without), "at once")
    before = random_state()
    go_on(with_sweep)
    after = state_of(with_sweep)
    set_random_state(before)
    go_on(without)
    assert len(without.losses) > 0
    assert_same(after, state_of(without), "later")


def sweep(training: Training, **kwargs: object) -> FastaiLRFinder:
    """Run a sweep of 15 points, up to a learning rate at which the training diverges."""
    finder = FastaiLRFinder()
    arguments = {"num_iter": 15, "start_lr": 1e-4, "end_lr": 10.0, "diverge_th": 100.0, **kwargs}
    with finder.attach(training.trainer, training.to_save, **arguments) as trainer:
        trainer.run(training.loader)
    training.losses.clear()
    return finder


def twins(
    make_training: Callable[..., Training], before: Callable[[Training], object], **kwargs: object
) -> tuple[Training, Training]:
    """Make a training that is swept and one that is not, both after the same beginning."""
    without = make_training(**kwargs)
    before(without)
    expected = random_state()
    with_sweep = make_training(**kwargs)
    before(with_sweep)
    sweep(with_sweep)
    assert_same(random_state(), expected, "random state")
    return with_sweep, without


def train(training: Training) -> None:
    """Train for two more epochs."""
    training.trainer.run(training.loader, max_epochs=training.trainer.state.epoch + 2)


def interrupt(training: Training) -> None:
    """Train into the second epoch and interrupt there."""
    training.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=17), lambda engine: engine.interrupt()
    )
    training.trainer.run(training.loader, max_epochs=3)


def terminate(training: Training) -> None:
    """Train into the second epoch and terminate there."""
    training.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=17), lambda engine: engine.terminate()
    )
    training.trainer.run(training.loader, max_epochs=3)


def resume(training: Training) -> None:
    """Continue an interrupted run."""
    training.trainer.run(training.loader)


MOMENTS: dict[str, tuple[Callable[[Training], object], Callable[[Training], object]]] = {
    "fresh": (lambda t: None, train),
    "after-an-epoch": (lambda t: t.trainer.run(t.loader), train),
    "after-termination": (terminate, resume),
    "interrupted": (interrupt, resume),
    "swept-already": (sweep, train),
}
"""What happens before the sweep, and how the training continues after it."""

if HAS_MAX_ITERS:
    MOMENTS["max-iters"] = (
        lambda t: t.trainer.run(t.loader, max_iters=15),
        lambda t: t.trainer.run(t.loader, max_iters=40),
    )
