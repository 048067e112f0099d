"""The promises on a GPU, where there is one; what a CPU can do too runs on it as well."""

import dataclasses
import gc
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Log, Net, data, seed_all
from ignite.engine import Engine
from torch import nn
from torch.utils.data import DataLoader

from ignite_lrfinder import FastaiLRFinder, Trials

HAS_CUDA = torch.cuda.is_available()
DEVICES = ["cpu", *["cuda"] * HAS_CUDA]
on_gpu = pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
    pytest.mark.filterwarnings("ignore:The loss must be finite until it has fallen:UserWarning"),
]

Parameters = Iterable[nn.Parameter]
OPTIMIZERS: dict[str, Callable[[Parameters, str], torch.optim.Optimizer]] = {
    "sgd-momentum": lambda p, device: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
    "adam": lambda p, device: torch.optim.Adam(p, lr=1e-3),
    "adam-fused": lambda p, device: torch.optim.Adam(p, lr=1e-3, fused=True),
    "adamw-tensor-lr": lambda p, device: torch.optim.AdamW(p, lr=tensor_lr(device)),
    "adam-capturable": lambda p, device: torch.optim.Adam(
        p, lr=tensor_lr(device), capturable=device == "cuda"
    ),
}


def tensor_lr(device: str) -> torch.Tensor:
    """Return a learning rate that a fused or captured step reads on the device."""
    return torch.tensor(1e-3, device=device)


@dataclasses.dataclass
class Training:
    """A training on a device, with the losses that it saw."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    trainer: Engine
    loader: DataLoader
    losses: list[torch.Tensor]

    def state(self) -> dict[str, object]:
        """Collect all that it consists of, on the host."""
        tensors = {**self.model.state_dict(), "calls": self.model.get_buffer("calls")}
        tensors |= {f"grad of {n}": p.grad for n, p in self.model.named_parameters()}
        for index, state in enumerate(self.optimizer.state.values()):
            tensors |= {f"{index}.{name}": value for name, value in state.items()}
        content = {name: bytes_of(tensor) for name, tensor in tensors.items()}
        content["losses"] = bytes_of(torch.stack(self.losses)) if self.losses else b""
        content["host random state"] = bytes_of(torch.get_rng_state())
        if HAS_CUDA:
            content["device random state"] = bytes_of(torch.cuda.get_rng_state())
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        return {**content, "scaler": self.scaler.state_dict(), "rates": rates}


def bytes_of(tensor: torch.Tensor | None) -> bytes:
    """Read a tensor, wherever it is."""
    return b"none" if tensor is None else tensor.detach().cpu().contiguous().numpy().tobytes()


def make_training(optimizer: str, device: str, *, is_mixed: bool = False) -> Training:
    """Make the same training each time; in mixed precision with a scaler, if wanted."""
    seed_all(0)
    model = Net().to(device)
    opt = OPTIMIZERS[optimizer](model.parameters(), device)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0, growth_interval=3, enabled=is_mixed)
    dtype = torch.float16 if device == "cuda" else torch.bfloat16
    loader = DataLoader(data(), 8, shuffle=True, pin_memory=device == "cuda")
    losses: list[torch.Tensor] = []

    def train_step(engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        model.train()
        x, y = (part.to(device, non_blocking=True) for part in batch)
        opt.zero_grad()
        with torch.autocast(device, dtype=dtype, enabled=is_mixed):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        losses.append(loss.detach().clone())
        return loss

    return Training(model, opt, scaler, Engine(train_step), loader, losses)


def sweep(training: Training, **kwargs: object) -> FastaiLRFinder:
    """Sweep far beyond what the training bears, and forget the losses of that."""
    to_save = {
        "model": training.model,
        "optimizer": training.optimizer,
        "scaler": training.scaler,
    }
    finder = FastaiLRFinder()
    arguments = {"num_iter": 24, "start_lr": 1e-4, "end_lr": 100.0, "diverge_th": 50.0, **kwargs}
    losses = list(training.losses)
    with finder.attach(training.trainer, to_save, **arguments) as trainer:
        trainer.run(training.loader)
    training.losses[:] = losses
    return finder


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_mixed", [False, True], ids=["full", "mixed"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("verify", [False, Trials(max_iter=75, short_iter=10, long_iter=15)])
def test_a_sweep_on_a_device_leaves_no_trace(
    device: str, optimizer: str, verify: bool | Trials, *, is_mixed: bool
) -> None:
    """With dropout, pinned batches and a scaler, training goes on bit for bit as without it."""
    states = []
    for is_swept in (False, True):
        training = make_training(optimizer, device, is_mixed=is_mixed)
        training.trainer.run(training.loader, max_epochs=1)
        if is_swept:
            finder = sweep(training, verify=verify)
            assert bool(finder.result.trials) == bool(verify)
        states.append(training.state())
        training.trainer.run(training.loader, max_epochs=2)
        states.append(training.state())
    assert states[0] == states[2]
    assert states[1] == states[3]
    assert states[0] != states[1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("place", ["cpu", "device", "directory"])
def test_each_snapshot_place_restores_in_place(device: str, place: str, tmp_path: Path) -> None:
    """In host memory, beside the originals or in a directory: all come back, in place."""
    training = make_training("adam", device)
    training.trainer.run(training.loader, max_epochs=1)
    before = training.state()
    held = [p.data_ptr() for p in training.model.parameters()]
    sweep(training, snapshot=tmp_path if place == "directory" else place)
    assert training.state() == before
    assert [p.data_ptr() for p in training.model.parameters()] == held
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_rates_of_the_steps_are_those_recorded(device: str, optimizer: str) -> None:
    """Each step had the rate of its point, as rounded to the tensor where it is one."""
    training = make_training(optimizer, device)
    used = Log()
    training.optimizer.register_step_pre_hook(
        lambda opt, args, kwargs: used.append(float(opt.param_groups[0]["lr"]))
    )
    finder = sweep(training, diverge_th=float("inf"))
    assert used == finder.result.lr[:, 0].tolist()
    rate = training.optimizer.param_groups[0]["lr"]
    assert not isinstance(rate, torch.Tensor) or rate.device.type == device


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_that_the_scaler_skips_is_not_a_point(device: str) -> None:
    """A scale that is far too large costs iterations, and no points."""
    training = make_training("adam", device, is_mixed=True)
    training.scaler = torch.amp.GradScaler(device, init_scale=1.0)
    inputs = torch.ones(4, device=device)
    weight = nn.Parameter(torch.ones(4, device=device))
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    iterations, steps = Log(), Log()
    optimizer.register_step_post_hook(lambda *args: steps.append(args))

    def train_step(engine: Engine, batch: int) -> torch.Tensor:
        iterations.append(batch)
        loss = (weight * inputs).square().mean()
        training.scaler.scale(loss).backward()
        if len(iterations) % 3 == 0:
            assert weight.grad is not None
            weight.grad.fill_(torch.inf)
        training.scaler.step(optimizer)
        training.scaler.update()
        optimizer.zero_grad()
        return loss

    finder = FastaiLRFinder()
    to_save = {"optimizer": optimizer, "scaler": training.scaler}
    with finder.attach(Engine(train_step), to_save, num_iter=10, end_lr=0.1) as trainer:
        trainer.run([0] * 5)
    assert len(finder.result) == len(steps) == 10
    assert len(iterations) == 14


def syncs(run: Callable[[], object]) -> int:
    """Count how often the host waits for the GPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(w.message) for w in caught)


@on_gpu
@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam-fused", "adamw-tensor-lr"])
def test_a_sweep_of_n_points_waits_n_over_10_times_for_the_gpu(optimizer: str) -> None:
    """Over n points the host waits at most n / 10 + 5 times more than in the bare training."""
    batches = [tuple(part.cuda() for part in data()[8 * i : 8 * i + 8]) for i in range(12)]
    training = make_training(optimizer, "cuda")
    bare = syncs(lambda: training.trainer.run(batches, max_epochs=10))
    training = make_training(optimizer, "cuda")
    finder, to_save = FastaiLRFinder(), {"optimizer": training.optimizer}
    with finder.attach(
        training.trainer, to_save, num_iter=120, diverge_th=float("inf"), end_lr=1e-2
    ) as trainer:
        swept = syncs(lambda: trainer.run(batches))
    assert len(finder.result) == 120
    assert syncs(lambda: torch.ones(1, device="cuda").item()) >= 1
    # Where the run begins, each of the small tensors of the data is copied.
    assert swept - bare <= 120 / 10 + 5 + 2 * len(batches)


def work_on_another_stream(training: Training) -> None:
    """Let the train step return while its last changes are still to come, on its own stream."""
    train_step, side = training.trainer._process_function, torch.cuda.Stream()

    def on_side(engine: Engine, batch: object) -> torch.Tensor:
        side.wait_stream(torch.cuda.default_stream())
        with torch.cuda.stream(side):
            loss = train_step(engine, batch).detach().clone()
        torch.cuda.default_stream().wait_stream(side)
        with torch.cuda.stream(side), torch.no_grad():
            torch.cuda._sleep(20_000_000)
            for parameter in training.model.parameters():
                parameter.mul_(0.999)
        return loss

    training.trainer._process_function = on_side


@on_gpu
def test_work_on_another_stream_is_in_the_snapshot() -> None:
    """Work that a train step leaves running on another stream is in the snapshot."""
    states = []
    for is_swept in (False, True):
        training = make_training("adam", "cuda")
        work_on_another_stream(training)
        training.trainer.run(training.loader, max_epochs=1)
        if is_swept:
            sweep(training)
        training.trainer.run(training.loader, max_epochs=2)
        torch.cuda.synchronize()
        states.append(training.state())
    assert states[0] == states[1]


class Graphed:
    """A training whose whole step is one CUDA graph."""

    def __init__(self) -> None:
        seed_all(0)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).cuda()
        self.lr = torch.tensor(1e-3, device="cuda")
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr, capturable=True)
        self.x = torch.zeros(8, 6, device="cuda")
        self.y = torch.zeros(8, dtype=torch.long, device="cuda")
        self.seen_lr = torch.zeros((), device="cuda")
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.compute()
        self.used = Log()
        self.trainer = Engine(self.train_step)

    def compute(self) -> torch.Tensor:
        """Train on what is in the static batch."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.seen_lr.copy_(self.lr)
        self.optimizer.step()
        return loss

    def train_step(self, engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Fill the static batch and replay the graph, whose loss is one buffer."""
        self.x.copy_(batch[0])
        self.y.copy_(batch[1])
        self.graph.replay()
        self.used.append(self.seen_lr.item())
        return self.loss


@on_gpu
def test_a_step_in_a_cuda_graph_is_swept_exactly_and_without_trace() -> None:
    """Each replay has the rate of its point, and the graph goes on as if none had been."""
    batches = [data()[8 * i : 8 * i + 8] for i in range(12)]
    weights = []
    for is_swept in (False, True):
        training = Graphed()
        training.trainer.run(batches, max_epochs=1)
        if is_swept:
            finder, to_save = FastaiLRFinder(), {"optimizer": training.optimizer}
            training.used.clear()
            with finder.attach(training.trainer, to_save, num_iter=20, end_lr=0.1) as trainer:
                trainer.run(batches)
            assert training.used == finder.result.lr[:, 0].tolist()
            assert len(set(finder.result.losses)) > 10
        training.trainer.run(batches, max_epochs=2)
        weights.append([bytes_of(p) for p in training.model.parameters()])
    assert weights[0] == weights[1]


_FIRST_USE = """
import torch
from ignite.engine import Engine
from ignite_lrfinder import FastaiLRFinder
import sys, warnings

warnings.simplefilter("ignore")
torch.manual_seed(3)
weight = torch.nn.Parameter(torch.zeros(()))
optimizer = torch.optim.SGD([weight], lr=1e-3)

def train_step(engine, batch):
    optimizer.zero_grad()
    loss = (weight - torch.rand((), device="cuda").cpu()).square()
    loss.backward()
    optimizer.step()
    return loss

trainer = Engine(train_step)
if sys.argv[1] == "swept":
    with FastaiLRFinder().attach(trainer, {"optimizer": optimizer}, num_iter=5) as t:
        t.run([0] * 5)
trainer.run([0] * 5)
print(weight.item().hex())
"""


@on_gpu
def test_a_gpu_first_used_by_the_sweep_restarts_its_random_numbers() -> None:
    """Random numbers drawn in the sweep are drawn again in the training."""
    outs = [
        subprocess.run(
            [sys.executable, "-c", _FIRST_USE, how], capture_output=True, text=True, check=True
        ).stdout
        for how in ("swept", "bare")
    ]
    assert outs[0] == outs[1]


@on_gpu
@pytest.mark.filterwarnings("ignore:The block of attach must run its trainer:UserWarning")
@pytest.mark.parametrize(("place", "num_copies"), [("device", 1.0), ("cpu", 0.0)])
def test_the_memory_of_the_gpu_holds_one_copy_or_none(place: str, num_copies: float) -> None:
    """Beside the original there is a copy of the state; in host memory one tensor at a time."""
    parameters = [nn.Parameter(torch.ones(1_000_000, device="cuda")) for _ in range(20)]
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
    size = 4 * 1_000_000
    gc.collect()  # earlier tests may have left cycles
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with FastaiLRFinder().attach(
        Engine(lambda engine, batch: 0.0), {"optimizer": optimizer}, snapshot=place
    ):
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(1)
    extra = torch.cuda.max_memory_allocated() - before
    assert extra <= num_copies * 20 * size + 4 * size
    assert torch.cuda.memory_allocated() == before
    assert np.all([p.detach().cpu().eq(1).all().item() for p in parameters])
