"""The promise "quiet" in whole programs: handlers, evaluators, epochs and data of a run."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import Log
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import (
    Checkpoint,
    DiskSaver,
    EarlyStopping,
    PiecewiseLinearStateScheduler,
)
from ignite.metrics import Loss
from torch import nn

from ignite_lrfinder import FastaiLRFinder, LRFinderAtEpochs, LRFinderError, StopReason, Trials

TRIALS = Trials(max_iter=75, short_iter=10, long_iter=15)
with_and_without_trials = pytest.mark.parametrize(
    "verify", [False, TRIALS], ids=["sweep", "trials"]
)
Batch = tuple[torch.Tensor, torch.Tensor]
CAN_SKIP_EPOCH_COMPLETED = len(inspect.signature(Engine.terminate_epoch).parameters) > 1

pytestmark = pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning")


class Program:
    """A small regression with an Ignite trainer.

    Args:
        lr: the learning rate of the training.
    """

    def __init__(self, lr: float = 1e-3) -> None:
        torch.manual_seed(0)
        x = torch.randn(320, 8)
        self.batches: list[Batch] = list(
            zip(x.split(32), x.sum(1, keepdim=True).split(32), strict=True)
        )
        self.model = nn.Linear(8, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)
        self.trainer = create_supervised_trainer(self.model, self.optimizer, nn.MSELoss())
        self.finder = FastaiLRFinder()
        self.num_iterations = 0
        self.warnings: list[str] = []

    def sweep(
        self, run: Callable[[Engine], object] | None = None, **arguments: object
    ) -> FastaiLRFinder:
        """Sweep, count the iterations, and record the warnings."""
        iterations: list[int] = []
        count = functools.partial(iterations.append, 1)  # refers to nothing else
        settings = {"num_iter": 40, "start_lr": 1e-5, "end_lr": 10.0} | arguments
        to_save = {"model": self.model, "optimizer": self.optimizer}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with self.finder.attach(self.trainer, to_save, **settings) as trainer:  # type: ignore[arg-type]  # any of them
                trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: count())
                try:
                    run(trainer) if run else trainer.run(self.batches)
                finally:
                    self.num_iterations = len(iterations)
        self.warnings = [str(warning.message) for warning in caught]
        return self.finder


CALLS: dict[str, tuple[Events, Callable[[Engine], object]]] = {
    "after-an-iteration": (Events.ITERATION_COMPLETED, Engine.terminate_epoch),
    "before-an-iteration": (Events.ITERATION_STARTED, Engine.terminate_epoch),
    "on-a-batch": (Events.GET_BATCH_COMPLETED, Engine.terminate_epoch),
}


@pytest.mark.parametrize("is_inside", [False, True], ids=["before", "inside"])
@pytest.mark.parametrize(("event", "call"), CALLS.values(), ids=CALLS)
def test_terminate_epoch_begins_no_trial(
    event: Events, call: Callable[[Engine], object], is_inside: bool
) -> None:
    """Epochs that a handler ends after seven iterations do not restart a trial."""
    program = Program()

    def end_epoch(engine: Engine) -> None:
        if engine.state.iteration % 7 == 6:
            engine.state.iteration += event == Events.GET_BATCH_COMPLETED
            call(engine)

    def run(trainer: Engine) -> None:
        if is_inside:
            trainer.add_event_handler(event, end_epoch)
        trainer.run(program.batches)

    if not is_inside:
        program.trainer.add_event_handler(event, end_epoch)
    result = program.sweep(
        run, verify=TRIALS, keep_handlers=[] if is_inside else [end_epoch]
    ).result
    assert len(result.trials) >= 5
    assert all(len(trial.losses) == trial.num_iter or trial.is_diverged for trial in result.trials)
    assert program.num_iterations <= 2 * (40 + 75)


def test_terminate_epoch_in_the_train_step_begins_no_trial() -> None:
    """Nor do epochs that the train step ends after seven iterations, as episodes."""
    program = Program()
    step = program.trainer._process_function

    def train_step(engine: Engine, batch: Batch) -> object:
        if engine.state.iteration % 7 == 0:
            engine.terminate_epoch()
        return step(engine, batch)

    program.trainer = Engine(train_step)
    result = program.sweep(verify=TRIALS).result
    assert len(result.trials) >= 5
    assert program.num_iterations == len(result) + sum(len(t.losses) for t in result.trials)


def test_epochs_that_always_end_before_an_iteration_are_an_error() -> None:
    """A handler that ends every epoch at its start cannot keep the block running forever."""
    program = Program()
    program.trainer.add_event_handler(
        Events.GET_BATCH_COMPLETED, lambda engine: engine.terminate_epoch()
    )
    with pytest.raises(LRFinderError, match=r"epochs in a row that terminate_epoch\(\) ended"):
        program.sweep()


@with_and_without_trials
def test_started_runs_once_in_a_block(verify: bool | Trials) -> None:
    """A STARTED handler runs once, however many trials follow."""
    program, calls = Program(), []
    program.trainer.add_event_handler(Events.STARTED, lambda: calls.append(1))
    result = program.sweep(verify=verify).result
    assert calls == [1]
    assert (len(result.trials) > 0) == (verify is not False)


def test_trials_begin_from_the_state_after_started() -> None:
    """Each trial begins with the weights that a STARTED handler loads; the block undoes them."""
    program, firsts = Program(), []
    loaded = {name: 0 * value + 0.25 for name, value in program.model.state_dict().items()}
    before = program.model.weight.detach().clone()
    program.trainer.add_event_handler(
        Events.STARTED, lambda engine: program.model.load_state_dict(loaded)
    )

    @program.trainer.on(Events.ITERATION_STARTED)
    def look(engine: Engine) -> None:
        if engine.state.iteration == 1:
            firsts.append(program.model.weight.tolist())

    result = program.sweep(verify=TRIALS).result
    assert firsts == [[[0.25] * 8]] * (1 + len(result.trials))
    assert torch.equal(program.model.weight, before)


@pytest.mark.skipif(not CAN_SKIP_EPOCH_COMPLETED, reason="Ignite before 0.5.2")
def test_a_trial_begins_without_an_epoch_completed() -> None:
    """A kept handler that steps at the end of an episode does not step between two trials."""
    program, moments = Program(), []

    def finish_episode(engine: Engine) -> None:
        moments.append((engine.state.epoch, engine.state.iteration))

    program.trainer.add_event_handler(Events.EPOCH_COMPLETED, finish_episode)
    result = program.sweep(verify=TRIALS, keep_handlers=[finish_episode]).result
    assert len(result.trials) >= 3
    assert (1, 10) in moments
    assert all(iteration == 10 * epoch > 0 for epoch, iteration in moments)


@with_and_without_trials
def test_a_handler_added_at_started_is_muted_and_removed(verify: bool | Trials) -> None:
    """A handler that a STARTED handler adds runs in training, and not in the block."""
    program, saved = Program(), []

    @program.trainer.on(Events.STARTED)
    def set_up(engine: Engine) -> None:
        every = len(engine.state.dataloader) // 2  # type: ignore[arg-type]  # a list

        @engine.on(Events.ITERATION_COMPLETED(every=every))
        def save() -> None:
            saved.append(engine.state.iteration)

    program.sweep(verify=verify)
    assert saved == []
    program.trainer.run(program.batches)
    assert saved == [5, 10]


@with_and_without_trials
def test_an_evaluator_run_at_started_is_quiet_and_restored(
    tmp_path: Path, verify: bool | Trials
) -> None:
    """Its metrics run; its stopper, checkpoint and log do not; the training is unchanged."""

    def train(is_swept: bool) -> tuple[object, ...]:
        program = Program(lr=1e-6)
        evaluator = create_supervised_evaluator(program.model, {"loss": Loss(nn.MSELoss())})
        score = lambda engine: -engine.state.metrics["loss"]  # noqa: E731  # as users write it
        stopping = EarlyStopping(3, score, program.trainer, 0.5)
        folder = tmp_path / str(is_swept)
        saver = DiskSaver(folder, require_empty=False, create_dir=True)
        best = Checkpoint({"model": program.model}, saver, n_saved=2, score_function=score)
        log: list[float] = []
        for handler in (stopping, best, lambda engine: log.append(engine.state.metrics["loss"])):
            evaluator.add_event_handler(Events.COMPLETED, handler)
        seen: list[float] = []

        @program.trainer.on(Events.STARTED | Events.EPOCH_COMPLETED)
        def validate() -> None:
            seen.append(evaluator.run(program.batches).metrics["loss"])

        if is_swept:
            program.sweep(verify=verify)
            assert len(seen) == 1
            assert (log, stopping.counter, list(folder.iterdir())) == ([], 0, [])
            seen.clear()
        program.trainer.run(program.batches, max_epochs=6)
        files = sorted(path.name for path in folder.iterdir())
        return (program.trainer.state.epoch, seen, log, stopping.counter, files)

    assert train(True) == train(False)


@pytest.mark.parametrize("is_derived", [False, True], ids=["step", "derived-engine"])
@with_and_without_trials
def test_an_evaluator_run_by_the_train_step_is_quiet_and_restored(
    tmp_path: Path, verify: bool | Trials, is_derived: bool
) -> None:
    """Its stopper and checkpoints do not run, and it is restored."""

    def train(is_swept: bool) -> tuple[object, ...]:
        program = Program(lr=1e-6)
        evaluator = create_supervised_evaluator(program.model, {"loss": Loss(nn.MSELoss())})
        step = program.trainer._process_function

        class Trainer(Engine):
            """Holds its evaluator."""

            def __init__(self) -> None:
                super().__init__(self.train_step)
                self.evaluator = evaluator

            def train_step(self, engine: Engine, batch: Batch) -> object:
                if engine.state.iteration % 10 == 1:
                    self.evaluator.run(program.batches[:2])
                return step(engine, batch)

        def train_step(engine: Engine, batch: Batch) -> object:
            if engine.state.iteration % 10 == 1:
                evaluator.run(program.batches[:2])
            return step(engine, batch)

        program.trainer = Trainer() if is_derived else Engine(train_step)
        score = lambda engine: -engine.state.metrics["loss"]  # noqa: E731  # as users write it
        stopping = EarlyStopping(3, score, program.trainer, 0.5)
        folder = tmp_path / str(is_swept)
        saver = DiskSaver(folder, require_empty=False, create_dir=True)
        saving = Checkpoint({"model": program.model}, saver, n_saved=None, score_function=score)
        evaluator.add_event_handler(Events.COMPLETED, stopping)
        evaluator.add_event_handler(Events.COMPLETED, saving)
        if is_swept:
            program.sweep(verify=verify)
            assert (stopping.counter, list(folder.iterdir())) == (0, [])
            assert (evaluator.state.iteration, evaluator.state.metrics) == (0, {})
        program.trainer.run(program.batches, max_epochs=9)
        files = sorted(path.name for path in folder.iterdir())
        return program.trainer.state.iteration, stopping.counter, files

    assert train(True) == train(False)


def test_a_handler_of_an_evaluator_that_the_train_step_runs_can_be_named() -> None:
    """It runs if it is kept, and an unknown handler is still refused."""
    program, calls = Program(lr=1e-6), Log()
    evaluator = create_supervised_evaluator(program.model)
    step = program.trainer._process_function

    def train_step(engine: Engine, batch: Batch) -> object:
        evaluator.run(program.batches[:1])
        return step(engine, batch)

    def report(engine: Engine) -> None:
        calls.append(engine.state.iteration)

    program.trainer = Engine(train_step)
    evaluator.add_event_handler(Events.COMPLETED, report)
    program.sweep()
    assert calls == []
    program.sweep(keep_handlers=[report])
    assert len(calls) > 10
    program.sweep(mute_handlers=[report])
    with pytest.raises(ValueError, match="mute_handlers must be a collection of handlers"):
        program.sweep(mute_handlers=[print])


def test_a_state_scheduler_runs_and_is_restored() -> None:
    """The train step reads the value of Ignite's StateParamScheduler; the training is unchanged."""

    def train(is_swept: bool) -> list[float]:
        program, betas = Program(), Log()
        step = program.trainer._process_function

        def train_step(engine: Engine, batch: Batch) -> object:
            betas.append(engine.state.beta)  # type: ignore[attr-defined]  # the scheduler sets it
            return step(engine, batch)

        program.trainer = Engine(train_step)
        PiecewiseLinearStateScheduler(
            param_name="beta", milestones_values=[(0, 0.0), (30, 1.0)], create_new=True
        ).attach(program.trainer, Events.ITERATION_STARTED)
        if is_swept:
            program.sweep()
            assert len(set(betas)) > 20
            betas.clear()
        program.trainer.run(program.batches, max_epochs=2)
        return list(betas)

    assert train(True) == train(False)


def once(batches: list[Batch]) -> Iterator[Batch]:
    """Iterate over batches once."""
    yield from batches


@pytest.mark.parametrize("is_inside", [False, True], ids=["before", "inside"])
@pytest.mark.parametrize("how", ["attribute", "set_data"])
def test_a_handler_can_restart_the_data(how: str, is_inside: bool) -> None:
    """A generator that a handler of DATALOADER_STOP_ITERATION replaces does not end the sweep."""
    program = Program()

    def restart(engine: Engine) -> None:
        if how == "set_data":
            engine.set_data(once(program.batches))
        else:
            engine.state.dataloader = once(program.batches)

    def run(trainer: Engine) -> None:
        if is_inside:
            trainer.add_event_handler(Events.DATALOADER_STOP_ITERATION, restart)
        trainer.run(once(program.batches), epoch_length=10)

    if not is_inside:
        program.trainer.add_event_handler(Events.DATALOADER_STOP_ITERATION, restart)
    result = program.sweep(run, end_lr=1e-2).result
    assert result.stop_reason is StopReason.COMPLETED
    assert len(result) == 40


def test_a_muted_handler_that_would_restart_the_data_is_named() -> None:
    """The warning about the end of the data says which handler to keep."""
    program = Program()

    @program.trainer.on(Events.EPOCH_COMPLETED)
    def restart(engine: Engine) -> None:
        engine.set_data(once(program.batches))

    result = program.sweep(lambda t: t.run(once(program.batches), epoch_length=10)).result
    assert result.stop_reason is StopReason.OUT_OF_DATA
    (message,) = program.warnings
    assert message.endswith("sets new data, keep it: keep_handlers=[restart]")
    result = program.sweep(
        lambda t: t.run(once(program.batches), epoch_length=10),
        keep_handlers=[restart],
        end_lr=1e-2,
    ).result
    assert result.stop_reason is StopReason.COMPLETED


def test_a_long_gap_between_steps_is_not_an_error() -> None:
    """Episodes with a step at their end may get longer and longer."""
    program = Program()
    losses: list[torch.Tensor] = []

    def time_step(engine: Engine, batch: int) -> torch.Tensor:
        losses.append((program.model(torch.ones(1, 8)) - 1).square().sum())
        if batch + 1 == 25 * engine.state.epoch:
            engine.terminate_epoch()
        return losses[-1].detach()

    program.trainer = Engine(time_step)

    @program.trainer.on(Events.EPOCH_COMPLETED)
    def update() -> None:
        program.optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        program.optimizer.step()
        losses.clear()

    @program.trainer.on(Events.EPOCH_COMPLETED)
    def log() -> None:
        """Do nothing, as a muted handler."""

    result = program.sweep(
        lambda t: t.run(range(1000), max_epochs=100),
        num_iter=6,
        end_lr=1e-3,
        keep_handlers=[update],
    ).result
    assert len(result) == 6


def test_a_train_step_that_stops_stepping_is_an_error() -> None:
    """The error comes far beyond any previous gap, and names the longest one."""
    program = Program()

    def train_step(engine: Engine, batch: int) -> float:
        if engine.state.iteration <= 9 and engine.state.iteration % 3 == 0:
            program.optimizer.step()
        return 1.0

    program.trainer = Engine(train_step)
    with pytest.raises(LRFinderError, match=r"none in 10000 iterations, after gaps of at most 2"):
        program.sweep(lambda t: t.run(range(1000)))
    assert len(program.finder.result) == 3


def evaluator(program: Program) -> Engine:
    """Make an evaluator."""
    return create_supervised_evaluator(program.model)


def other_trainer(program: Program) -> Engine:
    """Make the trainer of another optimizer over the same model."""
    optimizer = torch.optim.Adam(program.model.parameters())
    return create_supervised_trainer(program.model, optimizer, nn.MSELoss())


def stepping_in_a_handler(program: Program) -> Engine:
    """Make a trainer whose muted handler takes the step."""
    trainer = Engine(lambda engine, batch: 1.0)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: print("a line of log"))

    @trainer.on(Events.ITERATION_COMPLETED)
    def update() -> None:
        program.optimizer.step()

    return trainer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (evaluator, r"got an engine that uses none, as an evaluator does\. Pass the trainer of"),
        (other_trainer, r"got an engine that uses another one \(Adam\)\. Pass the trainer of"),
        (stepping_in_a_handler, r"takes the step, pass keep_handlers=\[update\]\."),
    ],
    ids=["evaluator", "other-optimizer", "step-in-a-handler"],
)
def test_a_trainer_that_does_not_know_the_optimizer_is_refused_soon(
    make: Callable[[Program], Engine], message: str
) -> None:
    """Within ten iterations an error says what the engine uses, or which handler to keep."""
    program = Program()
    program.trainer = make(program)
    loss = lambda output: 1.0  # noqa: E731  # an evaluator returns no loss
    with pytest.raises(LRFinderError, match=r"^trainer must train the optimizer .*" + message):
        program.sweep(output_transform=loss)
    assert program.num_iterations == 10


@pytest.mark.parametrize(
    "transform", [None, lambda output: output["loss"]], ids=["plain", "transform"]
)
def test_an_evaluator_whose_output_is_not_a_loss_is_called_an_evaluator(
    transform: Callable[..., object] | None,
) -> None:
    """At the first output, the error is about the engine and not about its output."""
    program = Program()
    program.trainer = evaluator(program)
    arguments = {} if transform is None else {"output_transform": transform}
    with pytest.raises(LRFinderError, match="uses none, as an evaluator does"):
        program.sweep(**arguments)
    assert program.num_iterations == 1


def test_an_output_without_a_loss_is_an_error_about_the_output() -> None:
    """A trainer of the optimizer that returns predictions is not called an evaluator."""
    program = Program()
    program.trainer = create_supervised_trainer(
        program.model, program.optimizer, nn.MSELoss(), output_transform=lambda x, y, p, loss: p
    )
    with pytest.raises(ValueError, match="output"):
        program.sweep()


@pytest.mark.parametrize("is_named", [False, True], ids=["train-step", "handler"])
def test_a_sweep_ended_by_user_code_causes_a_warning(is_named: bool) -> None:
    """The warning names the handler that called `terminate`, if one did."""
    program = Program()

    def stop(engine: Engine) -> None:
        if engine.state.iteration == 12:
            engine.terminate()

    if is_named:
        program.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    else:
        step = program.trainer._process_function

        def train_step(engine: Engine, batch: Batch) -> object:
            stop(engine)
            return step(engine, batch)

        program.trainer = Engine(train_step)
    result = program.sweep().result
    assert result.stop_reason is StopReason.TERMINATED
    (message,) = program.warnings
    by = "The handler stop" if is_named else "User code"
    assert message.startswith(f"{by} ended the sweep after 1")
    assert message.endswith("Pass mute_handlers=[stop]." if is_named else "or interrupt().")


def test_a_trial_ended_by_user_code_causes_a_warning() -> None:
    """The result has the trials so far, and the warning says which trial was ended."""
    program, epochs = Program(), Log()

    @program.trainer.on(Events.EPOCH_STARTED)
    def stop(engine: Engine) -> None:
        epochs.append(engine.state.epoch)
        if epochs.count(1) == 3:
            engine.terminate()

    result = program.sweep(verify=TRIALS).result
    assert [len(trial.losses) for trial in result.trials] == [10, 0]
    expected = "The handler stop ended trial 2 after 0 of 10 iterations. Pass mute_handlers=[stop]."
    assert expected in program.warnings


def test_trials_stop_after_three_that_diverge_at_the_same_iteration() -> None:
    """On bad data every trial diverges at the same batch, so more trials are useless."""
    program = Program()
    x, y = program.batches[7]
    program.batches[7] = (x * float("nan"), y)
    program.batches *= 4
    clean = list(program.batches)
    del clean[7], clean[16], clean[25], clean[34]
    epochs = Log()

    @program.trainer.on(Events.EPOCH_STARTED)
    def set_data(engine: Engine) -> None:
        epochs.append(engine.state.epoch)
        engine.set_data(clean if len(epochs) == 1 else program.batches)

    result = program.sweep(verify=True, num_iter=30).result
    assert [len(trial.losses) for trial in result.trials] == [8, 8, 8]


def test_a_block_without_a_run_causes_a_warning() -> None:
    """The warning says that the trainer must run inside the block."""
    program = Program()
    program.sweep(lambda trainer: None)
    (message,) = program.warnings
    assert message.startswith("The block of attach must run its trainer, got no run")


def test_two_finders_at_epochs_take_turns() -> None:
    """Each of two finders on a trainer sweeps its own optimizer, and ignores the other's sweep."""
    first, second = Program(), Program()
    optimizers = {"a": first.optimizer, "b": second.optimizer}
    models = {"a": first.model, "b": second.model}

    def train_step(engine: Engine, batch: Batch) -> dict[str, float]:
        losses = {}
        for name, model in models.items():
            loss = nn.functional.mse_loss(model(batch[0]), batch[1])
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
            losses[name] = loss.item()
        return losses

    trainer = Engine(train_step)
    at_epochs = {}
    for name, other in (("a", "b"), ("b", "a")):
        to_save = {"optimizer": optimizers[name], "other": optimizers[other], **models}
        transform = lambda output, name=name: output[name]  # noqa: E731
        at_epochs[name] = LRFinderAtEpochs(
            [1], to_save, num_iter=40, start_lr=1e-5, output_transform=transform
        )
        at_epochs[name].attach(trainer)
    trainer.run(first.batches, max_epochs=2)
    assert trainer.state.iteration == 20
    for name, finder in at_epochs.items():
        assert list(finder.results) == [1]
        assert optimizers[name].param_groups[0]["lr"] == finder.results[1].lr_suggestion()


def test_a_sweep_by_hand_beside_a_finder_at_epochs_runs() -> None:
    """A finder at epochs that meets a sweep on its trainer does nothing."""
    program = Program()
    at_epochs = LRFinderAtEpochs([1], {"optimizer": program.optimizer}, num_iter=40)
    at_epochs.attach(program.trainer)
    program.sweep()
    assert at_epochs.results == {}
