"""What the code of a function uses: closure variables, globals, modules; and whose code it is."""

import dis
import functools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any, TypeGuard

import ignite
import numpy as np
import torch

from ignite_lrfinder.snapshot.contents import UNSET, forget_classes

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
    loads = (j for j in range(i - 1, 1, -1) if instructions[j].argval == name)
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


def function_state(function: types.FunctionType) -> tuple[Any, ...]:
    """Return the code and the defaults of a function."""
    keywords = function.__kwdefaults__
    return function.__code__, function.__defaults__, keywords and keywords.copy()


def restore_function(function: types.FunctionType, was: tuple[Any, ...]) -> None:
    """Restore the code and the defaults of a function."""
    if function_state(function) != was:
        function.__code__, function.__defaults__, function.__kwdefaults__ = was


def restore_cell(cell: types.CellType, value: object) -> None:
    """Give a closure variable its former value back."""
    if value is not UNSET:
        cell.cell_contents = value
    elif is_bound(cell):
        del cell.cell_contents


def restore_variables(owner: dict[str, Any] | type, was: tuple[dict[str, Any], Set[str]]) -> None:
    """Restore variables of a module, or attributes of a class, by name; what had none loses it."""
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


def _directories(*paths: str) -> tuple[str, ...]:
    """Return directories in the form in which the path of a file begins with them."""
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths)


# The packages that the train steps being swept come from, which are user code even if installed.
_adopted: list[str] = []
_WITH_TRAINERS = ("ignite", "ignite_lrfinder", "monai", "torch")

_STANDARD_PATHS = _directories(*map(sysconfig.get_path, ("stdlib", "platstdlib")))
_PACKAGE_PATHS = _directories(
    *map(sysconfig.get_path, ("purelib", "platlib")),
    *site.getsitepackages(),
    site.getusersitepackages(),
    *(path for package in (ignite, np, torch) for path in package.__path__),
    os.path.dirname(os.path.dirname(__file__)),
)


def is_user_module(obj: object) -> TypeGuard[types.ModuleType]:
    """Return whether an object is a module with user code."""
    # By its type: an object may raise when it is asked for its class, or compared.
    cls = type(obj)
    is_plain = cls is types.ModuleType or (
        issubclass(cls, types.ModuleType) and not is_library(cls)
    )
    return is_plain and not is_library(obj)  # type: ignore[arg-type]  # just checked


def is_library(obj: types.FunctionType | type | types.ModuleType) -> bool:
    """Return whether code lies in an installed package or the standard library."""
    if isinstance(obj, types.FunctionType):
        name = obj.__globals__.get("__name__")
    else:
        name = obj.__name__ if isinstance(obj, types.ModuleType) else obj.__module__
    return isinstance(name, str) and is_library_module(name)


def adopt(train_step: object) -> Callable[[], None]:
    """Count the package that a train step comes from as user code, even if it is installed.

    Returns:
        A function that undoes this.
    """
    packages = [p for p in _packages_of(train_step) if not is_standard_module(p)]
    _adopted.extend(packages)
    _forget_modules()

    def undo() -> None:
        for package in packages:
            _adopted.remove(package)
        _forget_modules()

    return undo


def _packages_of(function: object) -> Iterator[str]:
    """Iterate over the packages of a function, or of the functions in a partial.

    It is the outermost package with a file: a namespace, which several share, has none.
    """
    if isinstance(function, functools.partial):
        for part in (function.func, *filter(callable, function.args)):
            yield from _packages_of(part)
        return
    name = getattr(function, "__module__", None)
    if name == "__main__":  # which may be a module of a package
        name = getattr(sys.modules.get(name), "__package__", None)
    parts = name.split(".") if isinstance(name, str) else []
    for i in range(len(parts)):
        package = ".".join(parts[: i + 1])
        if getattr(sys.modules.get(package), "__file__", None):
            if package not in _WITH_TRAINERS:
                yield package
            return


def _forget_modules() -> None:
    """Forget what was said of modules and classes."""
    is_library_module.cache_clear()
    forget_classes()


@functools.lru_cache(maxsize=4096)
def is_library_module(name: str) -> bool:
    """Return whether a module is built in, or its file lies in a library."""
    if name == "__main__" or any(f"{name}.".startswith(f"{package}.") for package in _adopted):
        return False
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if path is None:
        # A module within an extension module may have neither a file nor an origin.
        is_built_in = getattr(getattr(module, "__spec__", None), "origin", None) in (
            "built-in",
            "frozen",
        )
        parent = name.rpartition(".")[0]
        return is_built_in or (parent != "" and is_library_module(parent))
    return os.path.realpath(path).startswith((*_STANDARD_PATHS, *_PACKAGE_PATHS))


def is_standard_module(name: str) -> bool:
    """Return whether a module is built in or belongs to the standard library, by its file."""
    path = getattr(sys.modules.get(name), "__file__", None)
    if path is None:
        return is_library_module(name)
    path = os.path.realpath(path)
    return path.startswith(_STANDARD_PATHS) and not path.startswith(_PACKAGE_PATHS)
