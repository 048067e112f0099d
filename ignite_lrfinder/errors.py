"""What the package raises, and the form of its messages."""


class LRFinderError(RuntimeError):
    """Raise when a call comes in the wrong order, or a sweep cannot do what was asked of it.

    It is a `RuntimeError`, so code written for `ignite.handlers.FastaiLRFinder` still catches it.
    """


class NoSuggestionError(LRFinderError):
    """Raise when a curve supports no learning rate; the message says why and what to change."""


def wrong_type(name: str, requirement: str, value: object, remedy: str) -> TypeError:
    """Make the error for an argument of the wrong kind."""
    return TypeError(f"{name} must be {requirement}, got {value!r:.200}. {remedy}")


def wrong_value(name: str, requirement: str, value: object, remedy: str) -> ValueError:
    """Make the error for an argument of the wrong value."""
    return ValueError(f"{name} must be {requirement}, got {value!r:.200}. {remedy}")
