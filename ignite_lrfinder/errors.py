"""Exceptions and warnings."""

import numbers
import sys
import types
import warnings

_LIBRARIES = ("contextlib", "ignite", "ignite_lrfinder", "monai", "torch")
_MAX_CHARACTERS = 200


class LRFinderError(RuntimeError):
    """Raised for a call in the wrong order, or for a sweep that cannot do what was asked.

    It is a `RuntimeError`, so code written for `ignite.handlers.FastaiLRFinder` still catches it.
    """


class NoSuggestionError(LRFinderError):
    """Raised if a result supports no learning rate; the message says why and what to change."""


def wrong_type(name: str, requirement: str, value: object, remedy: str) -> TypeError:
    """Return the error for an argument of the wrong type."""
    return TypeError(f"{name} must be {requirement}, got {_shown(value)}. {remedy}")


def wrong_value(name: str, requirement: str, value: object, remedy: str) -> ValueError:
    """Return the error for an argument with the wrong value."""
    return ValueError(f"{name} must be {requirement}, got {_shown(value)}. {remedy}")


def integer(name: str, value: object, *, least: int, remedy: str) -> int:
    """Return an argument as an int.

    Raises:
        TypeError: if it is not an integer; a bool is none.
        ValueError: if it is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise wrong_type(name, "an integer", value, remedy)
    if value < least:
        raise wrong_value(name, f"at least {least}", value, remedy)
    return int(value)


def _shown(value: object) -> str:
    """Return a value as an error shows it: its type, if it takes more than a line."""
    text = repr(value)
    return type(value).__name__ if "\n" in text else text[:_MAX_CHARACTERS]


def warn(message: str) -> None:
    """Issue a UserWarning at the user's line, which is the first outside these libraries."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _package_of(frame) in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _package_of(frame: types.FrameType) -> str:
    """Return the top-level package of the code that a frame runs."""
    return frame.f_globals.get("__name__", "").partition(".")[0]
