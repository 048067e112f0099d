"""Trials after the sweep, in the same run: from the snapshot, on the same batches, no trace."""

import dataclasses
import inspect
import re
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from conftest import Log, Training, data
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from strategies import result_of, u_shape
from torch import nn
from twins import (
    LOADERS,
    MOMENTS,
    WORKER_LOADERS,
    ShuffledInPlace,
    Unrestorable,
    assert_no_trace,
    train,
)

from ignite_lrfinder import (
    FastaiLRFinder,
    LRFinderError,
    LRFinderResult,
    NoSuggestionError,
    StopReason,
    Trial,
    Trials,
)
from ignite_lrfinder.record.plan import Plan
from ignite_lrfinder.suggest.verdict import Verdict, suggested_lr

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]
SHORT = Trials(max_iter=75, short_iter=10, long_iter=15)


def verified(training: Training, **kwargs: object) -> FastaiLRFinder:
    """Run a sweep and short trials."""
    finder = FastaiLRFinder()
    arguments = {"num_iter": 30, "start_lr": 1e-5, "end_lr": 10.0, "verify": SHORT, **kwargs}
    with finder.attach(training.trainer, training.to_save, **arguments) as trainer:
        trainer.run(training.loader)
    training.losses.clear()
    return finder


@pytest.mark.product
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd-momentum", "lbfgs", "adam-tensor-lr"])
def test_trials_leave_no_trace(
    make_training: Callable[..., Training], optimizer: str, moment: str
) -> None:
    """With any optimizer at any moment, later training is bit for bit the same."""
    before, go_on = MOMENTS[moment]
    without = make_training(optimizer)
    before(without)
    training = make_training(optimizer)
    before(training)
    assert len(verified(training).result.trials) >= 5
    assert_no_trace(training, without, go_on)


@pytest.mark.product
@pytest.mark.parametrize("loader", {**LOADERS, **WORKER_LOADERS})
def test_all_trials_see_the_batches_of_the_sweep(
    make_training: Callable[..., Training], loader: str
) -> None:
    """Each trial begins with the same loss as the sweep, even with dropout."""
    training = make_training(loader={**LOADERS, **WORKER_LOADERS}[loader])
    result = verified(training).result
    assert [trial.losses[0] for trial in result.trials] == [result.losses[0]] * len(result.trials)
    assert result.is_paired


def test_each_trial_begins_with_what_a_started_handler_set(
    make_training: Callable[..., Training],
) -> None:
    """A handler on STARTED runs once, and each trial begins with what it set."""
    training = make_training()
    seen: list[float] = []

    @training.trainer.on(Events.STARTED)
    def prepare(engine: Engine) -> None:
        engine.state.counter = torch.rand(()).item()  # type: ignore[attr-defined]  # the user's own

    @training.trainer.on(Events.ITERATION_STARTED)
    def count(engine: Engine) -> None:
        seen.append(engine.state.counter)  # type: ignore[attr-defined]  # as above

    result = verified(training).result
    assert len(result.trials) >= 5
    assert len(set(seen)) == 1
    assert result.is_paired
    assert not hasattr(training.trainer.state, "counter")


def test_each_step_of_a_trial_uses_its_rate(make_training: Callable[..., Training]) -> None:
    """Each step of the sweep and its trials uses its rate, although a handler writes another."""
    used = Log()

    class Spy(torch.optim.SGD):
        def step(self, closure: Callable[[], float] | None = None) -> float | None:
            loss = super().step(closure)
            used.append(self.param_groups[0]["lr"])
            return loss

    training = make_training(lambda parameters: Spy(parameters, lr=1e-3))

    @training.trainer.on(Events.ITERATION_STARTED)
    def write(engine: Engine) -> None:
        training.optimizer.param_groups[0]["lr"] = 0.5

    with pytest.warns(UserWarning, match="written by"):
        result = verified(training).result
    expected = [*result.lr[:, 0]]
    for trial in result.trials:
        expected += [trial.lr] * len(trial.losses)
    assert used == expected


def test_auto_goes_on_only_while_the_trials_are_not_certain(
    make_training: Callable[..., Training],
) -> None:
    """With "auto" all trials of `verify=True` run, or only the short ones."""
    auto, always = (
        verified(make_training("sgd-momentum"), num_iter=100, verify=verify).result
        for verify in ("auto", True)
    )
    planned = [(trial.lr, trial.num_iter) for trial in always.trials]
    run = [(trial.lr, trial.num_iter) for trial in auto.trials]
    assert run == planned[: len(run)]
    is_short = {num_iter for _, num_iter in run} == {60}
    assert auto.reading.is_certain or not is_short
    assert is_short or run == planned


def test_the_budget_holds(make_training: Callable[..., Training]) -> None:
    """By default, sweep and trials take at most 800 training iterations."""
    training = make_training("sgd-momentum")
    count = []
    training.trainer.add_event_handler(Events.ITERATION_STARTED, lambda: count.append(1))
    result = verified(training, num_iter=100, verify=True).result
    assert len(count) == len(result) + sum(len(trial.losses) for trial in result.trials)
    assert len(count) <= 800


def test_the_suggestion_is_the_verdict_of_the_trials(
    make_training: Callable[..., Training],
) -> None:
    """For "auto" it is the verdict for the given plan; other methods read the curve."""
    finder = verified(make_training("sgd-momentum"), num_iter=100)
    result = finder.result
    says = result.reading.verdict
    assert isinstance(says, Verdict)
    assert finder.lr_suggestion() == pytest.approx(suggested_lr(says, Plan()), rel=1e-12)
    assert finder.lr_suggestion(schedule="decay", total_iters=500) == pytest.approx(
        suggested_lr(says, Plan("decay", 500)), rel=1e-12
    )
    assert finder.lr_suggestion("valley", schedule="decay") == finder.lr_suggestion("valley")
    assert finder.suggestions(schedule="decay")["auto"] == finder.lr_suggestion(schedule="decay")


def test_groups_keep_their_ratio_in_trials(make_training: Callable[..., Training]) -> None:
    """Trials scale all parameter groups together, even beyond the range of the sweep."""
    used = Log()

    class Spy(torch.optim.SGD):
        def step(self, closure: Callable[[], float] | None = None) -> float | None:
            first, second = (group["lr"] for group in self.param_groups)
            used.append(round(first / second, 9))
            return super().step(closure)

    def make(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
        first, *others = parameters
        return Spy([{"params": [first], "lr": 0.03}, {"params": others, "lr": 0.01}])

    finder = verified(make_training(make), end_lr=1e-3)
    assert set(used) == {3.0}
    first, second = finder.lr_suggestion()  # type: ignore[misc]  # a list for two groups
    assert first / second == pytest.approx(3)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError], ids=["ctrl-c", "error"])
@pytest.mark.parametrize("iteration", [1, 9], ids=["first", "later"])
def test_an_exception_in_a_trial_leaves_no_trace(
    make_training: Callable[..., Training], iteration: int, fault: type[BaseException]
) -> None:
    """The run raises the error of the third trial, all is restored, and the sweep is stored."""
    without, training = make_training(), make_training()
    starts = []

    def fail(engine: Engine) -> None:
        starts.extend([1] * (engine.state.iteration == 1))
        if len(starts) == 4 and engine.state.iteration == iteration:
            raise fault

    finder = FastaiLRFinder()
    with (
        pytest.raises(fault),
        finder.attach(
            training.trainer, training.to_save, num_iter=30, start_lr=1e-5, verify=SHORT
        ) as trainer,
        trainer.add_event_handler(Events.ITERATION_STARTED, fail),
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)
    assert len(finder.result) == 30 or finder.result.stop_reason.is_divergence
    assert len(finder.result.trials) == 2


def test_an_object_that_cannot_be_rewound_is_named(make_training: Callable[..., Training]) -> None:
    """If an object cannot be restored before a trial, the error names it; the rest is restored."""
    without, training = make_training(), make_training()
    to_save = {**training.to_save, "stubborn": Unrestorable()}
    with (
        pytest.raises(LRFinderError, match="stubborn: OSError"),
        FastaiLRFinder().attach(training.trainer, to_save, num_iter=20, verify=SHORT) as trainer,
    ):
        trainer.run(training.loader)
    assert_no_trace(training, without, train)


def test_trials_continue_a_source_that_cannot_restart(
    make_training: Callable[..., Training],
) -> None:
    """From a generator trials get other batches, end with it, and are not paired."""

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        samples = data()
        for i in range(70):
            yield samples[torch.arange(i, i + 8) % len(samples)]

    training = make_training(loader=batches)
    with pytest.warns(UserWarning, match="could not restore these objects: data[.]"):
        result = verified(training).result
    assert sum(len(trial.losses) for trial in result.trials) + len(result) == 70
    assert not result.is_paired
    assert result.trials[-1].is_cut_short


def test_handlers_that_prepare_an_epoch_run_at_the_start_of_each_trial(
    make_training: Callable[..., Training],
) -> None:
    """A kept handler sees the first epoch again in each trial, as in the sweep."""
    training = make_training(loader=ShuffledInPlace)
    epochs, iterations = [], []
    training.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: epochs.append(engine.state.epoch)
    )
    training.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: iterations.append(engine.state.iteration)
    )
    result = verified(training).result
    lengths = [len(result), *(len(trial.losses) for trial in result.trials)]
    assert iterations == [i for length in lengths for i in range(1, length + 1)]
    assert epochs == [e for n in lengths for e in range(1, (n - 1) // 12 + 2)]


def test_accumulation_makes_a_step_of_a_trial_of_several_iterations(
    make_training: Callable[..., Training],
) -> None:
    """With gradients accumulated over two batches a trial of n steps takes 2n iterations."""
    training = make_training("sgd-momentum")
    step = training.trainer._process_function
    parameters = list(training.model.parameters())

    def accumulate(engine: Engine, batch: object) -> object:
        if engine.state.iteration % 2 == 0:
            return step(engine, batch)
        return 1.0

    training.trainer._process_function = accumulate
    result = verified(training).result
    assert all(len(trial.losses) == trial.num_iter for trial in result.trials[:3])
    assert len(parameters) > 0


def test_without_a_usable_sweep_there_are_no_trials(make_training: Callable[..., Training]) -> None:
    """A sweep that user code ended is not verified."""
    training = make_training()
    finder = FastaiLRFinder()
    with finder.attach(
        training.trainer, training.to_save, num_iter=30, start_lr=1e-5, verify=True
    ) as trainer:
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=9), trainer.terminate)
        with pytest.warns(UserWarning, match="User code ended the sweep after 9 of 30 points"):
            trainer.run(training.loader)
    assert finder.result.stop_reason is StopReason.TERMINATED
    assert finder.result.trials == ()


def test_a_loss_that_is_nan_from_the_start_is_not_verified(
    make_training: Callable[..., Training],
) -> None:
    """No trial can begin, and the result says why."""
    training = make_training()
    training.trainer._process_function = lambda engine, batch: (
        training.optimizer.step(),
        float("nan"),
    )[1]
    with pytest.warns(UserWarning, match="got NaN at point 1 of 30"):
        result = verified(training).result
    assert result.stop_reason is StopReason.NON_FINITE
    assert result.trials == ()


def test_if_every_trial_diverged_there_is_no_suggestion() -> None:
    """Trials that all diverged overrule the suggestion of the sweep, and a plot says so."""
    x = np.linspace(-6, 1, 100)
    sweep = result_of(10**x, u_shape(x, fall_at=-3.0, cliff_at=-0.5))
    broken = Trial(lr=1e-4, num_iter=10, losses=np.array([1.0, np.nan]))
    result = dataclasses.replace(sweep, trials=(broken,))
    assert "auto" in sweep.suggestions()
    with pytest.raises(NoSuggestionError, match="No trial was stable, of 1"):
        result.lr_suggestion()
    with pytest.warns(UserWarning, match="No suggestion is shown"):
        result.plot(ax=Figure().subplots())


def test_trials_are_saved_with_the_result(
    make_training: Callable[..., Training], tmp_path: pytest.TempPathFactory
) -> None:
    """A loaded result has the same trials and the same suggestion."""
    result = verified(make_training("sgd-momentum")).result
    path = f"{tmp_path}/result.json"
    result.save(path)
    loaded = LRFinderResult.load(path)
    for trial, again in zip(result.trials, loaded.trials, strict=True):
        assert (trial.lr, trial.num_iter, trial.is_diverged) == (
            again.lr,
            again.num_iter,
            again.is_diverged,
        )
        np.testing.assert_array_equal(trial.losses, again.losses)


@pytest.mark.parametrize("verify", [1, "yes", None], ids=repr)
def test_verify_is_true_false_or_settings(
    make_training: Callable[..., Training], verify: object
) -> None:
    """Other strings are a ValueError, other types a TypeError."""
    training = make_training()
    with (
        pytest.raises(
            ValueError if isinstance(verify, str) else TypeError,
            match=r"verify must be True, False, 'auto' or Trials\(\.\.\.\), got",
        ),
        FastaiLRFinder().attach(training.trainer, training.to_save, verify=verify),  # type: ignore[arg-type]  # what the test is about
    ):
        pass


def test_without_verify_attach_has_its_documented_order() -> None:
    """The parameters of `attach` have the documented order."""
    names = list(inspect.signature(FastaiLRFinder.attach).parameters)
    assert names[:10] == [
        *("self", "trainer", "to_save", "output_transform", "num_iter", "start_lr", "end_lr"),
        *("step_mode", "smooth_f", "diverge_th"),
    ]
    assert names[10:] == [
        *("keep_handlers", "mute_handlers", "val_loss", "verify", "schedule", "total_iters"),
        *("snapshot", "progress"),
    ]


@pytest.mark.parametrize(
    ("make_optimizer", "is_warned"),
    [
        pytest.param(lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.99), True, id="sgd-0.99"),
        pytest.param(lambda p: torch.optim.Adam(p, betas=(0.995, 0.999)), True, id="adam-0.995"),
        pytest.param(lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.95), False, id="sgd-0.95"),
        pytest.param(torch.optim.Adam, False, id="adam-0.9"),
    ],
)
@pytest.mark.parametrize(
    ("verify", "given"),
    [(Trials(max_iter=180), "trials of short_iter=60"), (False, "a sweep")],
    ids=["trials", "sweep"],
)
def test_trials_shorter_than_the_memory_of_the_optimizer_are_named(
    make_training: Callable[..., Training],
    make_optimizer: Callable[..., torch.optim.Optimizer],
    is_warned: bool,
    verify: bool | Trials,
    given: str,
) -> None:
    """A momentum of 0.99 reaches back 100 steps, further than trials of 60, or than a sweep."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        verified(make_training(make_optimizer), verify=verify)
    text = f"The optimizer averages gradients over .* steps, so {given} may show too late "
    assert any(re.match(text, str(w.message)) for w in caught) == is_warned
