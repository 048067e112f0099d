"""What objects refer to: one depth-first walk, with one set of rules.

A function refers to its closure variables, its defaults and attributes. User code also refers to
the globals that it loads or stores, and to the methods that it may call. Code in an installed
package or the standard library, recognised by its file, is not searched for globals.
"""

import dis
import functools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import ignite
import numpy as np
import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder.snapshot.contents import (
    ATOMS,
    CONTAINERS,
    attributes_of,
    members_of,
    slot_value,
    slots_of,
)

_BOUND_BUILTINS = (types.BuiltinMethodType, types.MethodWrapperType)
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
_STORES = ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF")
_DESCRIPTORS = (staticmethod, classmethod, functools.cached_property, functools.partialmethod)

Rule = Callable[[Any], list[Any]]


def reachable_from(*roots: object) -> list[object]:
    """Return the roots and everything that they refer to, directly or not, each object once.

    Engines, tensors and sources of data are included, but not searched.
    """
    walk = Walk()
    return [obj for root in roots for obj in walk.over(root, is_leaf=_is_searched_elsewhere)]


class Walk:
    """A depth-first walk over object graphs that visits each object once.

    Attributes:
        seen: the visited objects by id. They are held, as ids are unique among live objects only.
    """

    def __init__(self) -> None:
        self.seen: dict[int, object] = {}
        self._rules: dict[type, Rule | None] = {}
        self._called: set[str] = set()
        self._uncalled: dict[str, list[object]] = {}

    def over(
        self, root: object, *, is_leaf: Callable[[object], bool] = lambda obj: False
    ) -> Iterator[object]:
        """Iterate over `root` and what it refers to, as far as this walk has not visited it.

        Args:
            root: where the walk begins.
            is_leaf: return whether to ignore what an object refers to.
        """
        rules, seen = self._rules, self.seen
        trail = [iter((root,))]
        while trail:
            for obj in trail[-1]:
                cls = type(obj)
                rule = rules[cls] if cls in rules else self._find_rule(cls)
                if rule is None or id(obj) in seen:
                    continue
                seen[id(obj)] = obj
                yield obj
                if not is_leaf(obj):
                    trail.append(iter(rule(obj)))
                    break
            else:
                trail.pop()

    def _find_rule(self, cls: type) -> Rule | None:
        """Return the function that lists what an instance of `cls` refers to; None for an atom."""
        rule = next((rule for kinds, rule in self._code_rules() if issubclass(cls, kinds)), None)
        if rule is None and not issubclass(cls, ATOMS):
            rule = _instance_rule(cls)
        self._rules[cls] = rule
        return rule

    def _code_rules(self) -> list[tuple[Any, Rule]]:
        """Return the kinds of code, each with the function that lists what it refers to."""
        return [
            (types.FunctionType, self._of_function),
            (types.MethodType, _of_method),
            (_BOUND_BUILTINS, lambda method: [method.__self__]),
            (functools.partial, lambda p: [p.func, p.args, p.keywords, vars(p)]),
            (type, self._of_class),
        ]

    def _of_function(self, function: types.FunctionType) -> list[object]:
        """List what a function refers to."""
        held = [*closure_variables(function).values(), *(function.__defaults__ or ())]
        held += [*(function.__kwdefaults__ or {}).values(), *function.__dict__.values()]
        return held if is_library(function) else [*held, *self._of_user_code(function)]

    def _of_user_code(self, function: types.FunctionType) -> list[object]:
        """List the globals of a function, and the methods of known objects that it may call."""
        names = _names_in(function.__code__)
        called = set(names.attributes) - self._called
        self._called |= called
        methods = [method for name in called for method in self._uncalled.pop(name, ())]
        return [*globals_of(function), *methods]

    def _of_class(self, cls: type) -> list[object]:
        """List the methods of a user class that may be called, and its base classes."""
        if is_library(cls):
            return []
        held: list[object] = list(cls.__bases__)
        libraries = [base for base in cls.__mro__ if is_library(base)]
        for name, attribute in vars(cls).items():
            is_special = name.startswith("__") and name.endswith("__")
            is_inherited = any(name in vars(base) for base in libraries)
            for method in _functions_in(attribute):
                if is_special or is_inherited or name in self._called:
                    held.append(method)
                else:
                    self._uncalled.setdefault(name, []).append(method)
        return held


def _of_method(method: types.MethodType) -> list[object]:
    """List what a method refers to: its object or, for a class method, what user classes hold."""
    owner = method.__self__
    classes = owner.__mro__ if isinstance(owner, type) else ()
    held = [value for cls in classes if not is_library(cls) for value in vars(cls).values()]
    return [owner, method.__func__, *held]


class _Names:
    """The names that a code object uses, nested functions included.

    Attributes:
        loaded: the globals it reads.
        stored: the globals and closure variables it assigns or deletes.
        attributes: the names it may use as attributes.
    """

    __slots__ = ("attributes", "loaded", "stored")

    def __init__(self, code: types.CodeType) -> None:
        self.attributes, self.loaded, self.stored = set(code.co_names), set[str](), set[str]()
        for instruction in dis.get_instructions(code):
            if instruction.opname in _LOADS:
                self.loaded.add(instruction.argval)
            elif instruction.opname in _STORES:
                self.stored.add(instruction.argval)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                nested = _names_in(constant)
                self.attributes |= nested.attributes
                self.loaded |= nested.loaded
                self.stored |= nested.stored


@functools.lru_cache(maxsize=4096)
def _names_in(code: types.CodeType) -> _Names:
    """Return the names that a code object uses."""
    return _Names(code)


def closure_variables(function: types.FunctionType) -> dict[str, object]:
    """Return the bound closure variables of a function by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if _is_bound(cell)}


def globals_of(function: types.FunctionType) -> list[object]:
    """Return the globals that a function uses, and what it may use of the modules it knows."""
    uses, namespace = _names_in(function.__code__), function.__globals__
    found = [namespace[name] for name in uses.loaded if name in namespace]
    pending = [*found, *closure_variables(function).values()]
    modules: list[types.ModuleType] = []
    while pending:
        obj = pending.pop()
        if isinstance(obj, types.ModuleType) and not is_library(obj) and obj not in modules:
            modules.append(obj)
            members = [vars(obj)[name] for name in uses.attributes if name in vars(obj)]
            found += members
            pending += members
    return found


def _instance_rule(cls: type) -> Rule:
    """Return the function that lists what an instance holds, and its class if that is user code."""
    slots, classes = slots_of(cls), [] if is_library(cls) else [cls]
    is_container = issubclass(cls, CONTAINERS)

    def rule(obj: object) -> list[Any]:
        held = members_of(obj) if is_container else []
        slotted = [slot_value(slot, obj) for slot in slots]
        return [*held, *attributes_of(obj).values(), *slotted, *classes]

    return rule


def _is_bound(cell: types.CellType) -> bool:
    """Return whether a closure variable has a value."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _functions_in(attribute: object) -> list[object]:
    """Return the functions behind an attribute of a class."""
    if isinstance(attribute, property):
        return [f for f in (attribute.fget, attribute.fset, attribute.fdel) if f is not None]
    if isinstance(attribute, _DESCRIPTORS):
        return [getattr(attribute, "func", None) or getattr(attribute, "__func__", None)]
    return [attribute] if isinstance(attribute, types.FunctionType) else []


_LIBRARY_PATHS = tuple(
    os.path.join(os.path.realpath(path), "")
    for path in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        *(path for package in (ignite, np, torch) for path in package.__path__),
        os.path.dirname(os.path.dirname(__file__)),
    )
)


def is_library(obj: types.FunctionType | type | types.ModuleType) -> bool:
    """Return whether code lies in an installed package or the standard library."""
    if isinstance(obj, types.FunctionType):
        name = obj.__globals__.get("__name__")
    else:
        name = obj.__name__ if isinstance(obj, types.ModuleType) else obj.__module__
    return isinstance(name, str) and _is_library_module(name)


@functools.lru_cache(maxsize=4096)
def _is_library_module(name: str) -> bool:
    """Return whether a module is built in, or its file lies in a library."""
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if path is None:
        return getattr(getattr(module, "__spec__", None), "origin", None) in ("built-in", "frozen")
    return os.path.realpath(path).startswith(_LIBRARY_PATHS)


def _is_searched_elsewhere(obj: object) -> bool:
    """Return whether an object holds too much to be searched for what a train step uses."""
    return isinstance(obj, (Engine, DataLoader, Dataset, Sampler, torch.Tensor, np.ndarray))
