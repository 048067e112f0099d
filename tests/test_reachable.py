"""Everything that a train step can use is reachable from it, and libraries are not searched."""

import csv
import enum
import functools
import importlib
import importlib.util
import operator
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import kiwisolver
import numpy as np
import pytest
import torch
from ignite.engine import Engine, create_supervised_trainer
from torch import nn

from ignite_lrfinder.snapshot.libraries import is_library
from ignite_lrfinder.snapshot.reachable import reachable_from


class Target:
    """What is searched for."""


GLOBAL = Target()


class Owner:
    """An object with methods."""

    def __init__(self, target: object) -> None:
        self.target = target

    def method(self, engine: object, batch: object) -> None:
        """Do nothing."""

    def __call__(self, engine: object, batch: object) -> None:
        """Do nothing."""


class Slotted:
    """An object with a slot."""

    __slots__ = ("target",)

    def __init__(self, target: object) -> None:
        self.target = target


class Writing:
    """A file that holds something."""

    def __init__(self, target: object) -> None:
        self.target = target

    def write(self, text: str) -> None:
        """Do nothing."""


def enclosing(target: object) -> Callable[[], object]:
    """Return a function that encloses the target."""
    return lambda: target


def with_default(target: object) -> Callable[..., object]:
    """Return a function with the target as a default."""

    def function(first: object = target) -> object:
        return first

    return function


def with_keyword_default(target: object) -> Callable[..., object]:
    """Return a function with the target as the default of a keyword."""

    def function(*, first: object = target) -> object:
        return first

    return function


def with_attribute(target: object) -> Callable[..., object]:
    """Return a function with the target as an attribute."""

    def function() -> None:
        pass

    function.target = target  # type: ignore[attr-defined]  # users do
    return function


def decorated(target: object) -> Callable[..., object]:
    """Return a function behind a decorator."""

    @functools.lru_cache
    def function() -> object:
        return target

    return function


HOLDERS: dict[str, Callable[[Any], object]] = {
    "itself": lambda target: target,
    "closure": enclosing,
    "default": with_default,
    "keyword-default": with_keyword_default,
    "function-attribute": with_attribute,
    "decorated": decorated,
    "method": lambda target: Owner(target).method,
    "callable-object": Owner,
    "partial-argument": lambda target: functools.partial(print, target),
    "partial-keyword": lambda target: functools.partial(print, end=target),
    "partial-function": lambda target: functools.partial(enclosing(target)),
    "bound-built-in": lambda target: [target].append,
    "slot": Slotted,
    "list": lambda target: [[target]],
    "tuple": lambda target: ((target,),),
    "dict-value": lambda target: {"a": {"b": target}},
    "dict-key": lambda target: {Slotted(target): 1},
    "set": lambda target: {Slotted(target)},
    "long-list": lambda target: [[i] for i in range(5000)] + [target],
    "namespace": lambda target: types.SimpleNamespace(target=target),
    "dict-view": lambda target: {1: target}.values(),
    "dict-proxy": lambda target: types.MappingProxyType({1: target}),
    "method-caller": lambda target: operator.methodcaller("run", target),
    "csv-writer": lambda target: csv.writer(Writing(target)),
    "extension": lambda target: kiwisolver.Variable("x", target),
    "weak-reference": lambda target: weakref.ref(alive(target)),
    "weak-proxy": lambda target: weakref.proxy(alive(target)),
    "weak-method": lambda target: weakref.WeakMethod(alive(target).method),
    "enum-member": lambda target: (
        types.new_class(
            "Kinds", (enum.Enum,), exec_body=lambda names: names.__setitem__("A", target)
        ).A
    ),
}


def alive(target: object) -> Any:
    """Return an object with the target that something else keeps alive."""
    ALIVE.append(Owner(target))
    return ALIVE[-1]


ALIVE: list[object] = []


def contains(found: list[object], target: object) -> bool:
    """Return whether an object is among those found."""
    return any(obj is target for obj in found)


@pytest.mark.parametrize("outer", HOLDERS)
@pytest.mark.parametrize("inner", HOLDERS)
def test_reachable_from_finds_what_is_held_in_any_way(inner: str, outer: str) -> None:
    """Whatever holds the target, and whatever holds that, the target is found, and found once."""
    target = Target()
    found = reachable_from(HOLDERS[outer](HOLDERS[inner](target)))
    assert sum(obj is target for obj in found) == 1


def uses_global() -> object:
    """Use the global."""
    return GLOBAL


def calls_helper() -> object:
    """Use the global through a function."""
    return uses_global()


def uses_in_nested_code() -> object:
    """Use the global in a nested function."""
    return [lambda: GLOBAL for _ in range(3)]


class Static:
    """A class whose methods use a global."""

    @staticmethod
    def helper() -> object:
        return GLOBAL

    @property
    def value(self) -> object:
        return GLOBAL

    def unused(self) -> object:
        return GLOBAL


def calls_static_method() -> object:
    """Use the global through a static method."""
    return Static.helper()


STATIC = Static()


def reads_property() -> object:
    """Use the global through a property of another global."""
    return STATIC.value


class Network(nn.Module):
    """A module whose forward pass uses a global."""

    def forward(self, x: object) -> object:
        return x, GLOBAL


@pytest.mark.parametrize(
    "root",
    [
        uses_global,
        calls_helper,
        uses_in_nested_code,
        calls_static_method,
        reads_property,
        Network(),
    ],
    ids=["named", "called", "nested", "static-method", "property", "library-calls-method"],
)
def test_reachable_from_finds_globals_that_user_code_names(root: object) -> None:
    """The functions and methods that a train step may call are searched as well."""
    assert contains(reachable_from(root), GLOBAL)


def test_reachable_from_ignores_methods_that_nobody_calls() -> None:
    """A global that only an uncalled method names is not part of the training."""
    assert not contains(reachable_from(STATIC), GLOBAL)
    assert contains(reachable_from(STATIC, lambda obj: obj.unused()), GLOBAL)
    assert contains(reachable_from(STATIC, lambda obj, name: getattr(obj, name)()), GLOBAL)
    assert contains(reachable_from(lambda obj, name: getattr(obj, name)(), STATIC), GLOBAL)


def reads_attribute(obj: Any) -> object:
    """Use an attribute with the name of the global."""
    return obj.GLOBAL


class Configured:
    """A class with attributes."""

    rng = random.Random()

    class Inner:
        """A class within a class."""

        rng = random.Random()

    items: ClassVar[list[Target]] = [GLOBAL]

    @functools.singledispatchmethod
    def dispatch(self, value: object) -> object:
        return GLOBAL


def test_reachable_from_finds_what_trains_among_the_attributes_of_classes() -> None:
    """A generator that instances share belongs to the training; containers of classes do not."""
    found = reachable_from(Configured())
    assert contains(found, Configured.rng)
    assert contains(found, Configured.Inner.rng)
    assert not contains(found, Configured.items)
    assert contains(found, GLOBAL)


def test_reachable_from_distinguishes_an_attribute_from_a_global_of_its_name() -> None:
    """A function that reads an attribute does not use the global with the same name."""
    assert not contains(reachable_from(reads_attribute), GLOBAL)


@pytest.fixture
def user_module(tmp_path: Path) -> Iterator[types.ModuleType]:
    """Make a user module with the name of a module of the standard library."""
    path = tmp_path / "code.py"
    path.write_text("state = {'count': [0]}\n\ndef step():\n    return state\n")
    spec = importlib.util.spec_from_file_location("code", path)
    assert spec is not None
    assert spec.loader is not None
    original = sys.modules.get("code")
    module = sys.modules["code"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    if original is None:
        del sys.modules["code"]
    else:
        sys.modules["code"] = original


def test_reachable_from_judges_a_module_by_its_file(user_module: types.ModuleType) -> None:
    """A project's own `code` package is user code, although the standard library has one."""
    assert contains(reachable_from(user_module.step), user_module.state)
    assert contains(reachable_from(lambda: user_module.state["count"]), user_module.state)


def test_reachable_from_follows_imports_inside_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a function imports only when it is called is found as a global would be."""
    package = tmp_path / "trainings"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bank.py").write_text("items = [[1]]\n")
    (package / "steps.py").write_text(
        "def absolute():\n    from trainings.bank import items\n    return items\n\n"
        "def relative():\n    from . import bank\n    return bank.items\n\n"
        "def dotted():\n    import trainings.bank\n    return trainings.bank.items\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    steps = importlib.import_module("trainings.steps")
    items = importlib.import_module("trainings.bank").items
    try:
        for function in (steps.absolute, steps.relative, steps.dotted):
            assert contains(reachable_from(function), items)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "trainings"]:
            del sys.modules[name]


class Subclass(Engine):
    """A trainer that is its own train step."""

    def __init__(self) -> None:
        super().__init__(self.step)

    def step(self, engine: Engine, batch: object) -> object:
        return self.helper()

    def helper(self) -> object:
        return GLOBAL


def test_reachable_from_finds_the_methods_that_a_step_of_an_engine_calls() -> None:
    """A trainer derived from `Engine` is searched for the methods that its train step calls."""
    assert contains(reachable_from(Subclass()._process_function), GLOBAL)


def test_reachable_from_does_not_search_the_globals_of_libraries() -> None:
    """What an installed package or the standard library keeps for itself is not the training's."""
    found = reachable_from(nn.functional.cross_entropy, random.random, np.mean, functools.reduce)
    assert not any(isinstance(obj, (dict, list)) and obj for obj in found)


def test_reachable_from_searches_the_closures_of_library_functions() -> None:
    """The train step that Ignite makes refers to what it was made of."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())
    found = reachable_from(trainer._process_function)
    assert contains(found, model)
    assert contains(found, optimizer)


def test_reachable_from_skips_an_unbound_closure_variable() -> None:
    """A variable that is assigned after the function was made is found once it has a value."""

    def step() -> object:
        return early, late

    early = Target()
    assert contains(reachable_from(step), early)
    late = Target()
    assert contains(reachable_from(step), late)


def test_reachable_from_does_not_search_engines_and_tensors() -> None:
    """An engine and a tensor are found, but not what they refer to."""
    trainer, tensor = Engine(lambda engine, batch: None), torch.ones(2)
    trainer.note = tensor.note = Target()  # type: ignore[attr-defined]  # users do
    found = reachable_from([trainer, tensor])
    assert contains(found, trainer)
    assert contains(found, tensor)
    assert not contains(found, tensor.note)  # type: ignore[attr-defined]


def test_reachable_from_follows_cycles_and_deep_nesting() -> None:
    """Neither an object that holds itself nor ten thousand nested lists end the search."""
    target = Target()
    nested: list[Any] = [target]
    nested.append(nested)
    for _ in range(10_000):
        nested = [nested]
    assert contains(reachable_from(nested), target)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (nn.Linear, True),
        (random.Random, True),
        (dict, True),
        (np, True),
        (create_supervised_trainer, True),
        (is_library, True),
        (Owner, False),
        (uses_global, False),
        (sys.modules[__name__], False),
    ],
    ids=["torch", "stdlib", "builtin", "numpy", "ignite", "own", "class", "function", "module"],
)
def test_is_library_recognizes_installed_code(obj: Any, expected: bool) -> None:
    """Classes, functions and modules in packages are told from user code."""
    assert is_library(obj) is expected
