"""Show the progress of a sweep and its trials in Ignite's progress bar."""

import sys
import time

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

from ignite_lrfinder.sweep.measurement import Measurement

_SECONDS_BETWEEN = 0.1


class Progress:
    """A progress bar with the point, learning rate and smoothed loss of a measurement.

    The bar is attached to a separate engine, so that it counts points instead of iterations. A
    log file gets one line at the end, and only for a bar that persists.

    Raises:
        ModuleNotFoundError: if tqdm is not installed.
    """

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._measurement: Measurement | None = None
        self._last_shown = 0.0
        self._begin_bar("LR range test", persist=True)

    def follow(self, measurement: Measurement, name: str, *, persist: bool) -> None:
        """Show a measurement in place of the previous one.

        Args:
            measurement: the measurement to show.
            name: the description of the bar.
            persist: whether the bar stays after the end.
        """
        self.close()
        self._begin_bar(name, persist=persist)
        self._measurement = measurement
        self._engine.state.epoch_length = len(measurement.table)

    def update(self) -> None:
        """Refresh the bar in a terminal or notebook, at most ten times a second."""
        now = time.monotonic()
        if self._is_watched and now - self._last_shown > _SECONDS_BETWEEN:
            self._last_shown = now
            self._show()

    def close(self) -> None:
        """Show the last point and close the bar."""
        if self._measurement is None or self._bar is None:
            return
        if self._is_watched or self._bar.persist:
            self._show()
        if self._bar.pbar is not None:
            # Ignite fills the bar when it closes it, even after an early end.
            self._bar.pbar.total = self._bar.pbar.n
        self._engine.fire_event(Events.EPOCH_COMPLETED)
        self._measurement = None

    def _begin_bar(self, name: str, *, persist: bool) -> None:
        """Make a bar on an engine that never runs."""
        self._bar = ProgressBar(persist=persist, desc=name)
        self._is_watched = sys.stderr.isatty() or "notebook" in self._bar.pbar_cls.__module__
        self._engine = Engine(lambda engine, batch: None)
        self._bar.attach(self._engine, metric_names=["lr", "loss"])

    def _show(self) -> None:
        """Show the latest point whose loss is known."""
        measurement = self._measurement
        if measurement is None or len(measurement) == 0:
            return
        state = self._engine.state
        state.iteration = len(measurement)
        state.metrics = {
            "lr": float(measurement.table[len(measurement) - 1].max()),
            "loss": measurement.smoothed_loss,
        }
        self._engine.fire_event(Events.ITERATION_COMPLETED)
