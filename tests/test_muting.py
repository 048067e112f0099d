"""The promise "quiet": which handlers run during a sweep, and that all are restored."""

import functools
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import pytest
from ignite.engine import DeterministicEngine, Engine, EventEnum, Events
from ignite.handlers import (
    BasicTimeProfiler,
    Checkpoint,
    EarlyStopping,
    EMAHandler,
    EpochOutputStore,
    ProgressBar,
    StepStateScheduler,
    TerminateOnNan,
    Timer,
)
from ignite.handlers.param_scheduler import LinearCyclicalScheduler
from ignite.metrics import Average
from torch import nn, optim

from ignite_lrfinder.sweep.engine import is_running, start_afresh
from ignite_lrfinder.sweep.handlers import (
    HandlerChoice,
    handlers_of,
    is_named,
    library_objects,
    names_of,
)
from ignite_lrfinder.sweep.muting import Muting

PREPARING = [
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
]
AFTERWARDS = [Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED, Events.COMPLETED]


class Custom(EventEnum):
    """Custom events."""

    SHARPENED = "sharpened"


class Recorder:
    """A handler that is an object, and has a method that is a handler, too."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, engine: Engine) -> None:
        self.calls.append("call")

    def method(self, engine: Engine) -> None:
        self.calls.append("method")


def make_trainer() -> Engine:
    """Make a trainer that fires a custom event in each iteration."""
    trainer = Engine(lambda engine, batch: engine.fire_event(Custom.SHARPENED))
    trainer.register_events(*Custom)
    return trainer


def mute(trainer: Engine, keep: object = "auto", muted: Sequence[Any] = ()) -> Muting:
    """Mute the handlers of a trainer."""
    choice = HandlerChoice(keep, muted)  # type: ignore[arg-type]  # tests pass all kinds
    hold_lr = lambda *writer, **kwargs: None  # noqa: E731  # nobody writes a learning rate
    muting = Muting(trainer, choice, hold_lr, functools.partial(is_running, trainer))
    muting.mute()
    return muting


def table_of(trainer: Engine) -> dict[object, list[object]]:
    """Copy the table of handlers."""
    return {event: list(entries) for event, entries in trainer._event_handlers.items()}


@pytest.mark.parametrize("keep", ["auto", "all", "none"])
@pytest.mark.parametrize(
    "event", [*PREPARING, *AFTERWARDS, Custom.SHARPENED], ids=lambda event: event.name.lower()
)
def test_a_user_handler_runs_on_preparing_events(event: Events, keep: str) -> None:
    """By default a function runs on the events that prepare a step and on custom events."""
    trainer, calls = make_trainer(), []
    trainer.add_event_handler(event, lambda engine: calls.append(1))
    muting = mute(trainer, keep)
    trainer.run([0])
    is_kept = keep == "all" or (keep == "auto" and event not in AFTERWARDS)
    assert calls == [1] * is_kept
    muting.undo()
    trainer.run([0], max_epochs=2)
    assert len(calls) == is_kept + 1


@pytest.mark.parametrize("keep", ["auto", "all", "none"])
@pytest.mark.parametrize(
    "event", [Events.TERMINATE, Events.INTERRUPT], ids=["terminate", "interrupt"]
)
def test_handlers_of_terminate_and_interrupt_are_muted(event: Events, keep: str) -> None:
    """Handlers of an early end run only with "all"."""
    trainer, calls = make_trainer(), []
    trainer.add_event_handler(event, lambda engine: calls.append(1))
    mute(trainer, keep)
    stop = Engine.terminate if event == Events.TERMINATE else Engine.interrupt
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: stop(engine))
    trainer.run([0, 1])
    assert calls == [1] * (keep == "all")


def reporters() -> dict[str, Callable[[Engine], object]]:
    """Return a factory for each kind of Ignite handler."""
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return {
        "scheduler": lambda trainer: LinearCyclicalScheduler(optimizer, "lr", 0.1, 1.0, 10),
        "checkpoint": lambda trainer: Checkpoint({"model": model}, lambda *args: None),
        "stopper": lambda trainer: EarlyStopping(1, lambda engine: 0.0, trainer),
        "nan-stopper": lambda trainer: TerminateOnNan(),
        "ema": lambda trainer: EMAHandler(model)._update_ema_model,
        "progress-bar": lambda trainer: ProgressBar()._close,
        "metric": lambda trainer: Average().started,
        "timer": lambda trainer: Timer().reset,
        "store": lambda trainer: EpochOutputStore().reset,
        "partial": lambda trainer: functools.partial(TerminateOnNan()),
        "engine": lambda trainer: Engine(lambda engine, batch: None).run,
        "partial-of-engine": lambda trainer: functools.partial(Engine(lambda e, b: None).run, [0]),
        "terminate": lambda trainer: trainer.terminate,
    }


@pytest.mark.parametrize("is_filtered", [False, True], ids=["plain", "filtered"])
@pytest.mark.parametrize("event", PREPARING, ids=lambda event: event.name.lower())
@pytest.mark.parametrize("kind", reporters())
def test_ignites_handlers_are_muted_on_every_event(
    kind: str, event: Events, is_filtered: bool
) -> None:
    """A scheduler, checkpoint, stopper or bar is muted on any event, even behind a filter."""
    trainer, looks = make_trainer(), []
    handler: Any = reporters()[kind](trainer)
    if is_filtered:
        handler = trainer._handler_wrapper(handler, event, lambda engine, count: True)
    trainer._event_handlers[event].append((handler, (), {}))
    Muting(trainer, HandlerChoice("auto"), looks.append).mute()
    trainer.run([0])
    assert looks == []


def test_a_subclass_of_an_ignite_handler_is_muted() -> None:
    """A subclass of an Ignite handler is muted like its base class."""

    class Mine(TerminateOnNan):
        def __call__(self, engine: Engine) -> None:
            raise AssertionError("muted handlers do not run")

    trainer = make_trainer()
    trainer.add_event_handler(Events.STARTED, Mine())
    mute(trainer)
    trainer.run([0])


class Validating(Engine):
    """A trainer with methods that are its handlers."""

    def __init__(self) -> None:
        super().__init__(lambda engine, batch: None)
        self.calls: list[str] = []

    def prepare(self, engine: Engine) -> None:
        self.calls.append("prepare")

    def validate(self, engine: Engine) -> None:
        self.calls.append("validate")


def test_a_method_of_a_custom_trainer_is_user_code() -> None:
    """A trainer's own method runs on preparing events, and is muted on others."""
    trainer = Validating()
    trainer.add_event_handler(Events.EPOCH_STARTED, trainer.prepare)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, trainer.validate)
    mute(trainer)
    trainer.run([0])
    assert trainer.calls == ["prepare"]


def test_terminate_as_a_handler_is_muted() -> None:
    """`trainer.terminate`, attached as a handler of any event, does not end a sweep."""
    trainer, batches = make_trainer(), []
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), trainer.terminate)
    mute(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: batches.append(1))
    trainer.run([0, 1, 2])
    assert len(batches) == 3


@pytest.mark.parametrize("keep", ["auto", "all", "none"])
def test_an_engines_private_handlers_run(keep: str) -> None:
    """The handlers with which Ignite's engine prepares itself are never muted."""
    trainer, batches = DeterministicEngine(lambda engine, batch: batches.append(batch)), []
    mute(trainer, keep)
    trainer.run([0, 1], max_epochs=2)
    assert batches == [0, 1, 0, 1]


def test_a_kept_profiler_finds_its_handlers() -> None:
    """Ignite's time profiler, which looks up its handlers by name, runs with "all"."""
    trainer, profiler = make_trainer(), BasicTimeProfiler()
    profiler.attach(trainer)
    muting = mute(trainer, "all")
    trainer.run([0, 1])
    muting.undo()
    assert profiler.get_results()["processing_stats"]["total"] > 0


def test_a_mock_can_be_kept() -> None:
    """A mock, which has no `__name__`, is a handler like any other."""
    trainer, handler = make_trainer(), mock.MagicMock()
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handler)
    mute(trainer, [handler])
    trainer.run([0, 1, 2])
    assert handler.call_count == 3


@pytest.mark.parametrize(
    "filtered", [{}, {"every": 1}, {"once": 1}], ids=["plain", "every", "once"]
)
@pytest.mark.parametrize("how", ["object", "method", "owner"])
def test_a_named_handler_runs_in_addition_to_auto(how: str, filtered: dict[str, Any]) -> None:
    """A handler can be named by itself or by the object whose method it is, filtered or not."""
    trainer, recorder, other = make_trainer(), Recorder(), Recorder()
    event = Events.ITERATION_COMPLETED(**filtered) if filtered else Events.ITERATION_COMPLETED
    method = recorder.method
    trainer.add_event_handler(event, recorder if how == "object" else method)
    trainer.add_event_handler(event, other)
    trainer.add_event_handler(Events.ITERATION_STARTED, other.method)
    mute(trainer, [method if how == "method" else recorder])
    trainer.run([0])
    assert recorder.calls == ["call" if how == "object" else "method"]
    assert other.calls == ["method"]


def test_undo_restores_the_same_entries_in_the_same_lists() -> None:
    """Handlers, arguments, filters, order and the list objects are as before."""
    trainer, recorder = make_trainer(), Recorder()
    both = Events.STARTED | Events.ITERATION_COMPLETED(every=2)
    trainer.add_event_handler(both, recorder)
    trainer.add_event_handler(Events.STARTED, recorder)
    trainer.add_event_handler(Events.STARTED, lambda engine, n: None, 3)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: None)
    before, lists = table_of(trainer), dict(trainer._event_handlers)
    muting = mute(trainer)
    assert table_of(trainer) != before
    trainer.run([0])
    muting.undo()
    assert table_of(trainer) == before
    assert list(trainer._event_handlers) == list(before)
    assert all(trainer._event_handlers[event] is entries for event, entries in lists.items())
    for entries, expected in zip(trainer._event_handlers.values(), before.values(), strict=True):
        assert all(a is b for a, b in zip(entries, expected, strict=True))


def test_a_handler_added_while_muted_runs_and_stays() -> None:
    """A new handler runs, even on an event without handlers, and stays after the others."""
    trainer, calls = make_trainer(), []

    def old(engine: Engine) -> None:
        calls.append("old")

    def new(engine: Engine) -> None:
        calls.append("new")

    trainer.add_event_handler(Events.ITERATION_COMPLETED, old)
    muting = mute(trainer)
    for event in (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
        trainer.add_event_handler(event, new)
    trainer.run([0])
    assert calls == ["new", "new"]
    muting.undo()
    calls.clear()
    trainer.run([0])
    assert calls == ["old", "new", "new"]


@pytest.mark.parametrize("filtered", [{}, {"every": 2}], ids=["plain", "filtered"])
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.ITERATION_STARTED])
def test_a_handler_removed_while_muted_stays_removed(
    event: Events, filtered: dict[str, Any]
) -> None:
    """A handler, muted or kept, can be removed inside the block, even if attached twice."""
    trainer, recorder, other = make_trainer(), Recorder(), Recorder()
    for handler in (recorder, other, recorder):
        trainer.add_event_handler(event(**filtered) if filtered else event, handler)
    muting = mute(trainer)
    assert trainer.has_event_handler(recorder, event)
    trainer.remove_event_handler(recorder, event)
    assert not trainer.has_event_handler(recorder, event)
    muting.undo()
    assert not trainer.has_event_handler(recorder, event)
    assert trainer.has_event_handler(other, event)


def test_a_removing_context_can_end_while_muted() -> None:
    """`with trainer.add_event_handler(...)` around the muting can end inside it."""
    trainer, recorder = make_trainer(), Recorder()
    with trainer.add_event_handler(Events.ITERATION_COMPLETED(every=1), recorder):
        muting = mute(trainer)
    trainer.run([0])
    muting.undo()
    trainer.run([0])
    assert recorder.calls == []


def fail(engine: Engine, batch: object) -> None:
    """Raise an error, as a train step may."""
    raise ZeroDivisionError


@pytest.mark.parametrize("keep", ["auto", "none"])
def test_a_handler_that_swallows_exceptions_is_muted(keep: str) -> None:
    """The run raises the error; after `undo` the handler swallows errors again."""
    trainer, seen = Engine(fail), []
    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: seen.append("old"))
    muting = mute(trainer, keep)
    with pytest.raises(ZeroDivisionError):
        trainer.run([0])
    assert seen == []
    muting.undo()
    start_afresh(trainer)
    trainer.run([0])
    assert seen == ["old"]


def test_an_exception_handler_added_while_muted_runs() -> None:
    """It receives the error, and stays after the muted handler."""
    trainer, seen = Engine(fail), []
    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: seen.append("old"))
    muting = mute(trainer)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: seen.append("new"))
    trainer.run([0])
    assert seen == ["new"]
    muting.undo()
    trainer.run([0])
    assert seen == ["new", "old", "new"]


def test_kept_handlers_get_their_arguments_and_are_watched() -> None:
    """A check before each handler blames the train step; a check after it, the handler."""
    trainer, seen, writers = make_trainer(), [], []

    def prepare(engine: Engine, *args: object, **kwargs: object) -> None:
        seen.append((engine, args, kwargs, len(writers)))

    trainer.add_event_handler(Events.ITERATION_STARTED, prepare, 1, key=2)
    hold_lr = lambda *writer, **kwargs: writers.append(writer)  # noqa: E731
    Muting(trainer, HandlerChoice("auto"), hold_lr).mute()
    trainer.run([0])
    assert seen == [(trainer, (1,), {"key": 2}, 1)]
    assert len(writers) == 2
    assert writers[0] == ()
    assert writers[1][0].endswith("prepare")


@pytest.mark.parametrize("keep", ["auto", "all", "none"])
def test_library_objects_are_ignites_objects_that_run(keep: str) -> None:
    """The Ignite objects that run are listed, without functions and engines."""
    trainer, stopper, recorder = make_trainer(), TerminateOnNan(), Recorder()
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), stopper)
    trainer.add_event_handler(Events.ITERATION_STARTED, recorder)
    trainer.add_event_handler(Events.COMPLETED, Engine(lambda engine, batch: None).run, [0])
    expected = [stopper] if keep == "all" else []
    running = HandlerChoice(keep).running(trainer)  # type: ignore[arg-type]
    assert library_objects(running) == expected


def test_a_muted_partial_has_the_name_of_its_function() -> None:
    """Errors name a muted handler as the user knows it."""
    trainer, recorder = make_trainer(), Recorder()
    for handler in (functools.partial(recorder.method), recorder, TerminateOnNan()):
        trainer.add_event_handler(Events.ITERATION_COMPLETED, handler)
    assert names_of(mute(trainer).muted) == "Recorder.method, Recorder"


def test_handlers_of_lists_handlers_behind_filters() -> None:
    """A filter does not hide its handler."""
    trainer, recorder = make_trainer(), Recorder()
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), recorder)
    trainer.add_event_handler(Events.STARTED, recorder.method)
    assert handlers_of(trainer) == [recorder, recorder.method]
    assert is_named(recorder.method, [recorder])
    assert not is_named(recorder, [recorder.method])


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.EPOCH_COMPLETED], ids=str)
def test_a_state_scheduler_runs_on_any_event(event: Events) -> None:
    """The train step reads the values of Ignite's StateParamScheduler, so it is not muted."""
    trainer = make_trainer()
    scheduler = StepStateScheduler(
        param_name="p", initial_value=1.0, gamma=0.5, step_size=1, create_new=True
    )
    scheduler.attach(trainer, event)
    muting = mute(trainer)
    assert library_objects(muting.running()) == [scheduler]
    trainer.run([0, 0])
    assert vars(trainer.state)["p"] == (0.25 if event == Events.ITERATION_STARTED else 0.5)


def test_monais_handlers_are_muted_like_ignites() -> None:
    """MONAI's handlers and their subclasses are muted on every event."""
    handlers = pytest.importorskip("monai.handlers")

    class Mine(handlers.ValidationHandler):
        def __call__(self, engine: Engine) -> None:
            raise AssertionError("muted handlers do not run")

    trainer = make_trainer()
    trainer.add_event_handler(Events.STARTED, Mine(interval=1, validator=None))
    mute(trainer)
    trainer.run([0])


@pytest.mark.parametrize("keep", ["auto", "all", "named"])
@pytest.mark.parametrize("how", ["object", "method", "owner"])
def test_a_handler_in_mute_handlers_does_not_run(how: str, keep: str) -> None:
    """A handler can be named by itself or by the object whose method it is; others run."""
    trainer, recorder, other = make_trainer(), Recorder(), Recorder()
    method = recorder.method
    trainer.add_event_handler(Events.STARTED, recorder if how == "object" else method)
    trainer.add_event_handler(Events.STARTED, other)
    named = method if how == "method" else recorder
    muting = mute(trainer, [named] if keep == "named" else keep, [named])
    trainer.run([0])
    assert recorder.calls == []
    assert other.calls == ["call"]
    assert names_of(muting.muted) == ("Recorder" if how == "object" else "Recorder.method")


def test_a_handler_added_by_a_handler_follows_the_rule_and_is_removed() -> None:
    """A handler that a STARTED handler adds runs only on preparing events, until the block ends."""
    trainer, calls = make_trainer(), []

    @trainer.on(Events.STARTED)
    def set_up(engine: Engine) -> None:
        for event in (*PREPARING[1:], *AFTERWARDS, Custom.SHARPENED):
            engine.add_event_handler(event, calls.append, event)
        engine.add_event_handler(Events.EPOCH_COMPLETED | Events.COMPLETED, lambda: calls.append(0))

    before = table_of(trainer)
    muting = mute(trainer)
    trainer.run([0])
    assert calls == [*PREPARING[1:], Custom.SHARPENED]
    muting.undo()
    assert table_of(trainer) == before
    assert "add_event_handler" not in vars(trainer)


def test_an_exception_handler_added_by_a_handler_swallows_nothing() -> None:
    """The run still raises the error."""
    trainer = Engine(fail)

    @trainer.on(Events.STARTED)
    def set_up(engine: Engine) -> None:
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: None)

    mute(trainer)
    with pytest.raises(ZeroDivisionError):
        trainer.run([0])


def test_a_handler_added_by_a_handler_can_remove_itself() -> None:
    """The handle that `add_event_handler` returns works on such a handler."""
    trainer, calls = make_trainer(), []

    @trainer.on(Events.STARTED)
    def set_up(engine: Engine) -> None:
        def once(engine: Engine) -> None:
            calls.append(1)
            handle.remove()

        handle = engine.add_event_handler(Events.ITERATION_STARTED, once)

    mute(trainer)
    trainer.run([0, 0, 0])
    assert calls == [1]


def test_the_handler_that_terminates_the_run_is_known() -> None:
    """A running handler that calls `terminate` is named; a muted one is not."""
    trainer = make_trainer()

    @trainer.on(Events.ITERATION_STARTED(once=2))
    def stop(engine: Engine) -> None:
        engine.terminate()

    muting = mute(trainer)
    trainer.run([0, 0, 0])
    assert muting.terminated_by == "stop"


@pytest.mark.parametrize("is_muted", [False, True], ids=["running", "muted"])
def test_a_handler_removed_by_a_handler_is_restored(is_muted: bool) -> None:
    """It is back in its place after the block, unless the user removes it."""
    trainer, calls = Engine(lambda engine, batch: 1.0), []
    event = Events.EPOCH_COMPLETED if is_muted else Events.EPOCH_STARTED

    def once() -> None:
        calls.append("once")

    def remove(engine: Engine) -> None:
        if engine.has_event_handler(once, event):
            engine.remove_event_handler(once, event)

    trainer.add_event_handler(event, lambda: calls.append("before"))
    trainer.add_event_handler(event, once)
    trainer.add_event_handler(event, lambda: calls.append("after"))
    trainer.add_event_handler(Events.ITERATION_STARTED, remove)
    before = table_of(trainer)
    muting = mute(trainer)
    trainer.run([0, 1], max_epochs=2)
    assert not trainer.has_event_handler(once, event)
    assert calls.count("once") == (not is_muted)
    muting.undo()
    assert table_of(trainer) == before
    assert "remove_event_handler" not in vars(trainer)
    muting = mute(trainer)
    trainer.remove_event_handler(once, event)
    muting.undo()
    assert not trainer.has_event_handler(once, event)
