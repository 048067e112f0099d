"""Small programs with the shape of real ones train after a block as they would without it."""

import importlib
import inspect
import itertools
import logging
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Log, seed_all
from ignite.engine import Engine, Events
from programs import Program, log
from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]  # it is generated
from twins import assert_same, random_state

from ignite_lrfinder import FastaiLRFinder, Trials
from ignite_lrfinder.sweep.optimizers import stepping_optimizers

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("programs/[!_]*.py"))
TRIALS = Trials(max_iter=75, short_iter=10, long_iter=15)
OPTIONAL = ("accelerate", "monai")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
    # MONAI passes deprecated arguments to Ignite.
    pytest.mark.filterwarnings("ignore:'(min|cumulative)_delta':DeprecationWarning"),
]


class Lines(logging.Handler):
    """What the loggers of programs, and of Ignite's handlers, write."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = Log()

    def emit(self, record: logging.LogRecord) -> None:
        """Store a line."""
        self.lines.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[Log]:
    """Return the lines that the program logs, from here on."""
    handler = Lines()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler.lines
    log.removeHandler(handler)


@pytest.mark.parametrize("verify", [False, TRIALS], ids=["sweep", "trials"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_trains_after_a_block_as_without_it(
    name: str, verify: bool | Trials, tmp_path: Path, lines: Log
) -> None:
    """Weights, states, files and lines are the same, rates are exact, STARTED runs once."""
    without, swept = tmp_path / "without", tmp_path / "swept"
    program = build(name, without)
    expected_at_once = observations(program, without)
    lines.clear()
    program.run()
    expected = observations(program, without)
    expected_lines = list(lines)

    program = build(name, swept)
    lines.clear()
    sweep(program, verify)
    assert list(lines) == list(program.lines_at_start)
    lines.clear()
    assert_same(observations(program, swept), expected_at_once, "at once")
    program.run()
    assert_same(observations(program, swept), expected, "later")
    assert list(lines) == expected_lines
    assert len(expected_lines) > 0


@pytest.mark.parametrize("name", ["accumulation", "common_setup", "dqn", "gan", "mean_teacher"])
def test_a_program_that_is_swept_halfway_ends_as_without_it(
    name: str, tmp_path: Path, lines: Log
) -> None:
    """A sweep with trials inside a run, as its second epoch begins, leaves no trace in it."""
    ends = []
    for is_swept in (False, True):
        directory = tmp_path / str(is_swept)
        program = build(name, directory)
        lines.clear()
        sweeps = run_with_sweep(program, lines, is_swept=is_swept)
        assert len(sweeps) == is_swept
        ends.append((observations(program, directory), list(lines)))
    assert_same(ends[1], ends[0])


def run_with_sweep(program: Program, lines: Log, *, is_swept: bool) -> Log:
    """Run a program, and sweep at the start of its second epoch; return the sweeps."""
    epochs, sweeps = Log(), Log()

    def on_epoch_started() -> None:
        epochs.append(1)
        if is_swept and len(epochs) == 2:
            num_lines = len(lines)
            sweep(program, TRIALS)
            assert list(lines)[num_lines:] == list(program.lines_at_start)
            lines[:] = list(lines)[:num_lines]
            sweeps.append(1)

    program.trainer.add_event_handler(Events.EPOCH_STARTED, on_epoch_started)
    program.run()
    return sweeps


def build(name: str, directory: Path) -> Program:
    """Build a program, always from the same random state."""
    for package in OPTIONAL:
        if name.startswith(package):
            pytest.importorskip(package)
    directory.mkdir()
    seed_all(0)
    return importlib.import_module(f"programs.{name}").build(directory)


def sweep(program: Program, verify: bool | Trials) -> None:
    """Sweep, and check which rates the steps used and how often STARTED ran."""
    used, starts = Log(), Log()
    optimizer = getattr(program.to_save, "get", lambda key: program.to_save)("optimizer")
    (stepping,) = stepping_optimizers(optimizer)
    assert isinstance(stepping, torch.optim.Optimizer)

    def note(optimizer: torch.optim.Optimizer, *args: object) -> None:
        used.append([group["lr"] for group in optimizer.param_groups])

    handles = [stepping.register_step_pre_hook(note)]
    handler = program.trainer.add_event_handler(Events.STARTED, lambda: starts.append(1))
    settings = {"num_iter": 25, "start_lr": 1e-5, "end_lr": 0.1, "diverge_th": math.inf}
    finder = FastaiLRFinder()
    with finder.attach(
        program.trainer, program.to_save, verify=verify, **{**settings, **program.arguments}
    ):
        program.run()
    handler.remove()
    for handle in handles:
        handle.remove()
    result = finder.result
    tested = result.lr.tolist()
    for trial in result.trials:
        tested += [list(result.reading.lrs_at(trial.lr))] * len(trial.losses)
    assert without_repeats(used) == without_repeats(tested)
    assert len(result) == 25
    assert bool(result.trials) == (verify is not False)
    assert len(starts) == 1
    assert result.not_restored == ()


def without_repeats(rates: Any) -> list[list[float]]:
    """Return the rates that follow one another, each once."""
    return [rate for rate, _ in itertools.groupby(rates)]


def observations(program: Program, directory: Path) -> dict[str, object]:
    """Return all that a program consists of and has written."""
    return {
        "state": {
            name: plain(obj() if inspect.isfunction(obj) else obj)
            for name, obj in program.state.items()
        },
        "trainer.state": plain(program.trainer),
        "random state": random_state(),
        "files": files_of(directory),
    }


def plain(obj: Any) -> object:
    """Return the state of an object of a training as plain data that later training leaves."""
    if isinstance(obj, Engine):
        hidden = ("times", "dataloader")
        return plain({k: v for k, v in vars(obj.state).items() if k not in hidden})
    if isinstance(obj, torch.nn.Module):
        modes = [module.training for module in obj.modules()]
        return plain([obj.state_dict(), modes, [p.grad for p in obj.parameters()]])
    if isinstance(obj, dict):
        return {key: plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [plain(value) for value in obj]
    if isinstance(obj, torch.Tensor):
        return obj.detach().clone()
    if isinstance(obj, np.random.Generator):
        return plain(obj.bit_generator.state)
    if hasattr(obj, "state_dict"):
        return plain(obj.state_dict())
    return obj


def files_of(directory: Path) -> dict[str, object]:
    """Return the contents of the files that a program has written."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return dict(content_of(path, directory) for path in paths)


def content_of(path: Path, directory: Path) -> tuple[str, object]:
    """Return the name of a file and what it holds, without times."""
    name = str(path.relative_to(directory))
    if path.name.startswith("events.out.tfevents"):
        return str(path.relative_to(directory).parent), list(scalars_of(path.read_bytes()))
    if path.suffix in (".pt", ".pth"):
        return name, plain(torch.load(path, weights_only=False))
    return name, path.read_bytes()


def scalars_of(events: bytes) -> Iterator[tuple[str, int, float]]:
    """Iterate over the scalars in a file of TensorBoard events."""
    start = 0
    while start < len(events):
        (length,) = struct.unpack_from("<Q", events, start)
        event = Event.FromString(events[start + 12 : start + 12 + length])
        for value in event.summary.value:
            yield value.tag, event.step, value.simple_value
        start += 16 + length
