"""Measure what finders cost: per iteration, per capture and restore of the state, and on import.

All finders take turns in every round of one run, so that other load on the machine affects them
equally. The tables show medians of the ratios within a round.
"""

import argparse
import copy
import ctypes
import functools
import gc
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from ignite.engine import Engine
from ignite.handlers import Checkpoint, DiskSaver
from ignite.handlers import FastaiLRFinder as IgniteLRFinder
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.measurement import quiet
from ignite_lrfinder import FastaiLRFinder

Batch = tuple[Tensor, Tensor]

# Rates that do not change the loss, so that no sweep stops early.
START_LR, END_LR = 1e-9, 1e-8
# A divergence threshold that is never reached, but finite: some finders compute with it.
NEVER = 1e9
# BERT-base has 199 parameters with 109 million elements.
NUM_TENSORS, NUM_PARAMETERS = 200, 110_000_000


class Setup:
    """A training whose time per step depends on the width of its network.

    Args:
        width: the number of hidden units.
        num_iter: the number of steps to take.
        device: the device to train on.
        is_reading: whether the train step returns a number, which waits for the device, like the
            step of Ignite's `create_supervised_trainer`; otherwise it returns a tensor.
    """

    def __init__(
        self, width: int, num_iter: int, device: torch.device, *, is_reading: bool = False
    ) -> None:
        torch.manual_seed(0)
        layers = [nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Linear(width, 10)).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=START_LR, momentum=0.9)
        self.loss = nn.CrossEntropyLoss()
        batch = (torch.randn(32, 64).to(device), torch.randint(10, (32,)).to(device))
        # A loader of ready-made batches, because some finders require a loader.
        self.loader: Any = DataLoader([batch] * 50, batch_size=None)  # type: ignore[arg-type]  # a list will do
        self.num_iter = num_iter
        self._is_reading = is_reading

    def step(self, batch: Batch) -> Tensor | float:
        """Train on one batch, and return the loss."""
        self.optimizer.zero_grad()
        loss = self.loss(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()
        return loss.item() if self._is_reading else loss.detach()

    def trainer(self) -> Engine:
        """Return an Ignite trainer."""
        return Engine(lambda engine, batch: self.step(batch))

    @property
    def to_save(self) -> dict[str, Any]:
        """The objects that a finder restores."""
        return {"model": self.model, "optimizer": self.optimizer}


def bare_loop(setup: Setup) -> None:
    """Train without any framework."""
    left = setup.num_iter
    while left > 0:
        for batch in setup.loader:
            setup.step(batch)
            left -= 1
            if left == 0:
                break


def bare_ignite(setup: Setup) -> None:
    """Train with Ignite."""
    setup.trainer().run(setup.loader, max_epochs=setup.num_iter // 50)


def ours(setup: Setup) -> None:
    """Sweep with this finder."""
    with FastaiLRFinder().attach(
        setup.trainer(),
        setup.to_save,
        num_iter=setup.num_iter,
        start_lr=START_LR,
        end_lr=END_LR,
        diverge_th=NEVER,
    ) as trainer:
        trainer.run(setup.loader)


def ignite(setup: Setup) -> None:
    """Sweep with Ignite's own finder."""
    with IgniteLRFinder().attach(
        setup.trainer(),
        setup.to_save,
        num_iter=setup.num_iter - 1,
        start_lr=START_LR,
        end_lr=END_LR,
        diverge_th=NEVER,
    ) as trainer:
        trainer.run(setup.loader)


def torch_lr_finder(setup: Setup) -> None:
    """Sweep with torch-lr-finder."""
    finder = importlib.import_module("torch_lr_finder").LRFinder(
        setup.model, setup.optimizer, setup.loss
    )
    finder.range_test(setup.loader, end_lr=END_LR, num_iter=setup.num_iter, diverge_th=NEVER)
    finder.reset()


def fastai(setup: Setup) -> None:
    """Sweep with fastai."""
    importlib.import_module("fastai.callback.schedule")
    learner = importlib.import_module("fastai.learner")
    wrapper = importlib.import_module("fastai.optimizer").OptimWrapper
    loaders = importlib.import_module("fastai.data.core").DataLoaders(setup.loader, setup.loader)
    with tempfile.TemporaryDirectory() as folder:
        learn = learner.Learner(
            loaders,
            setup.model,
            loss_func=setup.loss,
            opt_func=lambda parameters, lr: wrapper(parameters, opt=torch.optim.SGD, lr=lr),
            path=folder,
        )
        learn.lr_find(START_LR, END_LR, setup.num_iter, stop_div=False, show_plot=False)


def lightning(setup: Setup) -> None:
    """Sweep with Lightning."""
    pytorch = importlib.import_module("lightning.pytorch")
    tuner = importlib.import_module("lightning.pytorch.tuner")

    class Module(pytorch.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = setup.model, START_LR

        def training_step(self, batch: Batch, index: int) -> Tensor:
            return setup.loss(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

    with tempfile.TemporaryDirectory() as folder:
        quiet = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        trainer = pytorch.Trainer(accelerator="auto", default_root_dir=folder, **quiet)
        tuner.Tuner(trainer).lr_find(
            Module(),
            train_dataloaders=setup.loader,
            min_lr=START_LR,
            max_lr=END_LR,
            num_training=setup.num_iter,
            early_stop_threshold=None,
        )


RUNS: Mapping[str, Callable[[Setup], None]] = MappingProxyType(
    {
        "bare loop": bare_loop,
        "bare Ignite": bare_ignite,
        "ours": ours,
        "Ignite": ignite,
        "torch-lr-finder": torch_lr_finder,
        "fastai": fastai,
        "Lightning": lightning,
    }
)
_MODULES = {"torch-lr-finder": "torch_lr_finder", "fastai": "fastai.learner"}
_MODULES |= {"Lightning": "lightning.pytorch.tuner"}


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return the run time, including pending work on the device."""
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def measure_iterations(
    width: int, num_iter: int, rounds: int, device: torch.device, *, is_reading: bool
) -> None:
    """Print the cost of a sweep per step and once, compared to Ignite without a finder.

    Each finder runs for `num_iter` steps and for a fifth of that; the difference gives the cost
    per step.
    """
    runs = {name: run for name, run in RUNS.items() if _is_installed(name)}
    lengths = (num_iter // 5, num_iter)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            taken: list[float] = []
            for length in lengths:
                setup = Setup(width, length, device, is_reading=is_reading)
                with quiet():
                    taken.append(seconds(lambda run=run, setup=setup: run(setup), device))
            each = (taken[1] - taken[0]) / (lengths[1] - lengths[0])
            times[name].append((each, taken[1] - each * num_iter))
    # The first round warms up.
    eachs = {name: [each for each, _ in taken[1:]] for name, taken in times.items()}
    onces = {name: [once for _, once in taken[1:]] for name, taken in times.items()}
    print(f"\n{num_iter} steps, which return {'a number' if is_reading else 'a tensor'}")
    print(
        f"{'':<18}{'us for each':>12}{'over Ignite':>13}{'us':>9}{'over loop':>11}{'once, ms':>10}"
    )
    for name in runs:
        each = 1e6 * statistics.median(eachs[name])
        over = [_ratio(eachs[name], eachs[base]) for base in ("bare Ignite", "bare loop")]
        more = 1e6 * _difference(eachs[name], eachs["bare Ignite"])
        once = 1e3 * _difference(onces[name], onces["bare Ignite"])
        print(
            f"{name:<18}{each:>12.0f}{over[0]:>+13.1%}{more:>+9.1f}{over[1]:>+11.1%}{once:>10.1f}"
        )


def measure_training_after(width: int, rounds: int, device: torch.device) -> None:
    """Print what a step takes after a block, over a step of a training that never had one.

    Each round makes a new pair of trainings, and lets both train in turn, ten steps at a time.
    """

    def train(setup: Setup, trainer: Engine) -> float:
        run = functools.partial(trainer.run, setup.loader, max_epochs=1, epoch_length=10)
        return seconds(run, device) / 10

    arguments: Any = {"start_lr": START_LR, "end_lr": END_LR, "diverge_th": NEVER}
    steps: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        never, after = (Setup(width, 50, device, is_reading=True) for _ in range(2))
        trainers = [setup.trainer() for setup in (never, after)]
        with quiet(), FastaiLRFinder().attach(trainers[1], after.to_save, **arguments) as trainer:
            trainer.run(after.loader)
        times = [(train(never, trainers[0]), train(after, trainers[1])) for _ in range(50)]
        steps.append(statistics.median(base for base, _ in times))
        ratios.append(statistics.median(taken / base for base, taken in times))
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"\na step of {1e6 * statistics.median(steps):.0f} us takes after a block"
        f" {statistics.median(ratios):.4f} (quartiles {low:.4f}, {high:.4f}) of what it takes"
    )


def measure_snapshot(num_parameters: int, rounds: int, device: torch.device) -> None:
    """Print the cost of capturing and restoring a model with Adam's state, over plain copying."""
    size = num_parameters // NUM_TENSORS
    parameters = [nn.Parameter(torch.randn(size).to(device)) for _ in range(NUM_TENSORS)]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    model = nn.ParameterList(parameters)

    def state() -> list[Tensor]:
        # Collected on each call, because Ignite's loading replaces these tensors.
        return [*parameters, *(value for s in optimizer.state.values() for value in s.values())]

    def spoil() -> None:
        with torch.no_grad():
            for tensor in state():
                tensor.add_(1)

    def copied() -> None:
        originals = state()
        kept = [tensor.detach().to("cpu", copy=True) for tensor in originals]
        spoil()
        with torch.no_grad():
            for tensor, values in zip(originals, kept, strict=True):
                tensor.copy_(values)

    def attached(place: str) -> None:
        trainer = Engine(lambda engine, batch: 0.0)
        to_save = {"model": model, "optimizer": optimizer}
        with FastaiLRFinder().attach(trainer, to_save, snapshot=place):
            spoil()

    def through_ignite(folder: str) -> None:
        # Like Ignite's finder: write a checkpoint with pickle, then load it.
        to_save: Any = {"model": model, "optimizer": optimizer}
        checkpoint = Checkpoint(to_save, DiskSaver(folder, require_empty=False), n_saved=1)
        checkpoint(Engine(lambda engine, batch: 0.0))
        spoil()
        Checkpoint.load_objects(to_save, torch.load(Path(folder) / str(checkpoint.last_checkpoint)))

    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], None]] = {
            "plain copying": copied,
            'ours, snapshot="cpu"': lambda: attached("cpu"),
            'ours, snapshot="device"': lambda: attached("device"),
            "ours, in a directory": lambda: attached(folder),
            "Ignite, in a file": lambda: through_ignite(folder),
        }
        for _ in range(rounds + 1):
            for name, way in ways.items():
                _release_memory()
                with quiet():
                    times.setdefault(name, []).append(seconds(way, device))
    print(f"\n{f'{num_parameters / 1e6:.0f} million parameters, Adam':<34}seconds  over copying")
    for name, taken in times.items():
        ratio = 1 + _ratio(taken[1:], times["plain copying"][1:])
        print(f"{name:<34}{statistics.median(taken[1:]):>7.2f}  {ratio:>11.2f}x")


def measure_objects(rounds: int) -> None:
    """Print what capturing and restoring many objects takes, over `copy.deepcopy` of them."""
    annotations = [_Annotation(i) for i in range(810_000)]
    kinds: dict[str, Callable[[], Any]] = {
        "300,000 small objects": lambda: [_Annotation(i) for i in range(300_000)],
        "4,000 modules": lambda: nn.Sequential(
            *(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(1333))
        ),
    }
    print(f"\n{'':<44}{'seconds':>8}{'deepcopy':>10}{'ratio':>7}")
    for name, make in kinds.items():
        held = make()
        times = [
            (_cpu_seconds(lambda h=held: _attach(h)), _cpu_seconds(lambda h=held: copy.deepcopy(h)))
            for _ in range(rounds)
        ]
        taken, base = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        print(f"{name:<44}{taken:>8.2f}{base:>10.2f}{ratio:>7.2f}")
    loader = DataLoader(_Annotated(annotations), batch_size=None)
    taken = statistics.median(_cpu_seconds(lambda: _attach(None, loader)) for _ in range(rounds))
    print(f"{'a data set of 810,000 annotations':<44}{taken:>8.2f}")


class _Annotation:
    """A small object, as data sets hold them by the hundred thousand."""

    def __init__(self, index: int) -> None:
        self.index, self.label, self.box = index, index % 80, (0.0, 0.0, 1.0, float(index))


class _Annotated(Dataset[int]):
    """A data set of annotations."""

    def __init__(self, annotations: list[_Annotation]) -> None:
        self.annotations = annotations

    def __getitem__(self, index: int) -> int:
        return self.annotations[index].label

    def __len__(self) -> int:
        return len(self.annotations)


def _attach(held: object, loader: object = None) -> None:
    """Attach to a trainer whose step and state refer to some objects, and leave the block."""
    parameter = nn.Parameter(torch.zeros(1))
    trainer = Engine(lambda engine, batch: held)
    trainer.state.dataloader = loader  # type: ignore[assignment]  # a loader or None
    to_save = {"optimizer": torch.optim.SGD([parameter], lr=0.1)}
    with quiet(), FastaiLRFinder().attach(trainer, to_save):
        pass


def _cpu_seconds(run: Callable[[], object]) -> float:
    """Return the processor time that something takes."""
    gc.collect()
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _release_memory() -> None:
    """Return freed memory to the system, so that no finder profits from the previous one."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def measure_import(rounds: int) -> None:
    """Print the import time of the package on top of torch and Ignite."""
    code = (
        "import time, sys, torch, numpy, ignite.engine, ignite.handlers, ignite.distributed\n"
        "begin = time.perf_counter()\n"
        "import ignite_lrfinder\n"
        "print(1e3 * (time.perf_counter() - begin), 'matplotlib' in sys.modules)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        # Compiled once, in the first round, as it is where the package is installed.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(rounds + 1):
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            out = done.stdout.split()
            assert out[1] == "False"
            taken.append(float(out[0]))
    least = min(taken[1:])
    print(f"\nimport of the package beyond torch and Ignite: {least:.0f} ms, no matplotlib")


def _ratio(taken: Iterable[float], base: Iterable[float]) -> float:
    """Return the median over the rounds of the relative difference."""
    return statistics.median(a / b for a, b in zip(taken, base, strict=True)) - 1


def _difference(taken: Iterable[float], base: Iterable[float]) -> float:
    """Return the median over the rounds of the absolute difference."""
    return statistics.median(a - b for a, b in zip(taken, base, strict=True))


def _is_installed(name: str) -> bool:
    """Return whether a finder can be measured, and print why not."""
    try:
        importlib.import_module(_MODULES.get(name, "ignite"))
    except (ImportError, RuntimeError) as error:
        print(f"{name} is left out: {error}")
        return False
    return True


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure what finders cost.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--num-iter", type=int, default=500, help="a multiple of 250")
    parser.add_argument("--parameters", type=int, default=NUM_PARAMETERS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "one thread of the CPU"
    print(f"torch {torch.__version__}, {name}; medians of {args.rounds} rounds, a fifth where slow")
    # About half a millisecond and about twenty milliseconds per step on a CPU.
    for is_reading in (True, False):
        measure_iterations(300, args.num_iter, args.rounds, device, is_reading=is_reading)
    measure_training_after(300, max(2, args.rounds), device)
    slow = max(1, args.rounds // 5)
    measure_iterations(2500, 250, slow, device, is_reading=True)
    measure_snapshot(args.parameters, slow, device)
    measure_objects(slow)
    measure_import(slow)


if __name__ == "__main__":
    main()
