"""Signals deferred while an exception out of their handlers would leave something half done."""

import contextlib
import signal
import threading
import types
from collections.abc import Callable
from typing import Any

_Handler = Callable[[int, types.FrameType | None], Any]


class Interrupts:
    """Signals, such as Ctrl-C or the alarm of a time limit, that are delivered later.

    They are deferred except between `allow` and the next time `is_deferring` is set. Inside the
    block `is_deferring` is a plain attribute, so that deferring begins with a single store, which
    no signal can interrupt. Outside the main thread, where no handler runs, this does nothing; nor
    does it to a signal that is ignored or ends the process.

    Attributes:
        is_deferring: whether signals are deferred; True from the beginning.

    Example:
        >>> with Interrupts() as interrupts:
        ...     interrupts.allow()
        ...     try:
        ...         pass  # may be interrupted
        ...     finally:
        ...         interrupts.is_deferring = True
        ...         pass  # may not
    """

    def __init__(self) -> None:
        self.is_deferring = True
        self._received: dict[int, types.FrameType | None] = {}
        self._handlers: dict[int, _Handler] = {}

    def __enter__(self) -> "Interrupts":
        """Replace the handlers of signals."""
        self.replace_handlers()
        return self

    def __exit__(self, *exception: object) -> None:
        """Restore the handlers that were not replaced since, and deliver deferred signals."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, handler)
        self._deliver()

    def allow(self) -> None:
        """Deliver signals, deferred ones at once."""
        self.is_deferring = False
        self._deliver()

    def replace_handlers(self) -> None:
        """Replace the handlers of signals, also those that were set since the last time."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler) and handler != self._receive:
                self._handlers[number] = handler
                # Some signals cannot be handled.
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, self._receive)

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        """Record a signal, and deliver it unless signals are deferred."""
        self._received.setdefault(number, frame)
        if not self.is_deferring:
            self._deliver()

    def _deliver(self) -> None:
        """Call the original handler of each signal that was received, once."""
        if self._received:
            number, frame = self._received.popitem()
            try:
                self._handlers[number](number, frame)
            finally:
                self._deliver()
