"""Which handlers run during a sweep; mute the others and restore them.

A muted handler keeps its place, taken by a placeholder that does nothing, so that the trainer still
has it and can still remove it.
"""

import enum
import functools
import weakref
from collections.abc import Callable, Collection, Mapping

from ignite.engine import Engine, Events

from ignite_lrfinder.protocols import Handler, KeepHandlers
from ignite_lrfinder.sweep.engine import Entry, handler_table

HoldLR = Callable[..., None]

# Handlers of these events report, save, schedule or stop.
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
_METRICS = ("ignite.metrics", "ignite.contrib.metrics")
_OBSERVERS = ("ignite.handlers", "ignite.contrib.handlers")


class HandlerKind(enum.Enum):
    """What a handler is to a sweep."""

    ENGINE = "a private method by which an engine of Ignite's prepares itself, such as seeding"
    METRIC = "a metric"
    OBSERVER = "one of Ignite's handlers, which report, save, schedule or stop"
    USER = "user code"


def kind_of(handler: Handler) -> HandlerKind:
    """Return what a handler is, by what defines it or a class that it derives from."""
    function, owner = _function(handler), _owner(handler)
    if isinstance(owner, Engine):
        if not (getattr(function, "__module__", None) or "").startswith("ignite."):
            return HandlerKind.USER
        is_private = getattr(function, "__name__", "").startswith("_")
        return HandlerKind.ENGINE if is_private else HandlerKind.OBSERVER
    modules = [base.__module__ for base in type(owner).__mro__]
    if any(module.startswith(_METRICS) for module in modules):
        return HandlerKind.METRIC
    is_observer = any(module.startswith(_OBSERVERS) for module in modules)
    return HandlerKind.OBSERVER if is_observer else HandlerKind.USER


def _runs(handler: Handler, event: object, keep: KeepHandlers) -> bool:
    """Return whether a handler runs on an event during the sweep."""
    kind = kind_of(handler)
    if isinstance(keep, str) and keep != "auto":
        return keep == "all" or kind is HandlerKind.ENGINE
    is_kept = not isinstance(keep, str) and is_named(handler, keep)
    prepares = kind is HandlerKind.USER and event not in _MUTED_EVENTS
    return kind is HandlerKind.ENGINE or is_kept or prepares


class Muting:
    """Mute a trainer's handlers from `mute` to `undo`.

    Args:
        trainer: the engine whose handlers are muted.
        keep_handlers: "auto", "all", "none", or the handlers that run in addition to "auto".
        hold_lr: called before each handler that runs, and after it with its name.

    Attributes:
        muted: the names of the user-defined handlers that are muted.
    """

    def __init__(self, trainer: Engine, keep_handlers: KeepHandlers, hold_lr: HoldLR) -> None:
        self.muted: list[str] = []
        self._keep_handlers: KeepHandlers = keep_handlers
        self._hold_lr = hold_lr
        self._table = handler_table(trainer)
        # The list objects stay: a run around the sweep may be iterating over one of them.
        self._lists = dict(self._table)
        # From the id of a placeholder to itself and the entry whose place it takes.
        self._replaced: dict[int, tuple[Handler, Entry]] = {}
        self._absent: list[Entry] = []

    def mute(self) -> None:
        """Put each handler behind a placeholder, which calls it if it is to run."""
        for event, entries in self._lists.items():
            runs = [_runs(_parent(entry[0]), event, self._keep_handlers) for entry in entries]
            if event == Events.EXCEPTION_RAISED and not any(runs):
                # An engine that has this event in its table at all swallows exceptions.
                self._absent = self._table.pop(event)[:]
            else:
                entries[:] = map(self._replace, entries, runs)

    def undo(self) -> None:
        """Restore the handlers in their order; handlers added or removed since stay so."""
        for event, entries in self._lists.items():
            current = self._table.get(event, [])
            if event == Events.EXCEPTION_RAISED:
                current = [*self._absent, *current]
            entries[:] = [self._original(entry) for entry in current]
        new = {event: entries for event, entries in self._table.items() if event not in self._lists}
        self._table.clear()
        self._table.update(self._lists)
        self._table.update({event: entries for event, entries in new.items() if entries})

    def _replace(self, entry: Entry, is_kept: bool) -> Entry:
        """Return the entry that takes the place of another during the sweep."""
        handler, args, kwargs = entry
        if not is_kept and kind_of(_parent(handler)) is HandlerKind.USER:
            self.muted.append(name_of(handler))
        watched = functools.partial(_watched, handler, self._hold_lr)
        placeholder = watched if is_kept else functools.partial(_do_nothing)
        # Ignite compares `_parent()` where there is one, so the trainer still finds the handler.
        vars(placeholder)["_parent"] = functools.partial(_parent, handler)
        self._replaced[id(placeholder)] = (placeholder, entry)
        return (placeholder, args, dict(kwargs)) if is_kept else (placeholder, (), {})

    def _original(self, entry: Entry) -> Entry:
        """Return the entry that was here before the sweep."""
        _, original = self._replaced.get(id(entry[0]), (None, entry))
        return original


def handlers_of(trainer: Engine) -> list[Handler]:
    """Return the handlers of a trainer, as they were given to it."""
    return [_parent(entry[0]) for entries in handler_table(trainer).values() for entry in entries]


def is_named(handler: Handler, names: Collection[Handler]) -> bool:
    """Return whether a handler, or the object whose method it is, is among `names`."""
    owner = getattr(handler, "__self__", None)
    return any(handler == name or (owner is not None and owner is name) for name in names)


def name_of(handler: Handler) -> str:
    """Return the name by which a user knows a handler."""
    function = _function(_parent(handler))
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def kept_of(evaluator: Engine, keep_handlers: KeepHandlers) -> KeepHandlers:
    """Return which handlers run on an evaluator of `val_loss`: its metrics in any case."""
    if keep_handlers == "all":
        return "all"
    named = () if isinstance(keep_handlers, str) else keep_handlers
    metrics = (h for h in handlers_of(evaluator) if kind_of(h) is HandlerKind.METRIC)
    return (*named, *metrics)


def kept_observers(kept: Mapping[Engine, KeepHandlers]) -> tuple[object, ...]:
    """Return Ignite's own objects that run in the sweep, and so change."""
    kinds = (HandlerKind.METRIC, HandlerKind.OBSERVER)
    owners = [_owner(handler) for handler in kept_handlers(kept) if kind_of(handler) in kinds]
    return tuple(obj for obj in owners if not isinstance(obj, Engine))


def kept_handlers(kept: Mapping[Engine, KeepHandlers]) -> list[Handler]:
    """Return the handlers that run in the sweep."""
    return [
        _parent(entry[0])
        for engine, keep_handlers in kept.items()
        for event, entries in handler_table(engine).items()
        for entry in entries
        if _runs(_parent(entry[0]), event, keep_handlers)
    ]


def _owner(handler: Handler) -> object:
    """Return the object whose method a handler is, or the handler itself."""
    function = _function(handler)
    return getattr(function, "__self__", function)


def _function(handler: Handler) -> Handler:
    """Return what a handler calls, which may be wrapped in partials."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler


def _parent(registered: Handler) -> Handler:
    """Return the handler as the user gave it, which Ignite may have wrapped for an event filter."""
    parent = getattr(registered, "_parent", None)
    original = parent() if isinstance(parent, (weakref.ref, functools.partial)) else None
    return registered if original is None else original


def _watched(handler: Handler, hold_lr: HoldLR, *args: object, **kwargs: object) -> None:
    """Run a handler, and look before and after whether a learning rate was written."""
    hold_lr()
    handler(*args, **kwargs)
    hold_lr(name_of(handler))


def _do_nothing(*args: object, **kwargs: object) -> None:
    """Take the place of a muted handler."""
