"""The promise "no trace": training after a sweep is bit for bit the training without one."""

import collections
import dataclasses
import multiprocessing
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import EVENTS, HAS_MAX_ITERS, OPTIMIZERS, Net, Training, data, seed_all
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler, LinearCyclicalScheduler
from ignite.metrics import RunningAverage
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from ignite_lrfinder import FastaiLRFinder, LRFinderError, StopReason

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


class Augmented(Dataset):
    """Data that draws from every global random generator and from one of its own."""

    def __init__(self) -> None:
        self.base = data()
        self.rng = np.random.default_rng(3)
        self.num_drawn = 0

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.base[index]
        self.num_drawn += 1
        noise = random.random() + np.random.rand() + self.rng.random() + torch.rand(()).item()  # noqa: NPY002  # on purpose
        return x + 0.01 * noise, y


class ShuffledInPlace:
    """A loader of a user's own, which shuffles its indices in place each epoch."""

    def __init__(self) -> None:
        self.base = data()
        self.order = list(range(len(self.base)))
        self.epochs = 0

    def __len__(self) -> int:
        return 12

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        self.epochs += 1
        random.shuffle(self.order)
        for i in range(12):
            yield self.base[self.order[8 * i : 8 * i + 8]]


def own_generator() -> torch.Generator:
    """Make a generator that only the loader draws from."""
    return torch.Generator().manual_seed(11)


LOADERS: dict[str, Callable[[], object]] = {
    "shuffling": lambda: DataLoader(data(), 8, shuffle=True),
    "own-generator": lambda: DataLoader(data(), 8, shuffle=True, generator=own_generator()),
    "sampler-generator": lambda: DataLoader(
        data(), 8, sampler=RandomSampler(data(), generator=own_generator())
    ),
    "weighted": lambda: DataLoader(
        data(), 8, sampler=WeightedRandomSampler([1.0, 2.0] * 48, 96, generator=own_generator())
    ),
    "augmented": lambda: DataLoader(Augmented(), 8, shuffle=True),
    "shuffled-in-place": ShuffledInPlace,
    "list": lambda: [data()[8 * i : 8 * i + 8] for i in range(12)],
}
WORKER_LOADERS: dict[str, Callable[[], object]] = {
    "workers": lambda: DataLoader(Augmented(), 8, shuffle=True, num_workers=2),
    "persistent-workers": lambda: DataLoader(
        Augmented(), 8, shuffle=True, num_workers=2, persistent_workers=True
    ),
}


def sweep(training: Training, **kwargs: object) -> FastaiLRFinder:
    """Run a sweep of 15 points that takes the learning rate far beyond what a training bears."""
    finder = FastaiLRFinder()
    arguments = {"num_iter": 15, "start_lr": 1e-4, "end_lr": 10.0, "diverge_th": 100.0, **kwargs}
    with finder.attach(training.trainer, training.to_save, **arguments) as trainer:
        trainer.run(training.loader)
    training.losses.clear()
    return finder


def state_of(training: Training) -> dict[str, object]:
    """Collect all that a training consists of."""
    model, optimizer, trainer = training.model, training.optimizer, training.trainer
    state = dict(vars(trainer.state))
    for name in ("times", "dataloader"):
        del state[name]
    return {
        "parameters": dict(model.named_parameters()),
        "gradients": {name: p.grad for name, p in model.named_parameters()},
        "buffers": dict(model.named_buffers()),
        "modes": [module.training for module in model.modules()],
        "attributes": {k: v for k, v in vars(model).items() if isinstance(v, int)},
        "optimizer": optimizer.state_dict(),
        "trainer.state": state,
        "handlers": {e: list(h) for e, h in trainer._event_handlers.items() if h},
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002  # the global one
        "python": random.getstate(),
        "losses": list(training.losses),
    }


def assert_same(a: object, b: object, where: str = "") -> None:
    """Compare two states bit for bit, NaN and -0.0 included."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor), where
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes(), where
    elif isinstance(a, np.ndarray):
        assert a.tobytes() == np.asarray(b).tobytes(), where
    elif isinstance(a, dict):
        assert isinstance(b, dict), where
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple)), where
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif callable(a):
        assert getattr(a, "__qualname__", type(a)) == getattr(b, "__qualname__", type(b)), where
    elif not isinstance(a, Engine) and type(a).__name__ != "ReferenceType":
        assert a == b, where


def assert_no_trace(
    with_sweep: Training, without: Training, go_on: Callable[[Training], object]
) -> None:
    """Compare two trainings now, let both go on, and compare them again."""
    with_sweep.losses[:] = without.losses[:] = []
    assert_same(state_of(with_sweep), state_of(without), "at once")
    rng = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    go_on(with_sweep)
    after = state_of(with_sweep)
    torch.set_rng_state(rng[0])
    random.setstate(rng[1])
    np.random.set_state(rng[2])  # noqa: NPY002
    go_on(without)
    assert len(without.losses) > 0
    assert_same(after, state_of(without), "later")


def train(training: Training) -> None:
    """Train on for two epochs."""
    training.trainer.run(training.loader, max_epochs=training.trainer.state.epoch + 2)


def twins(
    make_training: Callable[..., Training], before: Callable[[Training], object], **kwargs: object
) -> tuple[Training, Training]:
    """Make a training that is swept, and one that is not, both after the same beginning."""
    without = make_training(**kwargs)
    before(without)
    expected_rng = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    with_sweep = make_training(**kwargs)
    before(with_sweep)
    sweep(with_sweep)
    assert_same(torch.get_rng_state(), expected_rng[0], "torch's random state")
    assert_same(random.getstate(), expected_rng[1], "Python's random state")
    assert_same(np.random.get_state(), expected_rng[2], "NumPy's random state")  # noqa: NPY002
    return with_sweep, without


def interrupt(training: Training) -> None:
    """Train into the second epoch and interrupt there."""
    training.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=17), lambda engine: engine.interrupt()
    )
    training.trainer.run(training.loader, max_epochs=3)


def resume(training: Training) -> None:
    """Go on with an interrupted run."""
    training.trainer.run(training.loader)


def terminate(training: Training) -> None:
    """Train into the second epoch and terminate there."""
    training.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=17), lambda engine: engine.terminate()
    )
    training.trainer.run(training.loader, max_epochs=3)


MOMENTS: dict[str, tuple[Callable[[Training], object], Callable[[Training], object]]] = {
    "fresh": (lambda t: None, train),
    "after-an-epoch": (lambda t: t.trainer.run(t.loader), train),
    "after-termination": (terminate, resume),
    "interrupted": (interrupt, resume),
    "swept-already": (sweep, train),
}
if HAS_MAX_ITERS:
    MOMENTS["max-iters"] = (
        lambda t: t.trainer.run(t.loader, max_iters=15),
        lambda t: t.trainer.run(t.loader, max_iters=40),
    )


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_goes_on_as_if_there_had_been_no_sweep(
    make_training: Callable[..., Training], optimizer: str, moment: str
) -> None:
    """Whatever the optimizer and the moment of the sweep, later training is bit for bit equal."""
    before, go_on = MOMENTS[moment]
    assert_no_trace(*twins(make_training, before, optimizer=optimizer), go_on)


@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch", "interrupted"])
@pytest.mark.parametrize("loader", LOADERS)
def test_batches_come_as_if_there_had_been_no_sweep(
    make_training: Callable[..., Training], loader: str, moment: str
) -> None:
    """Whatever the loader draws from, it goes on drawing where it was."""
    before, go_on = MOMENTS[moment]
    assert_no_trace(*twins(make_training, before, loader=LOADERS[loader]), go_on)


def end_workers(loader: Any) -> None:
    """End the workers that live between epochs; the garbage collector waits seconds for each."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()


@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch", "interrupted"])
@pytest.mark.parametrize("loader", WORKER_LOADERS)
def test_worker_processes_are_left_as_they_were(
    make_training: Callable[..., Training], loader: str, moment: str
) -> None:
    """Workers that live between epochs keep their random state, and those of the sweep are gone."""
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


class OneUnreadable(Dataset):
    """Data of which one sample cannot be read."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        if index == 40:
            raise ZeroDivisionError
        return data()[index]


def test_workers_are_ended_after_an_error_in_one_of_them(
    make_training: Callable[..., Training],
) -> None:
    """Even while the error and its traceback are held, no process of the sweep lives on."""
    training = make_training(loader=lambda: DataLoader(OneUnreadable(), 8, num_workers=2))
    num_before = len(multiprocessing.active_children())
    with pytest.raises(ZeroDivisionError) as held:
        sweep(training)
    assert held.value.__traceback__ is not None
    assert len(multiprocessing.active_children()) == num_before


@pytest.mark.parametrize(
    "event", [Events.EPOCH_STARTED, Events.DATALOADER_STOP_ITERATION], ids=lambda e: e.name.lower()
)
def test_a_loader_that_a_handler_gives_goes_on_where_it_was(
    make_training: Callable[..., Training], event: Events
) -> None:
    """Data given by `set_data` during the sweep is remembered before a batch is drawn from it."""
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
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def raise_error(engine: Engine) -> None:
    """Fail as user code may."""
    raise ZeroDivisionError("on purpose")


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
    """An exception or Ctrl-C raised at an event inside the block comes out, and all is restored."""
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
    """Fail in the block itself, after the run."""
    trainer.run(training.loader)
    raise ZeroDivisionError


def fail_before_run(training: Training, trainer: Engine) -> None:
    """Fail in the block itself, before any run."""
    raise ZeroDivisionError


def fail_in_loader(training: Training, trainer: Engine) -> None:
    """Run on data that fails."""

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        yield data()[:8]
        raise ZeroDivisionError

    trainer.run(batches(), epoch_length=5)


def fail_in_step(training: Training, trainer: Engine) -> None:
    """Let the model fail at its seventh call."""

    def fail(model: nn.Module, args: object) -> None:
        if model.num_calls == 7:
            raise ZeroDivisionError

    training.model.register_forward_pre_hook(fail)
    trainer.run(training.loader)


@pytest.mark.parametrize("fail", [fail_in_body, fail_before_run, fail_in_loader, fail_in_step])
def test_an_exception_in_the_block_leaves_no_trace(
    make_training: Callable[..., Training],
    fail: Callable[[Training, Engine], None],
) -> None:
    """Whatever fails in the block, all is restored."""
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
    """A failing `output_transform` comes out of the run, and all is restored."""
    without, training = make_training(), make_training()
    finder = FastaiLRFinder()
    with (
        pytest.raises(ZeroDivisionError),
        finder.attach(training.trainer, training.to_save, lambda output: 1 // 0) as trainer,
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


def add_ignite_handlers(training: Training) -> dict[str, object]:
    """Attach a metric, an average of the weights and a scheduler, as users do."""
    RunningAverage(output_transform=lambda output: output).attach(training.trainer, "average")
    ema = EMAHandler(training.model, momentum=0.1)
    ema.attach(training.trainer, event=Events.ITERATION_COMPLETED)
    scheduler = LinearCyclicalScheduler(training.optimizer, "lr", 1e-3, 1e-1, cycle_size=10)
    training.trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    return {"ema": ema.ema_model, "scheduler": scheduler}


@pytest.mark.filterwarnings("ignore:The learning rate must be left to the finder:UserWarning")
@pytest.mark.parametrize("keep_handlers", ["auto", "all", "none"])
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch"])
def test_ignites_own_handlers_are_left_as_they_were(
    make_training: Callable[..., Training], moment: str, keep_handlers: str
) -> None:
    """Metrics, averaged weights and schedulers on the trainer are the same, muted or kept."""
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
    """Something that a user keeps on `trainer.state`."""

    count: int
    seen: list[int]


def test_what_users_keep_on_the_trainer_is_restored_in_place(
    make_training: Callable[..., Training],
) -> None:
    """Attributes on the trainer and its state come back: the same objects with the same content."""
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


def test_parameters_come_back_where_to_save_names_only_the_optimizer(
    make_training: Callable[..., Training],
) -> None:
    """The optimizer alone in `to_save` is enough to bring its parameters back."""
    training = make_training("sgd-momentum")
    before = [p.detach().clone() for p in training.model.parameters()]
    with FastaiLRFinder().attach(
        training.trainer, {"optimizer": training.optimizer}, num_iter=10
    ) as trainer:
        trainer.run(training.loader)
        after = [p.detach().clone() for p in training.model.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert_same(list(training.model.parameters()), before)


def test_buffers_come_back_where_the_train_step_refers_to_the_model(
    make_training: Callable[..., Training],
) -> None:
    """With the optimizer alone in `to_save` the statistics of BatchNorm come back too."""
    training, without = make_training("sgd-momentum"), make_training("sgd-momentum")
    with FastaiLRFinder().attach(
        training.trainer, {"optimizer": training.optimizer}, num_iter=10
    ) as trainer:
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


def test_tensors_and_their_gradients_stay_the_same_objects(
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


class Unrestorable:
    """An object that cannot be loaded again."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        raise OSError("on purpose")


def test_an_object_that_fails_does_not_keep_the_others_from_coming_back(
    make_training: Callable[..., Training],
) -> None:
    """An error in one `load_state_dict` is named in the end, with everything else restored."""
    without, training = make_training(), make_training()
    to_save = {"a": Unrestorable(), **training.to_save, "z": Unrestorable()}
    with (
        pytest.raises(LRFinderError, match=r"a: OSError\('on purpose'\); z: OSError"),
        FastaiLRFinder().attach(training.trainer, to_save, num_iter=15) as trainer,
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


class Counter:
    """State outside Python's attributes of the object, known to its state dict alone."""

    store: dict[int, int] = {}  # noqa: RUF012  # shared on purpose

    def __init__(self) -> None:
        self.store[id(self)] = 0

    def state_dict(self) -> dict:
        return {"n": self.store[id(self)]}

    def load_state_dict(self, state_dict: dict) -> None:
        self.store[id(self)] = state_dict["n"]


def test_objects_known_only_by_their_state_dict_are_restored(
    make_training: Callable[..., Training],
) -> None:
    """`load_state_dict` is called with the state of before."""
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
    """A scheduler stepped inside the train step goes on afterwards as if nothing had been."""

    def make() -> tuple[Training, torch.optim.lr_scheduler.LRScheduler]:
        training = make_training("sgd-momentum")
        scheduler = torch.optim.lr_scheduler.OneCycleLR(training.optimizer, 0.1, total_steps=60)
        step = training.trainer._process_function

        def step_both(engine: Engine, batch: object) -> object:
            loss = step(engine, batch)
            scheduler.step()
            return loss

        training.trainer._process_function = step_both
        return training, scheduler

    training, scheduler = make()
    without, other = make()
    with (
        pytest.warns(UserWarning, match="written by the train step"),
        FastaiLRFinder().attach(
            training.trainer,
            {**training.to_save, "scheduler": scheduler},
            num_iter=20,
            start_lr=1e-6,
        ) as trainer,
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)
    assert scheduler.state_dict() == other.state_dict()


def test_a_sweep_from_inside_a_run_leaves_that_run_alone(
    make_training: Callable[..., Training],
) -> None:
    """A handler may attach the finder to its own trainer; the run around it goes on unchanged."""
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


def test_memory_of_the_snapshot_is_let_go(make_training: Callable[..., Training]) -> None:
    """After the block nothing holds the copies, even where a traceback holds the block."""
    training = make_training(model=Net)
    error = None
    try:
        with FastaiLRFinder().attach(training.trainer, training.to_save) as trainer:
            trainer.run(training.loader)
            raise ZeroDivisionError
    except ZeroDivisionError as caught:
        error = caught
    frame = error.__traceback__
    held = []
    while frame is not None:
        held += [v for v in frame.tb_frame.f_locals.values() if type(v).__name__ == "Snapshot"]
        frame = frame.tb_next
    assert all(not snapshot._memento.seen() for snapshot in held)
