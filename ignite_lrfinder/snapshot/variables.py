"""The variables of modules and classes that the code of a training run assigns."""

import types
from collections.abc import Iterator, Set
from typing import Any

from ignite_lrfinder.snapshot.functions import cells_stored_by, globals_stored_by, names_in
from ignite_lrfinder.snapshot.libraries import is_library, is_user_module

Owner = dict[str, Any] | type
"""An owner of variables: the namespace of a module, or a class."""

# A class with another name or other bases is another class.
_NOT_VARIABLES = frozenset({"__name__", "__qualname__", "__bases__", "__class__", "__dict__"})


class Variables:
    """The variables that user functions assign, each once.

    These are the closure variables and globals that a function assigns, and in each user module and
    class the names that any of the functions assigns as attributes. What only a handler assigns
    counts where one of the functions reads it: otherwise it is the handler's own record.
    """

    def __init__(self) -> None:
        self._owners: dict[int, Owner] = {}
        self._with_attributes: set[int] = set()
        self._assigned: dict[int, set[str]] = {}
        self._attributes: frozenset[str] = frozenset()
        self._known: dict[int, Set[str]] = {}
        self._by_handlers: dict[int, set[str]] = {}
        self._attributes_by_handlers: set[str] = set()
        self._cells_by_handlers: dict[int, types.CellType] = {}

    def add_handler(self, function: types.FunctionType) -> None:
        """Add a function that a handler calls; before the functions of the training."""
        names = self._by_handlers.setdefault(id(function.__globals__), set())
        names |= globals_stored_by(function)
        self._attributes_by_handlers |= names_in(function.__code__).stored_attributes
        self._cells_by_handlers |= {id(cell): cell for cell in cells_stored_by(function)}

    def add_function(self, function: types.FunctionType) -> None:
        """Add what a user function assigns."""
        namespace, uses = function.__globals__, names_in(function.__code__)
        names = globals_stored_by(function)
        names |= uses.loaded & self._by_handlers.get(id(namespace), set())
        if names:
            self._owners[id(namespace)] = namespace
            self._assigned.setdefault(id(namespace), set()).update(names)
        attributes = uses.stored_attributes | (uses.attributes & self._attributes_by_handlers)
        attributes -= _NOT_VARIABLES
        if not attributes <= self._attributes:
            self._attributes |= attributes

    def cells_of(self, function: types.FunctionType) -> list[types.CellType]:
        """Return the closure variables of a function that it or a handler assigns."""
        read = function.__closure__ if self._cells_by_handlers else None
        by_handlers = [cell for cell in read or () if id(cell) in self._cells_by_handlers]
        return [*cells_stored_by(function), *by_handlers]

    def add_module(self, module: types.ModuleType) -> None:
        """Add a module that functions may refer to."""
        if is_user_module(module):
            self._add(vars(module))

    def add_class(self, cls: type) -> None:
        """Add a class that functions may refer to."""
        if not is_library(cls):
            self._add(cls)

    def _add(self, owner: Owner) -> None:
        """Add the owner of variables that functions may assign as attributes."""
        self._owners[id(owner)] = owner
        self._with_attributes.add(id(owner))

    def new(self) -> Iterator[tuple[Owner, Set[str]]]:
        """Iterate over the owners, each with its names that were not returned before."""
        for key, owner in self._owners.items():
            names: Set[str] = self._attributes if key in self._with_attributes else frozenset()
            if key in self._assigned:
                names = names | self._assigned[key]
            known = self._known.get(key)
            fresh = names if known is None else names - known
            if fresh:
                self._known[key] = names
                yield owner, fresh
