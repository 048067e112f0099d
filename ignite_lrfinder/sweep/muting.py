"""Mute the handlers of an engine that do not run during a sweep, and restore them.

A muted handler keeps its place, taken by a placeholder that does nothing, so that the engine still
has it and can still remove it.
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

    A handler that is added while the trainer runs is judged like the others, and removed by `undo`;
    one that is added before or between runs stays, and runs. A handler that is removed while the
    trainer runs is restored by `undo`.

    Args:
        engine: the engine whose handlers are muted.
        choice: which of its handlers run.
        hold_lr: called before each handler that runs, and after it with its name.
        is_running: returns whether the trainer runs.

    Attributes:
        muted: the user-defined handlers that are muted.
        terminated_by: the name of the handler that has terminated the run of the engine, if any.
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
        # The list objects stay: a run around the sweep may be iterating over one of them.
        self._lists = dict(self._table)
        # From the id of a placeholder to itself and the entry whose place it takes; None for the
        # entry of a handler that was added during the run.
        self._replaced: dict[int, tuple[Handler, Entry | None]] = {}
        self._absent: list[Entry] = []
        # The event, the index and the entry of each handler that was removed during the run.
        self._removed: list[tuple[object, int, Entry]] = []
        self._stop_listening: list[Undo] = []

    def mute(self) -> None:
        """Put each handler behind a placeholder, which calls it if it is to run."""
        for event, entries in self._lists.items():
            runs = [self._choice.runs(parent_of(entry[0]), event) for entry in entries]
            if event == Events.EXCEPTION_RAISED and not any(runs):
                # An engine that has this event in its table at all swallows exceptions.
                self._absent = self._table.pop(event)[:]
            else:
                entries[:] = map(self._replace, entries, runs)
        self._stop_listening = [
            shadow(self._engine, "add_event_handler", self._add),
            shadow(self._engine, "remove_event_handler", self._remove),
        ]

    def undo(self) -> None:
        """Restore the handlers in their order.

        Handlers that the user has removed or added since stay so, but not those that were removed
        or added during the run.
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
        """Return the handlers of some events that are not muted; by default, of all events."""
        lists = [self._table.get(event, []) for event in events or self._table]
        entries = [entry for entries in lists for entry in entries]
        return [parent_of(entry[0]) for entry in entries if not isinstance(entry[0], _Muted)]

    def _replace(self, entry: Entry, is_kept: bool) -> Entry:
        """Return the entry that takes the place of another during the sweep."""
        handler, args, kwargs = entry
        if not is_kept and kind_of(parent_of(handler)) is HandlerKind.USER:
            self.muted.append(parent_of(handler))
        placeholder: Handler = _Muted()
        if is_kept:
            placeholder = functools.partial(self._watch, handler, name_of(handler))
        # Ignite compares `_parent()` where there is one, so the engine still finds the handler.
        vars(placeholder)["_parent"] = functools.partial(parent_of, handler)
        self._replaced[id(placeholder)] = (placeholder, entry)
        return (placeholder, args, dict(kwargs)) if is_kept else (placeholder, (), {})

    def _originals(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries that were here before the sweep, and those that the user has added."""
        found = [self._replaced.get(id(entry[0]), (None, entry))[1] for entry in entries]
        return [entry for entry in found if entry is not None]

    def _add(self, add: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        """Add a handler; one that is added during the run is judged, and removed by `undo`."""
        lengths = {event: len(entries) for event, entries in self._table.items()}
        handle = add(*args, **kwargs)
        if self._is_running():
            for event, entries in list(self._table.items()):
                self._judge_added(event, entries, lengths.get(event, 0))
        return handle

    def _remove(self, remove: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Remove a handler; one that is removed during the run is restored by `undo`."""
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

    def _judge_added(self, event: object, entries: list[Entry], start: int) -> None:
        """Replace the entries that were added to an event during the run."""
        for index in range(start, len(entries)):
            if id(entries[index][0]) not in self._replaced:  # else by a nested call
                is_kept = self._choice.runs(parent_of(entries[index][0]), event)
                entries[index] = self._replace(entries[index], is_kept)
                placeholder = entries[index][0]
                self._replaced[id(placeholder)] = (placeholder, None)
        is_swallowing = event == Events.EXCEPTION_RAISED and len(entries) > start
        if is_swallowing and all(isinstance(entry[0], _Muted) for entry in entries):
            del self._table[event]

    def _watch(self, handler: Handler, name: str, *args: object, **kwargs: object) -> None:
        """Run a handler, and notice if it writes a learning rate or terminates the run."""
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
