"""Random trainings, sweeps and faults: after each step all is as in a twin without the finder.

`FAULT_CASES` says how many courses are tried; `make faults` tries 2,000, and a fault at every line.
"""

import contextlib
import copy
import gc
import multiprocessing
import os
import random
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from conftest import EVENTS, OPTIMIZERS, Net, data, seed_all
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import EMAHandler
from ignite.metrics import Loss, Metric, RunningAverage
from probe import Place, at_call, at_place, ctrl_c, full_disk, recording
from torch import nn
from torch.utils.data import DataLoader, Dataset
from twins import assert_same, end_workers, handlers_of, random_state, set_random_state

from ignite_lrfinder import FastaiLRFinder, LRFinderError, Trials

CASES = int(os.environ.get("FAULT_CASES", "24"))
IS_THOROUGH = CASES >= 1000
BATCHES = 6


class Fault(MemoryError):
    """A failure that nothing else raises, of the kind that any line may raise."""


class Loose:
    """A user-defined object in `to_save`, whose methods may fail."""

    def __init__(self) -> None:
        self.values = [0.0]
        self.fails_in = ""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        if self.fails_in == "state_dict":
            raise Fault
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state."""
        if self.fails_in == "load_state_dict":
            raise Fault
        self.values = list(state["values"])


class Samples(Dataset):
    """Data with a sample that fails once, whichever process reads it."""

    def __init__(self) -> None:
        self.base = data(8 * BATCHES)
        # Shared with the workers, and not part of the state of the data.
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
        self.has_scheduler = has_scheduler
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

        # Outside the closure: an error in it breaks torch's LBFGS for good.
        self.maybe_fail("train_step")
        loss = self.optimizer.step(closure)
        self.maybe_fail("train_step")
        return loss

    def maybe_fail(self, where: str) -> None:
        """Raise the fault of this place when its countdown is over."""
        if self.fails_in == where:
            self.countdown -= 1
            if self.countdown < 0:
                raise Fault

    def batches(self) -> Iterator[Any]:
        """Yield the loader's batches until one fails."""
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

    def state(self) -> dict[str, Any]:
        """Return everything that later training depends on."""
        states = [
            {k: v for k, v in vars(engine.state).items() if k not in ("dataloader", "times")}
            for engine in (self.trainer, self.evaluator)
        ]
        return {
            "model": self.model.state_dict(),
            "buffers": list(self.model.buffers()),
            "gradients": [parameter.grad for parameter in self.model.parameters()],
            "modes": [module.training for module in self.model.modules()],
            "optimizer": self.optimizer.state_dict(),
            "loose": self.loose.values,
            "generator": self.generator.get_state(),
            "average": self.ema.ema_model.state_dict(),
            "scheduler": self.to_save["scheduler"].state_dict() if self.has_scheduler else None,
            "states": states,
        }

    def leftovers(self) -> dict[str, Any]:
        """Return where a finder could leave something behind: handlers, hooks, attributes."""
        objects = (self.trainer, self.optimizer, self.loader, self.model)
        return {
            "handlers": handlers_of(self.trainer),
            "hooks": len(self.optimizer._optimizer_step_pre_hooks),
            "attributes": [sorted(vars(obj)) for obj in objects],
        }


def num_children() -> int:
    """Return the number of child processes that still run."""
    return len(multiprocessing.active_children())


def num_open_files() -> int:
    """Return the number of files that this process has open, where the system tells."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


DATA_KINDS = ["shuffled", "own-generator"]
if IS_THOROUGH:  # workers are slow to start
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
    "package",
    "ctrl-c",
    "full-disk",
    *(f"event-{index}" for index in range(len(EVENTS))),
]


def sweeps() -> st.SearchStrategy[dict[str, Any]]:
    """Draw how to sweep, and at which function call of the package a fault strikes."""
    return st.fixed_dictionaries(
        {
            "num_calls": st.integers(1, 5000),
            "num_iter": st.integers(1, 20),
            "step_mode": st.sampled_from(["exp", "linear"]),
            "keep_handlers": st.sampled_from(["auto", "none"]),
            "place": st.sampled_from(["cpu", "device", "directory"]),
            "has_val_loss": st.booleans(),
            "end_lr": st.sampled_from([0.5, 10.0, 1e12]),
        }
    )


class Twins(RuleBasedStateMachine):
    """Two identical trainings, one of which also runs sweeps."""

    optimizer = "adam"

    @initialize(
        data_kind=st.sampled_from(DATA_KINDS),
        has_scheduler=st.booleans(),
        finder_is_shared=st.booleans(),
    )
    def begin(self, data_kind: str, has_scheduler: bool, finder_is_shared: bool) -> None:
        """Make both."""
        self.mine = Course(self.optimizer, data_kind, has_scheduler)
        mine = random_state()
        self.twin = Course(self.optimizer, data_kind, has_scheduler)
        self.states = {id(self.mine): mine, id(self.twin): random_state()}
        self.finder = FastaiLRFinder() if finder_is_shared else None
        self.folder = Path(tempfile.mkdtemp())
        gc.collect()
        self.num_children, self.num_files = num_children(), num_open_files()

    def both(self, act: Callable[[Course], object]) -> None:
        """Do the same with both, each with its own random state."""
        for course in (self.mine, self.twin):
            set_random_state(self.states[id(course)])
            act(course)
            self.states[id(course)] = random_state()
        self.compare()

    def compare(self) -> None:
        """Compare both bit for bit, and check that nothing is left behind."""
        assert_same(self.mine.state(), self.twin.state(), "state")
        assert_same(self.mine.leftovers(), self.twin.leftovers(), "leftovers")
        mine, twin = self.states[id(self.mine)], self.states[id(self.twin)]
        assert_same(mine, twin, "random state")
        assert not list(self.folder.iterdir())
        if self.mine.loader.num_workers == 0:
            gc.collect()
            assert num_children() <= self.num_children
            assert num_open_files() <= self.num_files + 2

    @rule(num_epochs=st.integers(1, 2))
    def train(self, num_epochs: int) -> None:
        """Train for some more epochs, and validate."""

        def act(course: Course) -> None:
            end = course.trainer.state.epoch + num_epochs
            course.trainer.run(course.loader, max_epochs=end)
            course.val_loss()

        self.both(act)

    @rule(after=st.integers(1, 2 * BATCHES - 1))
    def stop_halfway(self, after: int) -> None:
        """Train, and stop in the middle of an epoch, which the next run continues."""

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
        """Train until the train step fails."""

        def act(course: Course) -> None:
            course.fails_in, course.countdown = "train_step", after
            with contextlib.suppress(Fault):
                course.trainer.run(course.loader, max_epochs=course.trainer.state.epoch + 2)
            course.fails_in = ""

        self.both(act)

    @rule(fault=st.sampled_from(FAULTS), after=st.integers(0, 25), how=sweeps())
    def sweep(self, fault: str, after: int, how: dict[str, Any]) -> None:
        """Sweep one of them, with a fault that may strike anywhere."""
        self.find(fault, after, how, verify=False)

    @rule(fault=st.sampled_from(FAULTS), after=st.integers(0, 60), how=sweeps())
    def sweep_with_trials(self, fault: str, after: int, how: dict[str, Any]) -> None:
        """Sweep one of them, followed by trials."""
        self.find(fault, after, how, verify=Trials(max_iter=75, short_iter=10, long_iter=15))

    def find(self, fault: str, after: int, how: dict[str, Any], verify: bool | Trials) -> None:
        """Run a finder on one of them until it ends or the fault strikes."""
        course = self.mine
        has_val_loss, place, num_calls = (
            how.pop(k) for k in ("has_val_loss", "place", "num_calls")
        )
        set_random_state(self.states[id(course)])
        course.fails_in, course.countdown = fault, after
        course.loose.fails_in = fault
        course.samples.num_left.value = after if fault == "sample" else -1
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            if fault == "full-disk":
                stack.enter_context(full_disk(1000 * after))
            if fault == "ctrl-c":
                stack.enter_context(ctrl_c_raises())
                stack.enter_context(at_call(num_calls, ctrl_c))
            # Without room on the disk a loader cannot start its workers.
            own = (OSError,) if fault == "full-disk" else ()
            with contextlib.suppress(Fault, LRFinderError, KeyboardInterrupt, *own):
                finder = self.finder or FastaiLRFinder()
                with finder.attach(
                    course.trainer,
                    course.to_save,
                    output_transform=course.transform,
                    start_lr=1e-6,
                    val_loss=course.val_loss if has_val_loss else None,
                    verify=verify,
                    snapshot=self.folder if place == "directory" else place,
                    **how,
                ) as trainer:
                    if fault.startswith("event-"):
                        self.fail_on(trainer, EVENTS[int(fault[6:])])
                    loader = Again(course) if fault == "loader" else course.loader
                    is_struck = fault == "package"
                    with at_call(num_calls, raise_fault) if is_struck else contextlib.nullcontext():
                        trainer.run(loader)
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
        """Remove the handler that was added inside a block: it outlives the block."""
        handle = vars(self).pop("handler", None)
        if handle is not None:
            handle.remove()

    def teardown(self) -> None:
        """End the workers of loaders, and of a run that was stopped halfway."""
        if hasattr(self, "mine"):
            for course in (self.mine, self.twin):
                end_workers(course.loader)
                getattr(course.trainer._dataloader_iter, "_shutdown_workers", lambda: None)()
            self.folder.rmdir()


class Again:
    """The batches of a course, which may fail; each epoch starts over."""

    def __init__(self, course: Course) -> None:
        self.course = course

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[Any]:
        return self.course.batches()


def raise_fault() -> NoReturn:
    """Fail."""
    raise Fault


@contextlib.contextmanager
def ctrl_c_raises() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, whatever the test runner made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam", "adam-tensor-lr", "lbfgs"])
def test_random_faults_leave_no_trace(optimizer: str) -> None:
    """Random courses of training and of sweeps with faults leave nothing behind."""
    run_state_machine_as_test(
        type("Twins", (Twins,), {"optimizer": optimizer}),
        settings=settings(
            max_examples=CASES // 4,
            stateful_step_count=5,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning")
@pytest.mark.parametrize("phase", ["attach", "run"])
def test_an_error_anywhere_in_the_package_leaves_no_trace(phase: str) -> None:
    """Wherever the package itself fails while it attaches or sweeps, everything is restored."""
    course = Course("adam", "shuffled", has_scheduler=True)
    course.trainer.run(course.loader, max_epochs=1)
    before, left, rng = copy.deepcopy(course.state()), course.leftovers(), random_state()

    def sweep(during: contextlib.AbstractContextManager[None]) -> None:
        phases = {"attach": contextlib.nullcontext(), "run": contextlib.nullcontext()}
        with contextlib.ExitStack() as stack:
            with {**phases, phase: during}["attach"]:
                block = FastaiLRFinder().attach(course.trainer, course.to_save, num_iter=9)
                trainer = stack.enter_context(block)
            with {**phases, phase: during}["run"]:
                trainer.run(course.loader)

    # What is cached at the first sweep does not run again.
    sweep(contextlib.nullcontext())
    places: list[Place] = []
    sweep(recording(places))
    assert len(places) > 300
    for place in places if IS_THOROUGH else places[::10]:
        # A few lines handle the errors of objects that are looked at.
        with contextlib.suppress(Fault):
            sweep(at_place(place, raise_fault))
        gc.enable()  # may have failed itself
        assert_same(course.state(), before, f"state after {place}")
        assert_same(course.leftovers(), left, f"leftovers of {place}")
        assert_same(random_state(), rng, f"random state after {place}")
