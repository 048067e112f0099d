"""What a sweep draws its batches from is as it was: generators, orders, counters, workers."""

import functools
import multiprocessing
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import data
from ignite.engine import Engine
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from ignite_lrfinder.snapshot.snapshot import Snapshot
from ignite_lrfinder.snapshot.watches import is_loader_iterator

INDICES: Any = list(range(24))  # a list is no Dataset to a type checker


def snapshot_of(source: object) -> Snapshot:
    """Capture a source of data, and let it be drawn from as a sweep does."""
    before = Snapshot(Engine(lambda engine, batch: None), {}, "cpu")
    before.add_data(source)
    return before


def seeded() -> torch.Generator:
    """Make a generator that only one object draws from."""
    return torch.Generator().manual_seed(11)


class Noisy(Dataset):
    """Samples with noise from a generator of the data set's own."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> float:
        return index + self.rng.random()


class Noise:
    """A transform, or a function that collates, with a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(4)

    def __call__(self, batch: list[float]) -> list[float]:
        return [x + self.rng.random() for x in batch]


class NoiseModule(torch.nn.Module):
    """A transform as torchvision writes them, with a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(4)

    def forward(self, x: float) -> float:
        return x + self.rng.random()


def add_noise(x: float, rng: random.Random) -> float:
    """Add noise from a generator."""
    return x + rng.random()


class Transformed(Dataset):
    """Samples that go through a transform."""

    def __init__(self, transform: Callable[[float], float]) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> float:
        return self.transform(float(index))


class Shrinking(Sampler):
    """A sampler that remembers its order and its epoch, and shuffles with Python's generator."""

    def __init__(self) -> None:
        self.rng = random.Random(2)
        self.order = np.arange(24)
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        self.order[:] = self.order[np.argsort([self.rng.random() for _ in self.order])]
        return iter(self.order[self.epoch :].tolist())

    def __len__(self) -> int:
        return 24


class Stream(IterableDataset):
    """A stream that counts how often it was begun."""

    def __init__(self) -> None:
        self.num_begun = 0

    def __iter__(self) -> Iterator[int]:
        self.num_begun += 1
        return iter(range(100 * self.num_begun, 100 * self.num_begun + 12))


class Endless:
    """A loader of a user's own around one of torch's, which cuts an epoch at five batches."""

    def __init__(self) -> None:
        self.loader = DataLoader(INDICES, 4, shuffle=True, generator=seeded())

    def __iter__(self) -> Iterator[object]:
        for i, batch in enumerate(self.loader):
            if i == 5:
                return
            yield batch


def weighted() -> WeightedRandomSampler:
    """Make a sampler that draws with weights."""
    return WeightedRandomSampler([1.0, 2.0] * 12, 24, generator=seeded())


def sharing() -> list[DataLoader]:
    """Make two loaders that draw from one generator."""
    generator = seeded()
    return [DataLoader(INDICES, 4, shuffle=True, generator=generator) for _ in range(2)]


SOURCES: dict[str, Callable[[], Any]] = {
    "generator": lambda: DataLoader(INDICES, 4, shuffle=True, generator=seeded()),
    "sampler": lambda: DataLoader(INDICES, 4, sampler=RandomSampler(INDICES, generator=seeded())),
    "replacement": lambda: DataLoader(
        INDICES, 4, sampler=RandomSampler(INDICES, replacement=True, generator=seeded())
    ),
    "subset-sampler": lambda: DataLoader(
        INDICES, 4, sampler=SubsetRandomSampler(range(12), generator=seeded())
    ),
    "weighted": lambda: DataLoader(INDICES, 4, sampler=weighted()),
    "batch-sampler": lambda: DataLoader(INDICES, batch_sampler=BatchSampler(weighted(), 4, True)),
    "own-sampler": lambda: DataLoader(INDICES, 4, sampler=Shrinking()),
    "data-set-python": lambda: DataLoader(Noisy(random.Random(1)), 4),
    "data-set-numpy": lambda: DataLoader(Noisy(np.random.default_rng(1)), 4),
    "data-set-legacy": lambda: DataLoader(Noisy(np.random.RandomState(1)), 4),
    "nested-data-sets": lambda: DataLoader(
        ConcatDataset([Subset(Noisy(random.Random(1)), range(9)), Noisy(random.Random(2))]), 4
    ),
    "collate": lambda: DataLoader(INDICES, 4, collate_fn=Noise()),
    "transform-module": lambda: DataLoader(Transformed(NoiseModule()), 4),
    "transform-method": lambda: DataLoader(Transformed(NoiseModule().forward), 4),
    "transform-partial": lambda: DataLoader(
        Transformed(functools.partial(add_noise, rng=random.Random(1))), 4
    ),
    "stream": lambda: DataLoader(Stream(), 4),
    "own-loader": Endless,
}


def batches(source: Any) -> list[str]:
    """Read a source once, in a form that can be compared."""
    return [repr(batch) for batch in source]


@pytest.mark.parametrize("how", ["whole", "part"])
@pytest.mark.parametrize("kind", SOURCES)
def test_batches_go_on_where_they_were(kind: str, how: str) -> None:
    """After epochs in between, whole or broken off, the next ones are those of a loader unused."""
    source, unused = SOURCES[kind](), SOURCES[kind]()
    torch.manual_seed(1)
    batches(source)
    expected_first = torch.get_rng_state()
    torch.manual_seed(1)
    batches(unused)
    before = snapshot_of(source)
    for _ in range(3):
        next(iter(source)) if how == "part" else batches(source)
    before.restore()
    assert before.not_restored == ()
    torch.set_rng_state(expected_first)
    again = batches(source) + batches(source)
    torch.set_rng_state(expected_first)
    assert again == batches(unused) + batches(unused)


def test_two_loaders_may_share_a_generator() -> None:
    """A generator that is reached twice is restored to one state."""
    source, unused = sharing(), sharing()
    before = snapshot_of(source)
    for loader in source:
        batches(loader)
    before.restore()
    torch.manual_seed(3)
    drawn = [batches(loader) for loader in source]
    torch.manual_seed(3)
    assert drawn == [batches(loader) for loader in unused]


def test_the_epoch_of_a_distributed_sampler_comes_back() -> None:
    """`set_epoch` in between is undone."""
    sampler = DistributedSampler(data(), num_replicas=2, rank=0)
    sampler.set_epoch(3)
    order = list(sampler)
    before = snapshot_of(DataLoader(data(), 4, sampler=sampler))
    sampler.set_epoch(8)
    assert list(sampler) != order
    before.restore()
    assert sampler.epoch == 3
    assert list(sampler) == order


class Ordered(Sampler):
    """A sampler with an order of several dimensions."""

    def __init__(self, order: torch.Tensor) -> None:
        self.order = order


def test_an_order_of_a_sampler_is_restored_whatever_its_size() -> None:
    """Twenty million pairs of indices come back, as they say where in the data a training is."""
    order = torch.zeros(20_000_000, 2, dtype=torch.int64)
    before = snapshot_of(DataLoader(INDICES, 4, sampler=Ordered(order)))
    order[-1] = 1
    before.restore()
    assert order.sum() == 0


def test_large_samples_are_not_copied_and_named_if_written() -> None:
    """What a data set holds comes back where it is small; where it is large, it is named."""
    samples = torch.utils.data.TensorDataset(torch.zeros(40, 1_000_000), torch.arange(40))
    before = snapshot_of(DataLoader(samples))
    for tensor in samples.tensors:
        tensor.fill_(1)
    before.restore()
    assert samples.tensors[0].sum() == 40_000_000
    assert samples.tensors[1].tolist() == list(range(40))
    assert before.not_restored == ("data.dataset.tensors[0]",)


class Pinned(Dataset):
    """A data set that refers to things which are no data."""

    def __init__(self, *things: object) -> None:
        self.things = things
        self.transforms = [Noise()]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return self.transforms[0]([index])[0]


def test_an_optimizer_that_a_data_set_refers_to_is_restored() -> None:
    """What belongs to a training by its kind comes back wherever it is held."""
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    before = snapshot_of(DataLoader(Pinned(optimizer)))
    optimizer.param_groups[0]["lr"] = 0.5
    before.restore()
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("source", [None, 3, range(5), iter([1, 2])], ids=type)
def test_data_without_state_is_no_error(source: object) -> None:
    """No data, a range and a bare iterator are taken as they are."""
    snapshot_of(source).restore()


def test_a_one_shot_iterator_is_not_drawn_from() -> None:
    """Looking at the data takes no item from it."""
    items = iter([1, 2, 3])
    snapshot_of(items).restore()
    assert list(items) == [1, 2, 3]


@pytest.fixture
def persistent_loader() -> Iterator[DataLoader]:
    """Make a loader whose two workers live between epochs, and end them."""
    loader = DataLoader(Noisy(random.Random(1)), 4, num_workers=2, persistent_workers=True)
    yield loader
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()  # type: ignore[attr-defined]  # torch has no public way


def worker_pids() -> set[int | None]:
    """Return the processes that run now."""
    return {process.pid for process in multiprocessing.active_children()}


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "fresh"])
def test_workers_are_lent_for_the_sweep_and_ended(
    persistent_loader: DataLoader, is_used: bool
) -> None:
    """The sweep has workers of its own; those of before are alive afterwards, and the same."""
    loader, others = persistent_loader, worker_pids()
    if is_used:
        batches(loader)
    iterator, pids = loader._iterator, worker_pids()
    before = snapshot_of(loader)
    assert loader._iterator is None
    batches(loader)
    held = loader._iterator  # as the traceback of an error may hold it
    assert len(worker_pids() - pids) == 2
    before.restore()
    assert held is not None
    assert worker_pids() == pids
    assert loader._iterator is iterator
    assert len(pids - others) == (2 if is_used else 0)


def test_workers_go_on_with_the_random_state_they_hold(persistent_loader: DataLoader) -> None:
    """The generators inside the workers have drawn nothing for the sweep."""
    batches(persistent_loader)
    before = snapshot_of(persistent_loader)
    batches(persistent_loader)
    before.restore()
    second = batches(persistent_loader)
    loader = DataLoader(Noisy(random.Random(1)), 4, num_workers=2, persistent_workers=True)
    batches(loader)
    assert second == batches(loader)
    loader._iterator._shutdown_workers()  # type: ignore[union-attr]  # torch has no public way


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (iter(DataLoader(INDICES)), True),
        (DataLoader(INDICES), False),
        (iter([1, 2]), False),
        (RandomSampler([1, 2]), False),
    ],
    ids=["loader-iterator", "loader", "list-iterator", "sampler"],
)
def test_the_iterator_of_a_loader_is_recognized(obj: object, expected: bool) -> None:
    """Torch's own iterators are told from everything else."""
    assert is_loader_iterator(type(obj)) is expected
