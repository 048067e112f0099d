"""What the code of a function uses: closure variables, globals, modules."""

import dis
import functools
import sys
import types
from collections.abc import Iterable, Mapping, Set
from typing import Any

from ignite_lrfinder.snapshot.contents import UNSET

_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
_STORES = ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF")
_SETS = ("STORE_ATTR", "DELETE_ATTR")
# In code that uses these, strings are names too, of these sorts.
_LOOKUPS = {
    "getattr": ("attributes",),
    **dict.fromkeys(
        ("setattr", "delattr", "vars", "__dict__"), ("attributes", "stored_attributes")
    ),
    "globals": ("loaded", "stored"),
    **dict.fromkeys(("import_module", "__import__", "modules"), ("imported",)),
}


class Names:
    """The names that a code object uses, nested functions included.

    Attributes:
        imported: the modules it imports, each with the level of a relative import.
        loaded: the globals it reads.
        stored: the globals and closure variables it assigns or deletes.
        attributes: the names it may use as attributes.
        stored_attributes: the attributes it assigns or deletes, except of `self`.
    """

    __slots__ = ("attributes", "imported", "loaded", "stored", "stored_attributes")

    def __init__(self, code: types.CodeType) -> None:
        """Read the instructions of a code object."""
        self.attributes, self.imported = set(code.co_names), set[tuple[str, int]]()
        self.loaded, self.stored, self.stored_attributes = set[str](), set[str](), set[str]()
        by_operation = (
            (_LOADS, self.loaded), (_STORES, self.stored), (_SETS, self.stored_attributes)
        )  # fmt: skip
        instructions = list(dis.get_instructions(code))
        for i, instruction in enumerate(instructions):
            if instruction.opname == "IMPORT_NAME":
                self.imported.add((instruction.argval, instructions[i - 2].argval))
            for operations, names in by_operation:
                is_of_self = operations is _SETS and _is_self(_owner_at(instructions, i))
                if instruction.opname in operations and not is_of_self:
                    names.add(instruction.argval)
        strings = _strings_in(code.co_consts)
        for lookup in self.attributes.intersection(_LOOKUPS):
            for sort in _LOOKUPS[lookup]:
                getattr(self, sort).update(
                    [(s, 0) for s in strings] if sort == "imported" else strings
                )
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                for name in self.__slots__:
                    getattr(self, name).update(getattr(names_in(constant), name))


def _owner_at(instructions: list[dis.Instruction], i: int) -> dis.Instruction:
    """Return the instruction that loads the object whose attribute is assigned at index i."""
    if instructions[i - 1].opname not in ("SWAP", "ROT_TWO"):
        return instructions[i - 1]
    # An augmented assignment loads the object, copies it, and loads the attribute.
    name = instructions[i].argval
    loads = (
        j
        for j in range(i - 1, 1, -1)
        if instructions[j].argval == name and instructions[j - 1].opname in ("COPY", "DUP_TOP")
    )
    return next((instructions[j - 2] for j in loads), instructions[i - 1])


def _is_self(instruction: dis.Instruction) -> bool:
    """Return whether an instruction loads `self`, possibly after another variable."""
    loaded = instruction.argval
    return (loaded[-1] if isinstance(loaded, tuple) and loaded else loaded) == "self"


def _strings_in(constants: Iterable[object]) -> list[str]:
    """Return the strings among constants, and in the tuples among them."""
    parts = [p for c in constants for p in (c if isinstance(c, tuple) else (c,))]
    return [part for part in parts if isinstance(part, str)]


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> Names:
    """Return the names that a code object uses."""
    return Names(code)


def closure_variables(function: types.FunctionType) -> dict[str, object]:
    """Return the bound closure variables of a function by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if is_bound(cell)}


def globals_of(function: types.FunctionType) -> list[object]:
    """Return the globals that a function uses, and the modules that it imports itself."""
    uses, namespace = names_in(function.__code__), function.__globals__
    found = [namespace[name] for name in uses.loaded if name in namespace]
    if {"modules", "__name__"} <= uses.attributes | uses.loaded:  # sys.modules[__name__]
        found.append(sys.modules.get(namespace.get("__name__", "")))
    return found + [_imported(name, level, namespace) for name, level in uses.imported]


def _imported(name: str, level: int, namespace: Mapping[str, Any]) -> types.ModuleType | None:
    """Return the module that an import statement names, if it is loaded."""
    package = namespace.get("__package__") or ""
    parents = package.split(".")[: package.count(".") + 2 - level] if level else []
    return sys.modules.get(".".join([*parents, name] if name else parents))


def is_bound(cell: types.CellType) -> bool:
    """Return whether a closure variable has a value."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def cells_stored_by(function: types.FunctionType) -> list[types.CellType]:
    """Return the closure variables that a function assigns."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return [cell for name, cell in cells if name in names_in(function.__code__).stored]


def globals_stored_by(function: types.FunctionType) -> set[str]:
    """Return the names of the globals that a function assigns."""
    return names_in(function.__code__).stored.difference(function.__code__.co_freevars)


@functools.lru_cache(maxsize=4096)
def attributes_stored_in(code: types.CodeType) -> frozenset[str]:
    """Return the names of the attributes that code assigns or deletes, also of `self`."""
    names = {each.argval for each in dis.get_instructions(code) if each.opname in _SETS}
    names |= names_in(code).stored_attributes
    nested = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return frozenset(names).union(*map(attributes_stored_in, nested))


def function_state(function: types.FunctionType) -> tuple[Any, ...]:
    """Return the code and the defaults of a function."""
    keywords = function.__kwdefaults__
    return function.__code__, function.__defaults__, keywords and keywords.copy()


def restore_function(function: types.FunctionType, was: tuple[Any, ...]) -> None:
    """Restore the code and the defaults of a function."""
    if function_state(function) != was:
        function.__code__, function.__defaults__, function.__kwdefaults__ = was


def restore_cell(cell: types.CellType, value: object) -> None:
    """Restore the former value of a closure variable."""
    if value is not UNSET:
        cell.cell_contents = value
    elif is_bound(cell):
        del cell.cell_contents


def restore_variables(owner: dict[str, Any] | type, was: tuple[dict[str, Any], Set[str]]) -> None:
    """Restore variables of a module, or attributes of a class; delete those that were unset."""
    values, names = was
    if isinstance(owner, type):
        # A metaclass may refuse assignments.
        now, put, remove = vars(owner), type.__setattr__, type.__delattr__
    else:
        now, put, remove = owner, dict.__setitem__, dict.__delitem__
    for name, value in values.items():
        if now.get(name, UNSET) is not value:
            put(owner, name, value)  # type: ignore[arg-type]  # of its kind
    for name in [name for name in names if name in now and name not in values]:
        remove(owner, name)  # type: ignore[arg-type]
