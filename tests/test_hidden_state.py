"""State that the code of a training reaches by ways that are hard to follow."""

import abc
import dataclasses
import functools
import io
import itertools
import logging
import random
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint.stateful
from ignite.engine import Engine, Events
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from twins import assert_same

from ignite_lrfinder import FastaiLRFinder, Trials
from ignite_lrfinder.protocols import Saveable

T = TypeVar("T")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


@dataclasses.dataclass
class Hidden:
    """A train step with state, and perhaps a handler that has to do with it."""

    step: Callable[[Engine], object]
    state: Callable[[], object]
    handler: Callable[..., object] | None = None
    event: Events = Events.ITERATION_STARTED


# Filled by the cases below, as a program's own modules are.
TEMPERATURE = 1.0
NOISE = torch.Generator().manual_seed(5)


class Counted(nn.Module):
    """A layer that a library derives a class from."""

    num_calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Draw from a global generator, and count in the class."""
        Counted.num_calls += 1
        return (x + torch.randn(2, generator=NOISE)) @ self.weight


class Stateful(torch.distributed.checkpoint.stateful.Stateful):
    """A counter with a protocol of torch.distributed, and more state than its state dict shows."""

    def __init__(self) -> None:
        self.num_seen = 0
        self.items: list[int] = []

    def state_dict(self) -> dict[str, Any]:
        """Return a part of the state."""
        return {"num_seen": self.num_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load it."""
        self.num_seen = state_dict["num_seen"]

    def count(self) -> None:
        """Count."""
        self.num_seen += 1
        self.items.append(self.num_seen)


class Cached:
    """Samples that are drawn once, and counted by a decorator that is an object."""

    @functools.cache  # noqa: B019  # as programs have it
    def __getitem__(self, index: int) -> float:
        return random.random()


class Numbered:
    """A decorator with state."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.num_calls = 0

    def __get__(self, obj: object, owner: type) -> Callable[..., object]:
        """Return a bound method, as a function would."""
        return functools.partial(self, obj)

    def __call__(self, *args: object) -> object:
        """Count and call."""
        self.num_calls += 1
        return self.function(*args)


class Decorated(nn.Module):
    """A module whose `forward` is an object."""

    @Numbered
    def forward(self) -> int:  # type: ignore[override]  # as programs have it
        """Return a number."""
        return 1


def of_derived_class() -> Hidden:
    """A class that a parametrization derives has the globals and variables of its base."""
    layer = nn.utils.parametrizations.spectral_norm(Counted())
    return Hidden(
        lambda engine: layer(torch.ones(2)), lambda: (Counted.num_calls, NOISE.get_state())
    )


def of_distributed_protocol() -> Hidden:
    """A protocol of torch.distributed makes no connection of a user class."""
    counter = Stateful()
    return Hidden(lambda engine: counter.count(), lambda: list(counter.items))


def of_special_method() -> Hidden:
    """A cache of a special method, which Python calls without its name."""
    samples = Cached()
    return Hidden(lambda engine: samples[0], lambda: Cached.__getitem__.cache_info().currsize)


def of_decorator() -> Hidden:
    """An object that stands in for a method that a library calls."""
    module = Decorated()
    return Hidden(lambda engine: module(), lambda: vars(Decorated)["forward"].num_calls)


def of_partial() -> Hidden:
    """Attributes of a partial."""

    def count(engine: Engine) -> None:
        step.num_calls += 1  # type: ignore[attr-defined]  # functions have attributes

    step = functools.partial(count)
    step.num_calls = 0  # type: ignore[attr-defined]
    return Hidden(lambda engine: step(engine), lambda: step.num_calls)  # type: ignore[attr-defined]


def of_global_of_handler() -> Hidden:
    """A global that a handler assigns and the train step reads."""

    def anneal() -> None:
        global TEMPERATURE
        TEMPERATURE *= 0.9

    return Hidden(lambda engine: TEMPERATURE, lambda: TEMPERATURE, anneal)


def of_variable_of_handler() -> Hidden:
    """A closure variable that a handler assigns and the train step reads."""
    rate = 1.0

    def anneal() -> None:
        nonlocal rate
        rate *= 0.9

    return Hidden(lambda engine: rate, lambda: rate, anneal)


def of_class_of_handler() -> Hidden:
    """An attribute of a class that a handler assigns and the train step reads."""

    class Config:
        mix = 1.0

    def anneal() -> None:
        Config.mix *= 0.9

    return Hidden(lambda engine: Config.mix, lambda: Config.mix, anneal)


def of_object_of_handler() -> Hidden:
    """An object that a handler gives to the train step, which fills it."""
    bank: list[int] = []

    def give(engine: Engine) -> None:
        engine.state.bank = bank  # type: ignore[attr-defined]  # a state has any

    return Hidden(
        lambda engine: engine.state.bank.append(1),  # type: ignore[attr-defined]
        lambda: list(bank),
        give,
        Events.STARTED,
    )


def of_longer_assignment() -> Hidden:
    """A class variable whose new value is looked up elsewhere under the same name."""

    class Total:
        num = 0

    sizes = {"num": 3}

    class Step:
        def __init__(self) -> None:
            self.num = sizes

        def __call__(self, engine: Engine) -> None:
            Total.num += self.num["num"]

    return Hidden(Step(), lambda: Total.num)


def of_code_without_a_name() -> Hidden:
    """A class of code that `exec` ran without a name seems to be built in."""
    names: dict[str, Any] = {}
    exec("class Run:\n    n = 0\n    def step(self, engine): Run.n += 1", names)
    return Hidden(names["Run"]().step, lambda: names["Run"].n)


def of_own_module() -> Hidden:
    """A variable of the module that the train step looks up by its own name."""

    def step(engine: Engine) -> None:
        sys.modules[__name__].TEMPERATURE *= 0.5  # type: ignore[attr-defined]

    return Hidden(step, lambda: TEMPERATURE)


def of_number_with_attributes() -> Hidden:
    """An attribute of a user-defined number."""

    class Rate(float):
        num_uses = 0

    rate = Rate(0.5)

    def step(engine: Engine) -> None:
        rate.num_uses += 1

    return Hidden(step, lambda: rate.num_uses)


def of_buffer_with_attributes() -> Hidden:
    """An attribute that a buffer gets in the sweep."""

    class Buffer(bytearray):
        pass

    buffer = Buffer(b"x")

    def step(engine: Engine) -> None:
        buffer.extend(b"y")
        buffer.length = len(buffer)  # type: ignore[attr-defined]  # it has any

    return Hidden(step, lambda: (bytes(buffer), vars(buffer).copy()))


def of_new_attribute_of_partial() -> Hidden:
    """An attribute that a partial gets in the sweep."""
    step = functools.partial(len, "x")

    def count(engine: Engine) -> None:
        vars(step)["num_calls"] = vars(step).get("num_calls", 0) + 1

    return Hidden(count, lambda: vars(step).copy())


def of_state_of_distributed() -> Hidden:
    """What torch.distributed counts for a training."""
    state = PowerSGDState(process_group=None)

    def step(engine: Engine) -> None:
        state.iter += 1

    return Hidden(step, lambda: state.iter)


def of_protocol_of_the_package() -> Hidden:
    """A class that says that it can be saved."""

    class Counter(Saveable):
        num_steps = 0

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            pass

    counter = Counter()

    def step(engine: Engine) -> None:
        counter.num_steps += 1

    return Hidden(step, lambda: counter.num_steps)


HIDDEN = [
    of_number_with_attributes,
    of_buffer_with_attributes,
    of_new_attribute_of_partial,
    of_state_of_distributed,
    of_protocol_of_the_package,
    of_derived_class,
    of_distributed_protocol,
    of_special_method,
    of_decorator,
    of_partial,
    of_global_of_handler,
    of_variable_of_handler,
    of_class_of_handler,
    of_object_of_handler,
    of_longer_assignment,
    of_code_without_a_name,
    of_own_module,
]


@pytest.mark.parametrize("make", HIDDEN, ids=lambda make: make.__name__)
def test_state_that_is_hard_to_find_is_restored(make: Callable[[], Hidden]) -> None:
    """However the code of a train step reaches its state, and whoever assigns it."""
    hidden, parameter = make(), nn.Parameter(torch.ones(()))
    optimizer, step = torch.optim.SGD([parameter], lr=1e-3), hidden.step

    def train_step(engine: Engine, batch: object) -> float:
        step(engine)
        parameter.square().backward()
        optimizer.step()
        return 1.0

    trainer, before = Engine(train_step), hidden.state()
    if hidden.handler is not None:
        trainer.add_event_handler(hidden.event, hidden.handler)
    with FastaiLRFinder().attach(trainer, optimizer, num_iter=5) as swept:
        swept.run([0] * 5)
    assert_same(hidden.state(), before, "state")
    trainer.run([0] * 5)
    with pytest.raises(AssertionError):
        assert_same(hidden.state(), before, "state")


class Record:
    """A class that the train step uses, and whose count only a handler reads."""

    num_seen = 0

    @staticmethod
    def use() -> None:
        """Do nothing."""


NUM_SEEN = 0


class Annealing:
    """A handler that counts in a slot."""

    __slots__ = ("__weakref__", "num_seen")

    def __init__(self) -> None:
        self.num_seen = 0

    def __call__(self) -> None:
        """Count."""
        self.num_seen += 1


class Lazy:
    """A handler that adds its count when it runs first, over a default of its class."""

    num_seen = 0

    def __call__(self) -> None:
        """Count."""
        self.num_seen += 1


class Once:
    """A handler that adds a flag, and counts how often it had none."""

    def __call__(self) -> None:
        """Set up once."""
        if not hasattr(self, "num_seen"):
            self.num_seen = 1


class OfNumPy:
    """A handler that counts with NumPy."""

    def __init__(self) -> None:
        self.num_seen = np.int64(0)

    def __call__(self) -> None:
        """Count."""
        self.num_seen = self.num_seen + 1


class Abstract(abc.ABC, Generic[T]):
    """A handler with base classes of the standard library, which have no state."""

    def __init__(self) -> None:
        self.num_seen = 0

    def __call__(self) -> None:
        """Count."""
        self.num_seen += 1


class Making:
    """A handler that makes a model when it runs first."""

    def __init__(self) -> None:
        self.num_seen: nn.Module | None = None

    def __call__(self) -> None:
        """Make it."""
        if self.num_seen is None:
            self.num_seen = nn.Linear(1, 1)


class Removing:
    """A handler that does something once, and then has no flag any longer."""

    def __init__(self) -> None:
        self.num_seen = 0

    def __call__(self) -> None:
        """Do it."""
        if hasattr(self, "num_seen"):
            del self.num_seen


def make_counting_function() -> Callable[[], None]:
    """Make a handler that counts in an attribute of itself."""

    def count() -> None:
        count.num_seen += 1  # type: ignore[attr-defined]  # set below

    count.num_seen = 0  # type: ignore[attr-defined]  # it is a function
    return count


class OfNamespace:
    """A handler that counts in an object of the standard library."""

    def __init__(self) -> None:
        self.state = types.SimpleNamespace(num_seen=0)

    @property
    def num_seen(self) -> int:
        """How often it ran."""
        return self.state.num_seen

    def __call__(self) -> None:
        """Count."""
        self.state.num_seen += 1


class Keeping:
    """A handler that keeps the last output, where it had nothing."""

    def __init__(self) -> None:
        self.num_seen: torch.Tensor | None = None

    def __call__(self) -> None:
        """Keep a tensor."""
        self.num_seen = torch.ones(5).sum()


class Ticker(threading.Thread):
    """A handler whose base class has state of its own."""

    num_seen = 0

    def __call__(self) -> None:
        """Count."""
        self.num_seen += 1


class Unbound:
    """A handler that fails when it is asked for its attributes, as a proxy without an object."""

    num_seen = 0

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # as proxies do
        """Fail."""
        raise RuntimeError

    def __call__(self) -> None:
        """Do nothing."""
        if self.num_seen:
            self.num_seen = 0


class Proxy:
    """A handler that fails when it is asked for its class."""

    num_seen = 0

    @property
    def __class__(self) -> Any:  # type: ignore[override]  # as proxies do
        """Fail."""
        raise RuntimeError

    def __call__(self) -> None:
        """Count."""
        self.num_seen += 1


def swept_with(handler: Callable[[], object]) -> None:
    """Sweep a training with a handler that runs at each of five iterations."""
    parameter = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        parameter.square().backward()
        optimizer.step()
        return 1.0

    trainer = Engine(train_step)
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: handler())
    with FastaiLRFinder().attach(trainer, optimizer, num_iter=5) as swept:
        swept.run([0] * 5)


@pytest.mark.parametrize(
    ("make", "num_seen"),
    [
        (Annealing, 0),
        (Lazy, 0),
        (Once, None),
        (OfNumPy, 0),
        (Abstract, 0),
        (Making, None),
        (Removing, 0),
        (make_counting_function, 0),
        (OfNamespace, 0),
        (Keeping, 5),
        (Ticker, 5),
        (Proxy, 0),
        (Unbound, 0),
    ],
)
def test_the_counters_of_a_handler_come_back(make: Callable[[], Any], num_seen: int | None) -> None:
    """A count says what a handler does next; what it keeps otherwise is the user's."""
    handler = make()
    swept_with(handler)
    assert getattr(handler, "num_seen", None) == num_seen


def test_what_a_user_assigns_in_the_block_stays() -> None:
    """Also where the code of a handler assigns it: what was set after the run is the user's."""

    class Experiment:
        def __init__(self) -> None:
            self.lr, self.beta, self.gamma = 0.0, 1.0, 1.0

        def anneal(self) -> None:
            self.beta *= 0.9
            self.gamma *= 0.9

    experiment, parameter = Experiment(), nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        parameter.square().backward()
        optimizer.step()
        return 1.0

    trainer = Engine(train_step)
    trainer.add_event_handler(Events.ITERATION_STARTED, experiment.anneal)
    with FastaiLRFinder().attach(trainer, optimizer, num_iter=5) as swept:
        swept.run([0] * 5)
        experiment.lr, experiment.gamma = 0.3, 0.5
    assert (experiment.lr, experiment.beta, experiment.gamma) == (0.3, 1.0, 0.5)


def test_what_a_handler_collects_stays() -> None:
    """Lists and dicts are a record, also beside a counter."""
    num_seen, seen, history = 0, list[int](), {"seen": list[int]()}

    def count() -> None:
        nonlocal num_seen
        num_seen += 1
        seen.append(num_seen)
        history["seen"].append(num_seen)

    swept_with(count)
    assert num_seen == 0
    assert seen == history["seen"] == [1, 2, 3, 4, 5]


def test_an_engine_that_a_handler_refers_to_is_left_to_the_run() -> None:
    """A trainer of a derived class goes through the epochs of a sweep like any other."""

    class Trainer(Engine):
        """An engine."""

    def events_of(cls: type[Engine]) -> list[tuple[int, int]]:
        parameter, seen = nn.Parameter(torch.ones(())), list[tuple[int, int]]()
        optimizer = torch.optim.SGD([parameter], lr=1e-3)

        def train_step(engine: Engine, batch: object) -> float:
            parameter.square().backward()
            optimizer.step()
            return parameter.item()

        trainer = cls(train_step)

        def log() -> None:
            seen.append((trainer.state.epoch, trainer.state.iteration))

        for event in (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED):
            trainer.add_event_handler(event, log)
        trials = Trials(max_iter=36, short_iter=12, long_iter=13)
        attached = FastaiLRFinder().attach(
            trainer, optimizer, num_iter=12, verify=trials, keep_handlers=[log]
        )
        with warnings.catch_warnings(), attached as swept:
            warnings.simplefilter("ignore")
            swept.run([0] * 5)
        return seen

    assert events_of(Trainer) == events_of(Engine)


def test_an_iterator_that_a_handler_moves_on_is_named() -> None:
    """By the handler, as the train step does not know it."""
    parameter, batches = nn.Parameter(torch.ones(())), (i for i in itertools.count())
    optimizer, finder = torch.optim.SGD([parameter], lr=1e-3), FastaiLRFinder()

    def train_step(engine: Engine, batch: object) -> float:
        parameter.square().backward()
        optimizer.step()
        return 1.0

    def draw(engine: Engine) -> None:
        engine.state.drawn = next(batches)  # type: ignore[attr-defined]  # as users do

    trainer = Engine(train_step)
    trainer.add_event_handler(Events.ITERATION_STARTED, draw)
    with (
        pytest.warns(UserWarning, match=r"could not restore these objects: draw\.<closure>"),
        finder.attach(trainer, optimizer, num_iter=5) as swept,
    ):
        swept.run([0] * 5)
    assert finder.result.not_restored == ("draw.<closure>.batches",)


@pytest.mark.parametrize("kind", ["closure", "global", "class"])
def test_what_a_handler_alone_counts_comes_back(kind: str) -> None:
    """A variable that says how often it has run, although the train step does not read it."""
    parameter, num_seen = nn.Parameter(torch.ones(())), 0
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def train_step(engine: Engine, batch: object) -> float:
        Record.use()
        parameter.square().backward()
        optimizer.step()
        return 1.0

    def in_closure() -> None:
        nonlocal num_seen
        num_seen += 1

    def in_global() -> None:
        global NUM_SEEN
        NUM_SEEN += 1

    def in_class() -> None:
        Record.num_seen += 1

    observers = {"closure": in_closure, "global": in_global, "class": in_class}
    trainer = Engine(train_step)
    trainer.add_event_handler(Events.ITERATION_STARTED, observers[kind])
    with FastaiLRFinder().attach(trainer, optimizer, num_iter=5) as swept:
        swept.run([0] * 5)
    counts = {"closure": num_seen, "global": NUM_SEEN, "class": Record.num_seen}
    assert counts[kind] == 0
    trainer.run([0] * 5)
    counts = {"closure": num_seen, "global": NUM_SEEN, "class": Record.num_seen}
    assert counts[kind] == 5


class Scaled(nn.Module):
    """A parametrization."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return half."""
        return x / 2


@pytest.mark.parametrize("is_removed", [False, True], ids=["registered", "removed"])
def test_a_second_parametrization_is_undone(is_removed: bool) -> None:
    """Torch keeps it as a property of a class that it made for the module."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    parametrize.register_parametrization(model[0], "weight", Scaled())
    if is_removed:
        parametrize.register_parametrization(model[0], "bias", Scaled())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train_step(engine: Engine, batch: torch.Tensor) -> float:
        if engine.state.iteration == 3 and is_removed:
            parametrize.remove_parametrizations(model[0], "bias")
        elif engine.state.iteration == 3:
            parametrize.register_parametrization(model[0], "bias", Scaled())
        loss = model(batch).square().sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer, data = Engine(train_step), [torch.ones(1, 2)] * 5
    names = set(dict(model.named_parameters()))
    with FastaiLRFinder().attach(trainer, optimizer, num_iter=5) as swept:
        swept.run(data)
    assert set(dict(model.named_parameters())) == names
    assert parametrize.is_parametrized(model[0], "bias") == is_removed
    trainer.run(data)
    assert parametrize.is_parametrized(model[0], "bias") != is_removed


def test_constants_of_torch_are_not_named() -> None:
    """Classes that C++ defines have a base class without a module."""
    parameter, seen = nn.Parameter(torch.ones(())), set()
    optimizer, finder = torch.optim.SGD([parameter], lr=1e-3), FastaiLRFinder()

    def train_step(engine: Engine, batch: object) -> float:
        with sdpa_kernel(SDPBackend.MATH):
            seen.add(SDPBackend.MATH.name)
        parameter.square().backward()
        optimizer.step()
        return 1.0

    with finder.attach(Engine(train_step), optimizer, num_iter=5) as swept:
        swept.run([0] * 5)
    assert finder.result.not_restored == ()


@pytest.mark.parametrize("mode", ["rb", "r", "r+b"])
def test_the_position_of_a_file_that_is_read_comes_back(mode: str, tmp_path: Path) -> None:
    """One that could be written is named, as it may have changed."""
    path, parameter = tmp_path / "lines", nn.Parameter(torch.ones(()))
    path.write_text("".join(f"{i}\n" for i in range(1000)))
    optimizer, finder = torch.optim.SGD([parameter], lr=1e-3), FastaiLRFinder()
    with path.open(mode) as file:
        for _ in range(3):
            file.readline()

        def train_step(engine: Engine, batch: object) -> float:
            file.readline()
            parameter.square().backward()
            optimizer.step()
            return 1.0

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with finder.attach(Engine(train_step), optimizer, num_iter=5) as swept:
                swept.run([0] * 5)
        assert int(file.readline()) == (8 if mode == "r+b" else 3)
        assert any("restore these objects" in str(w.message) for w in caught) == (mode == "r+b")


@pytest.mark.parametrize("is_kept", [False, True], ids=["dropped", "kept"])
def test_objects_of_a_generator_that_ended_with_the_sweep_are_restored(is_kept: bool) -> None:
    """They are left to it only if it goes on, and then it is named."""
    parameter, config = nn.Parameter(torch.ones(())), {"size": 8, "num_steps": 0}
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def batches() -> Iterator[torch.Tensor]:
        shown = config
        while True:
            yield torch.ones(shown["size"])

    def train_step(engine: Engine, batch: torch.Tensor) -> float:
        config["num_steps"] += 1
        parameter.square().backward()
        optimizer.step()
        return 1.0

    trainer, finder = Engine(train_step), FastaiLRFinder()
    kept = [batches()] if is_kept else []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with finder.attach(trainer, optimizer, num_iter=5) as swept:
            swept.run(kept[0] if is_kept else batches(), epoch_length=5)
    is_named = any("restore these objects: data." in str(warning.message) for warning in caught)
    assert (config["num_steps"], is_named) == ((5, True) if is_kept else (0, False))
    assert finder.result.not_restored == (("data",) if is_kept else ())


def test_a_logger_of_a_user_class_is_not_named() -> None:
    """It caches which levels are enabled, which is no state of a training."""

    class Logger(logging.Logger):
        pass

    parameter, log = nn.Parameter(torch.ones(())), Logger("of the test")
    optimizer, finder = torch.optim.SGD([parameter], lr=1e-3), FastaiLRFinder()

    def train_step(engine: Engine, batch: object) -> float:
        log.debug("a step")
        parameter.square().backward()
        optimizer.step()
        return 1.0

    with finder.attach(Engine(train_step), optimizer, num_iter=5) as swept:
        swept.run([0] * 5)
    assert finder.result.not_restored == ()


def test_dates_of_a_data_frame_are_not_named() -> None:
    """Pandas fills a cache at the first look at a row, which is no change of the data."""
    pandas = pytest.importorskip("pandas")
    parameter = nn.Parameter(torch.ones(()))
    optimizer, finder = torch.optim.SGD([parameter], lr=1e-3), FastaiLRFinder()
    table = "t,y\n2020-01-01,1.0\n2020-01-02,2.0\n"
    frame = pandas.read_csv(io.StringIO(table), parse_dates=["t"])

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(frame)

        def __getitem__(self, index: int) -> float:
            row = frame.iloc[index]
            return float(row["y"]) + row["t"].day

    def train_step(engine: Engine, batch: object) -> float:
        parameter.square().backward()
        optimizer.step()
        return 1.0

    with finder.attach(Engine(train_step), optimizer, num_iter=5) as swept:
        swept.run(torch.utils.data.DataLoader(Rows()))
    assert finder.result.not_restored == ()
