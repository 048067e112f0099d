"""The variables of modules and classes that the code of a training assigns."""

import types
from collections.abc import Iterator
from typing import Any

from ignite_lrfinder.snapshot.functions import (
    globals_stored_by,
    is_library,
    is_user_module,
    names_in,
)

Owner = dict[str, Any] | type
"""What has variables: the namespace of a module, or a class."""


class Variables:
    """The variables that user functions assign, each once.

    These are the globals that a function assigns, and in each user module and class the names that
    any of the functions assigns as attributes.
    """

    def __init__(self) -> None:
        self._assigned: list[tuple[Owner, str]] = []
        self._owners: list[Owner] = []
        self._attributes: set[str] = set()
        self._known: set[tuple[int, str]] = set()

    def add_function(self, function: types.FunctionType) -> None:
        """Add what a user function assigns."""
        self._assigned += [(function.__globals__, n) for n in globals_stored_by(function)]
        self._attributes |= names_in(function.__code__).stored_attributes

    def add_module(self, module: types.ModuleType) -> None:
        """Add a module that functions may refer to."""
        if is_user_module(module):
            self._owners.append(vars(module))

    def add_class(self, cls: type) -> None:
        """Add a class that functions may refer to."""
        if not is_library(cls):
            self._owners.append(cls)

    def new(self) -> Iterator[tuple[Owner, str]]:
        """Iterate over the variables that it did not return before: what has them, and names."""
        as_attributes = ((owner, name) for owner in self._owners for name in self._attributes)
        for owner, name in (*self._assigned, *as_attributes):
            if (id(owner), name) not in self._known:
                self._known.add((id(owner), name))
                yield owner, name

    def clear(self) -> None:
        """Forget the variables."""
        self._assigned.clear()
        self._owners.clear()
