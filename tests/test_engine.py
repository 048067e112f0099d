"""Each private part of Ignite's `Engine` that we use exists and does what we assume.

A failure here means that this release of Ignite has changed the part that the message names; the
one function in `ignite_lrfinder/engine.py` is the place to follow it.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import HAS_MAX_ITERS
from ignite.engine import Engine, Events, State

from ignite_lrfinder.sweep.engine import (
    end_run,
    event_list,
    handler_table,
    move_first,
    pending_run,
    start_afresh,
)

CLASS = "Ignite's Engine"


def make_trainer() -> Engine:
    """Make a trainer that only counts."""
    return Engine(lambda engine, batch: batch)


def interrupted_trainer() -> Engine:
    """Make a trainer that was interrupted after three of eight iterations."""
    trainer = make_trainer()
    with trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), Engine.interrupt):
        trainer.run(range(4), max_epochs=2)
    return trainer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_event_handlers", {}),
        ("_internal_run_generator", None),
        ("_dataloader_iter", None),
        ("_init_iter", None),
    ],
)
def test_a_new_engine_has_the_private_attributes(name: str, value: object) -> None:
    """The attributes exist, with the initial values that we expect."""
    trainer = make_trainer()
    assert hasattr(trainer, name), f"{CLASS} has no {name} any more"
    assert getattr(trainer, name) == value, f"{CLASS} begins with another {name}"


@pytest.mark.parametrize("name", ["_event_handlers", "_allowed_events"])
def test_an_engine_makes_its_tables_itself(name: str) -> None:
    """The engine's own methods fill its tables."""
    source = inspect.getsource(Engine)
    assert f"self.{name}" in source, f"{CLASS} has no {name} any more"


def test_the_table_holds_handlers_with_their_arguments() -> None:
    """An entry is `(handler, args, kwargs)`, and the engine runs what is in the table."""
    trainer, calls = make_trainer(), []

    def handler(engine: Engine, *args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))

    trainer.add_event_handler(Events.STARTED, handler, 1, key=2)
    (entry,) = handler_table(trainer)[Events.STARTED]
    message = f"{CLASS} keeps its handlers in another form"
    assert entry[0] is handler, message
    assert entry[1][-1] == 1, message
    assert entry[2] == {"key": 2}, message
    handler_table(trainer)[Events.STARTED][:] = []
    trainer.run([0])
    assert calls == [], f"{CLASS} does not run its handlers from the table any more"


def test_a_filtered_handler_is_under_the_plain_event_with_its_parent() -> None:
    """A filter is a wrapper whose `_parent()` is the handler, under the event without a filter."""
    trainer = make_trainer()

    def handler(engine: Engine) -> None:
        """Do nothing."""

    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), handler)
    ((entry, _, _),) = handler_table(trainer)[Events.ITERATION_COMPLETED]
    registered: Any = entry
    assert hasattr(registered, "_parent"), "Ignite's filtered handler has no _parent any more"
    assert registered._parent() is handler, "Ignite's _parent is no reference any more"


def test_an_engine_finds_a_handler_by_its_parent() -> None:
    """A placeholder with a `_parent` is found and removed as that handler."""
    trainer = make_trainer()

    def handler() -> None:
        """Do nothing."""

    def stand_in() -> None:
        """Do nothing in place of the handler."""

    vars(stand_in)["_parent"] = lambda: handler  # as Ignite's wrappers have it
    handler_table(trainer)[Events.STARTED].append((stand_in, (), {}))
    assert trainer.has_event_handler(handler, Events.STARTED), f"{CLASS} ignores _parent"
    trainer.remove_event_handler(handler, Events.STARTED)
    assert handler_table(trainer)[Events.STARTED] == []


def test_an_exception_is_raised_without_a_handler() -> None:
    """An engine raises exceptions if and only if EXCEPTION_RAISED is not in the table."""
    trainer = Engine(lambda engine, batch: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        trainer.run([0])
    handler_table(trainer)[Events.EXCEPTION_RAISED] = []
    trainer.run([0])
    handler_table(trainer).pop(Events.EXCEPTION_RAISED)
    with pytest.raises(ZeroDivisionError):
        trainer.run([0])


def test_the_list_of_events_decides_what_may_be_attached() -> None:
    """A registered event is in the list, and an event removed from it is refused."""
    trainer = make_trainer()
    trainer.register_events("sharpened")
    assert "sharpened" in event_list(trainer), f"{CLASS} has no _allowed_events any more"
    event_list(trainer).remove("sharpened")
    with pytest.raises(ValueError, match="sharpened"):
        trainer.add_event_handler("sharpened", print)


def test_move_first_changes_the_order_of_one_event() -> None:
    """The last handler of that event runs first; other events keep their order."""
    trainer, calls = make_trainer(), []
    for event in (Events.STARTED, Events.COMPLETED):
        for name in ("first", "second", "third"):
            trainer.add_event_handler(event, calls.append, name)
    move_first(trainer, Events.STARTED)
    trainer.run([0])
    assert calls == ["third", "first", "second", "first", "second", "third"]


def test_an_interrupted_run_is_pending() -> None:
    """The run of an interrupted trainer is a generator that can resume; otherwise None."""
    trainer = make_trainer()
    assert pending_run(trainer) is None
    trainer.run([0])
    assert pending_run(trainer) is None
    run = pending_run(interrupted_trainer())
    assert inspect.isgenerator(run), f"{CLASS} keeps an interrupted run in another way"


def test_a_run_is_pending_inside_itself() -> None:
    """A handler sees the run around it."""
    trainer, seen = make_trainer(), []
    trainer.add_event_handler(Events.STARTED, lambda engine: seen.append(pending_run(engine)))
    trainer.run([0])
    assert inspect.isgenerator(seen[0]), f"{CLASS} runs without a generator now"


def finished_trainer() -> Engine:
    """Make a trainer that has finished."""
    trainer = make_trainer()
    trainer.run(range(4), max_epochs=2)
    return trainer


def terminated_trainer() -> Engine:
    """Make a trainer that was terminated after three of eight iterations."""
    trainer = make_trainer()
    with trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), Engine.terminate):
        trainer.run(range(4), max_epochs=2)
    return trainer


def loaded_trainer() -> Engine:
    """Make a trainer that has loaded the state of another from the middle of its training."""
    trainer = make_trainer()
    trainer.load_state_dict({"iteration": 6, "max_epochs": 3, "epoch_length": 4})
    return trainer


def trainer_with_max_iters() -> Engine:
    """Make a trainer that was run for a number of iterations."""
    trainer = make_trainer()
    trainer.run(range(4), **({"max_iters": 6} if HAS_MAX_ITERS else {"max_epochs": 1}))
    return trainer


@pytest.mark.parametrize(
    "make",
    [
        make_trainer,
        finished_trainer,
        terminated_trainer,
        interrupted_trainer,
        loaded_trainer,
        trainer_with_max_iters,
    ],
    ids=lambda make: make.__name__,
)
def test_start_afresh_makes_the_next_run_a_new_run(make: Callable[[], Engine]) -> None:
    """Whatever its history, a trainer starts at the first iteration of its data."""
    trainer = make()
    start_afresh(trainer)
    seen: list[tuple[int, int, object]] = []
    events: list[str] = []
    trainer.add_event_handler(Events.STARTED, lambda engine: events.append("started"))
    trainer.add_event_handler(
        Events.ITERATION_STARTED,
        lambda engine: seen.append(
            (engine.state.epoch, engine.state.iteration, engine.state.batch)
        ),
    )
    trainer.run("ab", max_epochs=2, epoch_length=2)
    assert events == ["started"]
    assert seen == [(1, 1, "a"), (1, 2, "b"), (2, 3, "a"), (2, 4, "b")]


def test_a_length_set_before_the_first_run_is_kept() -> None:
    """Engines that preset `max_epochs` on their state, as MONAI's do, find it there."""
    trainer = make_trainer()
    trainer.state.max_epochs = 3
    start_afresh(trainer)
    assert trainer.state.max_epochs == 3


def make_run(closed: list[str], name: str) -> Iterator[State]:
    """Imitate a run that records when it is closed."""
    try:
        yield State()
    finally:
        closed.append(name)


def test_only_the_run_of_the_sweep_is_closed() -> None:
    """The interrupted run of a sweep is closed; the run that was pending before is not."""
    trainer, closed = make_trainer(), []
    before, sweep = make_run(closed, "before"), make_run(closed, "sweep")
    next(before)
    next(sweep)
    trainer._internal_run_generator = before  # type: ignore[assignment]  # a generator is one
    end_run(trainer, before)  # type: ignore[arg-type]
    assert closed == []
    trainer._internal_run_generator = sweep  # type: ignore[assignment]
    end_run(trainer, before)  # type: ignore[arg-type]
    assert closed == ["sweep"]


def test_end_run_without_a_run_does_nothing() -> None:
    """A block that never ran its trainer has no run to close."""
    trainer = make_trainer()
    end_run(trainer, None)
    assert pending_run(trainer) is None


def test_start_afresh_drops_an_interrupted_run() -> None:
    """The pending run, its data and its counters are dropped."""
    trainer = interrupted_trainer()
    start_afresh(trainer)
    assert pending_run(trainer) is None
    assert trainer._dataloader_iter is None
    assert (trainer.state.iteration, trainer.state.epoch) == (0, 0)
