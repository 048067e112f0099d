"""Intercept calls of the user's objects: their methods, and the closures that a step is given."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

Undo = Callable[[], object]


def shadow(obj: Any, name: str, replacement: Callable[..., object]) -> Undo:
    """Route a method of an object through another function, as torch's schedulers do.

    Args:
        obj: an object with a `__dict__`.
        name: the name of the method.
        replacement: called with the method, then with the arguments of the call.

    Returns:
        A function that restores the method.
    """
    attributes = vars(obj)
    is_own = name in attributes
    method = getattr(obj, name)
    attributes[name] = functools.partial(replacement, method)
    if is_own:
        return functools.partial(attributes.__setitem__, name, method)
    return functools.partial(attributes.pop, name)


def with_closures_watched(
    after: Callable[[], object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a step, in which `after` follows each call of a closure."""
    watched = tuple(_watched(after, arg) for arg in args)
    return watched, {name: _watched(after, arg) for name, arg in kwargs.items()}


def _watched(after: Callable[[], object], argument: Any) -> Any:
    """Return a closure whose calls are followed by `after`; any other argument as it is."""
    if not inspect.isroutine(argument):
        return argument

    @functools.wraps(argument)
    def closure(*args: Any, **kwargs: Any) -> Any:
        loss = argument(*args, **kwargs)
        after()
        return loss

    return closure
