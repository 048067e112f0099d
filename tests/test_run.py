"""A sweep inside a trainer's run: its length, its end, its warnings."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from conftest import HAS_MAX_ITERS, Log
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from ignite_lrfinder import FastaiLRFinder, LRFinderError, LRFinderResult, StopReason
from ignite_lrfinder.sweep.engine import handler_table

NEVER_DIVERGED = "ignore:Run completed without loss diverging:UserWarning"


@dataclasses.dataclass
class Sweep:
    """A trainer with a given loss for each iteration."""

    losses: Callable[[int], float] = lambda iteration: 1.0
    every: int = 1
    warnings: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.finder = FastaiLRFinder()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.parameter], lr=1e-3)
        self.trainer = Engine(self.train_step)
        self._steps = Log()

    @property
    def num_steps(self) -> int:
        """The number of steps, those of the sweep included."""
        return len(self._steps)

    def train_step(self, engine: Engine, batch: object) -> float:
        """Step on every so many iterations and return the loss of this one."""
        if engine.state.iteration % self.every == 0:
            self.parameter.grad = torch.ones(())
            self.optimizer.step()
            self._steps.append(engine.state.iteration)
        return self.losses(engine.state.iteration)

    def run(
        self, run: Callable[[Engine], object] = lambda t: t.run([0] * 4), **kwargs: object
    ) -> LRFinderResult:
        """Run the trainer inside the block and return the result."""
        to_save = {"optimizer": self.optimizer}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with self.finder.attach(self.trainer, to_save, **kwargs) as trainer:  # type: ignore[arg-type]
                run(trainer)
        self.warnings = [str(warning.message) for warning in caught]
        return self.finder.result


# As of 40 batches of one label each, in any order.
LABELS = np.random.default_rng(0).integers(0, 2, 40).tolist()


class NoLength:
    """Data that can restart, but has no length."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.num_batches))


class ComesBackEmpty:
    """Data that looks iterable, but cannot restart."""

    def __init__(self, num_batches: int) -> None:
        self.iterator = iter(range(num_batches))

    def __iter__(self) -> Iterator[int]:
        return self.iterator


class StartsAgain:
    """A loader that is its own iterator, and restarts on each `iter`."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches
        self.num_given = 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[int]:
        self.num_given = 0
        return self

    def __next__(self) -> int:
        if self.num_given == self.num_batches:
            raise StopIteration
        self.num_given += 1
        return self.num_given


RUNS: dict[str, tuple[Callable[[Engine], object], int]] = {
    "one-epoch": (lambda t: t.run([0] * 4), 4),
    "epochs": (lambda t: t.run([0] * 4, max_epochs=3), 12),
    "short-epochs": (lambda t: t.run([0] * 4, epoch_length=2, max_epochs=3), 6),
    "long-epochs": (lambda t: t.run([0] * 4, epoch_length=9, max_epochs=2), 18),
    "one-batch": (lambda t: t.run([0]), 1),
    "no-data": (lambda t: t.run(epoch_length=3), 3),
    "no-length": (lambda t: t.run(NoLength(4)), 100),
    "own-iterator": (lambda t: t.run(StartsAgain(4)), 4),
    "endless-iterator": (lambda t: t.run(iter(int, 1), epoch_length=5), 5),
}
LENGTHS: list[dict[str, int]] = [{}, {"epoch_length": 3}]
if HAS_MAX_ITERS:
    RUNS["few-max-iters"] = (lambda t: t.run([0] * 4, max_iters=3), 3)
    RUNS["many-max-iters"] = (lambda t: t.run([0] * 4, max_iters=50), 50)
    RUNS["no-length-max-iters"] = (lambda t: t.run(NoLength(4), max_iters=6), 6)
    LENGTHS.append({"max_iters": 40})


@pytest.mark.parametrize("num_iter", [1, 4, 17], ids=lambda n: f"num_iter-{n}")
@pytest.mark.parametrize("run", [run for run, _ in RUNS.values()], ids=RUNS)
def test_a_sweep_has_num_iter_points_for_any_length_of_run(
    run: Callable[[Engine], object], num_iter: int
) -> None:
    """The run extends over epochs, and stops inside one after exactly `num_iter` steps."""
    sweep = Sweep()
    result = sweep.run(run, num_iter=num_iter)
    assert len(result) == sweep.num_steps == num_iter
    assert result.stop_reason is StopReason.COMPLETED


@pytest.mark.parametrize(("run", "length"), RUNS.values(), ids=RUNS)
def test_num_iter_defaults_to_the_length_of_the_run(
    run: Callable[[Engine], object], length: int
) -> None:
    """Without `num_iter` there are as many points as the run has iterations, or 100."""
    sweep = Sweep()
    assert len(sweep.run(run)) == sweep.num_steps == length


def test_a_run_of_no_iterations_is_refused() -> None:
    """Without `num_iter` a run of no epochs is refused with a remedy."""
    with pytest.raises(LRFinderError, match=r"at least 1 iteration, got 0\. Pass num_iter"):
        Sweep().run(lambda t: t.run([0] * 4, max_epochs=0))


def test_a_parameter_group_added_during_the_sweep_is_refused() -> None:
    """A handler that unfreezes layers during the sweep causes an error with a remedy."""
    sweep = Sweep()

    @sweep.trainer.on(Events.ITERATION_STARTED(once=3))
    def unfreeze() -> None:
        sweep.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(()))]})

    with pytest.raises(
        LRFinderError,
        match=r"keep its 1 parameter groups .* got 2, changed by unfreeze\. Pass mute_handlers",
    ):
        sweep.run(num_iter=6)
    assert len(sweep.optimizer.param_groups) == 1


def test_num_iter_counts_steps_under_gradient_accumulation() -> None:
    """With gradient accumulation the run has more iterations."""
    sweep = Sweep(every=3)
    assert len(sweep.run(num_iter=5)) == sweep.num_steps == 5


@pytest.mark.parametrize(
    ("data", "kwargs"),
    [
        *((lambda: iter(range(5)), kwargs) for kwargs in LENGTHS),
        (lambda: ComesBackEmpty(5), {}),
        (lambda: ComesBackEmpty(5), {"epoch_length": 3}),
    ],
)
def test_a_sweep_ends_with_its_data(data: Callable[[], Iterable], kwargs: dict[str, int]) -> None:
    """The points before the end of the data are the result, with the reason OUT_OF_DATA."""
    sweep = Sweep()
    result = sweep.run(lambda t: t.run(data(), **kwargs), num_iter=12)
    assert len(result) == sweep.num_steps == 5
    assert result.stop_reason is StopReason.OUT_OF_DATA
    assert any(StopReason.OUT_OF_DATA.remedy in message for message in sweep.warnings)


@pytest.mark.parametrize("kwargs", LENGTHS, ids=str)
def test_an_exhausted_iterator_is_not_restarted(kwargs: dict[str, int]) -> None:
    """The sweep ends with the iterator, before Ignite restarts it and warns."""
    sweep = Sweep()
    sweep.run(lambda t: t.run(iter(range(5)), **kwargs), num_iter=12)
    (message,) = sweep.warnings
    assert message.startswith("Run completed without loss diverging")


def test_a_lasting_rise_causes_no_warning() -> None:
    """A loss that never recovers was swept far enough, even below `diverge_th`."""
    lrs = np.geomspace(1e-6, 10, 100)
    losses = np.where(lrs < 1e-4, 2.4, np.where(lrs < 3e-2, 0.3, 6.0))
    sweep = Sweep(lambda iteration: losses[iteration - 1])
    result = sweep.run(lambda t: t.run([0] * 100), num_iter=100, start_lr=1e-6)
    assert result.stop_reason is StopReason.COMPLETED
    assert not sweep.warnings


def test_an_exhausted_loader_iterator_is_not_restarted() -> None:
    """A loader's iterator cannot restart, like a built-in iterator."""
    sweep = Sweep()
    result = sweep.run(
        lambda t: t.run(iter(DataLoader(TensorDataset(torch.ones(5)))), epoch_length=3), num_iter=12
    )
    assert result.stop_reason is StopReason.OUT_OF_DATA
    (message,) = sweep.warnings
    assert message.startswith("Run completed without loss diverging")


def test_an_iterator_that_is_just_long_enough_completes_the_sweep() -> None:
    """The last batch may be the last point."""
    result = Sweep().run(lambda t: t.run(iter(range(12)), epoch_length=5), num_iter=12)
    assert len(result) == 12
    assert result.stop_reason is StopReason.COMPLETED


def spoil(index: int, loss: float) -> Callable[[int], float]:
    """Return losses of 1, with a different loss at one iteration."""
    return lambda iteration: loss if iteration == index else 1.0


@pytest.mark.parametrize("index", [1, 7, 20], ids=["first", "middle", "last"])
@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_the_first_non_finite_loss_ends_the_sweep(index: int, loss: float) -> None:
    """No step follows it, and the result has the reason NON_FINITE."""
    sweep = Sweep(spoil(index, loss))
    result = sweep.run(num_iter=20)
    assert len(result) == sweep.num_steps == index
    assert result.stop_reason is StopReason.NON_FINITE
    (message,) = sweep.warnings
    kind = "NaN" if loss != loss else "infinity"
    assert f"got {kind} at point {index} of 20, with the learning rate " in message
    assert f", on batch {(index - 1) % 4 + 1} of the data. Check" in message
    assert result.non_finite_batch == (index - 1) % 4 + 1


def test_a_nan_micro_batch_ends_the_sweep_at_its_step() -> None:
    """The point of a NaN micro-batch has a NaN loss and is the last."""
    sweep = Sweep(spoil(8, float("nan")), every=3)
    result = sweep.run(num_iter=20)
    assert result.stop_reason is StopReason.NON_FINITE
    np.testing.assert_array_equal(result.losses, [1.0, 1.0, np.nan])
    assert sweep.num_steps == 3


def test_a_train_step_that_stops_stepping_after_nan_ends_the_sweep() -> None:
    """If NaN keeps the train step from stepping, the reason is NON_FINITE and there is no error."""
    sweep = Sweep()

    def train_step(engine: Engine, batch: object) -> float:
        is_finite = engine.state.iteration < 8
        return sweep.train_step(engine, batch) if is_finite else float("nan")

    sweep.trainer = Engine(train_step)
    result = sweep.run(num_iter=20)
    assert result.stop_reason is StopReason.NON_FINITE
    assert result.losses.tolist() == [1.0] * 7


def test_a_loss_that_diverges_ends_the_sweep_without_a_warning() -> None:
    """With smoothing off the first loss above five times the best is the last."""
    sweep = Sweep(lambda iteration: 1.0 if iteration < 9 else 5.0 + (iteration > 11))
    result = sweep.run(num_iter=20, smooth_f=0)
    assert len(result) == sweep.num_steps == 12
    assert result.stop_reason is StopReason.DIVERGED
    assert sweep.warnings == []


def test_a_completed_sweep_warns_that_the_loss_did_not_diverge() -> None:
    """The warning is Ignite's, with its remedy, or with the reason where nothing can be read."""
    sweep = Sweep(lambda iteration: 1.0 - 0.01 * max(iteration - 20, 0))
    sweep.run(num_iter=60)
    (message,) = sweep.warnings
    assert message.startswith("Run completed without loss diverging, increase end_lr")
    sweep = Sweep()
    sweep.run(num_iter=20)
    (message,) = sweep.warnings
    assert message.startswith("Run completed without loss diverging. The curve is flat: the loss ")


def terminate(trainer: Engine) -> None:
    """End the run after three iterations, as a user's handler may."""
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: trainer.terminate())
    trainer.run([0] * 4)


def interrupt(trainer: Engine) -> None:
    """Interrupt the run after three iterations."""
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: trainer.interrupt())
    trainer.run([0] * 4)


@pytest.mark.parametrize("run", [terminate, interrupt], ids=["terminate", "interrupt"])
def test_a_terminated_run_has_a_partial_result(run: Callable[[Engine], None]) -> None:
    """The points so far are the result, with the reason TERMINATED."""
    result = Sweep().run(run, num_iter=12)
    assert len(result) == 3
    assert result.stop_reason is StopReason.TERMINATED


def test_an_interrupted_sweep_resumes() -> None:
    """A second call of `run` after an interrupt resumes the sweep."""
    sweep = Sweep()

    def run(trainer: Engine) -> None:
        interrupt(trainer)
        trainer.run([0] * 4)

    assert len(sweep.run(run, num_iter=12)) == sweep.num_steps == 12


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_leaves_a_partial_result(error: type[BaseException]) -> None:
    """After Ctrl-C or an error in the train step, the points so far are the result."""

    def losses(iteration: int) -> float:
        if iteration == 4:
            raise error
        return 1.0

    sweep = Sweep(losses)
    with pytest.raises(error):
        sweep.run(num_iter=12)
    assert sweep.finder.result.losses.tolist() == [1.0] * 3
    assert sweep.finder.result.stop_reason is StopReason.TERMINATED


def test_terminate_epoch_does_not_end_the_sweep() -> None:
    """`terminate_epoch` in a handler only ends the epoch."""
    sweep = Sweep()

    def run(trainer: Engine) -> None:
        event = Events.ITERATION_COMPLETED(every=3)
        trainer.add_event_handler(event, lambda: trainer.terminate_epoch())
        trainer.run([0] * 4)

    assert len(sweep.run(run, num_iter=12)) == 12


def test_a_train_step_may_delete_its_batch() -> None:
    """It does so to free memory before the next batch is loaded."""
    sweep = Sweep()
    step = sweep.trainer._process_function

    def train_step(engine: Engine, batch: object) -> object:
        del engine.state.batch
        return step(engine, batch)

    sweep.trainer._process_function = train_step
    assert len(sweep.run(num_iter=6)) == 6


def test_a_second_run_in_the_block_is_refused() -> None:
    """A block is for one sweep, whose result stays."""
    sweep = Sweep()

    def run(trainer: Engine) -> None:
        trainer.run([0] * 4)
        trainer.run([0] * 4)

    with pytest.raises(LRFinderError, match="must run its trainer once"):
        sweep.run(run, num_iter=6)
    assert len(sweep.finder.result) == 6


@pytest.mark.filterwarnings(NEVER_DIVERGED)
@pytest.mark.parametrize("is_same_finder", [True, False], ids=["finder", "trainer"])
def test_a_second_attach_during_a_sweep_is_refused(is_same_finder: bool) -> None:
    """Neither a finder nor a trainer can take part in two sweeps; the first one goes on."""
    sweep, other = Sweep(), Sweep()
    finder = sweep.finder if is_same_finder else other.finder
    trainer = other.trainer if is_same_finder else sweep.trainer
    to_save = {"optimizer": sweep.optimizer}
    with sweep.finder.attach(sweep.trainer, to_save, num_iter=6) as attached:
        with (
            pytest.raises(LRFinderError, match="must not be in a sweep already"),
            finder.attach(trainer, to_save),
        ):
            pass
        attached.run([0] * 4)
    assert len(sweep.finder.result) == 6


BEFORE_A_RUN: dict[str, Callable[[FastaiLRFinder], object]] = {
    "result": lambda finder: finder.result,
    "lr_suggestion": lambda finder: finder.lr_suggestion(),
    "suggestions": lambda finder: finder.suggestions(),
    "lr_bounds": lambda finder: finder.lr_bounds(),
    "plot": lambda finder: finder.plot(),
    "apply": lambda finder: finder.apply_suggested_lr(Sweep().optimizer),
}


@pytest.mark.parametrize("call", BEFORE_A_RUN.values(), ids=BEFORE_A_RUN)
@pytest.mark.parametrize("has_attached", [False, True], ids=["fresh", "attached"])
def test_a_query_before_a_run_is_refused(
    has_attached: bool, call: Callable[[FastaiLRFinder], object]
) -> None:
    """Before a run there is no result, not even of an earlier sweep."""
    sweep = Sweep()
    if has_attached:
        sweep.run(num_iter=6)
        attached = sweep.finder.attach(sweep.trainer, {"optimizer": sweep.optimizer})
        with pytest.warns(UserWarning, match="must run its trainer, got no run"), attached:
            pass
    with pytest.raises(LRFinderError, match="must have run a sweep, got none yet"):
        call(sweep.finder)


def test_apply_suggested_lr_inside_the_block_is_refused() -> None:
    """The end of the block would undo it, whether a finder or a result is asked to."""
    sweep, asked = Sweep(lambda iteration: 1.0 - 0.01 * max(iteration - 20, 0)), Log()

    def run(trainer: Engine) -> None:
        trainer.run([0] * 4)
        for owner in (sweep.finder, sweep.finder.result):
            with pytest.raises(LRFinderError, match="after the block of attach, got a call inside"):
                owner.apply_suggested_lr(sweep.optimizer)
            asked.append(owner)

    sweep.run(run, num_iter=60)
    assert len(asked) == 2
    sweep.finder.apply_suggested_lr(sweep.optimizer)
    assert sweep.optimizer.param_groups[0]["lr"] == sweep.finder.lr_suggestion()


def test_an_output_without_a_loss_is_an_error_of_the_run() -> None:
    """The run raises, and `output_transform` receives the trainer's output."""
    sweep = Sweep(lambda iteration: (0.5, 2.0))  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"got tuple of length 2 \(float, float\)"):
        sweep.run(num_iter=6)
    result = sweep.run(num_iter=6, output_transform=lambda output: {"loss": output[1]})
    assert result.losses.tolist() == [2.0] * 6


def test_a_hook_is_removed_after_an_interrupt_while_it_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C right after a handler was added leaves no handler behind."""
    sweep = Sweep()
    add = Engine.add_event_handler

    def interrupted(trainer: Engine, event: Events, handler: Callable[..., object]) -> object:
        added = add(trainer, event, handler)
        if event is Events.ITERATION_COMPLETED:
            raise KeyboardInterrupt
        return added

    monkeypatch.setattr(Engine, "add_event_handler", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(num_iter=6)
    assert not any(handler_table(sweep.trainer).values())


@pytest.mark.filterwarnings(NEVER_DIVERGED)
@pytest.mark.parametrize(
    ("labels", "is_named"),
    [
        (torch.arange(400) // 100, True),
        (torch.arange(400) % 4, False),
        (torch.arange(400) // 399, False),
        (torch.arange(400.0) // 100, False),
        (torch.arange(400).view(100, 4) // 100, False),
        (torch.arange(40).repeat_interleave(10) * 7 % 11, False),
        (torch.tensor(LABELS).repeat_interleave(10), False),
        ((torch.arange(400) // 100).to_sparse(), False),
    ],
    ids=["sorted", "mixed", "rare", "floats", "small batches", "lengths", "any", "sparse"],
)
def test_samples_in_the_order_of_their_labels_are_named(
    labels: torch.Tensor, is_named: bool
) -> None:
    """Batches of one label each give a warning, however they are made, but not if one is rare."""
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-9)
    size = 10 if labels.dim() == 1 else 4
    whole = labels if labels.is_sparse else labels.flatten()
    parts = [whole] * 40 if labels.is_sparse else whole.split(size)
    batches = [(part, part) for part in parts]

    def train_step(engine: Engine, batch: object) -> float:
        parameter.square().backward()
        optimizer.step()
        return 1.0

    finder = FastaiLRFinder()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with finder.attach(Engine(train_step), {"optimizer": optimizer}) as t:
            t.run(batches)
    texts = [str(warning.message) for warning in caught]
    assert any("got most batches with a single label each" in text for text in texts) == is_named


@pytest.mark.filterwarnings(NEVER_DIVERGED)
@pytest.mark.parametrize(
    ("case", "is_named"),
    [
        ("in order", True),
        ("shuffled", False),
        ("not correlated", False),
        ("few points", False),
        ("custom batch sampler", False),
        ("shuffled batch sampler", False),
        ("batch sampler in order", True),
    ],
)
def test_a_loader_that_draws_in_order_is_named_where_its_losses_are_alike(
    case: str, is_named: bool
) -> None:
    """Samples sorted by what makes them hard give correlated losses; shuffled ones do not."""
    torch.manual_seed(0)
    hardness = torch.arange(400.0).mul(0.03).sin() + 0.1 * torch.randn(400)
    if case == "not correlated":
        hardness = hardness[torch.randperm(400)]
    data = TensorDataset(hardness)
    loader = DataLoader(data, batch_size=4, shuffle=case == "shuffled")
    batch_samplers = {  # beside which a loader has a sampler that draws in order
        "custom batch sampler": torch.arange(400).view(100, 4).tolist(),
        "shuffled batch sampler": BatchSampler(RandomSampler(data), 4, drop_last=False),
        "batch sampler in order": BatchSampler(SequentialSampler(data), 4, drop_last=False),
    }
    if case in batch_samplers:
        loader = DataLoader(data, batch_sampler=batch_samplers[case])
        assert isinstance(loader.sampler, SequentialSampler)
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-9)

    def train_step(engine: Engine, batch: list[torch.Tensor]) -> float:
        loss = (batch[0].mean() + 3) * (1 + 0 * parameter)
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer, finder = Engine(train_step), FastaiLRFinder()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        num_iter = 49 if case == "few points" else 100
        with finder.attach(trainer, {"optimizer": optimizer}, num_iter=num_iter) as t:
            t.run(loader)
    texts = [str(warning.message) for warning in caught]
    assert any("Samples must be shuffled" in text for text in texts) == is_named
