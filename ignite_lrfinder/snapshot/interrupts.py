"""Ctrl-C, held back while an interrupt would leave half of something done."""

import signal
import threading
import types
from collections.abc import Callable
from typing import Any


class Interrupts:
    """Hold Ctrl-C back, except between `allow` and the next time `is_deferring` is set.

    Inside the block `is_deferring` is a plain attribute, so that holding back can begin with a
    single store, which no interrupt can fall into. Outside the main thread, where no interrupt
    arrives, this does nothing; nor does it where Ctrl-C is ignored or ends the process.

    Attributes:
        is_deferring: whether an interrupt waits; True from the beginning.

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
        """Begin to receive interrupts in the place of the handler there is."""
        handler = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and callable(handler):
            self._handler = handler
            signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the signal back, unless another took it meanwhile, and let the interrupt through."""
        if self._handler is not None and signal.getsignal(signal.SIGINT) == self._receive:
            signal.signal(signal.SIGINT, self._handler)
        self._deliver()

    def allow(self) -> None:
        """Let interrupts through, and one that was held back at once."""
        self.is_deferring = False
        self._deliver()

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        """Take an interrupt."""
        self._received.append((number, frame))
        if not self.is_deferring:
            self._deliver()

    def _deliver(self) -> None:
        """Hand what was received, once, to the handler that was there before."""
        received, self._received = self._received, []
        if received and self._handler is not None:
            self._handler(*received[0])
