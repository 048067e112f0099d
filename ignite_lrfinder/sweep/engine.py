"""The private parts of Ignite's `Engine` that we use, each in one small function."""

from collections.abc import Callable, Generator
from typing import Any

from ignite.engine import Engine, Events, State

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import Handler
from ignite_lrfinder.snapshot import attributes_of

# Attributes of an engine from which everything is reachable, also what it does not train with.
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
    """Return the table in which Ignite stores a trainer's handlers."""
    return trainer._event_handlers


def event_list(trainer: Engine) -> list[Any]:
    """Return the list in which Ignite stores the events that a trainer knows."""
    return trainer._allowed_events


def add_handler(trainer: Engine, event: Events, handler: Handler) -> None:
    """Add a handler with Ignite's method, even if the trainer has another one."""
    type(trainer).add_event_handler(trainer, event, handler)


def end_epoch(trainer: Engine) -> None:
    """End the epoch without its EPOCH_COMPLETED, which releases before 0.5.2 fire anyway."""
    trainer.terminate_epoch()
    trainer.should_terminate_single_epoch = "skip_epoch_completed"


def is_running(trainer: Engine) -> bool:
    """Return whether a trainer is running, so that this call comes from its run."""
    run: Any = trainer._internal_run_generator
    if run is not None:
        return run.gi_running
    # Older releases have no generator; they set the time of a run to 0 when it starts.
    is_legacy = not getattr(trainer, "interrupt_resume_enabled", True)
    return is_legacy and trainer.state.times.get(Events.COMPLETED.name) == 0.0


def training_of(trainer: Engine) -> list[object]:
    """Return the objects a trainer trains with: its train step and its attributes."""
    held = [obj for name, obj in attributes_of(trainer).items() if name not in _NOT_OF_TRAINING]
    return [train_step_of(trainer), *held]


def move_first(trainer: Engine, event: Events) -> None:
    """Make the last handler of an event the first."""
    entries = handler_table(trainer)[event]
    entries.insert(0, entries.pop())


def is_last(trainer: Engine, event: Events, handler: Handler) -> bool:
    """Return whether a handler is the last of an event."""
    return handler_table(trainer)[event][-1][0] == handler


def pending_run(trainer: Engine) -> Run | None:
    """Return the run that was interrupted, or that contains the block of attach."""
    return trainer._internal_run_generator


def train_step_of(trainer: Engine) -> object:
    """Return what a trainer calls with each batch."""
    return trainer._process_function


def set_train_step(trainer: Engine, step: Callable[[Engine, Any], object]) -> None:
    """Set what a trainer calls with each batch."""
    trainer._process_function = step


def start_afresh(trainer: Engine) -> None:
    """Make the next `run` of a trainer start from the beginning."""
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


def length_of_data(data: object) -> int | None:
    """Return the number of batches in data; None if it has no length."""
    try:
        return len(data)  # type: ignore[arg-type]  # what has none raises TypeError
    except Exception:  # the method of a user's class may raise anything
        return None


def end_run(trainer: Engine, interrupted_run: Run | None) -> None:
    """Close the interrupted run of a sweep, so that it cannot change the trainer later."""
    run = trainer._internal_run_generator
    if run is not None and run is not interrupted_run:
        run.close()
