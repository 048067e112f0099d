"""What a handler is, and whether it runs during a sweep."""

import dataclasses
import enum
import functools
import weakref
from collections.abc import Collection

from ignite.engine import Engine, Events

from ignite_lrfinder.protocols import Handler, KeepHandlers
from ignite_lrfinder.sweep.engine import handler_table

# Handlers on these events report, save, schedule or stop.
_MUTED_EVENTS = frozenset(
    {
        Events.ITERATION_COMPLETED,
        Events.EPOCH_COMPLETED,
        Events.COMPLETED,
        Events.TERMINATE,
        Events.TERMINATE_SINGLE_EPOCH,
        Events.EXCEPTION_RAISED,
        Events.INTERRUPT,
    }
)


class HandlerKind(enum.Enum):
    """What a handler is to a sweep."""

    ENGINE = "a private method with which an Ignite engine prepares itself, such as seeding"
    METRIC = "a metric"
    STATE = "a scheduler of values that the train step reads"
    OBSERVER = "a handler of Ignite or MONAI, which reports, saves, schedules or stops"
    USER = "user code"


# The modules whose classes and subclasses are of a kind; the first match counts.
_KINDS = {
    HandlerKind.METRIC: ("ignite.metrics", "ignite.contrib.metrics"),
    HandlerKind.STATE: ("ignite.handlers.state_param_scheduler",),
    HandlerKind.OBSERVER: ("ignite.handlers", "ignite.contrib.handlers", "monai.handlers"),
}


def kind_of(handler: Handler) -> HandlerKind:
    """Return the kind of a handler, from the modules that define its class and base classes."""
    function, owner = _function(handler), _owner_of(handler)
    if isinstance(owner, Engine):
        if not (getattr(function, "__module__", None) or "").startswith(("ignite.", "monai.")):
            return HandlerKind.USER
        is_private = getattr(function, "__name__", "").startswith("_")
        return HandlerKind.ENGINE if is_private else HandlerKind.OBSERVER
    modules = [base.__module__ for base in type(owner).__mro__]
    for kind, prefixes in _KINDS.items():
        if any(module.startswith(prefixes) for module in modules):
            return kind
    return HandlerKind.USER


@dataclasses.dataclass(frozen=True, slots=True)
class HandlerChoice:
    """Which handlers of an engine run during a sweep.

    Attributes:
        keep: "auto", "all", "none", or the handlers that run in addition to "auto".
        mute: the handlers that do not run, whatever `keep` is.
        is_evaluator: whether the engine evaluates, so that its metrics run too.
    """

    keep: KeepHandlers
    mute: Collection[Handler] = ()
    is_evaluator: bool = False

    def for_evaluator(self) -> "HandlerChoice":
        """Return the choice for an evaluator."""
        return dataclasses.replace(self, is_evaluator=True)

    def runs(self, handler: Handler, event: object) -> bool:
        """Return whether a handler runs on an event during the sweep."""
        kind = kind_of(handler)
        if is_named(handler, self.mute):
            return False
        if self.is_evaluator and kind is HandlerKind.METRIC:
            return True
        if isinstance(self.keep, str) and self.keep != "auto":
            return self.keep == "all" or kind is HandlerKind.ENGINE
        is_kept = not isinstance(self.keep, str) and is_named(handler, self.keep)
        prepares = kind is HandlerKind.USER and event not in _MUTED_EVENTS
        return is_kept or prepares or kind in (HandlerKind.ENGINE, HandlerKind.STATE)

    def running(self, engine: Engine) -> list[Handler]:
        """Return the handlers of an engine that run during the sweep."""
        return [
            handler
            for event, entries in handler_table(engine).items()
            for handler in (parent_of(entry[0]) for entry in entries)
            if self.runs(handler, event)
        ]


def handlers_of(engine: Engine) -> list[Handler]:
    """Return the handlers of an engine, as the user added them."""
    return [parent_of(entry[0]) for entries in handler_table(engine).values() for entry in entries]


def library_objects(handlers: Collection[Handler]) -> list[object]:
    """Return the Ignite and MONAI objects whose methods are among the handlers."""
    kinds = (HandlerKind.METRIC, HandlerKind.STATE, HandlerKind.OBSERVER)
    owners = (_owner_of(handler) for handler in handlers if kind_of(handler) in kinds)
    return [owner for owner in owners if not isinstance(owner, Engine)]


def is_named(handler: Handler, names: Collection[Handler]) -> bool:
    """Return whether `names` contains a handler, or the object whose method it is."""
    return any(handler == name or _owner_of(handler) is name for name in names)


def name_of(handler: Handler) -> str:
    """Return the name by which a user knows a handler."""
    function = _function(parent_of(handler))
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name.rpartition("<locals>.")[2]


def names_of(handlers: Collection[Handler]) -> str:
    """Return the names of handlers as text."""
    return ", ".join(map(name_of, handlers)) or "none"


def _owner_of(handler: Handler) -> object:
    """Return the object whose method a handler is, or the handler itself."""
    function = _function(handler)
    return getattr(function, "__self__", function)


def parent_of(registered: Handler) -> Handler:
    """Return the handler that the user added, which Ignite may have wrapped in an event filter."""
    parent = getattr(registered, "_parent", None)
    original = parent() if isinstance(parent, (weakref.ref, functools.partial)) else None
    return registered if original is None else original


def _function(handler: Handler) -> Handler:
    """Return the function in a handler, which may be wrapped in partials."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler
