"""The epochs and the data of a run: as many epochs as the sweep needs, while data is left."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.snapshot import Snapshot, is_loader_iterator
from ignite_lrfinder.sweep.engine import length_of_data, length_of_run, max_iters_of

# As in other finders, for a run of unknown length.
_DEFAULT_NUM_ITER = 100
# More epochs in a row than this without an iteration are an endless loop in user code.
_MAX_EMPTY = 1000


class Epochs:
    """Extend a run over as many epochs as the sweep needs, and stop it when the data ends.

    Args:
        trainer: the engine that runs.
        snapshot: captures the data before use.
        stop: ends the run for the given reason.

    Attributes:
        num_batches: the number of batches in the data with which trials begin; None if it has no
            length, or if there are several processes.
    """

    def __init__(
        self, trainer: Engine, snapshot: Snapshot, stop: Callable[[StopReason], None]
    ) -> None:
        self._trainer = trainer
        self._snapshot = snapshot
        self._stop = stop
        self.num_batches: int | None = None
        self._data: Iterable[Any] | None = None
        self._ended: object = None
        self._num_empty = 0
        self._last_iteration: int | None = None
        self._is_terminated = False

    def begin(self, num_iter: int | None) -> int:
        """Capture the data, make the run long enough, and return the number of points.

        Args:
            num_iter: the requested number of points; None for the length of the run.
        """
        state = self._trainer.state
        self._snapshot.add_data(state.dataloader)
        num_points = num_iter or length_of_run(self._trainer) or _DEFAULT_NUM_ITER
        if max_iters_of(self._trainer) is not None:
            state.max_iters = None
            state.max_epochs = 1
        if state.epoch_length is not None and state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, math.ceil(num_points / state.epoch_length))
        return num_points

    def mark(self) -> None:
        """Remember the current data, with which trials begin."""
        self._data = self._trainer.state.dataloader
        # Processes end with the same result, but may have data of different lengths.
        self.num_batches = length_of_data(self._data) if idist.get_world_size() == 1 else None

    def rewind(self) -> None:
        """Start again with the remembered data."""
        self._trainer.state.dataloader = self._data
        self._last_iteration = None

    def forget(self) -> None:
        """Free the data, because a traceback may keep this object alive."""
        self._data = self._ended = None

    def set_data(self, data: Iterable[object]) -> None:
        """Capture data that user code sets on the trainer, then set it."""
        self._snapshot.add_data(data)
        type(self._trainer).set_data(self._trainer, data)

    def extend(self) -> None:
        """Extend the run by an epoch."""
        state = self._trainer.state
        if state.max_epochs is not None:
            state.max_epochs = max(state.max_epochs, state.epoch + 1)

    def on_epoch_started(self, engine: Engine) -> None:
        """Stop if the previous epoch had no batch because the data is exhausted."""
        is_empty = engine.state.iteration == self._last_iteration
        self._num_empty = self._num_empty + 1 if is_empty else 0
        if is_empty and not self._is_terminated:
            self._stop(StopReason.OUT_OF_DATA)
        if self._num_empty == _MAX_EMPTY:
            raise LRFinderError(
                f"An epoch must have an iteration, got {_MAX_EMPTY} epochs in a row that "
                "terminate_epoch() ended before the first. Look for a handler that calls it."
            )
        self._last_iteration, self._is_terminated = engine.state.iteration, False

    def on_epoch_terminated(self) -> None:
        """Remember that `terminate_epoch` ended the epoch."""
        self._is_terminated = True

    def record_end_of_data(self, engine: Engine) -> None:
        """Remember which data has ended, before a handler can set other data."""
        self._ended = engine.state.dataloader

    def on_end_of_data(self, engine: Engine) -> None:
        """Stop if the data is an iterator that cannot restart, and no handler has replaced it.

        A custom iterator may restart; if it does not, the next epoch has no batch.
        """
        data = engine.state.dataloader
        is_built_in = type(data).__module__ in ("builtins", "itertools")
        is_one_shot = isinstance(data, Iterator) and (is_built_in or is_loader_iterator(type(data)))
        if data is self._ended and is_one_shot:
            self._stop(StopReason.OUT_OF_DATA)
