"""Where a sweep and its trials are, shown by Ignite's own progress bar."""

import sys
import time

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

from ignite_lrfinder.sweep.measurement import Measurement

_SECONDS_BETWEEN = 0.1


class Progress:
    """Show a measurement on one line: its point, learning rate and smoothed loss.

    The bar belongs to an engine of its own, so that it counts points and not iterations. Where
    nobody watches, as in a log file, the line comes at the end, and only if it is to persist.

    Raises:
        ModuleNotFoundError: if tqdm is not installed.
    """

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._measurement: Measurement | None = None
        self._last_shown = 0.0
        self._begin_bar("LR range test", persist=True)

    def follow(self, measurement: Measurement, name: str, *, persist: bool) -> None:
        """Begin to show a measurement, in the place of the one before.

        Args:
            measurement: what is shown.
            name: what it is called.
            persist: whether its line stays when it is over.
        """
        self.close()
        self._begin_bar(name, persist=persist)
        self._measurement = measurement
        self._engine.state.epoch_length = len(measurement.table)

    def update(self) -> None:
        """Show the latest point that is known, if somebody watches and the last is a while ago."""
        now = time.monotonic()
        if self._is_watched and now - self._last_shown > _SECONDS_BETWEEN:
            self._last_shown = now
            self._show()

    def close(self) -> None:
        """End the bar with what was reached."""
        if self._measurement is None or self._bar is None:
            return
        if self._is_watched or self._bar.persist:
            self._show()
        if self._bar.pbar is not None:
            # Ignite's bar would fill itself on closing, also where the sweep ended early.
            self._bar.pbar.total = self._bar.pbar.n
        self._engine.fire_event(Events.EPOCH_COMPLETED)
        self._measurement = None

    def _begin_bar(self, name: str, *, persist: bool) -> None:
        """Make a bar, on an engine that is never run."""
        self._bar = ProgressBar(persist=persist, desc=name)
        self._is_watched = sys.stderr.isatty() or "notebook" in self._bar.pbar_cls.__module__
        self._engine = Engine(lambda engine, batch: None)
        self._bar.attach(self._engine, metric_names=["lr", "loss"])

    def _show(self) -> None:
        """Show the latest point that is known."""
        measurement = self._measurement
        if measurement is None:
            return
        measurement.look()
        if len(measurement) == 0:
            return
        state = self._engine.state
        state.iteration = len(measurement)
        state.metrics = {
            "lr": float(measurement.table[len(measurement) - 1].max()),
            "loss": measurement.smoothed_loss,
        }
        self._engine.fire_event(Events.ITERATION_COMPLETED)
