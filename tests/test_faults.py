"""Random trainings, sweeps and faults: after each step all is as in a twin without the finder.

`FAULT_CASES` says how many courses are tried; `make faults` tries 2,000.
"""

import contextlib
import copy
import errno
import gc
import multiprocessing
import os
import random
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from conftest import EVENTS, OPTIMIZERS, Net, data, seed_all
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import EMAHandler
from ignite.metrics import Loss, Metric, RunningAverage
from test_no_trace import assert_same
from torch import nn
from torch.utils.data import DataLoader, Dataset

import ignite_lrfinder
from ignite_lrfinder import FastaiLRFinder, LRFinderError, Trials
from ignite_lrfinder.snapshot.storage import OnDisk
from ignite_lrfinder.sweep.engine import handler_table
from ignite_lrfinder.sweep.measurement import Measurement

PACKAGE = os.path.dirname(ignite_lrfinder.__file__)
CASES = int(os.environ.get("FAULT_CASES", "200"))
BATCHES = 6


class Fault(Exception):  # it is no error of anything
    """What goes wrong, of a kind that nothing else raises."""


class Loose:
    """An object of a user's own in `to_save`, whose methods may fail."""

    def __init__(self) -> None:
        self.values = [0.0]
        self.fails_in = ""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        if self.fails_in == "state_dict":
            raise Fault
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state on."""
        if self.fails_in == "load_state_dict":
            raise Fault
        self.values = list(state["values"])


class Samples(Dataset):
    """Data of which one sample cannot be read, once, whichever process reads it."""

    def __init__(self) -> None:
        self.base = data(8 * BATCHES)
        # Not a tensor or a number: it is shared with the workers, and no state of the data.
        self.num_left = multiprocessing.Value("i", -1)

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        if self.num_left.value >= 0:
            with self.num_left.get_lock():
                self.num_left.value -= 1
                if self.num_left.value == -1:
                    raise Fault
        return self.base[index]


class Course:
    """A training with much that leaves traces, in which something may fail."""

    def __init__(self, optimizer: str, data_kind: str, has_scheduler: bool) -> None:
        seed_all(0)
        self.model = Net()
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.loose = Loose()
        self.generator = torch.Generator().manual_seed(4)
        generator = self.generator if data_kind == "own-generator" else None
        workers: dict[str, Any] = {}
        if "workers" in data_kind:
            workers = {"num_workers": 1, "persistent_workers": "persistent" in data_kind}
        self.samples = Samples()
        self.loader = DataLoader(self.samples, 8, shuffle=True, generator=generator, **workers)
        self.trainer = Engine(self.step)
        metrics: dict[str, Metric] = {"loss": Loss(nn.functional.cross_entropy)}
        self.evaluator = create_supervised_evaluator(self.model, metrics)
        RunningAverage(output_transform=lambda x: x).attach(self.trainer, "average")
        self.ema = EMAHandler(self.model, momentum=0.1)
        self.ema.attach(self.trainer)
        self.to_save: dict[str, Any] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "loose": self.loose,
        }
        if has_scheduler:
            scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: scheduler.step())
            self.to_save["scheduler"] = scheduler
        self.fails_in = ""
        self.countdown = 0

    def step(self, engine: Engine, batch: list[torch.Tensor]) -> float:
        """Train on a batch."""
        self.model.train()
        self.loose.values.append(random.random())
        del self.loose.values[:-3]

        def closure() -> float:
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
            loss.backward()
            return loss.item()

        # Not in the closure: an error there leaves torch's LBFGS unable to go on.
        self.maybe_fail("train_step")
        loss = self.optimizer.step(closure)
        self.maybe_fail("train_step")
        return loss

    def maybe_fail(self, where: str) -> None:
        """Raise what is to be raised here, when its time has come."""
        if self.fails_in == where:
            self.countdown -= 1
            if self.countdown < 0:
                raise Fault

    def batches(self) -> Iterator[Any]:
        """Give the loader's batches until it fails."""
        for batch in self.loader:
            self.maybe_fail("loader")
            yield batch

    def transform(self, output: float) -> float:
        """Return the loss."""
        self.maybe_fail("output_transform")
        return output

    def val_loss(self) -> float:
        """Return a validation loss."""
        self.maybe_fail("val_loss")
        return self.evaluator.run([data(8)[:]]).metrics["loss"]

    def state(self) -> list[Any]:
        """Return all that later training depends on."""
        table = handler_table(self.trainer)
        states = [
            {k: v for k, v in vars(engine.state).items() if k not in ("dataloader", "times")}
            for engine in (self.trainer, self.evaluator)
        ]
        return [
            self.model.state_dict(),
            [buffer for buffer in self.model.buffers()],
            [parameter.grad for parameter in self.model.parameters()],
            [module.training for module in self.model.modules()],
            self.optimizer.state_dict(),
            self.loose.values,
            self.generator.get_state(),
            self.ema.ema_model.state_dict(),
            self.to_save["scheduler"].state_dict() if "scheduler" in self.to_save else None,
            states,
            [
                (str(event), [entry[0] for entry in entries])
                for event, entries in table.items()
                if entries
            ],
            sorted(name for name in vars(self.trainer)),
            len(self.optimizer._optimizer_step_pre_hooks),
            "step" in vars(self.optimizer),
            "_get_iterator" in vars(self.loader),
        ]


def random_state() -> list[Any]:
    """Return the state of all global random generators."""
    return [torch.get_rng_state(), random.getstate(), np.random.get_state()]  # noqa: NPY002


def set_random_state(state: list[Any]) -> None:
    """Put all global random generators somewhere."""
    torch.set_rng_state(state[0])
    random.setstate(state[1])
    np.random.set_state(state[2])  # noqa: NPY002


def children() -> int:
    """Count the processes that this one started and that are still there."""
    return len(multiprocessing.active_children())


# Workers take long to start.
DATA_KINDS = ["shuffled", "own-generator"]
if CASES >= 1000:
    DATA_KINDS += ["workers", "persistent-workers"]
FAULTS = [
    "none",
    "train_step",
    "loader",
    "sample",
    "output_transform",
    "val_loss",
    "state_dict",
    "load_state_dict",
    "hook",
    "interrupt",
    "full-disk",
    *(f"event-{index}" for index in range(len(EVENTS))),
]


class Twins(RuleBasedStateMachine):
    """Two trainings that do the same, but for the sweeps that one of them has besides."""

    @initialize(
        optimizer=st.sampled_from(["sgd-momentum", "adam", "adam-tensor-lr", "lbfgs"]),
        data_kind=st.sampled_from(DATA_KINDS),
        has_scheduler=st.booleans(),
        finder_is_shared=st.booleans(),
    )
    def begin(
        self, optimizer: str, data_kind: str, has_scheduler: bool, finder_is_shared: bool
    ) -> None:
        """Make both."""
        self.mine = Course(optimizer, data_kind, has_scheduler)
        mine = random_state()
        self.twin = Course(optimizer, data_kind, has_scheduler)
        self.states = {id(self.mine): mine, id(self.twin): random_state()}
        self.finder = FastaiLRFinder() if finder_is_shared else None
        self.folder = Path(tempfile.mkdtemp())
        gc.collect()
        self.num_children = children()
        self.num_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self") else 0

    def both(self, act: Callable[[Course], object]) -> None:
        """Let both do something, each with its own random state."""
        for course in (self.mine, self.twin):
            set_random_state(self.states[id(course)])
            act(course)
            self.states[id(course)] = random_state()
        self.compare()

    def compare(self) -> None:
        """Both are the same, bit for bit, and nothing is left behind."""
        assert_same(self.mine.state(), self.twin.state(), "state")
        mine, twin = self.states[id(self.mine)], self.states[id(self.twin)]
        assert_same(mine, twin, "random state")
        assert not list(self.folder.iterdir())
        if os.path.isdir("/proc/self/fd") and self.mine.loader.num_workers == 0:
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) <= self.num_files + 2

    @rule(num_epochs=st.integers(1, 2))
    def train(self, num_epochs: int) -> None:
        """Train on for some epochs."""

        def act(course: Course) -> None:
            end = course.trainer.state.epoch + num_epochs
            course.trainer.run(course.loader, max_epochs=end)

        self.both(act)

    @rule(after=st.integers(1, 2 * BATCHES - 1))
    def stop_halfway(self, after: int) -> None:
        """Train, and stop in the middle of an epoch: the next run goes on with it."""

        def act(course: Course) -> None:
            at = course.trainer.state.iteration + after
            handle = course.trainer.add_event_handler(
                Events.ITERATION_COMPLETED(event_filter=lambda engine, event: event == at),
                lambda engine: engine.interrupt(),
            )
            course.trainer.run(course.loader, max_epochs=course.trainer.state.epoch + 2)
            handle.remove()

        self.both(act)

    @rule(after=st.integers(0, BATCHES))
    def fail_in_training(self, after: int) -> None:
        """Train, and fail in the train step."""

        def act(course: Course) -> None:
            course.fails_in, course.countdown = "train_step", after
            with contextlib.suppress(Fault):
                course.trainer.run(course.loader, max_epochs=course.trainer.state.epoch + 2)
            course.fails_in = ""

        self.both(act)

    @rule()
    def validate(self) -> None:
        """Run the evaluator."""
        self.both(lambda course: course.val_loss())

    @rule(
        fault=st.sampled_from(FAULTS),
        after=st.integers(0, 25),
        num_iter=st.integers(1, 20),
        step_mode=st.sampled_from(["exp", "linear"]),
        keep_handlers=st.sampled_from(["auto", "none"]),
        place=st.sampled_from(["cpu", "device", "directory"]),
        has_val_loss=st.booleans(),
        has_trials=st.booleans(),
        end_lr=st.sampled_from([0.5, 10.0, 1e12]),
    )
    def sweep(
        self,
        fault: str,
        after: int,
        num_iter: int,
        step_mode: str,
        keep_handlers: str,
        place: str,
        has_val_loss: bool,
        has_trials: bool,
        end_lr: float,
    ) -> None:
        """Sweep one of them, with something that may go wrong at any point."""
        course = self.mine
        set_random_state(self.states[id(course)])
        course.fails_in, course.countdown = fault, after
        course.loose.fails_in = fault
        course.samples.num_left.value = after if fault == "sample" else -1
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(self.broken(fault, after))
            with contextlib.suppress(Fault, LRFinderError, KeyboardInterrupt):
                finder = self.finder or FastaiLRFinder()
                with finder.attach(
                    course.trainer,
                    course.to_save,
                    output_transform=course.transform,
                    num_iter=num_iter,
                    start_lr=1e-6,
                    end_lr=end_lr,
                    step_mode=step_mode,
                    keep_handlers=keep_handlers,  # type: ignore[arg-type]  # one of the words
                    val_loss=course.val_loss if has_val_loss else None,
                    verify=Trials(max_iter=75, short_iter=10, long_iter=15)
                    if has_trials
                    else False,
                    snapshot=self.folder if place == "directory" else place,
                ) as trainer:
                    if fault.startswith("event-"):
                        self.fail_on(trainer, EVENTS[int(fault[6:])])
                    trainer.run(Again(course) if fault == "loader" else course.loader)
        course.fails_in = course.loose.fails_in = ""
        course.samples.num_left.value = -1
        self.states[id(course)] = random_state()
        self.forget_handlers()
        self.compare()

    def fail_on(self, trainer: Engine, event: Events) -> None:
        """Fail in a handler added inside the block."""

        def handler() -> None:
            self.mine.maybe_fail(self.mine.fails_in)

        self.handler = trainer.add_event_handler(event, handler)

    def forget_handlers(self) -> None:
        """Take away the handler that was added inside a block, as it stays."""
        handle = vars(self).pop("handler", None)
        if handle is not None:
            handle.remove()

    @contextlib.contextmanager
    def broken(self, fault: str, after: int) -> Iterator[None]:
        """Break one of the finder's own parts, for as long as a sweep takes."""
        if fault in ("hook", "interrupt"):
            target: tuple[Any, str] = (Measurement, "update")
            error: BaseException = Fault() if fault == "hook" else KeyboardInterrupt()
        elif fault == "full-disk":
            target = (OnDisk, "__call__")
            error = LRFinderError(os.strerror(errno.ENOSPC))
        else:
            yield
            return
        original, left = getattr(*target), [after]

        def failing(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            return _raise(error) if left[0] < 0 else original(*args, **kwargs)

        setattr(*target, failing)
        try:
            yield
        finally:
            setattr(*target, original)

    @precondition(lambda self: self.mine.loader.num_workers == 0)
    @rule()
    def count_processes(self) -> None:
        """No worker process of a sweep lives on."""
        assert children() <= self.num_children

    def teardown(self) -> None:
        """End the workers of loaders, and of a run that was stopped halfway."""
        if hasattr(self, "mine"):
            for course in (self.mine, self.twin):
                for iterator in (course.loader._iterator, course.trainer._dataloader_iter):
                    getattr(iterator, "_shutdown_workers", lambda: None)()
            self.folder.rmdir()


class FailAtLine:
    """Raise an error at the n-th line that the package runs, while it is switched on."""

    def __init__(self, num_left: int) -> None:
        self.num_left = num_left
        self.is_on = False

    def __call__(self, frame: types.FrameType, event: str, arg: object) -> object:
        """Follow the package's own functions, but for those that are to run to their end."""
        code = frame.f_code
        is_followed = code.co_filename.startswith(PACKAGE) and code.co_name != "attach"
        return self.at_line if is_followed and self.is_on else None

    def at_line(self, frame: types.FrameType, event: str, arg: object) -> object:
        """Count a line."""
        if event == "line" and self.is_on:
            self.num_left -= 1
            if self.num_left == 0:
                raise Fault
        return self.at_line


@pytest.mark.parametrize("phase", ["attach", "run"])
def test_an_error_at_any_line_of_the_finder_leaves_nothing(phase: str) -> None:
    """Wherever the package itself fails in attaching or sweeping, all is as it was."""
    course = Course("adam", "shuffled", has_scheduler=True)
    course.trainer.run(course.loader, max_epochs=1)
    before, rng = copy.deepcopy(course.state()[:-6]), random_state()
    kept = course.state()[-6:]
    num_lines = 1
    is_hit = True
    while is_hit:
        fail = FailAtLine(num_lines)
        debugger = sys.gettrace()
        sys.settrace(fail)  # type: ignore[arg-type]  # a callable object
        fail.is_on = phase == "attach"
        try:
            with contextlib.suppress(Fault), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with FastaiLRFinder().attach(course.trainer, course.to_save, num_iter=9) as t:
                    fail.is_on = phase == "run"
                    try:
                        t.run(course.loader)
                    finally:
                        fail.is_on = False
        finally:
            sys.settrace(debugger)
        is_hit = fail.num_left <= 0
        assert_same(course.state()[:-6], before, f"state after line {num_lines}")
        assert_same(course.state()[-6:], kept, f"what is left after line {num_lines}")
        assert_same(random_state(), rng, f"random state after line {num_lines}")
        num_lines += 31
    assert num_lines > 1000


class Again:
    """The batches of a course, which may fail; they begin again with each epoch."""

    def __init__(self, course: Course) -> None:
        self.course = course

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[Any]:
        return self.course.batches()


def _raise(error: BaseException) -> NoReturn:
    """Raise an error."""
    raise error


def test_whatever_goes_wrong_all_is_as_it_was() -> None:
    """Of random courses with random faults none leaves anything behind."""
    run_state_machine_as_test(
        Twins,
        settings=settings(
            max_examples=CASES,
            stateful_step_count=5,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
