"""The private parts of Ignite's `Engine` that we use, each in one small function."""

from collections.abc import Generator
from typing import Any

from ignite.engine import Engine, Events, State

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Handler
from ignite_lrfinder.snapshot import attributes_of

# Attributes of an engine through which everything is reached, also what it does not train with.
_NOT_OF_TRAINING = (
    "_event_handlers",
    "_internal_run_generator",
    "add_event_handler",
    "remove_event_handler",
    "set_data",
)

Entry = tuple[Handler, tuple[Any, ...], dict[str, Any]]
Run = Generator[Any, None, State]


def handler_table(trainer: Engine) -> dict[object, list[Entry]]:
    """Return Ignite's own table of a trainer's handlers, to be changed in place."""
    return trainer._event_handlers


def event_list(trainer: Engine) -> list[Any]:
    """Return Ignite's own list of the events that a trainer knows."""
    return trainer._allowed_events


def add_handler(trainer: Engine, event: Events, handler: Handler) -> None:
    """Add a handler in Ignite's own way, whatever has replaced the method on the trainer."""
    type(trainer).add_event_handler(trainer, event, handler)


def end_epoch(trainer: Engine) -> None:
    """End the epoch without its EPOCH_COMPLETED, which releases before 0.5.2 fire all the same."""
    trainer.terminate_epoch()
    trainer.should_terminate_single_epoch = "skip_epoch_completed"


def is_running(trainer: Engine) -> bool:
    """Return whether a trainer runs at this moment, so that this is called by its run."""
    run: Any = trainer._internal_run_generator
    if run is not None:
        return run.gi_running
    # Without generators: Ignite sets the time of a run to 0 when it starts.
    is_legacy = not getattr(trainer, "interrupt_resume_enabled", True)
    return is_legacy and trainer.state.times.get(Events.COMPLETED.name) == 0.0


def training_of(trainer: Engine) -> list[object]:
    """Return what a trainer trains with: its train step, and what its attributes hold."""
    held = [obj for name, obj in attributes_of(trainer).items() if name not in _NOT_OF_TRAINING]
    return [trainer._process_function, *held]


def move_first(trainer: Engine, event: Events) -> None:
    """Make the last handler of an event the first."""
    entries = handler_table(trainer)[event]
    entries.insert(0, entries.pop())


def is_last(trainer: Engine, event: Events, handler: Handler) -> bool:
    """Return whether a handler is the last of an event."""
    return handler_table(trainer)[event][-1][0] == handler


def pending_run(trainer: Engine) -> Run | None:
    """Return the run that was interrupted, or inside which the sweep is attached."""
    return trainer._internal_run_generator


def start_afresh(trainer: Engine) -> None:
    """Make the next `run` of a trainer a new run, whatever it did before."""
    state = trainer.state
    has_run = state.iteration > 0 or state.epoch > 0
    if has_run or trainer._internal_run_generator is not None:
        state.iteration = state.epoch = 0
        state.max_epochs = None
        if max_iters_of(trainer) is not None:
            state.max_iters = None
    trainer._internal_run_generator = None
    trainer._dataloader_iter = None
    trainer._init_iter = None


def max_iters_of(trainer: Engine) -> int | None:
    """Return the `max_iters` of a run; None if it has none, as in older releases."""
    return getattr(trainer.state, "max_iters", None)


def length_of_run(trainer: Engine) -> int | None:
    """Return the length of a run in iterations; None if it is unknown.

    Raises:
        LRFinderError: if the length is 0.
    """
    state = trainer.state
    length = max_iters_of(trainer)
    if length is None and state.epoch_length is not None and state.max_epochs is not None:
        length = state.epoch_length * state.max_epochs
    if length is not None and length < 1:
        raise LRFinderError(
            f"The run must have at least 1 iteration, got {length}. Pass num_iter to attach."
        )
    return length


def end_run(trainer: Engine, interrupted_run: Run | None) -> None:
    """Close the run of a sweep that was interrupted, so that it cannot touch the trainer later."""
    run = trainer._internal_run_generator
    if run is not None and run is not interrupted_run:
        run.close()
