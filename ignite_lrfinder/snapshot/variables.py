"""The variables of modules that the code of a training assigns."""

import types
from collections.abc import Iterator
from typing import Any

from ignite_lrfinder.snapshot.functions import (
    globals_stored_by,
    is_user_module,
    names_in,
)


class Variables:
    """The variables that user functions assign, each once.

    These are the globals that a function assigns, and in each user module the names that any of
    the functions assigns as attributes.
    """

    def __init__(self) -> None:
        self._assigned: list[tuple[dict[str, Any], str]] = []
        self._namespaces: list[dict[str, Any]] = []
        self._attributes: set[str] = set()
        self._known: set[tuple[int, str]] = set()

    def add_function(self, function: types.FunctionType) -> None:
        """Add what a user function assigns."""
        self._assigned += [(function.__globals__, n) for n in globals_stored_by(function)]
        self._attributes |= names_in(function.__code__).stored_attributes

    def add_module(self, module: types.ModuleType) -> None:
        """Add a module that functions may refer to."""
        if is_user_module(module):
            self._namespaces.append(vars(module))

    def new(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Iterate over the variables that it did not return before: namespaces and names."""
        in_modules = ((names, name) for names in self._namespaces for name in self._attributes)
        for namespace, name in (*self._assigned, *in_modules):
            if (id(namespace), name) not in self._known:
                self._known.add((id(namespace), name))
                yield namespace, name

    def clear(self) -> None:
        """Forget the variables."""
        self._assigned.clear()
        self._namespaces.clear()
