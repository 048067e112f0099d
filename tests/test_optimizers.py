"""The finder on common optimizers and schedules: exact, and without a trace."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from conftest import Log, Training, data, seed_all
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import (
    CosineAnnealingScheduler,
    LRScheduler,
    PiecewiseLinear,
    create_lr_scheduler_with_warmup,
)
from probe import Probe
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader
from twins import MOMENTS, assert_no_trace, assert_same, train

from ignite_lrfinder import FastaiLRFinder, LRFinderResult, Trials

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
    pytest.mark.filterwarnings("ignore:The loss must be finite until it has fallen:UserWarning"),
]
TRIALS = Trials(max_iter=75, short_iter=10, long_iter=15)
with_and_without_trials = pytest.mark.parametrize(
    "verify", [False, TRIALS], ids=["sweep", "trials"]
)
Begun = TypeVar("Begun")
MakeTraining = Callable[..., Training]


@dataclasses.dataclass
class Logged(Training):
    """A training with a log of the rates its steps used, and more objects in `to_save`."""

    used: Log = dataclasses.field(default_factory=Log)
    others: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, training: Training, **others: object) -> "Logged":
        """Log the steps of a training."""
        fields = {f.name: getattr(training, f.name) for f in dataclasses.fields(Training)}
        return cls(**fields, used=log_of(training.optimizer), others=others)

    @property
    def to_save(self) -> dict:
        """The objects that a user passes to the finder."""
        return {**super().to_save, **self.others}


def rates_of(optimizer: Any) -> list[float]:
    """Return the learning rate of each parameter group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def log_of(optimizer: Optimizer) -> Log:
    """Return a log that grows by the learning rates of each step of an optimizer."""
    used = Log()
    optimizer.register_step_post_hook(lambda o, args, kwargs: used.append(rates_of(o)))
    return used


def begun(make: Callable[[], Begun], before: Callable[[Any], object]) -> Begun:
    """Make a seeded training, and run it up to some moment."""
    training = make()
    before(training)
    return training


def find(trainer: Engine, to_save: dict, batches: Iterable, **kwargs: Any) -> FastaiLRFinder:
    """Run the finder from a small learning rate to one at which trainings diverge."""
    finder = FastaiLRFinder()
    arguments = {"num_iter": 30, "start_lr": 1e-5, "end_lr": 10.0, "diverge_th": 100.0, **kwargs}
    before = torch.get_rng_state()
    with finder.attach(trainer, to_save, **arguments) as sweeping:
        sweeping.run(batches)
    assert torch.equal(torch.get_rng_state(), before)
    return finder


def find_in(training: Training, **kwargs: Any) -> LRFinderResult:
    """Run the finder on a training, and return the result."""
    result = find(training.trainer, training.to_save, training.loader, **kwargs).result
    assert bool(result.trials) == bool(kwargs.get("verify"))
    training.losses.clear()
    return result


def expected_rates(result: LRFinderResult) -> list[list[float]]:
    """Return the learning rates that steps of a sweep and its trials should have used."""
    rates = result.lr.tolist()
    ratios = result.lr[0] / result.lr[0][0]
    for trial in result.trials:
        rates += [(trial.lr * ratios).tolist()] * len(trial.losses)
    return rates


VARIANTS: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "adam-fused": lambda p: Adam(p, lr=torch.tensor(1e-3), fused=True),
    "adamw-fused-amsgrad": lambda p: AdamW(p, lr=torch.tensor(1e-3), amsgrad=True, fused=True),
    "sgd-fused": lambda p: SGD(p, lr=torch.tensor(1e-3), momentum=0.9, fused=True),
    "adagrad-fused": lambda p: Adagrad(p, lr=torch.tensor(1e-3), fused=True),
    "adam-foreach": lambda p: Adam(p, lr=1e-3, foreach=True),
    "adamw-foreach": lambda p: AdamW(p, lr=1e-3, foreach=True),
    "sgd-foreach": lambda p: SGD(p, lr=torch.tensor(1e-3), momentum=0.9, foreach=True),
    "lbfgs-line-search": lambda p: torch.optim.LBFGS(
        p, lr=1e-2, max_iter=4, line_search_fn="strong_wolfe"
    ),
}


@pytest.mark.product
@with_and_without_trials
@pytest.mark.parametrize("moment", ["after-an-epoch", "interrupted"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_kind_of_step_leaves_a_trace(
    make_training: MakeTraining, variant: str, moment: str, verify: bool | Trials
) -> None:
    """Fused and foreach steps and line searches use the recorded rates and leave no trace."""
    before, go_on = MOMENTS[moment]

    def make() -> Logged:
        return Logged.of(make_training(VARIANTS[variant]))

    without, training = begun(make, before), begun(make, before)
    lr = training.optimizer.param_groups[0]["lr"]
    rates = Log()
    training.optimizer.register_step_pre_hook(lambda o, a, k: rates.append(o.param_groups[0]["lr"]))
    training.used.clear()
    result = find_in(training, verify=verify)
    np.testing.assert_allclose(training.used, expected_rates(result), rtol=1e-7)
    assert training.used[: len(result)] == result.lr.tolist()
    if isinstance(lr, torch.Tensor):
        assert all(rate is lr for rate in [*rates, training.optimizer.param_groups[0]["lr"]])
    assert_no_trace(training, without, go_on)


@pytest.mark.parametrize(
    ("dtype", "how"),
    [
        (None, {"fused": True}),
        (None, {"foreach": True}),
        (None, {"foreach": False}),
        (torch.float64, {"fused": True}),
        (torch.float32, {"fused": True}),
        (torch.float32, {"foreach": False}),
    ],
    ids=str,
)
@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_each_implementation_of_adam_uses_the_recorded_lr(
    optimizer: Callable[..., Optimizer], dtype: torch.dtype | None, how: dict[str, bool]
) -> None:
    """Without momentum Adam's step equals its learning rate, which is the recorded one."""
    probe = Probe.make(
        1e-3, 5e-3, optimizer=optimizer, dtype=dtype, betas=(0.0, 0.0), eps=0.0, **how
    )
    probe.assert_exact(probe.sweep(num_iter=7), 7)


def test_each_step_of_a_line_search_is_a_point() -> None:
    """However often LBFGS evaluates its closure, a step is one point with one learning rate."""
    seed_all(0)
    net = nn.Linear(6, 3)
    optimizer = torch.optim.LBFGS(
        net.parameters(), lr=1e-3, max_iter=4, line_search_fn="strong_wolfe"
    )
    steps = Log()

    def train_step(engine: Engine, batch: list[torch.Tensor]) -> float:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(batch[0]), batch[1])
            loss.backward()
            steps[-1].append((optimizer.param_groups[0]["lr"], loss.item()))
            return loss

        steps.append([])
        return optimizer.step(closure).item()

    finder = find(Engine(train_step), {"optimizer": optimizer}, DataLoader(data(), 8), num_iter=20)
    assert len(steps) == len(finder.result) == 20
    assert max(len(step) for step in steps) > 4
    for step, lr, loss in zip(steps, finder.result.lr[:, 0], finder.result.losses, strict=True):
        assert {seen for seen, _ in step} == {lr}
        assert step[0][1] == loss


class Lookahead(Adam):
    """Adam that goes halfway back to slow weights at each third step; they are in no state dict."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(params, lr=lr)
        self.slow = [p.detach().clone() for p in self.param_groups[0]["params"]]
        self.num_steps = 0

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = super().step(closure)
        self.num_steps += 1
        if self.num_steps % 3 == 0:
            with torch.no_grad():
                for slow, fast in zip(self.slow, self.param_groups[0]["params"], strict=True):
                    fast.copy_(slow.lerp_(fast, 0.5))
        return loss


@with_and_without_trials
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch"])
def test_a_subclass_that_calls_its_parents_step_leaves_no_trace(
    make_training: MakeTraining, moment: str, verify: bool | Trials
) -> None:
    """Its step, which calls hooks twice, is one point, and its attributes are restored."""
    Adam([nn.Parameter(torch.zeros(1))])  # from its first instance on, its step calls hooks
    before, go_on = MOMENTS[moment]

    def make() -> Training:
        return make_training(lambda p: Lookahead(p, 1e-3))

    without, training = begun(make, before), begun(make, before)
    numbers = Log()

    def count(optimizer: Any, *arguments: object) -> None:
        numbers.append(optimizer.num_steps)

    training.optimizer.register_step_pre_hook(count)
    rates = log_of(training.optimizer)
    first = 12 if moment == "after-an-epoch" else 0
    result = find_in(training, verify=verify)
    num_sweep = len(result)
    assert numbers[: 2 * num_sweep] == np.repeat(range(first, first + num_sweep), 2).tolist()
    np.testing.assert_allclose(rates, np.repeat(expected_rates(result), 2, axis=0), rtol=1e-12)

    def own_state(training: Training) -> list[object]:
        optimizer = training.optimizer
        assert isinstance(optimizer, Lookahead)
        return [optimizer.slow, optimizer.num_steps]

    assert_same(own_state(training), own_state(without))
    assert_no_trace(training, without, go_on)
    assert_same(own_state(training), own_state(without))


class ScheduleFree(Optimizer):
    """SGD without a schedule: training at y, between the average x and the sequence z.

    References:
        Defazio et al., "The Road Less Scheduled", arXiv 2405.15682.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, beta: float = 0.9) -> None:
        super().__init__(
            params, {"lr": lr, "beta": beta, "train_mode": False, "k": 0, "weight_sum": 0.0}
        )

    @torch.no_grad()
    def _swap(self, weight: Callable[[float], float], train_mode: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] != train_mode:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], weight(group["beta"]))
                group["train_mode"] = train_mode

    def train(self) -> None:
        self._swap(lambda beta: 1 - beta, True)

    def eval(self) -> None:
        self._swap(lambda beta: 1 - 1 / beta, False)

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        if not self.param_groups[0]["train_mode"]:
            raise RuntimeError("The optimizer was not in train mode when step was called.")
        loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                group["k"] += 1
                group["weight_sum"] += group["lr"] ** 2
                c = group["lr"] ** 2 / group["weight_sum"]
                for p in group["params"]:
                    z = self.state[p].setdefault("z", p.clone())
                    p.lerp_(z, c)
                    p.add_(p.grad, alpha=group["lr"] * (group["beta"] * (1 - c) - 1))
                    z.sub_(p.grad, alpha=group["lr"])
        return loss


@with_and_without_trials
@pytest.mark.parametrize("who", ["handlers", "script"])
@pytest.mark.parametrize("moment", ["fresh", "interrupted"])
def test_a_schedule_free_optimizer_keeps_its_mode(
    make_training: MakeTraining, moment: str, who: str, verify: bool | Trials
) -> None:
    """Whether handlers or the script switch between train and eval mode, the mode is restored."""

    def make() -> Logged:
        training = Logged.of(make_training(lambda p: ScheduleFree(p, 1e-2)))
        optimizer = training.optimizer
        assert isinstance(optimizer, ScheduleFree)
        if who == "handlers":
            training.trainer.add_event_handler(Events.EPOCH_STARTED, optimizer.train)
            training.trainer.add_event_handler(Events.EPOCH_COMPLETED, optimizer.eval)
        else:
            optimizer.train()
        return training

    before, go_on = MOMENTS[moment]
    without, training = begun(make, before), begun(make, before)
    mode = training.optimizer.param_groups[0]["train_mode"]
    training.used.clear()
    result = find_in(training, verify=verify)
    assert training.used == expected_rates(result)
    assert training.optimizer.param_groups[0]["train_mode"] is mode
    assert mode is (who == "script" or moment == "interrupted")
    assert_no_trace(training, without, go_on)


class PlainSGD:
    """SGD with momentum, from scratch."""

    def __init__(self, tensors: list[torch.Tensor], lr: float, on_step: Callable) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": tensors, "lr": lr}]
        self.velocity = [torch.zeros_like(tensor) for tensor in tensors]
        self.on_step = on_step

    def step(self) -> None:
        (group,) = self.param_groups
        self.on_step([group["lr"]])
        with torch.no_grad():
            for tensor, velocity in zip(group["params"], self.velocity, strict=True):
                velocity.mul_(0.9).add_(tensor.grad)
                tensor -= group["lr"] * velocity

    def state_dict(self) -> dict:
        return {"lr": self.param_groups[0]["lr"], "velocity": [v.clone() for v in self.velocity]}

    def load_state_dict(self, state: dict) -> None:
        self.param_groups[0]["lr"] = state["lr"]
        for velocity, saved in zip(self.velocity, state["velocity"], strict=True):
            velocity.copy_(saved)


class FromScratch:
    """A network of bare tensors, its optimizer, and a trainer; no module, no hooks."""

    def __init__(self, lr: float = 1e-4) -> None:
        seed_all(0)
        shapes = [(6, 16), (16,), (16, 3), (3,)]
        self.tensors = [(0.4 * torch.randn(s)).requires_grad_() for s in shapes]
        self.used, self.losses = Log(), Log()
        self.optimizer = PlainSGD(self.tensors, lr, self.used.append)
        self.trainer = Engine(self.train_step)
        self.loader = DataLoader(data(), 8, shuffle=True)

    def train_step(self, engine: Engine, batch: list[torch.Tensor]) -> float:
        """Train on a batch."""
        w1, b1, w2, b2 = self.tensors
        for tensor in self.tensors:
            tensor.grad = None
        scores = torch.tanh(batch[0] @ w1 + b1) @ w2 + b2
        loss = nn.functional.cross_entropy(scores, batch[1])
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        return self.losses[-1]

    def train(self, num_epochs: int) -> list[float]:
        """Train on, and return the losses of all batches."""
        self.losses.clear()
        self.trainer.run(self.loader, max_epochs=self.trainer.state.epoch + num_epochs)
        return list(self.losses)

    def find(self, **kwargs: Any) -> FastaiLRFinder:
        """Run the finder."""
        finder = find(self.trainer, {"optimizer": self.optimizer}, self.loader, **kwargs)
        assert bool(finder.result.trials) == bool(kwargs.get("verify"))
        return finder

    def state(self) -> list[object]:
        """Return the whole state."""
        gradients = [tensor.grad for tensor in self.tensors]
        return [self.tensors, gradients, self.optimizer.state_dict(), torch.get_rng_state()]


@with_and_without_trials
@pytest.mark.parametrize("num_epochs", [0, 1], ids=["fresh", "after-an-epoch"])
def test_a_custom_optimizer_over_bare_tensors_leaves_no_trace(
    num_epochs: int, verify: bool | Trials
) -> None:
    """Bare tensors under a custom optimizer are swept exactly and restored."""
    without = FromScratch()
    without.train(num_epochs)
    before = without.state()
    expected = without.train(2)
    training = FromScratch()
    training.train(num_epochs)
    objects = [id(tensor) for tensor in [*training.tensors, *training.optimizer.velocity]]
    training.used.clear()
    result = training.find(verify=verify).result
    assert training.used == expected_rates(result)
    assert len(result) == 30
    assert [id(t) for t in [*training.tensors, *training.optimizer.velocity]] == objects
    assert_same(training.state()[2:], before[2:])
    assert training.train(2) == expected
    assert_same(training.state(), without.state())


def test_the_suggestion_trains_with_a_custom_optimizer() -> None:
    """Applied to a custom optimizer, it trains better than both ends of the sweep."""
    training = FromScratch()
    finder = training.find(num_iter=100)
    finder.apply_suggested_lr(training.optimizer)
    lr = training.optimizer.param_groups[0]["lr"]
    assert lr == finder.lr_suggestion()
    training.used.clear()
    loss = np.mean(training.train(4)[-12:])
    assert training.used == [[lr]] * 48
    for other in (1e-5, lr / 100, 10.0):
        assert loss < 0.8 * np.mean(FromScratch(other).train(4)[-12:])


def unfrozen_between_runs(make_training: MakeTraining) -> Logged:
    """Train the head for an epoch, then the body too, as a second group; BatchNorm stays frozen."""

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        body, bias, norm, norm_bias, *head = parameters
        for parameter in (body, bias, norm, norm_bias):
            parameter.requires_grad_(False)
        return SGD([norm, norm_bias, *head], lr=1e-2, momentum=0.9)

    training = make_training(make)
    training.trainer.run(training.loader)
    body = list(training.model.parameters())[:2]
    for parameter in body:
        parameter.requires_grad_()
    training.optimizer.add_param_group({"params": body, "lr": 1e-3})
    return Logged.of(training)


@with_and_without_trials
@pytest.mark.parametrize(
    ("kwargs", "first", "last"),
    [
        ({"start_lr": 1e-5, "end_lr": 1.0}, [1e-5, 1e-6], [1.0, 0.1]),
        ({"start_lr": None, "end_lr": 1.0}, [1e-2, 1e-3], [1.0, 0.1]),
        ({"start_lr": [1e-5, 2e-5], "end_lr": [0.5, 1.0]}, [1e-5, 2e-5], [0.5, 1.0]),
        ({"start_lr": [1e-5, 1e-6], "end_lr": [0.5, 2.0]}, [1e-5, 1e-6], [0.5, 2.0]),
    ],
    ids=["in-ratio", "own-start", "lists", "apart"],
)
def test_a_group_that_was_added_between_two_runs_is_swept(
    make_training: MakeTraining,
    kwargs: dict,
    first: list[float],
    last: list[float],
    verify: bool | Trials,
) -> None:
    """A body unfrozen after an epoch is swept beside the head; frozen layers do not change."""
    without, training = (unfrozen_between_runs(make_training) for _ in range(2))
    frozen = list(training.model.parameters())[2:4]
    values = [parameter.detach().clone() for parameter in frozen]
    untouched = Log()
    training.optimizer.register_step_post_hook(
        lambda *args: untouched.append(
            all(torch.equal(p, v) and p.grad is None for p, v in zip(frozen, values, strict=True))
        )
    )
    result = find_in(training, verify=verify, **kwargs)
    assert training.used[: len(result)] == result.lr.tolist()
    table = np.geomspace(first, last, 30)[: len(result)]
    np.testing.assert_allclose(result.lr, table, rtol=1e-12)
    assert len(result) == 30
    assert all(untouched)
    assert not any(parameter.requires_grad for parameter in frozen)
    assert_no_trace(training, without, train)


class SAM(Optimizer):
    """Sharpness-aware minimisation in two halves, neither of which is called `step`."""

    def __init__(self, params: Iterable[nn.Parameter], **kwargs: Any) -> None:
        super().__init__(params, kwargs)
        self.base_optimizer = SGD(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_half(self) -> None:
        """Climb to a nearby point with a high loss."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["start"] = p.clone()
                p.add_(p.grad, alpha=0.05)
        self.zero_grad()

    @torch.no_grad()
    def second_half(self) -> None:
        """Go back, and step with the gradient of that point."""
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["start"])
        self.base_optimizer.step()
        self.zero_grad()


@with_and_without_trials
def test_steps_of_a_wrapped_optimizer_are_points(
    verify: bool | Trials,
) -> None:
    """If an optimizer wraps another, the steps of the wrapped optimizer are the points."""

    def make() -> tuple[Engine, SAM, nn.Module, Log]:
        seed_all(0)
        net = nn.Linear(6, 1)
        optimizer = SAM(net.parameters(), lr=1e-3, momentum=0.9)
        losses = Log()

        def step(engine: Engine, batch: list[torch.Tensor]) -> float:
            for half in (optimizer.first_half, optimizer.second_half):
                loss = (net(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()
                loss.backward()
                half()
            losses.append(loss.item())
            return losses[-1]

        return Engine(step), optimizer, net, losses

    courses = []
    for is_swept in (True, False):
        trainer, optimizer, net, losses = make()
        loader = DataLoader(data(), 8, shuffle=True)
        if is_swept:
            used = log_of(optimizer.base_optimizer)
            result = find(trainer, {"optimizer": optimizer}, loader, verify=verify).result
            assert used == expected_rates(result)
            assert len(result) > 10
        losses.clear()
        seed_all(7)
        trainer.run(loader, max_epochs=2)
        courses.append((losses, net.state_dict(), optimizer.state_dict()))
    assert_same(*courses)


class GAN:
    """Two networks trained in turn by one train step, each with a separate optimizer."""

    def __init__(self) -> None:
        seed_all(0)
        self.nets = {
            "generator": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6)),
            "discriminator": nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(), nn.Linear(8, 1)),
        }
        self.optimizers = {
            "generator": Adam(self.nets["generator"].parameters(), lr=1e-3, betas=(0.5, 0.9)),
            "discriminator": Adam(self.nets["discriminator"].parameters(), lr=4e-3),
        }
        self.used = {name: log_of(optimizer) for name, optimizer in self.optimizers.items()}
        self.outputs = Log()
        self.trainer = Engine(self.train_step)
        self.loader = DataLoader(data(), 8, shuffle=True)

    def train_step(self, engine: Engine, batch: list[torch.Tensor]) -> dict[str, float]:
        """Train the discriminator, then the generator."""
        judge = self.nets["discriminator"]
        made = self.nets["generator"](torch.randn(8, 4))
        softplus = nn.functional.softplus
        self.optimizers["discriminator"].zero_grad()
        loss_d = softplus(-judge(batch[0])).mean() + softplus(judge(made.detach())).mean()
        loss_d.backward()
        self.optimizers["discriminator"].step()
        self.optimizers["generator"].zero_grad()
        loss_g = softplus(-judge(made)).mean()
        loss_g.backward()
        self.optimizers["generator"].step()
        self.outputs.append({"generator": loss_g.item(), "discriminator": loss_d.item()})
        return self.outputs[-1]

    def state(self) -> list[object]:
        """Return the whole state."""
        parts = (self.nets, self.optimizers)
        states = [{name: part.state_dict() for name, part in group.items()} for group in parts]
        gradients = [p.grad for net in self.nets.values() for p in net.parameters()]
        return [*states, gradients, list(self.outputs), torch.get_rng_state()]


@pytest.mark.product
@with_and_without_trials
@pytest.mark.parametrize("num_epochs", [0, 1], ids=["fresh", "after-an-epoch"])
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "not-named"])
@pytest.mark.parametrize(
    ("swept", "other"), [("generator", "discriminator"), ("discriminator", "generator")]
)
def test_of_two_optimizers_one_is_swept_and_both_are_restored(
    swept: str, other: str, is_named: bool, num_epochs: int, verify: bool | Trials
) -> None:
    """In a GAN the other optimizer keeps its rate, and both networks leave no trace.

    The same holds if `to_save` has only the swept optimizer: the train step refers to the rest.
    """

    def before(gan: GAN) -> None:
        if num_epochs:
            gan.trainer.run(gan.loader, max_epochs=num_epochs)

    without, gan = begun(GAN, before), begun(GAN, before)
    for one in (without, gan):
        one.outputs.clear()
        for used in one.used.values():
            used.clear()
    to_save = {"optimizer": gan.optimizers[swept]}
    if is_named:
        to_save |= {"other": gan.optimizers[other], **gan.nets}
    own_rate = without.optimizers[other].param_groups[0]["lr"]
    result = find(
        gan.trainer,
        to_save,
        gan.loader,
        output_transform=lambda output: output[swept],
        verify=verify,
    ).result
    assert bool(result.trials) == bool(verify)
    assert gan.used[swept] == expected_rates(result)
    assert gan.used[other] == [[own_rate]] * len(gan.used[swept])
    losses = [output[swept] for output in gan.outputs[: len(result)]]
    assert result.losses.tolist() == losses
    gan.outputs.clear()
    states = []
    for one in (gan, without):
        seed_all(7)
        at_once = one.state()
        one.trainer.run(one.loader, max_epochs=one.trainer.state.epoch + 2)
        states.append([at_once, one.state()])
    assert len(gan.outputs) == 24
    assert_same(*states)


def test_a_class_method_as_train_step_reaches_its_class() -> None:
    """If the train step is a class method, objects in its class are restored."""

    class Trained:
        nets = (nn.Linear(4, 1), nn.Linear(4, 1))
        swept = torch.optim.SGD(nets[0].parameters(), lr=0.1)
        other = Adam(nets[1].parameters(), lr=0.01)

        @classmethod
        def train_step(cls, engine: Engine, batch: torch.Tensor) -> float:
            loss = sum((net(batch).pow(2).mean() for net in cls.nets), torch.zeros(()))
            loss.backward()
            cls.swept.step()
            cls.other.step()
            return loss.item()

    before = [p.detach().clone() for net in Trained.nets for p in net.parameters()]
    batches = [torch.randn(8, 4) for _ in range(12)]
    find(Engine(Trained.train_step), {"optimizer": Trained.swept}, batches, num_iter=12)
    assert_same([p.detach() for net in Trained.nets for p in net.parameters()], before)
    assert not Trained.other.state


@with_and_without_trials
@pytest.mark.parametrize("moment", ["after-an-epoch", "interrupted"])
def test_accumulated_gradients_are_restored(
    make_training: MakeTraining, moment: str, verify: bool | Trials
) -> None:
    """Halfway through Ignite's accumulation, the next step is the same as without a sweep."""

    def make() -> Training:
        training = make_training("adam")

        def loss_fn(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = nn.functional.cross_entropy(scores, labels)
            training.losses.append(loss.item())
            return loss

        training.trainer = create_supervised_trainer(
            training.model, training.optimizer, loss_fn, gradient_accumulation_steps=5
        )
        return training

    before, go_on = MOMENTS[moment]
    without, training = begun(make, before), begun(make, before)
    assert training.trainer.state.iteration % 5 == 2
    find_in(training, verify=verify, num_iter=12)
    assert_no_trace(training, without, go_on)


@with_and_without_trials
@pytest.mark.parametrize("moment", ["fresh", "after-an-epoch"])
def test_mixed_precision_with_skipped_steps_leaves_no_trace(
    make_training: MakeTraining, moment: str, verify: bool | Trials
) -> None:
    """Under bfloat16 and a scaler that skips steps, points are steps and the scale is restored."""
    losses_of_steps = Log()

    def make() -> Logged:
        training = make_training("sgd-momentum")
        net, optimizer, losses = training.model, training.optimizer, training.losses
        # So large that gradients overflow now and again, as the scale grows every third step.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)

        def train_step(engine: Engine, batch: list[torch.Tensor]) -> float:
            net.train()
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = net(batch[0])
                assert scores.dtype is torch.bfloat16
                loss = nn.functional.cross_entropy(scores.float(), batch[1], reduction="sum")
            scaler.scale(loss).backward()
            num_steps = len(logged.used)
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            if len(logged.used) > num_steps:
                losses_of_steps.append(losses[-1])
            return losses[-1]

        logged = Logged.of(training, scaler=scaler)
        logged.trainer = Engine(train_step)
        return logged

    before, go_on = MOMENTS[moment]
    without, training = begun(make, before), begun(make, before)
    training.used.clear()
    losses_of_steps.clear()
    num_iterations = Log()
    with training.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda: num_iterations.append(1)
    ):
        result = find_in(training, verify=verify, start_lr=1e-7, end_lr=0.1)
    assert len(num_iterations) > len(training.used) + 3
    assert result.losses.tolist() == losses_of_steps[:30]
    assert training.used == expected_rates(result)
    assert_same(training.others["scaler"].state_dict(), without.others["scaler"].state_dict())
    assert_no_trace(training, without, go_on)
    assert_same(training.others["scaler"].state_dict(), without.others["scaler"].state_dict())


def piecewise(optimizer: Optimizer, lr: float) -> Callable[..., None]:
    """Make Ignite's schedule of straight lines: up, level, and down."""
    milestones: list[tuple[int, float]] = [(0, 0.0), (6, lr), (12, lr), (24, 0.0)]
    return PiecewiseLinear(optimizer, "lr", milestones)


def warm_cosine(optimizer: Optimizer, lr: float) -> Callable[..., None]:
    """Make Ignite's cosine after a warm-up."""
    cosine = CosineAnnealingScheduler(optimizer, "lr", lr, 0.0, cycle_size=18)
    return create_lr_scheduler_with_warmup(cosine, 0.0, warmup_duration=7, warmup_end_value=lr)


def warm_torch_cosine(optimizer: Optimizer, lr: float) -> Callable[..., None]:
    """Make torch's cosine after a warm-up of Ignite's."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    cosine = schedulers.CosineAnnealingLR(optimizer, 18)
    return create_lr_scheduler_with_warmup(cosine, 0.0, warmup_duration=7, warmup_end_value=lr)


def torch_one_cycle(optimizer: Optimizer, lr: float) -> Callable[..., None]:
    """Make torch's one-cycle policy in Ignite's wrapper."""
    return LRScheduler(schedulers.OneCycleLR(optimizer, lr, total_steps=60))


def warm_share(k: int) -> float:
    """Return the part of the peak at step k: a straight warm-up, whose last step is the peak."""
    return k / 6 if k <= 6 else (1 + math.cos(math.pi * (k - 6) / 18)) / 2


SCHEDULES: dict[str, tuple[Callable[..., Callable[..., None]], Callable[[int], float]]] = {
    "piecewise": (piecewise, lambda k: min(k / 6, 1.0, max(24 - k, 0) / 12)),
    "warm-cosine": (warm_cosine, warm_share),
    "warm-torch-cosine": (warm_torch_cosine, warm_share),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_suggestion_is_the_peak_of_an_ignite_schedule(
    make_training: MakeTraining, name: str
) -> None:
    """A schedule created with the suggestion gives each step the rate of its formula."""
    make_schedule, share = SCHEDULES[name]
    training = Logged.of(make_training("sgd-momentum"))
    finder = find(training.trainer, training.to_save, training.loader, num_iter=60)
    lr = finder.lr_suggestion(schedule="decay")
    assert isinstance(lr, float)
    finder.apply_suggested_lr(training.optimizer, schedule="decay")
    assert training.optimizer.param_groups[0]["lr"] == lr
    schedule = make_schedule(training.optimizer, lr)
    training.trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
    training.used.clear()
    training.trainer.run(training.loader, max_epochs=2)
    expected = [[lr * share(k)] for k in range(24)]
    np.testing.assert_allclose(training.used, expected, rtol=1e-9, atol=1e-15)
    assert max(training.used) == [lr]


@pytest.mark.product
@pytest.mark.filterwarnings("ignore:The learning rate must be left to the finder:UserWarning")
@with_and_without_trials
@pytest.mark.parametrize(
    ("moment", "keep_handlers"), [("fresh", "auto"), ("fresh", "all"), ("after-an-epoch", "all")]
)
@pytest.mark.parametrize(
    "make_schedule", [piecewise, warm_cosine, warm_torch_cosine, torch_one_cycle]
)
def test_a_schedule_attached_to_the_trainer_is_restored(
    make_training: MakeTraining,
    make_schedule: Callable,
    moment: str,
    keep_handlers: str,
    verify: bool | Trials,
) -> None:
    """An attached warm-up begins after the block with its own first rate."""

    def make() -> Logged:
        training = Logged.of(make_training("sgd-momentum"))
        schedule = make_schedule(training.optimizer, 1e-2)
        training.trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
        return training

    before, go_on = MOMENTS[moment]
    without, training = begun(make, before), begun(make, before)
    without.used.clear()
    training.used.clear()
    result = find_in(training, verify=verify, keep_handlers=keep_handlers)
    np.testing.assert_allclose(training.used, expected_rates(result), rtol=1e-12)
    training.used.clear()
    assert_no_trace(training, without, go_on)
    assert training.used == without.used
    assert len({rate for (rate,) in training.used}) > 10


@pytest.mark.parametrize("num_groups", [1, 2], ids=["one-group", "two-groups"])
@pytest.mark.parametrize("policy", ["cyclic", "one-cycle"])
def test_bounds_fit_torchs_cyclical_policies(
    make_training: MakeTraining, policy: str, num_groups: int
) -> None:
    """The policies accept what `lr_bounds` returns, and reach both bounds."""

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        if num_groups == 1:
            return SGD(parameters, lr=1e-3, momentum=0.9)
        *body, weight, bias = parameters
        groups = [{"params": body, "lr": 1e-4}, {"params": [weight, bias]}]
        return SGD(groups, lr=1e-3, momentum=0.9)

    training = Logged.of(make_training(make))
    finder = find(training.trainer, training.to_save, training.loader, num_iter=100)
    low, high = finder.lr_bounds()
    optimizer: Optimizer = training.optimizer
    if policy == "cyclic":
        scheduler = schedulers.CyclicLR(optimizer, low, high, step_size_up=4)
    else:
        scheduler = schedulers.OneCycleLR(optimizer, high, total_steps=24)
    training.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
    training.used.clear()
    training.trainer.run(training.loader, max_epochs=1)
    used = np.array(training.used)
    lows, highs = (np.atleast_1d(bound) for bound in (low, high))
    if policy == "cyclic":
        share = 1 - abs(np.arange(12)[:, None] % 8 - 4) / 4
        np.testing.assert_allclose(used, lows + (highs - lows) * share, rtol=1e-9)
    else:
        np.testing.assert_allclose(used[0], highs / 25, rtol=1e-9)
        np.testing.assert_allclose(used.max(0), highs, rtol=1e-2)
    assert used.shape == (12, num_groups)


POLICIES: dict[str, Callable[[Optimizer, float], schedulers.LRScheduler]] = {
    "one-cycle": lambda o, lr: schedulers.OneCycleLR(o, lr, total_steps=40),
    "cyclic": lambda o, lr: schedulers.CyclicLR(o, lr / 10, lr, step_size_up=5),
    "warm-up-then-cosine": lambda o, lr: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.1, total_iters=4), schedulers.CosineAnnealingLR(o, 30)],
        milestones=[4],
    ),
}


@pytest.mark.parametrize("num_epochs", [0, 1], ids=["fresh", "midway"])
@pytest.mark.parametrize("policy", POLICIES)
def test_an_existing_cyclical_policy_adopts_the_suggestion(
    make_training: MakeTraining, policy: str, num_epochs: int
) -> None:
    """After `apply_suggested_lr` it continues as if created with the suggestion, momentum too."""

    def make(lr: float) -> tuple[Logged, Log]:
        plain = make_training(lambda p: SGD(p, lr=lr, momentum=0.9))
        scheduler = POLICIES[policy](plain.optimizer, lr)
        training = Logged.of(plain, scheduler=scheduler)
        training.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
        used = Log()
        training.optimizer.register_step_post_hook(
            lambda o, a, k: used.append((o.param_groups[0]["lr"], o.param_groups[0]["momentum"]))
        )
        if num_epochs:
            training.trainer.run(training.loader, max_epochs=num_epochs)
        return training, used

    training, used = make(1e-3)
    finder = find(training.trainer, training.to_save, training.loader, num_iter=100)
    finder.apply_suggested_lr(training.optimizer, training.others["scheduler"])
    lr = finder.lr_suggestion()
    assert isinstance(lr, float)
    anew, expected = make(lr)
    for one, log in ((training, used), (anew, expected)):
        log.clear()
        train(one)
    assert len(used) == 24
    np.testing.assert_allclose(used, expected, rtol=1e-9)


class WithoutParams(Optimizer):
    """A torch optimizer whose parameter is not in its group."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter = parameter
        self.param_groups = [{"lr": 0.1}]
        self.state = collections.defaultdict(dict)

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            self.parameter -= self.param_groups[0]["lr"] * self.parameter.grad


def test_a_group_without_parameters_is_swept() -> None:
    """A group needs only a learning rate."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = WithoutParams(parameter)

    def train_step(engine: Engine, batch: object) -> float:
        parameter.grad = None
        loss = parameter.square().sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    finder = FastaiLRFinder()
    with finder.attach(Engine(train_step), {"optimizer": optimizer}, num_iter=5) as trainer:
        trainer.run([0] * 5)
    assert len(finder.result) == 5
    assert parameter.tolist() == [1, 1]
