"""Defer Ctrl-C while an interrupt would leave something half done."""

import signal
import threading
import types
from collections.abc import Callable
from typing import Any


class Interrupts:
    """Defer Ctrl-C, except between `allow` and the next time `is_deferring` is set.

    Inside the block `is_deferring` is a plain attribute, so that deferring can begin with a
    single store, which no interrupt can split. Outside the main thread, where no interrupt
    arrives, this does nothing; nor does it where Ctrl-C is ignored or ends the process.

    Attributes:
        is_deferring: whether interrupts are deferred; True at first.

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
        self._received: list[tuple[int, types.FrameType | None]] = []
        self._handler: Callable[[int, types.FrameType | None], Any] | None = None

    def __enter__(self) -> "Interrupts":
        """Replace the present signal handler."""
        handler = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and callable(handler):
            self._handler = handler
            signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        """Restore the signal handler, unless it was replaced inside, and deliver the interrupt."""
        if self._handler is not None and signal.getsignal(signal.SIGINT) == self._receive:
            signal.signal(signal.SIGINT, self._handler)
        self._deliver()

    def allow(self) -> None:
        """Allow interrupts, and deliver a deferred one now."""
        self.is_deferring = False
        self._deliver()

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        """Receive an interrupt."""
        self._received.append((number, frame))
        if not self.is_deferring:
            self._deliver()

    def _deliver(self) -> None:
        """Pass the first received interrupt to the handler that was there before."""
        received, self._received = self._received, []
        if received and self._handler is not None:
            self._handler(*received[0])
