"""Which of the trainer's handlers keep quiet during a sweep, and giving them back.

A muted handler keeps its place, taken by a stand-in that does nothing, so that the trainer still
has it and can still remove it.
"""

import functools
import weakref
from collections.abc import Callable, Collection, Mapping

from ignite.engine import Engine, Events

from ignite_lrfinder.protocols import Handler, KeepHandlers
from ignite_lrfinder.sweep.engine import Entry, handler_table

HoldLR = Callable[..., None]

# What comes after the fact reports, saves, schedules or stops.
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
_REPORTING_PACKAGES = (
    "ignite.handlers",
    "ignite.metrics",
    "ignite.contrib.handlers",
    "ignite.contrib.metrics",
    "ignite.engine",
)


class Muting:
    """Mute a trainer's handlers from `mute` to `undo`.

    Args:
        trainer: the engine whose handlers are muted.
        keep_handlers: "auto", "all", "none", or the handlers that run besides those of "auto".
        hold_lr: called before each handler that runs, and after it with its name.

    Attributes:
        muted: the names of the handlers that are muted, without Ignite's own.
    """

    def __init__(self, trainer: Engine, keep_handlers: KeepHandlers, hold_lr: HoldLR) -> None:
        self.muted: list[str] = []
        self._trainer = trainer
        self._keep_handlers: KeepHandlers = keep_handlers
        self._hold_lr = hold_lr
        self._table = handler_table(trainer)
        # The lists themselves are kept: a run that goes on around the sweep may be iterating over
        # one.
        self._lists = dict(self._table)
        # From the id of a stand-in to itself and the entry whose place it takes.
        self._stood_in: dict[int, tuple[Handler, Entry]] = {}
        self._absent: list[Entry] = []

    def mute(self) -> None:
        """Put a stand-in in the place of each handler."""
        for event, entries in self._lists.items():
            kept = [
                _is_kept(self._trainer, self._keep_handlers, event, entry[0]) for entry in entries
            ]
            pairs = list(zip(entries, kept, strict=True))
            quiet = [entry[0] for entry, is_kept in pairs if not is_kept]
            self.muted += [name_of(handler) for handler in quiet if self._is_users(handler)]
            if event == Events.EXCEPTION_RAISED and not any(kept):
                # An engine that has this event in its table at all swallows exceptions.
                self._absent = self._table.pop(event)[:]
            else:
                entries[:] = [self._stand_in(entry, is_kept) for entry, is_kept in pairs]

    def undo(self) -> None:
        """Give the handlers back, in their order; what was added or removed meanwhile stays so."""
        for event, entries in self._lists.items():
            added = self._table.get(event, [])
            if event == Events.EXCEPTION_RAISED:
                added = [*self._absent, *added]
            entries[:] = [self._original(entry) for entry in added]
        new = {event: entries for event, entries in self._table.items() if event not in self._lists}
        self._table.clear()
        self._table.update(self._lists)
        self._table.update({event: entries for event, entries in new.items() if entries})

    def _is_users(self, registered: Handler) -> bool:
        """Tell whether a handler is the user's own code, such as a method of their trainer."""
        handler = _parent(registered)
        is_engines = getattr(handler, "__module__", "").startswith("ignite.")
        is_own = _is_own(self._trainer, handler) and not is_engines
        return is_own or not _is_ignites(registered)

    def _stand_in(self, entry: Entry, is_kept: bool) -> Entry:
        """Return the entry that takes the place of another during the sweep."""
        handler, args, kwargs = entry
        quiet = functools.partial(_quiet)
        stand_in = functools.partial(_watched, handler, self._hold_lr) if is_kept else quiet
        # Ignite compares `_parent()` where there is one, so the trainer still finds the handler.
        vars(stand_in)["_parent"] = functools.partial(_parent, handler)
        self._stood_in[id(stand_in)] = (stand_in, entry)
        return (stand_in, args, dict(kwargs)) if is_kept else (stand_in, (), {})

    def _original(self, entry: Entry) -> Entry:
        """Return the entry that stood here before the sweep."""
        _, original = self._stood_in.get(id(entry[0]), (None, entry))
        return original


def handlers_of(trainer: Engine) -> list[Handler]:
    """Return the handlers of a trainer, as they were given to it."""
    return [_parent(entry[0]) for entries in handler_table(trainer).values() for entry in entries]


def is_named(handler: Handler, names: Collection[Handler]) -> bool:
    """Tell whether a handler, or the object whose method it is, is among `names`."""
    owner = getattr(handler, "__self__", None)
    return any(handler == name or (owner is not None and owner is name) for name in names)


def kept_of(evaluator: Engine, keep_handlers: KeepHandlers) -> KeepHandlers:
    """Return what runs on an evaluator that a sweep validates with: its metrics besides."""
    if isinstance(keep_handlers, str) and keep_handlers == "all":
        return "all"
    named = () if isinstance(keep_handlers, str) else tuple(keep_handlers)
    metrics = (h for h in handlers_of(evaluator) if _is_of(_owner(h), ("ignite.metrics",)))
    return (*named, *metrics)


def kept_reporters(kept: Mapping[Engine, KeepHandlers]) -> tuple[object, ...]:
    """Return the objects of Ignite's own that will run in the sweep, and so change."""
    owners = map(_owner, kept_handlers(kept))
    return tuple(obj for obj in owners if _is_reporter(obj) and not isinstance(obj, Engine))


def kept_handlers(kept: Mapping[Engine, KeepHandlers]) -> list[Handler]:
    """Return the handlers that will run in the sweep."""
    return [
        _parent(entry[0])
        for engine, keep_handlers in kept.items()
        for event, entries in handler_table(engine).items()
        for entry in entries
        if _is_kept(engine, keep_handlers, event, entry[0])
    ]


def name_of(handler: Handler) -> str:
    """Return what a person calls a handler."""
    inner = _parent(handler)
    while isinstance(inner, functools.partial):
        inner = inner.func
    return getattr(inner, "__qualname__", None) or type(inner).__qualname__


def _is_kept(trainer: Engine, keep: KeepHandlers, event: object, registered: Handler) -> bool:
    """Tell whether a handler runs on an event during the sweep."""
    handler = _parent(registered)
    if _is_inner(trainer, handler):
        return True
    if keep == "all" or keep == "none":
        return keep == "all"
    if not isinstance(keep, str) and is_named(handler, keep):
        return True
    return event not in _MUTED_EVENTS and not (
        _is_ignites(registered) and not _is_own(trainer, handler)
    )


def _is_own(trainer: Engine, handler: Handler) -> bool:
    """Tell whether a handler is a method of the trainer itself."""
    return _owner(handler) is trainer


def _is_inner(trainer: Engine, handler: Handler) -> bool:
    """Tell how an engine prepares itself: Ignite's DeterministicEngine seeds each epoch so."""
    name = getattr(handler, "__name__", "")
    is_private = name.startswith("_") and getattr(handler, "__module__", "").startswith("ignite.")
    return is_private and _is_own(trainer, handler)


def _is_ignites(registered: Handler) -> bool:
    """Tell whether a handler is one of Ignite's own."""
    return _is_reporter(_owner(_parent(registered)))


def _is_reporter(obj: object) -> bool:
    """Tell whether an object is a handler, metric or engine of Ignite's, or derives from one."""
    return _is_of(obj, _REPORTING_PACKAGES)


def _is_of(obj: object, packages: tuple[str, ...]) -> bool:
    """Tell whether an object's class, or one that it derives from, is from one of some packages."""
    if isinstance(obj, type) or not hasattr(type(obj), "__mro__"):
        return False
    return any(base.__module__.startswith(packages) for base in type(obj).__mro__)


def _owner(handler: Handler) -> object:
    """Return the object whose method a handler is, or the handler itself."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return getattr(handler, "__self__", handler)


def _parent(registered: Handler) -> Handler:
    """Return the handler that the user gave, which Ignite may have wrapped for an event filter."""
    parent = getattr(registered, "_parent", None)
    original = parent() if isinstance(parent, (weakref.ref, functools.partial)) else None
    return registered if original is None else original


def _watched(handler: Handler, hold_lr: HoldLR, *args: object, **kwargs: object) -> None:
    """Run a handler, and look before and after whether a learning rate was written."""
    hold_lr()
    handler(*args, **kwargs)
    hold_lr(name_of(handler))


def _quiet(*args: object, **kwargs: object) -> None:
    """Stand in for a muted handler."""
