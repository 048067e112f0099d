"""Whatever holds the state of a train step, and whatever the state is, training goes on as without.

Each training is compared bit for bit with a twin that had no sweep. What cannot be restored is
named by its path.
"""

import array
import asyncio
import collections
import concurrent.futures
import contextvars
import ctypes
import dataclasses
import dbm.dumb
import decimal
import enum
import functools
import hashlib
import io
import itertools
import logging
import mmap
import multiprocessing
import os
import pickle
import queue
import random
import re
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import types
import unittest.mock
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Log, seed_all
from ignite.engine import Engine, Events
from PIL import Image
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder import FastaiLRFinder

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]

Use = Callable[[Any], object]


class Slotted:
    """An object with a slot."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


@dataclasses.dataclass
class Stateful:
    """An object with a state dict."""

    count: int = 0

    def state_dict(self) -> dict[str, int]:
        """Return the state."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Load the state."""
        self.count = state["count"]


class Sealed(nn.Linear):
    """A layer whose class changes while it trains."""


class Other(Sealed):
    """The class that it changes to."""


def increment(obj: Any) -> int:
    """Add 1 to a count."""
    obj.count += 1
    return obj.count


def add_key(obj: dict[Any, Any]) -> list[Any]:
    """Add a key to a dict, and move the oldest one to its end."""
    obj[len(obj)] = 1
    first = next(iter(obj))
    obj[first] = obj.pop(first) + 1
    return list(obj.items())


def add_element(obj: set[int]) -> list[int]:
    """Add an element to a set."""
    obj.add(max(obj) + 1)
    return sorted(obj)


def append(obj: Any) -> list[Any]:
    """Append to a sequence, and remove what is oldest."""
    obj.append(len(obj) + obj[0])
    del obj[0]
    return list(obj)


def add_in_place(obj: Any) -> list[Any]:
    """Add 1 to the first element."""
    obj[0] += 1
    return obj.tolist()


def change_class(layer: nn.Module) -> str:
    """Toggle the class of an object."""
    layer.__class__ = Other if type(layer) is Sealed else Sealed
    return type(layer).__name__


def weak_count(obj: Any) -> list[int]:
    """Count in a dictionary of weak references."""
    for key in obj[0]:
        obj[0][key] += 1
    return list(obj[0].values())


def weak_dict() -> tuple[Any, Any]:
    """Make a dictionary of weak references, and what keeps its key alive."""
    key = random.Random()
    return weakref.WeakKeyDictionary({key: 0}), key


def average(model: AveragedModel) -> list[float]:
    """Update an averaged model."""
    model.update_parameters(nn.Linear(1, 1))
    return [p.sum().item() for p in model.parameters()]


def normalize(layer: nn.BatchNorm1d) -> list[float]:
    """Let a layer update its statistics."""
    layer(torch.randn(4, 2))
    return layer.running_mean.tolist()  # type: ignore[union-attr]  # it has statistics


def step(optimizer: torch.optim.Optimizer) -> list[float]:
    """Take a step of another optimizer."""
    [parameter] = optimizer.param_groups[0]["params"]
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return parameter.tolist()


def schedule(scheduler: Any) -> float:
    """Change a scheduler, whose own steps are not taken in a sweep."""
    scheduler.gamma *= 0.5
    scheduler.base_lrs[0] += 1.0
    return scheduler.base_lrs[0] * scheduler.gamma


def read(loader: DataLoader[Any]) -> list[Any]:
    """Read an epoch."""
    return [batch.tolist() for batch in loader]


def write(file: io.BytesIO) -> bytes:
    """Write to a file in memory."""
    file.write(b"ab")
    return file.getvalue()


def take(obj: queue.Queue[int]) -> list[int]:
    """Take from a queue and put something back."""
    obj.put(obj.get() + 1)
    return list(obj.queue)


def write_frame(frame: pd.DataFrame) -> list[Any]:
    """Write to a frame in place, and add a column."""
    frame.loc[0, "a"] += 1
    frame[f"b{frame.shape[1]}"] = 1.0
    return frame.to_numpy().tolist() + list(frame.columns)


def scripted() -> nn.Module:
    """Make a TorchScript module with a counter."""
    return torch.jit.script(Counting())


class Counting(nn.Module):
    """A module with attributes that its forward pass changes."""

    count: int

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.register_buffer("total", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count the calls."""
        self.count += 1
        self.total = self.total + x
        return self.total + self.count


def parameter() -> nn.Parameter:
    """Make a parameter with a gradient."""
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return parameter


def register(parameter: nn.Parameter) -> list[float]:
    """Register hooks on a tensor, which double its gradient."""
    parameter.register_hook(lambda grad: grad * 2)
    parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", p.grad + 1))
    parameter.grad = None
    parameter.sum().backward()
    assert parameter.grad is not None
    return parameter.grad.tolist()


def lr_scheduler() -> Any:
    """Make a scheduler with an optimizer."""
    return torch.optim.lr_scheduler.ExponentialLR(torch.optim.SGD([parameter()], lr=1.0), 0.5)


def thread_local() -> threading.local:
    """Make an object with other attributes in each thread."""
    local = threading.local()
    local.count = 0
    return local


def draw(number: int) -> float:
    """Draw a number."""
    return random.random()


def draw_cached(obj: tuple[Callable[[int], float], list[int]]) -> float:
    """Draw a number that a cache keeps."""
    obj[1][0] += 1
    return obj[0](obj[1][0])


def run_inner(engine: Engine) -> tuple[int, int]:
    """Run an engine for an epoch more."""
    engine.run([1, 2], max_epochs=engine.state.epoch + 1)
    return engine.state.iteration, engine.state.epoch


def insert_column(frame: pd.DataFrame) -> list[Any]:
    """Insert a column before the others."""
    frame.insert(0, f"b{frame.shape[1]}", 1.0)
    return list(frame.columns)


def write_series(series: pd.Series) -> dict[Any, Any]:
    """Write to a series, and append to it."""
    series["a"] += 1
    series.loc[f"n{len(series)}"] = 3.0
    return series.to_dict()


class Key:
    """A key whose hash changes."""

    def __init__(self) -> None:
        self.value = 0

    def __hash__(self) -> int:
        """Return the value."""
        return self.value

    def __eq__(self, other: object) -> bool:
        """Compare values."""
        return isinstance(other, Key) and other.value == self.value


def change_hash(obj: tuple[Key, dict[Key, int]]) -> int:
    """Take a key out, change its hash, and put it back with the same value."""
    key, counts = obj
    count = counts.pop(key)
    key.value += 1
    counts[key] = count
    return key.value


def change_hash_in_set(obj: tuple[Key, set[Key]]) -> int:
    """Take an element out, change its hash, and put it back."""
    key, keys = obj
    keys.remove(key)
    key.value += 1
    keys.add(key)
    return key.value


def grow(element: ElementTree.Element) -> str:
    """Add a child to an element, and write to the first one."""
    ElementTree.SubElement(element, f"child{len(element)}")
    element[0].text = f"{element[0].text}."
    element.set("size", str(len(element)))
    return ElementTree.tostring(element, "unicode")


def divide(context: decimal.Context) -> str:
    """Divide with one digit more each time."""
    context.prec += 1
    quotient = context.divide(decimal.Decimal(1), decimal.Decimal(3))
    return f"{quotient} {sum(context.flags.values())}"


class CountingGenerator(random.Random):
    """A random generator with a counter."""

    count = 0

    def random(self) -> float:
        """Count the numbers."""
        self.count += 1
        return super().random()


def settings_module() -> Any:
    """Make a user module with a variable."""
    module: Any = types.ModuleType("settings")
    module.count = 0
    return module


class Phase(enum.Enum):
    """Phases of a training, which count."""

    WARM_UP = 1
    MAIN = 2


def reset_phases() -> type[Phase]:
    """Make the phases count from 0."""
    for phase in Phase:
        phase.count = 0  # type: ignore[attr-defined]  # users do
    return Phase


def count_phases(phases: type[Phase]) -> list[int]:
    """Count in each member of an enumeration."""
    return [increment(phase) for phase in phases]


class Ambiguous(dict):
    """A dict that refuses to be true or false, as sparse matrices do."""

    def __bool__(self) -> bool:
        """Refuse."""
        raise ValueError("on purpose")


def counting_function() -> Callable[..., int]:
    """Make a function whose defaults change."""

    def function(count: int = 0, *, step: int = 1) -> int:
        function.__defaults__ = (count + step,)
        function.__kwdefaults__ = {"step": step + 1}
        return count

    return function


def read_only_view() -> np.ndarray:
    """Make an array that cannot be written, of one that can."""
    view = np.zeros(3)[:]
    view.flags.writeable = False
    return view


def write_base(array: np.ndarray) -> list[float]:
    """Write to what an array is a view of."""
    assert array.base is not None
    array.base[0] += 1
    return array.tolist()


def write_extension_arrays(frame: pd.DataFrame) -> dict[Any, Any]:
    """Write to columns that are not NumPy's."""
    frame.loc[0, "date"] += pd.Timedelta(days=1)
    frame.loc[0, "text"] += "a"
    frame.loc[0, "number"] += 1
    return frame.to_dict("list")


def write_bytes(storage: Any) -> list[int]:
    """Add 1 to the first element of a storage."""
    storage[0] = storage[0] + 1
    return storage.tolist()


STATES: dict[str, tuple[Callable[[], Any], Use]] = {
    "python-generator": (lambda: random.Random(1), lambda o: o.random()),
    "numpy-generator": (lambda: np.random.default_rng(1), lambda o: o.random()),
    "legacy-generator": (lambda: np.random.RandomState(1), lambda o: o.standard_normal()),
    "torch-generator": (
        lambda: torch.Generator().manual_seed(1),
        lambda o: torch.rand((), generator=o).item(),
    ),
    "method-of-generator": (lambda: np.random.default_rng(1).normal, lambda o: o()),
    "partial-of-generator": (
        lambda: functools.partial(random.Random(1).uniform, 0, 1),
        lambda o: o(),
    ),
    "batch-norm": (lambda: nn.BatchNorm1d(2), normalize),
    "averaged-model": (lambda: AveragedModel(nn.Linear(1, 1)), average),
    "frozen-module": (lambda: nn.BatchNorm1d(2).requires_grad_(False), normalize),
    "script-module": (scripted, lambda o: o(torch.ones(1)).item()),
    "class": (lambda: Sealed(1, 1), change_class),
    "class-attribute": (lambda: type("Counted", (), {"count": 0}), increment),
    "hooks": (parameter, register),
    "optimizer": (lambda: torch.optim.Adam([nn.Parameter(torch.ones(2))]), step),
    "scheduler": (lr_scheduler, schedule),
    "loader": (
        lambda: DataLoader(range(6), 2, shuffle=True, generator=torch.Generator()),  # type: ignore[arg-type]  # a range will do
        read,
    ),
    "state-dict": (Stateful, increment),
    "namespace": (lambda: types.SimpleNamespace(count=0), increment),
    "slot": (lambda: Slotted(0), lambda o: setattr(o, "value", o.value + 1) or o.value),
    "list": (lambda: [1, 2], append),
    "deque": (lambda: collections.deque([1, 2], maxlen=3), append),
    "long-list": (lambda: list(range(3000)), append),
    "dict": (lambda: {0: 1, 1: 2}, add_key),
    "ordered-dict": (lambda: collections.OrderedDict({0: 1, 1: 2}), add_key),
    "set": (lambda: {1, 2}, add_element),
    "objects-in-set": (
        lambda: {types.MethodType(increment, Stateful())},
        lambda o: [f() for f in o],
    ),
    "weak-dictionary": (weak_dict, weak_count),
    "tensor": (lambda: torch.zeros(3), add_in_place),
    "array": (lambda: np.zeros((2, 2))[:, 0], add_in_place),
    "object-array": (
        lambda: np.array([[1], None], dtype=object)[:1],
        lambda o: o[0].append(2) or list(o[0]),
    ),
    "array.array": (lambda: array.array("i", [1, 2]), append),
    "bytearray": (lambda: bytearray(b"ab"), lambda o: o.append(1) or bytes(o)),
    "bytes-io": (io.BytesIO, write),
    "shared-value": (
        lambda: multiprocessing.Value("i", 0),
        lambda o: setattr(o, "value", o.value + 1) or o.value,
    ),
    "shared-array": (
        lambda: multiprocessing.Array("i", 2),
        lambda o: o.__setitem__(0, o[0] + 1) or list(o),
    ),
    "ctypes": (
        lambda: ctypes.c_int(0),
        lambda o: setattr(o, "value", o.value + 1) or o.value,
    ),
    "queue": (lambda: filled_queue(), take),
    "data-frame": (lambda: pd.DataFrame({"a": [1.0, 2.0]}), write_frame),
    "data-frame-columns": (lambda: pd.DataFrame({"a": [1.0]}), insert_column),
    "series": (lambda: pd.Series([1.0, 2.0], index=["a", "b"]), write_series),
    "spawned-generators": (lambda: np.random.default_rng(1), lambda o: o.spawn(1)[0].random()),
    "seed-sequence": (
        lambda: np.random.SeedSequence(1),
        lambda o: o.spawn(1)[0].generate_state(1).tolist(),
    ),
    "record": (
        lambda: np.zeros(1, dtype=[("a", "i4"), ("b", "f8", (2,))])[0],
        lambda o: o.__setitem__("a", o["a"] + 1) or o.tolist(),
    ),
    "view-of-dict": (lambda: {0: [1]}.values(), lambda o: [e.append(2) or len(e) for e in o]),
    "thread-local": (thread_local, increment),
    "context-variable": (
        lambda: contextvars.ContextVar("variable", default=0),
        lambda o: o.set(o.get() + 1) and o.get(),
    ),
    "engine": (lambda: Engine(lambda engine, batch: batch), run_inner),
    "mock": (
        lambda: unittest.mock.MagicMock(count=0),
        lambda o: (o.method(), increment(o), o.method.call_count)[1:],
    ),
    "module": (settings_module, increment),
    "element-tree": (lambda: ElementTree.fromstring("<a><b>text</b></a>"), grow),
    "decimal-context": (lambda: decimal.Context(prec=5), divide),
    "changing-hash": (lambda: (key := Key(), {key: 0}), change_hash),
    "changing-hash-in-set": (lambda: (key := Key(), {key}), change_hash_in_set),
    "untyped-storage": (lambda: torch.zeros(2, dtype=torch.uint8).untyped_storage(), write_bytes),
    "typed-storage": (lambda: typed_storage(), write_bytes),
    "generator-with-attributes": (lambda: CountingGenerator(1), lambda o: (o.random(), o.count)),
    "enumeration": (reset_phases, count_phases),
    "ambiguous-dict": (lambda: Ambiguous({0: 1, 1: 2}), add_key),
    "function": (counting_function, lambda o: o()),
    "function-without-attributes": (
        lambda: lambda: None,
        lambda o: (setattr(o, "calls", getattr(o, "calls", 0) + 1), o.calls)[1],
    ),
    "exception": (
        lambda: ValueError(1),
        lambda o: setattr(o, "args", (o.args[0] + 1,)) or o.args,
    ),
    "read-only-array": (read_only_view, write_base),
    "structured-array": (
        lambda: np.array([(1, [])], dtype=[("a", "i4"), ("b", object)]),
        lambda o: o["b"][0].append(1) or str(o),
    ),
    "structured-record": (
        lambda: np.array([(1, [])], dtype=[("a", "i4"), ("b", object)])[0],
        lambda o: o["b"].append(1) or str(o),
    ),
    "extension-arrays": (
        lambda: pd.DataFrame(
            {
                "date": pd.to_datetime(["2026-01-01"]),
                "text": pd.array(["a"], dtype="string"),
                "number": pd.array([1], dtype="Int64"),
            }
        ),
        write_extension_arrays,
    ),
    "cache": (lambda: (functools.cache(draw), [0]), draw_cached),
}


def typed_storage() -> Any:
    """Make a storage with a type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.FloatStorage(2).fill_(0)


def filled_queue() -> queue.Queue[int]:
    """Make a queue with an item."""
    items: queue.Queue[int] = queue.Queue()
    items.put(1)
    return items


HOLDERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    # how a state is held, and how it is taken out
    "itself": (lambda state: state, lambda held: held),
    "list": (lambda state: [0, [state]], lambda held: held[1][0]),
    "tuple": (lambda state: (0, (state,)), lambda held: held[1][0]),
    "dict": (lambda state: {"a": {"b": state}}, lambda held: held["a"]["b"]),
    "attribute": (lambda state: types.SimpleNamespace(a=state), lambda held: held.a),
    "slot": (Slotted, lambda held: held.value),
    "module-list": (
        lambda state: nn.ModuleList([Holding(state)]),
        lambda held: held[0].state,
    ),
    "partial": (lambda state: functools.partial(print, state), lambda held: held.args[0]),
    "long-list": (lambda state: [[] for _ in range(2000)] + [state], lambda held: held[-1]),
}


class Holding(nn.Module):
    """A module with something as an attribute."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state


GLOBAL: Any = None


class Program:
    """A callable train step."""

    def __init__(self, held: Any, use: Use) -> None:
        self.held, self.use = held, use

    def __call__(self, engine: Engine, batch: Any) -> object:
        """Use the state."""
        return self.use(self.held)

    def method(self, engine: Engine, batch: Any) -> object:
        """Use the state."""
        return self.use(self.held)


def use_global(use: Use) -> object:
    """Use the global."""
    return use(GLOBAL)


def by_closure(held: Any, use: Use) -> Callable[..., object]:
    """Enclose the state."""
    return lambda engine, batch: use(held)


def by_default(held: Any, use: Use) -> Callable[..., object]:
    """Make the state a default."""

    def step(engine: Engine, batch: Any, held: Any = held) -> object:
        return use(held)

    return step


def by_global(held: Any, use: Use) -> Callable[..., object]:
    """Make the state a global."""
    global GLOBAL
    GLOBAL = held
    return lambda engine, batch: use(GLOBAL)


def by_called_function(held: Any, use: Use) -> Callable[..., object]:
    """Make the state a global of a function that is called."""
    global GLOBAL
    GLOBAL = held
    return lambda engine, batch: use_global(use)


def by_attribute(held: Any, use: Use) -> Callable[..., object]:
    """Make the state an attribute of the train step."""

    def step(engine: Engine, batch: Any) -> object:
        return use(step.held)  # type: ignore[attr-defined]  # users do

    step.held = held  # type: ignore[attr-defined]
    return step


def by_hook(held: Any, use: Use) -> Callable[..., object]:
    """Use the state in a hook of a module, which is a bound method."""
    layer, seen = nn.Linear(1, 1), Log()

    class Hook:
        def __init__(self) -> None:
            self.held = held

        def look(self, *args: Any) -> None:
            seen.append(use(self.held))

    layer.register_forward_hook(Hook().look)
    return lambda engine, batch: (layer(torch.ones(1)), seen[-1])[1]


def by_class(held: Any, use: Use) -> Callable[..., object]:
    """Make the state an attribute of a class."""

    class Registry:
        kept: ClassVar[dict[str, Any]] = {"held": held}

    return lambda engine, batch: use(Registry.kept["held"])


class Singletons(type):
    """A metaclass of classes with one instance each."""

    instances: ClassVar[dict[str, Any]] = {}

    def __call__(cls, *args: Any) -> Any:
        if args:
            Singletons.instances[cls.__name__] = super().__call__(*args)
        return Singletons.instances[cls.__name__]


def by_singleton(held: Any, use: Use) -> Callable[..., object]:
    """Make the state an attribute of the only instance of a class."""

    class Single(metaclass=Singletons):
        def __init__(self, held: Any = None) -> None:
            self.held = held

    Single(held)
    return lambda engine, batch: use(Single().held)


def by_trainer(held: Any, use: Use) -> Callable[..., object]:
    """Make the state an attribute of the trainer's state."""

    def step(engine: Engine, batch: Any) -> object:
        if not hasattr(engine, "held"):
            raise AssertionError
        return use(engine.held)  # type: ignore[attr-defined]

    step.prepare = lambda engine: setattr(engine, "held", held)  # type: ignore[attr-defined]
    return step


REACHED: dict[str, Callable[[Any, Use], Callable[..., object]]] = {
    "closure": by_closure,
    "default": by_default,
    "global": by_global,
    "called-function": by_called_function,
    "function-attribute": by_attribute,
    "method": lambda held, use: Program(held, use).method,
    "callable": Program,
    "partial": lambda held, use: functools.partial(lambda held, e, b: use(held), held),
    "hook": by_hook,
    "class": by_class,
    "singleton": by_singleton,
    "trainer": by_trainer,
}


def make_trainer(step: Callable[..., object]) -> tuple[Engine, dict[str, Any], Log]:
    """Make a trainer that logs what a step returns beside its loss."""
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    seen = Log()

    def train(engine: Engine, batch: Any) -> float:
        seen.append(step(engine, batch))
        optimizer.zero_grad()
        loss = model(torch.ones(1, 1)).square().sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer = Engine(train)
    getattr(step, "prepare", lambda engine: None)(trainer)
    return trainer, {"model": model, "optimizer": optimizer}, seen


def course(make: Callable[[], Callable[..., object]], *, is_swept: bool) -> list[Any]:
    """Return what the steps of a training return, after a sweep or without one."""
    seed_all(0)
    trainer, to_save, seen = make_trainer(make())
    trainer.run([0], max_epochs=2)
    if is_swept:
        seen.clear()
        with FastaiLRFinder().attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached:
            attached.run([0])
        assert len(seen) == 3
    seen.clear()
    trainer.run([0], max_epochs=5)
    assert len(seen) == 3
    return list(seen)


def assert_same_course(make: Callable[[], Callable[..., object]]) -> None:
    """Compare a training with its twin; the state must change from step to step."""
    with_sweep = course(make, is_swept=True)
    without = course(make, is_swept=False)
    assert repr(with_sweep) == repr(without)
    assert repr(without[0]) != repr(without[1])


@pytest.mark.parametrize("reached", ["closure", "method", "global"])
@pytest.mark.parametrize("state", STATES)
def test_state_of_any_kind_is_restored(state: str, reached: str) -> None:
    """Whatever the state of a train step is, later steps find it as without the sweep."""
    make, use = STATES[state]
    assert_same_course(lambda: REACHED[reached](make(), use))


# Each way to hold a state with each way to reach it, and the kinds of state in turn.
PLACES = list(
    zip(
        itertools.product(HOLDERS, REACHED),
        itertools.cycle(["numpy-generator", "namespace", "batch-norm"]),
        strict=False,
    )
)


@pytest.mark.parametrize(
    ("place", "state"), PLACES, ids=lambda part: "-".join(part) if isinstance(part, tuple) else part
)
def test_state_is_restored_wherever_it_is_held(place: tuple[str, str], state: str) -> None:
    """Whatever holds the state, and however the train step refers to that, it is found."""
    (holder, reached), (make, use) = place, STATES[state]
    hold, take_out = HOLDERS[holder]
    assert_same_course(lambda: REACHED[reached](hold(make()), lambda held: use(take_out(held))))


NUM_STEPS = 0


def test_closure_variables_that_a_step_assigns_are_restored() -> None:
    """A counter that the train step keeps by `nonlocal` goes on where it was."""

    def make() -> Callable[..., object]:
        count = 0

        def step(engine: Engine, batch: Any) -> int:
            nonlocal count
            count += 1
            return count

        return step

    assert_same_course(make)


def test_globals_that_a_step_assigns_are_restored() -> None:
    """A counter that the train step keeps by `global` goes on where it was."""

    def make() -> Callable[..., object]:
        def step(engine: Engine, batch: Any) -> int:
            global NUM_STEPS
            NUM_STEPS += 1
            return NUM_STEPS

        global NUM_STEPS
        NUM_STEPS = 0
        return step

    assert_same_course(make)


NUM_LOOKED_UP, SETTINGS = 0, settings_module()


def look_up(engine: Engine, batch: Any) -> int:
    """Count in a global by its name."""
    globals()["NUM_LOOKED_UP"] += 1
    return NUM_LOOKED_UP


def set_by_name(engine: Engine, batch: Any) -> int:
    """Count in a variable of a module by its name."""
    setattr(SETTINGS, "count", getattr(SETTINGS, "count") + 1)  # noqa: B009, B010  # on purpose
    return SETTINGS.count


def set_in_namespace(engine: Engine, batch: Any) -> int:
    """Count in the namespace of a module."""
    vars(SETTINGS)["count"] += 1
    return SETTINGS.count


@pytest.mark.parametrize("step", [look_up, set_by_name, set_in_namespace])
def test_variables_that_a_step_assigns_by_a_string_are_restored(step: Callable) -> None:
    """A string counts as a name in code that looks up names."""

    def make() -> Callable[..., object]:
        global NUM_LOOKED_UP
        NUM_LOOKED_UP = SETTINGS.count = 0
        return step

    assert_same_course(make)


def test_the_decimal_context_of_the_thread_is_restored() -> None:
    """What a train step sets for decimal numbers is as before."""

    def make() -> Callable[..., object]:
        decimal.setcontext(decimal.Context(prec=5))
        return lambda engine, batch: divide(decimal.getcontext())

    with decimal.localcontext():
        assert_same_course(make)


def test_a_variable_that_a_step_only_reads_keeps_what_the_block_assigns() -> None:
    """What the user assigns inside the block is not undone, unless the train step assigns it."""
    scale = 1.0

    def step(engine: Engine, batch: Any) -> float:
        return scale

    trainer, to_save, _ = make_trainer(step)
    with FastaiLRFinder().attach(trainer, to_save, num_iter=3) as attached:
        attached.run([0])
        scale = 2.0
    assert step(trainer, None) == 2.0


def test_a_module_that_a_step_only_reads_keeps_what_the_block_assigns() -> None:
    """An attribute of another object with the name of the variable is no assignment to it."""
    settings = settings_module()

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def __call__(self, engine: Engine, batch: Any) -> int:
            self.count = self.count + settings.count
            return self.count

    trainer, to_save, _ = make_trainer(Counter())
    with FastaiLRFinder().attach(trainer, to_save, num_iter=3) as attached:
        attached.run([0])
        settings.count = 2
    assert settings.count == 2


class Samples(Dataset):
    """Samples with a state that reading them changes."""

    def __init__(self, state: Any, use: Use) -> None:
        self.state, self.use = state, use

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> object:
        return repr(self.use(self.state))


class Order(Sampler):
    """A sampler with a state that an epoch changes."""

    def __init__(self, state: Any, use: Use) -> None:
        self.state, self.use = state, use

    def __iter__(self) -> Iterator[int]:
        random.seed(repr(self.use(self.state)))
        return iter([random.randrange(100), random.randrange(100)])

    def __len__(self) -> int:
        return 2


def collate(state: Any, use: Use, samples: list[Any]) -> list[Any]:
    """Collate samples, and use a state."""
    return [*samples, repr(use(state))]


LOADERS: dict[str, Callable[[Any, Use], Any]] = {
    "data-set": lambda state, use: DataLoader(Samples(state, use), collate_fn=list),
    "sampler": lambda state, use: DataLoader(
        range(100),  # type: ignore[arg-type]  # a range will do
        sampler=Order(state, use),
    ),
    "collate": lambda state, use: DataLoader(
        range(2),  # type: ignore[arg-type]
        collate_fn=functools.partial(collate, state, use),
    ),
    "collate-closure": lambda state, use: DataLoader(
        range(2),  # type: ignore[arg-type]
        collate_fn=lambda samples: [*samples, repr(use(state))],
    ),
}


@pytest.mark.product
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("loader", LOADERS)
def test_state_of_a_loader_is_restored(loader: str, state: str) -> None:
    """Whatever the state of a data set, sampler or collate function is, batches come as without."""
    make, use = STATES[state]

    def batches(*, is_swept: bool) -> list[str]:
        seed_all(0)
        trainer, to_save, seen = make_trainer(lambda engine, batch: repr(batch))
        source = LOADERS[loader](make(), use)
        if is_swept:
            with FastaiLRFinder().attach(trainer, to_save, num_iter=4, end_lr=1e-2) as attached:
                attached.run(source)
        seen.clear()
        trainer.run(source, max_epochs=2)
        return list(seen)

    without = batches(is_swept=False)
    assert batches(is_swept=True) == without
    assert len(set(without)) > 1


@pytest.mark.parametrize("state", ["batch-norm", "scheduler", "torch-generator", "state-dict"])
def test_training_state_that_a_running_handler_uses_is_restored(state: str) -> None:
    """Of what a handler refers to, models, schedulers, generators and the like come back."""
    make, use = STATES[state]

    def values(*, is_swept: bool) -> list[Any]:
        seed_all(0)
        trainer, to_save, _ = make_trainer(lambda engine, batch: None)
        obj, seen = make(), []
        trainer.add_event_handler(Events.ITERATION_STARTED, lambda: seen.append(use(obj)))
        if is_swept:
            with FastaiLRFinder().attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached:
                attached.run([0])
            assert len(seen) == 3
        trainer.run([0], max_epochs=2)
        return seen[-2:]

    assert repr(values(is_swept=True)) == repr(values(is_swept=False))


def test_an_average_that_a_hook_of_all_optimizers_updates_is_restored() -> None:
    """Hooks of all optimizers and all modules are the user's, as handlers are."""

    def values(*, is_swept: bool) -> list[Any]:
        seed_all(0)
        trainer, to_save, _ = make_trainer(lambda engine, batch: None)
        averaged, steps = AveragedModel(to_save["model"]), list[object]()

        def update(optimizer: object, *_: object) -> None:
            averaged.update_parameters(to_save["model"])
            steps.append(optimizer)

        handle = register_optimizer_step_post_hook(update)
        if is_swept:
            with FastaiLRFinder().attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached:
                attached.run([0])
        trainer.run([0], max_epochs=2)
        handle.remove()
        assert len(steps) == (5 if is_swept else 2)
        return [averaged.n_averaged.item(), *averaged.parameters()]

    assert repr(values(is_swept=True)) == repr(values(is_swept=False))


class Thread:
    """An object with a thread that writes to it."""

    def __init__(self) -> None:
        self.count, self.is_ended = [0], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Wait for the end."""
        self.is_ended.wait()


def generate() -> Iterator[int]:
    """Count."""
    yield from itertools.count()


LIVE: dict[str, tuple[Callable[[Path], Any], Use, str]] = {
    "generator": (lambda path: started(generate()), next, ""),
    "new-generator": (lambda path: generate(), next, ""),
    "count": (lambda path: itertools.count(), next, ""),
    "list-iterator": (lambda path: iter(list(range(100))), next, ""),
    "zip": (lambda path: zip(range(100), range(100), strict=True), next, ""),
    "loader-iterator": (lambda path: iter(DataLoader(range(100))), next, ""),  # type: ignore[arg-type]
    "file": (lambda path: (path / "log").open("w"), lambda o: o.write("a"), ""),
    "socket": (lambda path: socket.socketpair(), lambda o: o[0].send(b"a"), "[0]"),
    "executor": (
        lambda path: concurrent.futures.ThreadPoolExecutor(1),
        lambda o: o.submit(int).result(),
        "",
    ),
    "thread": (lambda path: Thread(), lambda o: o.count.append(1), ""),
    "simple-queue": (lambda path: queue.SimpleQueue(), lambda o: o.put(1), ""),
    "event": (lambda path: threading.Event(), lambda o: o.set(), ""),
    "event-of-processes": (lambda path: multiprocessing.Event(), lambda o: o.set(), ""),
    "semaphore": (lambda path: threading.Semaphore(9), lambda o: o.acquire(), ""),
    "semaphore-of-processes": (
        lambda path: multiprocessing.Semaphore(9),
        lambda o: o.acquire(),
        "",
    ),
    "shared-memory": (
        lambda path: shared_memory.SharedMemory(create=True, size=8),
        lambda o: o.buf.__setitem__(0, o.buf[0] + 1),
        "",
    ),
    "shared-list": (
        lambda path: shared_memory.ShareableList([0]),
        lambda o: o.__setitem__(0, o[0] + 1),
        "",
    ),
    "memory-map": (lambda path: mmap.mmap(-1, 8), lambda o: o.write(b"a"), ""),
    "hash": (lambda path: hashlib.sha256(), lambda o: o.update(b"a"), ""),
    "own-hash": (lambda path: hashlib.blake2b(), lambda o: o.update(b"a"), ""),
    "hash-of-any-length": (lambda path: hashlib.shake_128(), lambda o: o.update(b"a"), ""),
    "pickler": (lambda path: pickle.Pickler(io.BytesIO()), lambda o: o.dump([0]), ""),
    "cursor": (
        lambda path: database().execute("values (1), (2), (3), (4), (5), (6), (7)"),
        lambda o: o.fetchone(),
        "",
    ),
    "compressor": (lambda path: zlib.compressobj(), lambda o: o.compress(b"a"), ""),
    "database": (
        lambda path: database(),
        lambda o: o.execute("insert into t values (1)"),
        "",
    ),
    "array-iterator": (lambda path: np.arange(100).flat, next, ""),
    "asyncio-queue": (lambda path: asyncio.Queue(), lambda o: o.put_nowait(1), ""),
    "future": (
        lambda path: concurrent.futures.Future(),
        lambda o: o.done() or o.set_result(1),
        "",
    ),
    "filter": (lambda path: logging.Filter(), lambda o: setattr(o, "name", object()), ""),
    "file-of-values": (
        lambda path: dbm.dumb.open(str(path / "values")),
        lambda o: o.__setitem__("a", o.get("a", b"") + b"1"),
        "",
    ),
    "scanner": (lambda path: scanner(), lambda o: o.match(), ""),
    "parser": (lambda path: begun_parser(), lambda o: o.Parse("<b/>"), ""),
    "image": (
        lambda path: Image.new("L", (1, 1)),
        lambda o: o.putpixel((0, 0), o.getpixel((0, 0)) + 1),
        "",
    ),
    "context": (
        lambda path: contextvars.copy_context(),
        lambda o: o.run(lambda: VARIABLE.set(VARIABLE.get() + 1)),
        "",
    ),
    "new-context-variable": (
        lambda path: contextvars.ContextVar("variable"),
        lambda o: o.set(1),
        "",
    ),
}


def scanner() -> Any:
    """Make a scanner, which goes on through a text."""
    pattern: Any = re.compile("a")
    return pattern.scanner("a" * 9)


def begun_parser() -> Any:
    """Make a parser that has read the beginning of a document."""
    parser = expat.ParserCreate()
    parser.Parse("<a>")
    return parser


VARIABLE = contextvars.ContextVar("VARIABLE", default=0)


def database() -> sqlite3.Connection:
    """Make a database with an empty table."""
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    return connection


def cached(number: int) -> Any:
    """Make a function with a bounded cache that has an entry."""
    function = functools.lru_cache(draw)
    function(number)
    return function


def started(generator: Iterator[int]) -> Iterator[int]:
    """Take the first item."""
    next(generator)
    return generator


ALWAYS_NAMED = (
    "compressor", "cursor", "executor", "image", "pickler", "scanner", "simple-queue", "socket",
    "thread",
)  # fmt: skip
"""What does not show whether it changed."""


def close(obj: Any) -> None:
    """End what would go on after a test."""
    if isinstance(obj, Thread):
        obj.is_ended.set()
        obj.thread.join()
    memory = getattr(obj, "shm", obj)
    if isinstance(memory, shared_memory.SharedMemory):
        memory.close()
        memory.unlink()
    for part in obj if isinstance(obj, tuple) else (obj,):
        getattr(part, "close", getattr(part, "shutdown", lambda: None))()


@pytest.mark.parametrize("kind", LIVE)
def test_what_cannot_be_restored_is_named(kind: str, tmp_path: Path) -> None:
    """One warning names it by its path, and the result keeps the list."""
    make, use, step = LIVE[kind]
    source = make(tmp_path)
    trainer, to_save, _ = make_trainer(lambda engine, batch: use(source))
    finder = FastaiLRFinder()
    try:
        with (
            pytest.warns(UserWarning, match="could not restore") as caught,
            finder.attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached,
        ):
            attached.run([0])
        named = finder.result.not_restored
        assert f"train_step.<closure>.step.<closure>.source{step}" in named
        assert sum("could not restore" in str(w.message) for w in caught) == 1
    finally:
        close(source)


@pytest.mark.parametrize("kind", [k for k in LIVE if k not in ALWAYS_NAMED])
def test_what_did_not_move_is_not_named(kind: str, tmp_path: Path) -> None:
    """An object that the sweep left where it was, as far as can be told, needs no warning."""
    make, _, _ = LIVE[kind]
    source = make(tmp_path)
    if kind == "generator":
        source.close()
    trainer, to_save, _ = make_trainer(lambda engine, batch: source)
    finder = FastaiLRFinder()
    with finder.attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached:
        attached.run([0])
    assert finder.result.not_restored == ()
    close(source)


def test_a_bounded_cache_that_was_empty_is_cleared() -> None:
    """What the sweep draws and caches does not come up again after it."""
    function = functools.lru_cache(draw)
    trainer, to_save, _ = make_trainer(lambda engine, batch: function(engine.state.iteration))
    with FastaiLRFinder().attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached:
        attached.run([0])
    assert function.cache_info().currsize == 0


def test_what_hangs_on_a_frame_is_left_as_it_is() -> None:
    """A list that a generator fills keeps its items, as the generator will not add them again."""
    filled: list[int] = []

    def fill(items: list[int]) -> Iterator[int]:
        while True:
            items.append(len(items))
            yield len(items)

    source = fill(filled)
    trainer, to_save, _ = make_trainer(lambda engine, batch: next(source) + len(filled))
    with (
        pytest.warns(UserWarning, match="could not restore"),
        FastaiLRFinder().attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached,
    ):
        attached.run([0])
    assert filled == [0, 1, 2]


def test_what_a_live_thread_works_on_is_left_as_it_is() -> None:
    """A thread that goes on would be misled by an object that was turned back."""
    source = Thread()
    trainer, to_save, _ = make_trainer(lambda engine, batch: source.count.append(1))
    with (
        pytest.warns(UserWarning, match="could not restore"),
        FastaiLRFinder().attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached,
    ):
        attached.run([0])
    assert source.count == [0, 1, 1, 1]
    close(source)


class Odd:
    """An object that refuses to be looked at."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise ValueError("on purpose")


class Secretive:
    """An object that does not tell its class."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise KeyError("on purpose")


class Denying(torch.Tensor):
    """A tensor that denies every operation."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "make", [Odd, lambda: torch.ones(2).as_subclass(Denying)], ids=["property", "tensor"]
)
def test_an_object_that_cannot_be_looked_at_is_named(make: Callable[[], Any]) -> None:
    """Neither attach nor the end of the block fails because of it."""
    source = make()
    trainer, to_save, _ = make_trainer(lambda engine, batch: source is None)
    finder = FastaiLRFinder()
    with (
        pytest.warns(UserWarning, match="could not restore"),
        finder.attach(trainer, to_save, num_iter=3, end_lr=1e-2) as attached,
    ):
        attached.run([0])
    assert finder.result.not_restored == ("train_step.<closure>.step.<closure>.source",)


def test_an_object_that_does_not_tell_its_class_is_restored() -> None:
    """What `isinstance` cannot look at is looked at by its type."""

    def make() -> Callable[..., object]:
        source = Secretive()
        source.count = 0  # type: ignore[attr-defined]
        return lambda engine, batch: increment(source)

    assert_same_course(make)


def test_the_finder_itself_is_not_part_of_the_training() -> None:
    """A train step that refers to the finder does not undo its result."""
    finder = FastaiLRFinder()
    trainer, to_save, _ = make_trainer(lambda engine, batch: repr(finder))
    with warnings.catch_warnings(), finder.attach(trainer, to_save, num_iter=3) as attached:
        warnings.simplefilter("ignore")
        attached.run([0])
    assert len(finder.result) == 3


INSTALLED = """
import torch
from torch import nn

model, teacher = nn.Linear(1, 1), nn.BatchNorm1d(1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
seen, num_steps = {"steps": 0}, 0


def update():
    teacher(torch.randn(4, 1))


def step(engine, batch):
    global num_steps
    num_steps += 1
    seen["steps"] += 1
    optimizer.zero_grad()
    loss = model(torch.ones(1, 1)).square().sum()
    loss.backward()
    optimizer.step()
    update()
    return loss.item()
"""
SCRIPT = """
import functools

from ignite.engine import Engine
from ignite_lrfinder import FastaiLRFinder, find_lr
from ignite_lrfinder.snapshot.libraries import is_library
from installed import training

assert is_library(training.update)
with FastaiLRFinder().attach(
    Engine(training.step), training.optimizer, num_iter=3, end_lr=1e-2
) as trainer:
    trainer.run([0])
teacher = training.teacher
print(training.num_steps, training.seen, teacher.num_batches_tracked.item())
print(is_library(training.update))
step, optimizer = functools.partial(training.step, None), training.optimizer
result = find_lr(step, optimizer, [0], num_iter=3, end_lr=1e-2, verify=False)
print(training.num_steps, len(result))
"""


def test_the_globals_of_an_installed_train_step_are_restored(tmp_path: Path) -> None:
    """The package that the train step comes from is user code in the block, though installed."""
    packages = Path(sysconfig.get_path("purelib", f"{os.name}_user", {"userbase": str(tmp_path)}))
    (packages / "installed").mkdir(parents=True)
    (packages / "installed" / "__init__.py").touch()
    (packages / "installed" / "training.py").write_text(INSTALLED)
    paths = {"PYTHONUSERBASE": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(packages), "."])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "0 {'steps': 0} 0\nTrue\n0 3\n", done.stderr
