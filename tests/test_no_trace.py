"""The promise "no trace": training after a sweep is bit for bit the training without one."""

import collections
import dataclasses
import gc
import multiprocessing
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from conftest import EVENTS, OPTIMIZERS, Net, Training, data, seed_all
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler, LinearCyclicalScheduler
from ignite.metrics import RunningAverage
from torch import nn
from torch.utils.data import DataLoader, Dataset
from twins import (
    LOADERS,
    MOMENTS,
    WORKER_LOADERS,
    Unrestorable,
    assert_no_trace,
    assert_same,
    end_workers,
    own_generator,
    state_of,
    sweep,
    train,
    twins,
)

from ignite_lrfinder import FastaiLRFinder, LRFinderError, StopReason

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_after_a_sweep_equals_training_without_one(
    make_training: Callable[..., Training], optimizer: str, moment: str
) -> None:
    """Whatever the optimizer and the moment of the sweep, later training is bit for bit equal."""
    before, go_on = MOMENTS[moment]
    assert_no_trace(*twins(make_training, before, optimizer=optimizer), go_on)


@pytest.mark.product
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch", "interrupted"])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_loader_draws_the_same_batches_after_a_sweep(
    make_training: Callable[..., Training], loader: str, moment: str
) -> None:
    """Whatever a loader draws its order from, it continues where it was."""
    before, go_on = MOMENTS[moment]
    assert_no_trace(*twins(make_training, before, loader=LOADERS[loader]), go_on)


@pytest.mark.product
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch", "interrupted"])
@pytest.mark.parametrize("loader", WORKER_LOADERS)
def test_worker_processes_and_their_random_state_survive_a_sweep(
    make_training: Callable[..., Training], loader: str, moment: str
) -> None:
    """Persistent workers keep their random state, and the workers of the sweep have ended."""
    before, go_on = MOMENTS[moment]
    earlier = {process.pid for process in multiprocessing.active_children()}
    with_sweep, without = twins(make_training, before, loader=WORKER_LOADERS[loader])
    is_kept = moment == "interrupted" or (loader, moment) == (
        "persistent-workers",
        "after-an-epoch",
    )
    now = {process.pid for process in multiprocessing.active_children()}
    assert len(now - earlier) == (4 if is_kept else 0)
    assert_no_trace(with_sweep, without, go_on)
    for training in (with_sweep, without):
        end_workers(training.loader)


def compiled_net() -> nn.Module:
    """Make a network that is compiled in place."""
    net = Net()
    net.compile(backend="aot_eager")
    return net


@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch", "interrupted"])
def test_a_compiled_model_goes_on_as_without_a_sweep(
    make_training: Callable[..., Training], moment: str
) -> None:
    """What a compiled forward pass changes is restored."""
    before, go_on = MOMENTS[moment]
    with_sweep, without = twins(make_training, before, model=compiled_net)
    assert_no_trace(with_sweep, without, go_on)


class OneUnreadable(Dataset):
    """Data with one sample that cannot be read."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        if index == 40:
            raise ZeroDivisionError
        return data()[index]


def test_an_error_in_a_worker_leaves_no_worker_of_the_sweep_running(
    make_training: Callable[..., Training],
) -> None:
    """The workers end even while somebody holds the error and its traceback."""
    training = make_training(loader=lambda: DataLoader(OneUnreadable(), 8, num_workers=2))
    num_before = len(multiprocessing.active_children())
    with pytest.raises(ZeroDivisionError) as held:
        sweep(training)
    assert held.value.__traceback__ is not None
    assert len(multiprocessing.active_children()) == num_before


@pytest.mark.parametrize(
    "event", [Events.EPOCH_STARTED, Events.DATALOADER_STOP_ITERATION], ids=lambda e: e.name.lower()
)
def test_a_loader_set_by_a_handler_is_restored(
    make_training: Callable[..., Training], event: Events
) -> None:
    """A loader passed to `set_data` during the sweep is captured before its first batch."""
    training, generator = make_training(), own_generator()
    other = DataLoader(data(), 8, shuffle=True, generator=generator)
    training.trainer.add_event_handler(event, lambda engine: engine.set_data(other))
    drawn: list[bool] = []

    @training.trainer.on(Events.ITERATION_STARTED)
    def look() -> None:
        drawn.append(not torch.equal(generator.get_state(), before))

    before = generator.get_state()
    sweep(training)
    assert any(drawn)
    assert torch.equal(generator.get_state(), before)


def raise_interrupt(engine: Engine) -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def raise_error(engine: Engine) -> None:
    """Fail as user code may."""
    raise ZeroDivisionError("on purpose")


@pytest.mark.product
@pytest.mark.parametrize("fault", [raise_interrupt, raise_error], ids=["ctrl-c", "error"])
@pytest.mark.parametrize("moment", ["fresh", "interrupted"])
@pytest.mark.parametrize(
    "event",
    [*EVENTS, Events.TERMINATE, Events.DATALOADER_STOP_ITERATION],
    ids=lambda event: event.name.lower(),
)
def test_an_exception_at_any_event_leaves_no_trace(
    make_training: Callable[..., Training],
    event: Events,
    moment: str,
    fault: Callable[[Engine], None],
) -> None:
    """An exception or Ctrl-C raised in a handler leaves the block, and everything is restored."""
    before, go_on = MOMENTS[moment]
    without = make_training()
    before(without)
    training = make_training()
    before(training)
    finder = FastaiLRFinder()
    with (
        pytest.raises((KeyboardInterrupt, ZeroDivisionError)),
        finder.attach(training.trainer, training.to_save, num_iter=30, diverge_th=1e9) as trainer,
        trainer.add_event_handler(event, fault),
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, go_on)


def fail_in_body(training: Training, trainer: Engine) -> None:
    """Fail in the block, after the run."""
    trainer.run(training.loader)
    raise ZeroDivisionError


def fail_before_run(training: Training, trainer: Engine) -> None:
    """Fail in the block, before any run."""
    raise ZeroDivisionError


def fail_in_loader(training: Training, trainer: Engine) -> None:
    """Run on data that fails."""

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        yield data()[:8]
        raise ZeroDivisionError

    trainer.run(batches(), epoch_length=5)


def fail_in_step(training: Training, trainer: Engine) -> None:
    """Run with a model that fails at its seventh call."""

    def fail(model: nn.Module, args: object) -> None:
        if model.num_calls == 7:
            raise ZeroDivisionError

    training.model.register_forward_pre_hook(fail)
    trainer.run(training.loader)


@pytest.mark.filterwarnings("ignore:The finder could not restore:UserWarning")
@pytest.mark.parametrize("fail", [fail_in_body, fail_before_run, fail_in_loader, fail_in_step])
def test_an_exception_in_the_block_leaves_no_trace(
    make_training: Callable[..., Training],
    fail: Callable[[Training, Engine], None],
) -> None:
    """Whatever fails in the block, everything is restored."""
    without, training = make_training(), make_training()
    finder = FastaiLRFinder()
    with (
        pytest.raises(ZeroDivisionError),
        finder.attach(training.trainer, training.to_save, num_iter=15, diverge_th=1e9) as trainer,
    ):
        fail(training, trainer)
    assert_no_trace(training, without, train)


def test_an_exception_in_output_transform_leaves_no_trace(
    make_training: Callable[..., Training],
) -> None:
    """The error of a failing `output_transform` leaves the run, and everything is restored."""
    without, training = make_training(), make_training()
    finder = FastaiLRFinder()
    with (
        pytest.raises(ZeroDivisionError),
        finder.attach(training.trainer, training.to_save, lambda output: 1 // 0) as trainer,
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


def add_ignite_handlers(training: Training) -> dict[str, object]:
    """Attach a metric, averaged weights and a scheduler, as users do."""
    RunningAverage(output_transform=lambda output: output).attach(training.trainer, "average")
    ema = EMAHandler(training.model, momentum=0.1)
    ema.attach(training.trainer, event=Events.ITERATION_COMPLETED)
    scheduler = LinearCyclicalScheduler(training.optimizer, "lr", 1e-3, 1e-1, cycle_size=10)
    training.trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    return {"ema": ema.ema_model, "scheduler": scheduler}


@pytest.mark.filterwarnings("ignore:The learning rate must be left to the finder:UserWarning")
@pytest.mark.parametrize("keep_handlers", ["auto", "all", "none"])
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch"])
def test_ignite_handlers_are_unchanged_after_a_sweep(
    make_training: Callable[..., Training], moment: str, keep_handlers: str
) -> None:
    """A metric, averaged weights and a scheduler on the trainer are restored, muted or kept."""
    before, go_on = MOMENTS[moment]
    states = []
    for is_swept in (True, False):
        training = make_training()
        extra = add_ignite_handlers(training)
        before(training)
        if is_swept:
            sweep(training, keep_handlers=keep_handlers)
        go_on(training)
        ema, scheduler = extra["ema"], extra["scheduler"]
        assert isinstance(ema, nn.Module)
        assert isinstance(scheduler, LinearCyclicalScheduler)
        averaged = {name: t.clone() for name, t in ema.state_dict().items()}
        state = state_of(training)
        del state["losses"]
        states.append([averaged, scheduler.state_dict(), state])
    assert_same(states[0], states[1])


@dataclasses.dataclass(slots=True)
class Note:
    """A user-defined object on `trainer.state`."""

    count: int
    seen: list[int]


def test_user_attributes_of_the_trainer_are_restored_in_place(
    make_training: Callable[..., Training],
) -> None:
    """Attributes of the trainer and its state are the same objects with the same content."""
    training = make_training()
    state = training.trainer.state
    kept = {
        "history": [1, 2],
        "best": {"loss": 0.5, "where": collections.deque([3], maxlen=2)},
        "weights": torch.ones(3),
        "table": np.zeros(2),
        "note": Note(1, [4]),
        "names": {"a"},
        "generator": torch.Generator().manual_seed(4),
    }
    for name, value in kept.items():
        setattr(state, name, value)
    training.trainer.log = ["first"]  # type: ignore[attr-defined]
    draws = kept["generator"].get_state()

    @training.trainer.on(Events.ITERATION_STARTED)
    def change(engine: Engine) -> None:
        state.history.append(9)  # type: ignore[attr-defined]
        state.best["where"].append(9)  # type: ignore[attr-defined]
        state.best["loss"] = 0.1  # type: ignore[attr-defined]
        state.weights.mul_(2)  # type: ignore[attr-defined]
        state.table += 1  # type: ignore[attr-defined]
        state.note.count += 1  # type: ignore[attr-defined]
        state.note.seen.append(5)  # type: ignore[attr-defined]
        state.names.add("b")  # type: ignore[attr-defined]
        torch.rand(1, generator=state.generator)  # type: ignore[attr-defined]
        state.new = 1  # type: ignore[attr-defined]
        engine.log.append("later")  # type: ignore[attr-defined]
        engine.extra = 1  # type: ignore[attr-defined]

    sweep(training)
    assert training.trainer.state is state
    for name, value in kept.items():
        assert getattr(state, name) is value
    assert kept["history"] == [1, 2]
    assert kept["best"] == {"loss": 0.5, "where": collections.deque([3])}
    assert kept["weights"].tolist() == [1, 1, 1]
    assert kept["table"].tolist() == [0, 0]
    assert kept["note"] == Note(1, [4])
    assert kept["names"] == {"a"}
    assert torch.equal(kept["generator"].get_state(), draws)
    assert training.trainer.log == ["first"]  # type: ignore[attr-defined]
    assert not hasattr(state, "new")
    assert not hasattr(training.trainer, "extra")


def test_parameters_are_restored_with_only_the_optimizer_in_to_save(
    make_training: Callable[..., Training],
) -> None:
    """The optimizer alone in `to_save` is enough to restore its parameters."""
    training = make_training("sgd-momentum")
    before = [p.detach().clone() for p in training.model.parameters()]
    with FastaiLRFinder().attach(
        training.trainer, {"optimizer": training.optimizer}, num_iter=10
    ) as trainer:
        trainer.run(training.loader)
        after = [p.detach().clone() for p in training.model.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert_same(list(training.model.parameters()), before)


def test_buffers_are_restored_with_only_the_optimizer_in_to_save(
    make_training: Callable[..., Training],
) -> None:
    """The statistics of BatchNorm are restored: the train step refers to the model."""
    training, without = make_training("sgd-momentum"), make_training("sgd-momentum")
    with FastaiLRFinder().attach(
        training.trainer, {"optimizer": training.optimizer}, num_iter=10
    ) as trainer:
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


def test_tensors_and_gradients_keep_their_identity(
    make_training: Callable[..., Training],
) -> None:
    """Parameters, gradients, optimizer state and a tensor learning rate keep their identity."""
    training = make_training("adam-tensor-lr")
    training.trainer.run(training.loader)
    optimizer = training.optimizer

    def objects() -> list[int]:
        params = list(training.model.parameters())
        state = [optimizer.state[p]["exp_avg"] for p in params]
        grads = [p.grad for p in params]
        data = [p.data_ptr() for p in params]
        return [*map(id, [*params, *state, *grads, optimizer.param_groups[0]["lr"]]), *data]

    before = objects()
    held = [p.grad for p in training.model.parameters()]
    sweep(training)
    assert objects() == before
    assert held[0] is not None


def test_an_object_that_cannot_be_restored_is_named_and_the_others_are_restored(
    make_training: Callable[..., Training],
) -> None:
    """Errors of `load_state_dict` are listed in one error, and everything else is restored."""
    without, training = make_training(), make_training()
    to_save = {"a": Unrestorable(), **training.to_save, "z": Unrestorable()}
    with (
        pytest.raises(LRFinderError, match=r"a: OSError\('on purpose'\); z: OSError"),
        FastaiLRFinder().attach(training.trainer, to_save, num_iter=15) as trainer,
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


class Counter:
    """An object whose state is in no attribute, only in its state dict."""

    store: dict[int, int] = {}  # noqa: RUF012  # shared on purpose

    def __init__(self) -> None:
        self.store[id(self)] = 0

    def state_dict(self) -> dict:
        return {"n": self.store[id(self)]}

    def load_state_dict(self, state_dict: dict) -> None:
        self.store[id(self)] = state_dict["n"]


def test_an_object_with_a_state_dict_alone_is_restored(
    make_training: Callable[..., Training],
) -> None:
    """`load_state_dict` receives the state from before the sweep."""
    training = make_training()
    counter = Counter()
    training.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda: counter.load_state_dict({"n": 7})
    )
    with FastaiLRFinder().attach(
        training.trainer, {**training.to_save, "counter": counter}, num_iter=5
    ) as trainer:
        trainer.run(training.loader)
        assert counter.state_dict() == {"n": 7}
    assert counter.state_dict() == {"n": 0}


def test_a_torch_scheduler_in_to_save_is_restored(make_training: Callable[..., Training]) -> None:
    """A scheduler that the train step changes has the state it would have without the sweep."""

    def make() -> tuple[Training, torch.optim.lr_scheduler.LRScheduler]:
        training = make_training("sgd-momentum")
        scheduler = torch.optim.lr_scheduler.OneCycleLR(training.optimizer, 0.1, total_steps=60)
        step = training.trainer._process_function

        def step_both(engine: Engine, batch: object) -> object:
            loss = step(engine, batch)
            scheduler.step()
            scheduler.total_steps += 1
            return loss

        training.trainer._process_function = step_both
        return training, scheduler

    training, scheduler = make()
    without, other = make()
    to_save = {**training.to_save, "scheduler": scheduler}
    with FastaiLRFinder().attach(training.trainer, to_save, num_iter=20, start_lr=1e-6) as trainer:
        trainer.run(training.loader)
    assert_no_trace(training, without, train)
    assert scheduler.state_dict() == other.state_dict()


def test_a_sweep_inside_a_run_leaves_the_run_unchanged(
    make_training: Callable[..., Training],
) -> None:
    """A handler may attach the finder to its own trainer; the outer run continues unchanged."""
    training, without = make_training(), make_training()
    reasons = []

    @training.trainer.on(Events.EPOCH_COMPLETED(once=1))
    def find(engine: Engine) -> None:
        losses = list(training.losses)
        finder = FastaiLRFinder()
        with finder.attach(engine, training.to_save, num_iter=15, diverge_th=1e9) as trainer:
            trainer.run(DataLoader(data(), 8, shuffle=True))
        reasons.append(finder.result.stop_reason)
        training.losses[:] = losses

    called = []
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: called.append(1))
    seed_all(1)
    training.trainer.run(training.loader, max_epochs=3)
    seed_all(1)
    without.trainer.run(without.loader, max_epochs=3)
    assert reasons == [StopReason.COMPLETED]
    assert called == [1, 1, 1]
    assert_same(training.losses, without.losses)


def bytes_of_tensors() -> int:
    """Return the size of the memory that the tensors of this process hold."""
    gc.collect()
    tensors = [obj for obj in gc.get_objects() if type(obj) in (torch.Tensor, nn.Parameter)]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_the_memory_of_the_snapshot_is_released(make_training: Callable[..., Training]) -> None:
    """After the block no copy is left, even while a traceback holds the frames of the block."""
    training = make_training()
    training.trainer.run(training.loader)
    size = sum(p.nbytes for p in training.model.parameters())
    before = inside = bytes_of_tensors()
    with (  # noqa: PT012  # what it holds is looked at first
        pytest.raises(ZeroDivisionError) as held,
        FastaiLRFinder().attach(training.trainer, training.to_save),
    ):
        inside = bytes_of_tensors()
        raise ZeroDivisionError
    assert held.value.__traceback__ is not None
    assert inside >= before + size
    assert bytes_of_tensors() == before
