"""The promise "in step": two real processes over gloo end with one and the same result."""

import datetime
import gc
import importlib
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Log
from ignite.engine import Engine, Events, create_supervised_trainer
from processes import START_METHOD
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import start_processes

from ignite_lrfinder import FastaiLRFinder, LRFinderResult, StopReason, Trials

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch has no gloo here",
)
NUM_ITER = 25
# Not in the oldest torch that is supported.
fully_shard = getattr(importlib.import_module("torch.distributed.fsdp"), "fully_shard", None)


def loss_of(case: str, rank: int, iteration: int) -> float:
    """Return the loss of a process: the same course in both, one of them higher."""
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
    """Run each sweep in one of two processes, and save its result and its number of steps."""
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
        steps = Log()

        def train_step(
            engine: Engine,
            batch: object,
            *,
            case: str = case,
            every: int = every,
            parameter: nn.Parameter = parameter,
            optimizer: torch.optim.Optimizer = optimizer,
            steps: Log = steps,
        ) -> float:
            if engine.state.iteration % every == 0:
                parameter.grad = torch.ones_like(parameter)
                optimizer.step()
                steps.append(engine.state.iteration)
            return loss_of(case, rank, engine.state.iteration)

        finder = FastaiLRFinder()
        to_save = {"optimizer": optimizer}
        with finder.attach(Engine(train_step), to_save, num_iter=NUM_ITER, smooth_f=0) as trainer:
            if case == "terminated-on-one" and rank == 0:
                trainer.add_event_handler(Events.ITERATION_COMPLETED(once=17), trainer.terminate)
            is_short = case.startswith("out-of-data-on-one") and rank == 1
            trainer.run(iter([0] * 14) if is_short else [0] * 7)
        finder.result.save(Path(folder) / f"{case}-{rank}.json")
        (Path(folder) / f"{case}-{rank}.steps").write_text(str(len(steps)))
    verify(rank, Path(folder))
    if fully_shard is not None:
        shard(rank, Path(folder))
    gc.collect()  # a model of DDP must be gone before its process group is
    distributed.destroy_process_group()


def verify(rank: int, folder: Path) -> None:
    """Sweep and verify a training of DDP with different data per process; save the result."""
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


def shard(rank: int, folder: Path) -> None:
    """Sweep and verify an FSDP2 training after an epoch; save its later losses and a twin's."""
    losses = {}
    for name, place in {"swept": "cpu", "swept-on-disk": str(folder), "twin": None}.items():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
        assert fully_shard is not None
        mesh = init_device_mesh("cpu", (2,))  # even if there is a GPU
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        trainer = create_supervised_trainer(model, optimizer, nn.functional.mse_loss)
        torch.manual_seed(rank)
        batches = list(zip(torch.randn(20, 8, 4), torch.randn(20, 8, 1), strict=True))
        trainer.run(batches, max_epochs=1)
        if place is not None:
            finder = FastaiLRFinder()
            settings = Trials(max_iter=75, short_iter=10, long_iter=15)
            to_save = {"model": model, "optimizer": optimizer}
            with finder.attach(
                trainer, to_save, num_iter=30, start_lr=1e-5, verify=settings, snapshot=place
            ) as attached:
                attached.run(batches)
            finder.result.save(folder / f"sharded-{rank}.json")
        local = [parameter.to_local().shape for parameter in model.parameters()]  # type: ignore[attr-defined]  # a DTensor
        noted = losses[name] = []
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine, noted=noted: noted.append(engine.state.output),
        )
        trainer.run(batches, max_epochs=3)
        assert local[0] == (4, 4)
    (folder / f"sharded-{rank}.losses").write_text(json.dumps(losses))


# Why each sweep stops, and after how many points.
CASES = {
    "completing": (StopReason.COMPLETED, NUM_ITER),
    "accumulating": (StopReason.COMPLETED, NUM_ITER),
    "nan-on-one": (StopReason.NON_FINITE, 13),
    "nan-micro-batch-on-one": (StopReason.NON_FINITE, 4),
    "nan-in-a-long-step-on-one": (StopReason.NON_FINITE, 1),
    "diverging-on-one": (StopReason.DIVERGED, 17),
    "out-of-data-on-one": (StopReason.OUT_OF_DATA, 14),
    "out-of-data-on-one-while-accumulating": (StopReason.OUT_OF_DATA, 0),
    "terminated-on-one": (StopReason.TERMINATED, 17),
}


NUM_MICRO_BATCHES = {
    "accumulating": 2,
    "nan-micro-batch-on-one": 2,
    "nan-in-a-long-step-on-one": 12,
    "out-of-data-on-one-while-accumulating": 15,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all sweeps in two processes, and return the folder of their results."""
    path = tmp_path_factory.mktemp("distributed")
    start_processes(sweep, (str(path),), nprocs=2, start_method=START_METHOD)
    return path


@pytest.mark.parametrize("case", CASES)
def test_the_loss_of_a_point_is_the_mean_over_processes(folder: Path, case: str) -> None:
    """The loss is the mean over both processes and over the iterations of the step."""
    result = LRFinderResult.load(folder / f"{case}-0.json")
    every = NUM_MICRO_BATCHES.get(case, 1)
    losses = [
        np.mean([loss_of(case, rank, every * k + i + 1) for rank in (0, 1) for i in range(every)])
        for k in range(len(result))
    ]
    np.testing.assert_allclose(result.losses, losses, rtol=1e-14)


def test_every_process_runs_the_same_trials(folder: Path) -> None:
    """Trials are the same in both processes, although each has different data."""
    first, second = (folder / f"verified-{rank}.json" for rank in (0, 1))
    assert first.read_text() == second.read_text()
    assert len(LRFinderResult.load(first).trials) >= 5


@pytest.mark.skipif(fully_shard is None, reason="this torch has no FSDP2")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_sharded_training_leaves_no_trace(folder: Path, rank: int) -> None:
    """In each process an FSDP2 training continues bit for bit as its twin without the finder."""
    losses = json.loads((folder / f"sharded-{rank}.losses").read_text())
    assert len(losses["twin"]) == 40
    assert losses["swept"] == losses["swept-on-disk"] == losses["twin"]
    texts = {(folder / f"sharded-{rank}.json").read_text() for rank in (0, 1)}
    assert len(texts) == 1
    assert len(LRFinderResult.load(folder / "sharded-0.json").trials) >= 5


@pytest.mark.parametrize("case", CASES)
def test_both_processes_stop_at_the_same_point_with_one_result(folder: Path, case: str) -> None:
    """What one process meets stops both, at most one batch of losses later, with one result.

    Only what could not be restored is told by each process for itself.
    """
    saved = [json.loads((folder / f"{case}-{rank}.json").read_text()) for rank in (0, 1)]
    used_up = [content.pop("not_restored", []) for content in saved]
    assert saved[0] == saved[1]
    assert used_up == [[], ["data"] if case.startswith("out-of-data") else []]
    result = LRFinderResult.load(folder / f"{case}-0.json")
    assert (result.stop_reason, len(result)) == CASES[case]
    steps = {int((folder / f"{case}-{rank}.steps").read_text()) for rank in (0, 1)}
    # A process that stops by itself takes no more steps; the other goes on to the next exchange.
    assert len(steps) == 1 or result.stop_reason in (StopReason.OUT_OF_DATA, StopReason.TERMINATED)
    assert all(len(result) <= count <= len(result) + 9 for count in steps)


TIMEOUT = 3.0


def fail(rank: int, folder: str) -> None:
    """Raise in the train step of one process, and save what each process raises and when."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=TIMEOUT),
    )
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3, momentum=0.9)

    def train_step(engine: Engine, batch: object) -> float:
        if (rank, engine.state.iteration) == (0, 12):
            raise ZeroDivisionError
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        return 1.0

    trainer, begin = Engine(train_step), time.perf_counter()
    error = "none"
    try:
        with FastaiLRFinder().attach(trainer, {"optimizer": optimizer}, num_iter=NUM_ITER) as t:
            t.run([0] * 7)
    except Exception as raised:
        error = type(raised).__name__
    seconds = time.perf_counter() - begin
    is_restored = parameter.item() == 0 and not optimizer.state and parameter.grad is None
    report = {"error": error, "seconds": seconds, "is_restored": is_restored}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(report))
    # The process that failed keeps running, so that no broken connection tells the other.
    while len(list(Path(folder).glob("?.json"))) < 2:
        time.sleep(0.05)
    gc.collect()
    distributed.destroy_process_group()


def test_an_error_in_one_process_ends_the_other_after_the_time_out(
    tmp_path: Path,
) -> None:
    """The other process raises the time-out of the group, and both are restored."""
    start_processes(fail, (str(tmp_path),), nprocs=2, start_method=START_METHOD)
    failed, waiting = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert failed["error"] == "ZeroDivisionError"
    assert waiting["error"] not in ("none", "ZeroDivisionError")
    assert TIMEOUT / 2 < waiting["seconds"] < 2 * TIMEOUT + 5
    assert failed["is_restored"]
    assert waiting["is_restored"]
