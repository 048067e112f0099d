"""The promise "in step": two real processes over gloo end with one and the same result."""

import datetime
import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, create_supervised_trainer
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from ignite_lrfinder import FastaiLRFinder, LRFinderResult, StopReason, Trials

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch has no gloo here",
)
NUM_ITER = 25


def loss_of(case: str, rank: int, iteration: int) -> float:
    """Return what a process measures: the same course as the other, at another height."""
    if case == "nan-on-one" and (rank, iteration) == (1, 13):
        return float("nan")
    if case == "nan-micro-batch-on-one" and (rank, iteration) == (0, 7):
        return float("nan")
    if case == "nan-in-a-long-step-on-one" and (rank, iteration) == (0, 17):
        return float("nan")
    if case == "diverging-on-one" and rank == 0 and iteration >= 17:
        return 1000.0
    return 1 + rank + 0.125 * (iteration % 3)


def sweep(rank: int, folder: str) -> None:
    """Run each sweep in one process of two, and save its result and its last parameter."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=30),
    )
    warnings.filterwarnings("ignore", "Run completed without loss diverging")
    for case in CASES:
        parameter = nn.Parameter(torch.zeros((), dtype=torch.float64))
        optimizer = torch.optim.SGD([parameter], lr=1e-3)
        every = NUM_MICRO_BATCHES.get(case, 1)
        num_steps = 0

        def train_step(
            engine: Engine,
            batch: object,
            *,
            case: str = case,
            every: int = every,
            parameter: nn.Parameter = parameter,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> float:
            nonlocal num_steps
            if engine.state.iteration % every == 0:
                parameter.grad = torch.ones_like(parameter)
                optimizer.step()
                num_steps += 1
            return loss_of(case, rank, engine.state.iteration)

        finder = FastaiLRFinder()
        to_save = {"optimizer": optimizer}
        with finder.attach(Engine(train_step), to_save, num_iter=NUM_ITER, smooth_f=0) as trainer:
            trainer.run([0] * 7)
        finder.result.save(Path(folder) / f"{case}-{rank}.json")
        (Path(folder) / f"{case}-{rank}.steps").write_text(str(num_steps))
    verify(rank, Path(folder))
    gc.collect()  # a model left to the end of the interpreter outlives what it communicates with
    distributed.destroy_process_group()


def verify(rank: int, folder: Path) -> None:
    """Sweep and verify a training of DDP on other data in each process, and save the result."""
    torch.manual_seed(rank)
    batches = list(zip(torch.randn(50, 8, 4), torch.randn(50, 8, 1), strict=True))
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    trainer = create_supervised_trainer(model, optimizer, nn.functional.mse_loss)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    finder = FastaiLRFinder()
    settings = Trials(max_iter=75, short_iter=10, long_iter=15)
    to_save = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, to_save, num_iter=40, start_lr=1e-5, verify=settings) as t:
        t.run(batches)
    after = list(model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    finder.result.save(folder / f"verified-{rank}.json")


# What ends each sweep, and after how many points.
CASES = {
    "completing": (StopReason.COMPLETED, NUM_ITER),
    "accumulating": (StopReason.COMPLETED, NUM_ITER),
    "nan-on-one": (StopReason.NON_FINITE, 13),
    "nan-micro-batch-on-one": (StopReason.NON_FINITE, 4),
    "nan-in-a-long-step-on-one": (StopReason.NON_FINITE, 1),
    "diverging-on-one": (StopReason.DIVERGED, 17),
}


NUM_MICRO_BATCHES = {
    "accumulating": 2,
    "nan-micro-batch-on-one": 2,
    "nan-in-a-long-step-on-one": 12,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all sweeps in two processes, and return where their results are."""
    path = tmp_path_factory.mktemp("distributed")
    spawn(sweep, (str(path),), nprocs=2)
    return path


@pytest.mark.parametrize("case", CASES)
def test_the_loss_is_the_mean_over_the_processes(folder: Path, case: str) -> None:
    """A point's loss is the mean over both processes, and over the iterations of its step."""
    result = LRFinderResult.load(folder / f"{case}-0.json")
    every = NUM_MICRO_BATCHES.get(case, 1)
    losses = [
        np.mean([loss_of(case, rank, every * k + i + 1) for rank in (0, 1) for i in range(every)])
        for k in range(len(result))
    ]
    np.testing.assert_allclose(result.losses, losses, rtol=1e-14)


def test_every_process_runs_the_same_trials(folder: Path) -> None:
    """The trials of both processes, and so their suggestions, are the same, on different data."""
    first, second = (folder / f"verified-{rank}.json" for rank in (0, 1))
    assert first.read_text() == second.read_text()
    assert len(LRFinderResult.load(first).trials) >= 5


@pytest.mark.parametrize("case", CASES)
def test_every_process_ends_at_the_same_point_with_the_same_result(folder: Path, case: str) -> None:
    """What one process measures stops both, after equally many steps, and both say the same."""
    texts = [(folder / f"{case}-{rank}.json").read_text() for rank in (0, 1)]
    assert texts[0] == texts[1]
    result = LRFinderResult.load(folder / f"{case}-0.json")
    assert (result.stop_reason, len(result)) == CASES[case]
    steps = {int((folder / f"{case}-{rank}.steps").read_text()) for rank in (0, 1)}
    assert len(steps) == 1
    assert len(result) <= steps.pop() <= len(result) + 9
