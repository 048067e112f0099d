"""Intercept calls of the user's objects: their methods, and the closures passed to a step."""

import functools
from collections.abc import Callable
from typing import Any

import torch

Undo = Callable[[], object]

# Callable arguments that are not closures, such as the optimizer or a model.
_NOT_CLOSURES = (type, torch.nn.Module, torch.optim.Optimizer)


def shadow(obj: Any, name: str, replacement: Callable[..., object]) -> Undo:
    """Route the calls of an object's method through another function, as torch's schedulers do.

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
    # Torch's schedulers recognize a method by its attributes.
    attributes[name] = functools.update_wrapper(functools.partial(replacement, method), method)
    if is_own:
        return functools.partial(attributes.__setitem__, name, method)
    return functools.partial(attributes.pop, name, None)


class WatchedClosure:
    """A closure that calls another function after each call; otherwise it behaves the same.

    Args:
        closure: the closure, which may be any callable.
        after: called after each call of the closure.
    """

    def __init__(self, closure: Callable[..., object], after: Callable[[], object]) -> None:
        self._closure = closure
        self._after = after

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the closure."""
        loss = self._closure(*args, **kwargs)
        self._after()
        return loss

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the closure."""
        return getattr(self._closure, name)


def with_closures_watched(
    after: Callable[[], object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a step, with closures that call `after` after each call."""
    watched = tuple(_watched(arg, after) for arg in args)
    return watched, {name: _watched(arg, after) for name, arg in kwargs.items()}


def _watched(argument: Any, after: Callable[[], object]) -> Any:
    """Return a closure that calls `after` after each call; return other arguments unchanged."""
    if isinstance(argument, _NOT_CLOSURES) or not callable(argument):
        return argument
    return WatchedClosure(argument, after)
