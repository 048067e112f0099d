"""Mute the handlers of an engine that do not run during a sweep, and restore them.

A placeholder that does nothing takes the place of a muted handler, so that the engine still finds
the handler and can remove it.
"""

import functools
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from ignite_lrfinder.protocols import Handler
from ignite_lrfinder.sweep.calls import Undo, shadow
from ignite_lrfinder.sweep.engine import Entry, handler_table
from ignite_lrfinder.sweep.handlers import (
    HandlerChoice,
    HandlerKind,
    kind_of,
    name_of,
    parent_of,
)

HoldLR = Callable[..., None]


class Muting:
    """Mute an engine's handlers from `mute` to `undo`.

    A handler added while the trainer runs is muted by the same rule, and removed by `undo`; a
    handler added before the run is not muted, and stays. A handler removed while the trainer runs
    is restored by `undo`.

    Args:
        engine: the engine whose handlers are muted.
        choice: which of its handlers run.
        hold_lr: called before each handler that runs, and after it with its name.
        is_running: returns whether the trainer runs.

    Attributes:
        muted: the user-defined handlers that are muted.
        terminated_by: the name of the handler that terminated the engine's run, if any.
    """

    def __init__(
        self,
        engine: Engine,
        choice: HandlerChoice,
        hold_lr: HoldLR,
        is_running: Callable[[], bool] = lambda: False,
    ) -> None:
        self.muted: list[Handler] = []
        self.terminated_by: str | None = None
        self._engine = engine
        self._choice = choice
        self._hold_lr = hold_lr
        self._is_running = is_running
        self._table = handler_table(engine)
        # The list objects stay, because a run around the block may be iterating over one of them.
        self._lists = dict(self._table)
        # From the id of a placeholder to itself and the entry it replaces, or None for a handler
        # that was added during the run.
        self._replaced: dict[int, tuple[Handler, Entry | None]] = {}
        self._absent: list[Entry] = []
        # The event, index and entry of each handler that was removed during the run.
        self._removed: list[tuple[object, int, Entry]] = []
        self._stop_listening: list[Undo] = []

    def mute(self) -> None:
        """Replace each handler by a placeholder, which calls the handler if it runs."""
        for event, entries in self._lists.items():
            runs = [self._choice.runs(parent_of(entry[0]), event) for entry in entries]
            if event == Events.EXCEPTION_RAISED and not any(runs):
                # An engine swallows exceptions if its table contains this event at all.
                self._absent = self._table.pop(event)[:]
            else:
                entries[:] = map(self._replace, entries, runs)
        self._stop_listening = [
            shadow(self._engine, "add_event_handler", self._add),
            shadow(self._engine, "remove_event_handler", self._remove),
        ]

    def undo(self) -> None:
        """Restore the handlers in their order.

        Handlers that the user added or removed before the run stay added or removed.
        """
        for stop_listening in self._stop_listening:
            stop_listening()
        for event, index, entry in reversed(self._removed):
            self._table.setdefault(event, []).insert(index, entry)
        for event, entries in self._lists.items():
            current = self._table.get(event, [])
            if event == Events.EXCEPTION_RAISED:
                current = [*self._absent, *current]
            entries[:] = self._originals(current)
        new = {
            event: self._originals(entries)
            for event, entries in self._table.items()
            if event not in self._lists
        }
        self._table.clear()
        self._table.update(self._lists)
        self._table.update({event: entries for event, entries in new.items() if entries})

    def running(self, *events: Events) -> list[Handler]:
        """Return the handlers of the given events that are not muted; by default, of all events."""
        lists = [self._table.get(event, []) for event in events or self._table]
        entries = [entry for entries in lists for entry in entries]
        return [parent_of(entry[0]) for entry in entries if not isinstance(entry[0], _Muted)]

    def _replace(self, entry: Entry, is_kept: bool) -> Entry:
        """Return the placeholder's entry for the entry of a handler."""
        handler, args, kwargs = entry
        if not is_kept and kind_of(parent_of(handler)) is HandlerKind.USER:
            self.muted.append(parent_of(handler))
        placeholder: Handler = _Muted()
        if is_kept:
            placeholder = functools.partial(self._watch, handler, name_of(handler))
        # Ignite compares `_parent()` if there is one, so the engine still finds the handler.
        vars(placeholder)["_parent"] = functools.partial(parent_of, handler)
        self._replaced[id(placeholder)] = (placeholder, entry)
        return (placeholder, args, dict(kwargs)) if is_kept else (placeholder, (), {})

    def _originals(self, entries: list[Entry]) -> list[Entry]:
        """Return the original entries, with the entries that the user added before the run."""
        found = [self._replaced.get(id(entry[0]), (None, entry))[1] for entry in entries]
        return [entry for entry in found if entry is not None]

    def _add(self, add: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        """Add a handler; during the run, mute it by the same rule until `undo` removes it."""
        lengths = {event: len(entries) for event, entries in self._table.items()}
        handle = add(*args, **kwargs)
        if self._is_running():
            for event, entries in list(self._table.items()):
                self._replace_added(event, entries, lengths.get(event, 0))
        return handle

    def _remove(self, remove: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Remove a handler; during the run, remember it for `undo`."""
        before = {event: list(entries) for event, entries in self._table.items()}
        remove(*args, **kwargs)
        if self._is_running():
            for event, entries in before.items():
                left = {id(entry[0]) for entry in self._table.get(event, ())}
                self._removed += [
                    (event, index, entry)
                    for index, entry in enumerate(entries)
                    if id(entry[0]) not in left and id(entry[0]) in self._replaced
                ]

    def _replace_added(self, event: object, entries: list[Entry], start: int) -> None:
        """Replace the entries that were added to an event during the run."""
        for index in range(start, len(entries)):
            if id(entries[index][0]) not in self._replaced:  # else a nested call did it
                is_kept = self._choice.runs(parent_of(entries[index][0]), event)
                entries[index] = self._replace(entries[index], is_kept)
                placeholder = entries[index][0]
                self._replaced[id(placeholder)] = (placeholder, None)
        is_swallowing = event == Events.EXCEPTION_RAISED and len(entries) > start
        if is_swallowing and all(isinstance(entry[0], _Muted) for entry in entries):
            del self._table[event]

    def _watch(self, handler: Handler, name: str, *args: object, **kwargs: object) -> None:
        """Run a handler, and detect whether it writes a learning rate or terminates the run."""
        self._hold_lr()
        was_terminated = self._engine.should_terminate
        handler(*args, **kwargs)
        self._hold_lr(name, is_handler=True)
        if self._engine.should_terminate and not was_terminated:
            self.terminated_by = name


class _Muted:
    """A placeholder for a muted handler."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""
