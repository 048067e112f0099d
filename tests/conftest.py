"""The Agg backend, seeds, and the small trainings that the tests sweep."""

import collections
import dataclasses
import functools
import gc
import inspect
import os
import random
import zlib
from collections.abc import Callable, Iterable, MutableSequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import settings
from ignite.engine import Engine, Events
from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

mpl.use("Agg")
# A change is judged by the same examples each time; the nightly checks try others.
settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("reproducible")
# The networks here are tiny: more threads would only wait for one another.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

HAS_MAX_ITERS = "max_iters" in inspect.signature(Engine.run).parameters
"""Whether this Ignite limits runs by iterations too, as it does from 0.5.5 on."""

EVENTS = [
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
    Events.COMPLETED,
]
"""The events of every run, in the order in which they first fire."""

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-3, amsgrad=True),
    "rmsprop-centred": lambda p: torch.optim.RMSprop(p, lr=1e-4, centered=True, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-3),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=1e-2, max_iter=3),
    "adam-tensor-lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-3)),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option to run every combination."""
    parser.addoption("--all", action="store_true", help="run every combination of parameters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all`, run a third of each test that is marked `product`, the same each time."""
    if not config.getoption("--all"):
        left_out = [
            item for item in items if item.get_closest_marker("product") and is_left_out(item)
        ]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def is_left_out(item: pytest.Item) -> bool:
    """Return whether a combination of parameters is one of the two thirds for `--all`."""
    return zlib.crc32(item.name.encode()) % 3 != 0


class Net(nn.Module):
    """A network with what leaves traces: dropout, BatchNorm, a counter, a non-persistent buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
        )
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.num_calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores of shape (N, 3)."""
        self.calls = self.calls + 1
        self.num_calls += 1
        return self.layers(x)


@functools.lru_cache(maxsize=1 << 20)
def entries_of(log: int) -> list[Any]:
    """Return the entries of a log; the contents of a bounded cache are not training state."""
    return []


entries_of(0)  # an empty cache is emptied again


class Log(collections.UserList):
    """A list of what a test observes in a training, which a snapshot does not restore."""

    @property
    def data(self) -> list[Any]:
        """The entries."""
        return entries_of(id(self))

    @data.setter
    def data(self, entries: list[Any]) -> None:  # type: ignore[override]  # of an attribute
        entries_of(id(self))[:] = entries


@dataclasses.dataclass
class Training:
    """A training in progress, with its losses so far."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    trainer: Engine
    loader: Iterable
    losses: MutableSequence[float]

    @property
    def to_save(self) -> dict:
        """What a user passes to the finder."""
        return {"model": self.model, "optimizer": self.optimizer}


def data(num_samples: int = 96) -> TensorDataset:
    """Make a small classification problem."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(num_samples, 6, generator=generator)
    return TensorDataset(x, x[:, :3].argmax(1))


def make_optimizer(*lrs: float, dtype: torch.dtype | None = None) -> torch.optim.SGD:
    """Make an optimizer with one parameter group for each learning rate."""
    return torch.optim.SGD(
        [
            {
                "params": [nn.Parameter(torch.zeros(()))],
                "lr": lr if dtype is None else torch.tensor(lr, dtype=dtype),
            }
            for lr in lrs
        ]
    )


def pytest_collection_finish() -> None:
    """Exempt everything imported from garbage collection, which otherwise takes a second a time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_training() -> Callable[..., Training]:
    """Return a function that makes the same training each time it is called."""

    def make(
        optimizer: str | Callable[..., torch.optim.Optimizer] = "adam",
        loader: Callable[[], Iterable] | None = None,
        model: Callable[[], nn.Module] = Net,
    ) -> Training:
        seed_all(0)
        net = model()
        make_optimizer = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
        opt = make_optimizer(net.parameters())
        losses: list[float] = []

        def step(engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
            net.train()

            def closure() -> float:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(net(batch[0]), batch[1])
                loss.backward()
                return loss.item()

            losses.append(opt.step(closure))
            return losses[-1]

        batches = DataLoader(data(), 8, shuffle=True) if loader is None else loader()
        return Training(net, opt, Engine(step), batches, losses)

    return make


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Start each test from the same random state, without a figure of another test."""
    seed_all(0)
    plt.close("all")


def seed_all(seed: int) -> None:
    """Seed every global random generator."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the global one is what user code draws from
    torch.manual_seed(seed)
