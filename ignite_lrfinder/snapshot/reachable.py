"""What objects refer to: one depth-first walk, with one set of rules.

A function refers to its closure variables, its defaults and attributes. User code also refers to
the globals that it uses, and to the methods that it may call. Code in an installed package or the
standard library is not searched for globals.
"""

import enum
import functools
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder.snapshot.functions import closure_variables, globals_of, names_in
from ignite_lrfinder.snapshot.libraries import is_library, is_user_module
from ignite_lrfinder.snapshot.random_state import is_generator
from ignite_lrfinder.snapshot.references import Rule, rule_of

_SEARCHED_ELSEWHERE = (Engine, DataLoader, Dataset, Sampler, torch.Tensor, np.ndarray)
_DESCRIPTORS = (staticmethod, classmethod, functools.cached_property, functools.partialmethod)
# Class attributes of these types always count; others only if a function uses their name.
_KEPT_BY_CLASSES = (
    torch.nn.Module, torch.optim.Optimizer, functools.singledispatchmethod, enum.Enum, type
)  # fmt: skip


def reachable_from(
    *roots: object, is_end: Callable[[type], bool] = lambda cls: False
) -> list[object]:
    """Return the roots and everything that they refer to, directly or not, each object once.

    Engines, tensors and sources of data are included, but not searched.

    Args:
        roots: where the walk begins.
        is_end: returns whether instances of a class are not searched either.
    """
    walk = Walk()
    walk.over(
        roots, lambda obj: not (issubclass(type(obj), _SEARCHED_ELSEWHERE) or is_end(type(obj)))
    )
    return list(walk.seen.values())


class Walk:
    """A depth-first walk over object graphs that visits each object once.

    Args:
        opaque: objects not to visit.

    Attributes:
        seen: these and the visited objects by id. They are held, as ids are unique among live
            objects only.
    """

    def __init__(self, opaque: Iterable[object] = ()) -> None:
        self.seen: dict[int, object] = {id(obj): obj for obj in opaque}
        self._rules: dict[type, Rule | None] = {}
        self._trail: list[tuple[object, Iterator[object]]] = []
        self._called: set[str] = set()
        self._is_any_called = False
        self._uncalled: dict[str, list[object]] = {}
        self._unused: dict[str, list[object]] = {}

    def over(self, roots: Iterable[object], visit: Callable[[Any], bool]) -> None:
        """Visit `roots` and what they refer to, except what this walk has visited before.

        Args:
            roots: where the walk begins.
            visit: called with each object; returns whether to go on to what it refers to. It may
                call this method itself.
        """
        rules, seen, trail = self._rules, self.seen, self._trail
        depth = len(trail)
        trail.append((None, iter(roots)))
        while len(trail) > depth:
            for obj in trail[-1][1]:
                cls, key = type(obj), id(obj)
                rule = rules[cls] if cls in rules else self._find_rule(cls)
                if rule is None or key in seen:
                    continue
                seen[key] = obj
                if visit(obj) and (references := rule(self, obj)):
                    trail.append((obj, iter(references)))
                    break
            else:
                trail.pop()

    def references(self, obj: object) -> list[object]:
        """Return what an object refers to."""
        rule = self._find_rule(type(obj))
        return [] if rule is None else rule(self, obj)

    def holders(self) -> list[object]:
        """Return the objects from the root to the one that is being visited, without that one."""
        return [holder for holder, _ in self._trail if holder is not None]

    def _find_rule(self, cls: type) -> Rule | None:
        """Return the function that lists what an instance of `cls` refers to; None for an atom."""
        # A list, because an interrupt that falls on an abandoned generator is lost.
        own = [rule for kind, rule in _CODE_RULES.items() if issubclass(cls, kind)]
        rule = self._rules[cls] = own[0] if own else rule_of(cls)
        return rule

    def of_function(self, function: types.FunctionType) -> list[object]:
        """List what a function refers to."""
        held = [*closure_variables(function).values(), *(function.__defaults__ or ())]
        held += [*(function.__kwdefaults__ or {}).values(), *function.__dict__.values()]
        return held if is_library(function) else [*held, *self._of_user_code(function)]

    def _of_user_code(self, function: types.FunctionType) -> list[object]:
        """List the globals of a function, and what it may use of known classes and modules."""
        uses = names_in(function.__code__)
        called = uses.attributes - self._called
        self._called |= called
        if "getattr" in uses.loaded:  # it may look up any method
            self._is_any_called = True
            called |= set(self._uncalled)
        held = [
            obj
            for name in called
            for by in (self._uncalled, self._unused)
            for obj in by.pop(name, ())
        ]
        return [*globals_of(function), *held]

    def of_module(self, module: types.ModuleType) -> list[object]:
        """List the variables of a user module that the functions of the walk may use."""
        held: list[object] = []
        for name, value in vars(module).items() if is_user_module(module) else ():
            (held if name in self._called else self._unused.setdefault(name, [])).append(value)
        return held

    def of_class(self, cls: type) -> list[object]:
        """List what functions may use of a user class, its base classes and its metaclass."""
        if is_library(cls):
            return []
        held: list[object] = [*cls.__bases__, type(cls)]
        inherited = {name for base in cls.__mro__ if is_library(base) for name in vars(base)}
        for name, attribute in vars(cls).items():
            is_special = name.startswith("__") and name.endswith("__")
            is_known = self._is_any_called or name in inherited
            methods = _functions_in(attribute)
            for method in methods:
                if is_special or is_known or name in self._called:
                    held.append(method)
                else:
                    self._uncalled.setdefault(name, []).append(method)
            is_kept = isinstance(attribute, _KEPT_BY_CLASSES) or is_generator(type(attribute))
            # Python calls these without a name, as it does a method that a decorator wraps.
            is_called = (is_special or name in inherited) and _may_have_state(attribute)
            if not methods and (is_kept or is_called or name in self._called):
                held.append(attribute)
            elif not methods and not is_special:
                self._unused.setdefault(name, []).append(attribute)
        return held


def _may_have_state(attribute: object) -> bool:
    """Return whether what stands in for a method may have state: a cache, or a user's object."""
    cls = type(attribute)
    return cls is functools._lru_cache_wrapper or not is_library(cls)


def _functions_in(attribute: object) -> list[object]:
    """Return the functions behind an attribute of a class."""
    if isinstance(attribute, property):
        return [f for f in (attribute.fget, attribute.fset, attribute.fdel) if f is not None]
    if isinstance(attribute, _DESCRIPTORS):
        return [getattr(attribute, "func", None) or getattr(attribute, "__func__", None)]
    return [attribute] if isinstance(attribute, types.FunctionType) else []


_CODE_RULES: dict[type, Rule] = {
    types.FunctionType: Walk.of_function,
    types.ModuleType: Walk.of_module,
    type: Walk.of_class,
}
