"""Tell user code from installed packages and the standard library."""

import functools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import TypeGuard

import ignite
import numpy as np
import torch

from ignite_lrfinder.snapshot.contents import forget_classes, once_for_each_class


def _directories(*paths: str) -> tuple[str, ...]:
    """Return directories in the form in which the path of a file begins with them."""
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths)


# The packages that the train steps being swept come from, which are user code even if installed.
_adopted: list[str] = []
_HEAP_TYPE = 1 << 9  # the flag of classes made at run time, by Python code or by extensions
# The modules, which do not exist, of the base classes that tools for C++ give to their classes.
_OF_BINDINGS = ("nanobind", "pybind11_builtins")
_ONE_CALL = f"{__name__.partition('.')[0]}.one_call"
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)
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
    """Return whether code lies in an installed package or the standard library.

    A class that a library derives from a user class, as a parametrization does, is user code.
    """
    if isinstance(obj, type):
        return all(map(_is_library_class, obj.__mro__))
    is_function = isinstance(obj, types.FunctionType)
    name = obj.__globals__.get("__name__") if is_function else obj.__name__
    return isinstance(name, str) and is_library_module(name)


def _is_library_class(cls: type) -> bool:
    """Return whether a class, its bases aside, is defined in a library."""
    name = cls.__module__
    if name == "builtins" and cls.__flags__ & _HEAP_TYPE:  # by code that exec ran without a name
        return False
    return name in _OF_BINDINGS or (isinstance(name, str) and is_library_module(name))


@once_for_each_class
def is_made_at_run_time(cls: type) -> bool:
    """Return whether a library made a class for some instances, as for a parametrized module."""
    if not cls.__flags__ & _HEAP_TYPE or not _is_library_class(cls):
        return False
    found: object = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found is not cls


def adopt(train_step: object) -> Callable[[], None]:
    """Count the package that a train step comes from as user code, even if it is installed.

    Returns:
        A function that undoes this.
    """
    packages = [p for p in _packages_of(train_step) if not is_standard_module(p)]
    if packages:
        _adopted.extend(packages)
        _forget_modules()

    def undo() -> None:
        for package in packages:
            _adopted.remove(package)
        if packages:
            _forget_modules()

    return undo


def _packages_of(function: object) -> Iterator[str]:
    """Iterate over the packages of a function, or of the functions in a partial.

    It is the outermost package with a file: a namespace package has none, and may be shared.
    """
    if isinstance(function, functools.partial):
        held = (*function.args, *function.keywords.values())
        # The train step that `find_lr` was given may be an object; a model is not a train step.
        is_ours = getattr(function.func, "__module__", None) == _ONE_CALL
        parts = [each for each in held if is_ours or isinstance(each, _FUNCTIONS)]
        for part in (function.func, *parts):
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
    """Clear the caches of facts about modules and classes."""
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
