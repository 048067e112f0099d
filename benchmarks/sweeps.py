"""Sweep random trainings, and compare bit for bit what two versions of the package make of them.

    python -m benchmarks.sweeps --count 1000 --output before.jsonl  # in one checkout
    python -m benchmarks.sweeps --count 1000 --output after.jsonl   # in the other
    python -m benchmarks.sweeps --compare before.jsonl after.jsonl

Each line of a file is one sweep, which its seed alone decides; floats are written in hex. Only what
is public is used, and no other benchmark, so that `PYTHONSAFEPATH=1 PYTHONPATH=CHECKOUT python
benchmarks/sweeps.py` sweeps with the package of any checkout. Other machines and other versions of
torch round differently.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import itertools
import json
import logging
import math
import operator
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import CosineAnnealingScheduler
from ignite.metrics import Loss, RunningAverage
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

import ignite_lrfinder
from ignite_lrfinder import FastaiLRFinder, LRFinderAtEpochs, LRFinderResult, Trials

Batch = tuple[Tensor, Tensor]

METHODS = ("auto", "steepest", "valley", "minimum", "slide")

# Of a result only these are compared, so that a version may add others.
_FIELDS = ("stop_reason", "settings", "lr", "losses", "smoothed_losses", "trials")
_SETTINGS = ("start_lr", "end_lr", "num_iter", "step_mode", "smooth_f", "diverge_th")
_NUM_SHOWN = 5
# The least and the most points of a sweep, each pair as often.
_LENGTHS = ((1, 12), (13, 40), (20, 60), (30, 70), (60, 150))
# The words that a sweep is drawn from, and how many times as often as others each is.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "optimizer": "sgd*8 adam*5 fused lbfgs own hidden",
        "groups": "1*4 2*2 3",
        "lr": "float*6 tensor*2 shared",
        "closure": "no*9 yes",
        "accumulated": "1*8 2 3",
        "scaler": "none*6 torch own",
        "step in": "train_step*30 kept_handler*2 handler",
        "loss": "falling*14 negative*4 flat noise tiny",
        "output": "number*9 tensor*5 device*4 mapping*2 pair*2 vector half numpy none several",
        "fault": "no*28 nan*2 inf error*3 ctrl_c terminate*2 terminate_epoch interrupt",
        "fault in": "old_handler new_handler",
        "error caught": "outside inside handler",
        "lr written in": "nothing*12 handler ignite train_step val_loss torch torch_saved",
        "data": "list*4 loader*6 seeded*2 iterator generator running tape cycle nothing",
        "run": "once*6 max_epochs*2 max_iters epoch_length*2",
        "runs": "1*40 2",
        "before": "nothing*6 epoch*2 interrupted",
        "how": "attach*24 at_epochs",
        "to_save": "all*6 optimizer",
        "num_iter": "given*9 default",
        "start_lr": "own*4 number*4 list*2 zero*2",
        "end_lr": "default*2 number*7 list*3",
        "frozen": "no*6 yes",
        "step_mode": "exp*4 linear",
        "smooth_f": "default*8 zero*2 random*4 high",
        "diverge_th": "default*8 one inf random*4",
        "keep_handlers": "auto*8 all*2 none*2 named*2",
        "val_loss": "none*10 function evaluator",
        "verify": "no*40 small*10 yes",
        "snapshot": "cpu*8 device*2 disk",
        "progress": "no*15 yes",
        "mistake": "none*300 num_iter start_lr end_lr step_mode smooth_f diverge_th keep_handlers"
        " val_loss verify to_save",
    }
)
_MISTAKES: Mapping[str, object] = MappingProxyType(
    {"num_iter": 0, "start_lr": 1e9, "end_lr": None, "step_mode": "log", "smooth_f": 1.0}
    | {"diverge_th": 0.5, "keep_handlers": [print], "val_loss": 0.1, "verify": 1, "to_save": {}}
)
_OPTIMIZERS: Mapping[str, Callable[[list[dict[str, Any]]], Any]] = MappingProxyType(
    {
        "sgd": functools.partial(torch.optim.SGD, momentum=0.9),
        "adam": torch.optim.Adam,
        "fused": functools.partial(torch.optim.Adam, fused=True),
        "lbfgs": functools.partial(torch.optim.LBFGS, max_iter=2),
        "own": lambda groups: Own(groups),
        "hidden": lambda groups: Hidden(groups),
    }
)
_SHAPES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "falling": lambda loss: loss,
        "negative": lambda loss: loss - 5,
        "flat": lambda loss: 0 * loss + 0.7,
        "noise": lambda loss: 1e-3 * loss + torch.rand(()),
        "tiny": lambda loss: 1e-20 * loss,
    }
)
_OUTPUTS: Mapping[str, Callable[[Tensor], object]] = MappingProxyType(
    {
        "number": lambda loss: loss.item(),
        "tensor": lambda loss: loss,
        "device": lambda loss: loss.detach().as_subclass(Elsewhere),
        "mapping": lambda loss: {"size": 8, "loss": loss},
        "pair": lambda loss: (loss, "for an output_transform"),
        "vector": lambda loss: loss.reshape(1),
        "half": lambda loss: loss.bfloat16(),
        "numpy": lambda loss: loss.detach().numpy(),
        "none": lambda loss: None,
        "several": lambda loss: loss.expand(2),
    }
)


class Fault(Exception):  # it is no error of anything
    """What a train step raises on purpose."""


class Elsewhere(Tensor):
    """A tensor that claims to be on a device, so that it is read late."""

    is_cpu = False


class Hidden:
    """An optimizer of a user's own whose steps cannot be seen."""

    __slots__ = ("param_groups",)

    def __init__(self, param_groups: list[dict[str, Any]]) -> None:
        self.param_groups = param_groups

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Go down the gradient."""
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter -= group["lr"] * parameter.grad
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the learning rates."""
        return {"lr": [group["lr"] for group in self.param_groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take learning rates on."""
        for group, lr in zip(self.param_groups, state["lr"], strict=True):
            group["lr"] = lr


class Own(Hidden):
    """An optimizer of a user's own whose `step` can be replaced: it has a `__dict__`."""


class Skipping(torch.amp.GradScaler):
    """A gradient scaler that skips every third step."""

    count = 0

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> float | None:
        """Take the optimizer's step, or skip it."""
        self.count += 1
        return super().step(optimizer, *args, **kwargs) if self.count % 3 else None


class Tape(Iterator[Batch]):
    """An iterator of a user's own that starts again after its end."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._rest = iter(batches)

    def __next__(self) -> Batch:
        """Return the next batch."""
        for batch in self._rest:
            return batch
        self._rest = iter(self._batches)
        raise StopIteration


class Training:
    """A tiny training and a sweep of it, both drawn at random.

    Args:
        seed: decides all about both.

    Attributes:
        drawn: the words that were drawn, by what they are about.
        optimizer: what is swept.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        _seed_all(seed)
        self.drawn = _draw(self._random)
        self._is_sweeping, self._num_calls = False, 0
        self._num_iter = self._random.randint(*self._random.choice(_LENGTHS))
        self._accumulated = int(self.drawn["accumulated"])
        self._fault_at = self._random.randint(1, max(2, self._num_iter * self._accumulated))
        self._written_each = self._random.choice([1, 1, 7, 30])
        self._model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
        self.optimizer = self._make_optimizer()
        # The scale grows to where gradients of about one are infinite, again and again.
        self._scaler = {
            "torch": torch.amp.GradScaler("cpu", init_scale=2.0**126, growth_interval=4),
            "own": Skipping("cpu", enabled=False),
        }.get(self.drawn["scaler"])
        has_scheduler = self.drawn["lr written in"].startswith("torch")
        self._scheduler = StepLR(self.optimizer, 3, 0.9) if has_scheduler else None
        self._data = self._make_data()
        self._evaluator = create_supervised_evaluator(self._model, {"loss": Loss(mse_loss)})
        self._trainer = Engine(self._step)
        self._added: list[tuple[Events, Callable[..., object]]] = []
        self._add_handlers()
        self._arguments = self._make_arguments()

    def prepare(self) -> None:
        """Train a little before the sweep, if that was drawn."""
        if self.drawn["before"] == "interrupted":
            second = Events.ITERATION_COMPLETED(once=2)
            self._trainer.add_event_handler(second, lambda engine: engine.interrupt())
        if self.drawn["before"] != "nothing":
            self.train()

    def train(self) -> None:
        """Train for an epoch, or to the end of one that was interrupted."""
        is_lasting = self.drawn["data"] in ("list", "loader", "seeded")
        self._trainer.run(self._data if is_lasting else self._batches)

    def sweep(self, finder: FastaiLRFinder) -> Mapping[int, LRFinderResult] | None:
        """Sweep as was drawn; return the results of those at epochs."""
        caught = (Fault, KeyboardInterrupt) if self.drawn["error caught"] == "inside" else ()
        self._is_sweeping = True
        try:
            if self.drawn["how"] == "at_epochs":
                at_epochs = LRFinderAtEpochs([1, 2], **self._arguments)
                at_epochs.attach(self._trainer)
                self._trainer.run(self._batches, max_epochs=3)
                return at_epochs.results
            with finder.attach(self._trainer, **self._arguments) as trainer:
                for event, handler in self._added:
                    trainer.add_event_handler(event, handler)
                for _ in range(int(self.drawn["runs"])):
                    with contextlib.suppress(*caught):
                        trainer.run(self._data, **self._run_arguments())
        finally:
            self._is_sweeping = False
        return None

    def digests(self) -> dict[str, str]:
        """Return digests of what a sweep must leave as it is."""
        states = {
            "model": [self._model.state_dict(), [p.grad for p in self._model.parameters()]],
            "optimizer": [self.optimizer.state_dict(), self._scaler and self._scaler.state_dict()],
            "torch": torch.get_rng_state().numpy().tobytes().hex(),
            "numpy": np.random.get_state(),  # noqa: NPY002  # the one that user code draws from
            "python": repr(random.getstate()),
        }
        texts = {name: json.dumps(_plain(state)) for name, state in states.items()}
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}

    def _make_optimizer(self) -> Any:
        """Make the optimizer and its parameter groups."""
        lr, num_groups = self._number(1e-7, 1e-4), int(self.drawn["groups"])
        lrs = [lr, *self._random.choices([lr, 10 * lr, lr / 10, 0.0], k=2)]
        dtype = self._random.choice([torch.float32, torch.float64])
        tensors = [torch.tensor(lr, dtype=dtype) for lr in lrs]
        own = {"float": lrs, "tensor": tensors, "shared": [tensors[0]] * 3}[self.drawn["lr"]]
        params = list(self._model.parameters())
        groups = [{"params": params[i::num_groups], "lr": own[i]} for i in range(num_groups)]
        return _OPTIMIZERS[self.drawn["optimizer"]](groups)

    def _make_data(self) -> Iterable[Batch] | None:
        """Make what the trainer runs on."""
        x = torch.randn(16 * self._random.randint(1, 12), 4)
        y = x.sum(1, keepdim=True) + 0.1 * torch.randn(len(x), 1)
        self._batches = list(zip(x.split(16), y.split(16), strict=True))
        length = self._random.randint(1, 2 * self._num_iter * self._accumulated)
        many = list(itertools.islice(itertools.cycle(self._batches), length))
        samples, own = TensorDataset(x, y), torch.Generator()
        kinds: dict[str, Iterable[Batch] | None] = {
            "list": self._batches,
            "loader": DataLoader(samples, 16, shuffle=True),
            "seeded": DataLoader(samples, 16, shuffle=True, generator=own),
            "iterator": iter(many),
            "generator": (batch for batch in many),
            "running": iter(DataLoader(samples, 16)),
            "tape": Tape(self._batches),
            "cycle": itertools.cycle(self._batches),
            "nothing": None,
        }
        return kinds[self.drawn["data"]]

    def _run_arguments(self) -> dict[str, int]:
        """Return the further arguments of `run`."""
        return {
            "max_epochs": {"max_epochs": 3},
            "max_iters": {"max_iters": self._num_iter + 5},
            "epoch_length": {"epoch_length": 1 + self._num_iter // 3, "max_epochs": 2},
        }.get(self.drawn["run"], {})

    def _add_handlers(self) -> None:
        """Add handlers to the trainer, and keep those to be added in the block."""
        drawn, writer = self.drawn, self.drawn["lr written in"]
        average = RunningAverage(output_transform=lambda _: torch.rand(()).item())
        average.attach(self._trainer, "average")
        started, completed = Events.ITERATION_STARTED, Events.ITERATION_COMPLETED
        old: list[tuple[Events, Callable[..., object]]] = [
            (Events.EPOCH_STARTED, self._draw_number),
            (completed, self._draw_number),
        ]
        if drawn["step in"] != "train_step":
            old.append((completed, self._take_step))
        if writer == "handler":
            old.append((started, self._write_lr))
        if writer == "ignite":
            cosine = CosineAnnealingScheduler(self.optimizer, "lr", 0.1, 0.001, 40)
            old.append((started, cosine))
        chosen = old if drawn["fault in"] == "old_handler" else self._added
        if hasattr(Engine, drawn["fault"]):
            chosen.append((self._random.choice([started, completed]), self._stop))
        if drawn["error caught"] == "handler":
            chosen.append((Events.EXCEPTION_RAISED, _pass_over))
        for event, handler in old:
            self._trainer.add_event_handler(event, handler)

    def _make_arguments(self) -> dict[str, Any]:
        """Make the arguments of `attach`."""
        drawn, number, groups = self.drawn, self._number, self.optimizer.param_groups
        ends = (0.01, 1.0) if drawn["step_mode"] == "linear" else (0.1, 100.0)
        first, last = ([number(*within) for _ in groups] for within in ((1e-7, 1e-4), ends))
        if drawn["frozen"] == "yes" and len(groups) > 1:
            first[0] = last[0] = 0.0
        short, more = self._random.randint(10, 14), self._random.randint(1, 10)
        max_iter = 6 * short + 3 * more + self._random.randint(0, 80)
        trials = Trials(max_iter=max_iter, short_iter=short, long_iter=short + more)
        to_save = {"model": self._model, "scaler": self._scaler, "optimizer": self.optimizer}
        if drawn["to_save"] == "optimizer":
            to_save = {"optimizer": self.optimizer}
        if drawn["lr written in"] == "torch_saved":
            to_save["scheduler"] = self._scheduler
        smooth_f = {"zero": 0, "random": self._random.random(), "high": 0.999}
        diverge_th = {"one": 1, "inf": math.inf, "random": number(1, 20)}
        named = [self._draw_number if drawn["step in"] == "train_step" else self._take_step]
        arguments = {
            "to_save": {name: obj for name, obj in to_save.items() if obj is not None},
            "num_iter": self._num_iter if drawn["num_iter"] == "given" else None,
            "start_lr": {"number": first[-1], "list": first, "zero": 0}.get(drawn["start_lr"]),
            "end_lr": {"number": last[-1], "list": last}.get(drawn["end_lr"], 10),
            "step_mode": drawn["step_mode"],
            "smooth_f": smooth_f.get(drawn["smooth_f"], 0.05),
            "diverge_th": diverge_th.get(drawn["diverge_th"], 5.0),
            "keep_handlers": {"named": named}.get(drawn["keep_handlers"], drawn["keep_handlers"]),
            "val_loss": None if drawn["val_loss"] == "none" else self._validate,
            "verify": {"small": trials, "yes": True}.get(drawn["verify"], False),
            "snapshot": {"disk": tempfile.gettempdir()}.get(drawn["snapshot"], drawn["snapshot"]),
            "progress": drawn["progress"] == "yes",
        }
        if drawn["output"] == "pair":
            arguments["output_transform"] = operator.itemgetter(0)
        if drawn["mistake"] != "none":
            arguments[drawn["mistake"]] = _MISTAKES[drawn["mistake"]]
        return arguments

    def _number(self, low: float, high: float) -> float:
        """Draw a number, its logarithm evenly spread."""
        return low * (high / low) ** self._random.random()

    def _is_now(self, fault: str) -> bool:
        """Tell whether this fault was drawn, and its time has come."""
        is_time = self._is_sweeping and self._num_calls == self._fault_at
        return is_time and self.drawn["fault"] == fault

    def _step(self, engine: Engine, batch: Batch | None) -> object:
        """Train on one batch."""
        self._num_calls += self._is_sweeping
        if self._is_now("error"):
            raise Fault("on purpose")
        if self._is_now("ctrl_c"):
            raise KeyboardInterrupt
        x, y = (x := torch.randn(16, 4), x.sum(1, keepdim=True)) if batch is None else batch
        is_broken = self._is_now("nan") or self._is_now("inf")
        has_closure = self.drawn["closure"] == "yes"
        self._model.train()

        def closure() -> Tensor:
            if has_closure:
                self._model.zero_grad()
            loss = _SHAPES[self.drawn["loss"]](mse_loss(self._model(x), y))
            if is_broken:
                loss = float(self.drawn["fault"]) * loss
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()
            if self.drawn["lr written in"] == "train_step":
                self._write_lr()
            return loss

        loss = self.optimizer.step(closure) if has_closure else closure()
        if not has_closure and self.drawn["step in"] == "train_step":
            self._take_step(engine)
        if self._scheduler is not None:
            self._scheduler.step()
        return _OUTPUTS[self.drawn["output"]](loss)

    def _take_step(self, engine: Engine) -> None:
        """Take the optimizer's step, once gradients of enough batches are gathered."""
        if engine.state.iteration % self._accumulated == 0:
            if self._scaler is None:
                self.optimizer.step()
            else:
                self._scaler.step(self.optimizer)
                self._scaler.update()
            self._model.zero_grad()

    def _validate(self) -> object:
        """Return the loss on the first batch."""
        if self.drawn["lr written in"] == "val_loss":
            self._write_lr()
        if self.drawn["val_loss"] == "evaluator":
            return self._evaluator.run(self._batches[:1]).metrics["loss"]
        x, y = self._batches[0]
        return mse_loss(self._model.eval()(x), y)

    def _write_lr(self, *_: object) -> None:
        """Write the learning rate, every so often."""
        if self._is_sweeping and self._num_calls % self._written_each == 0:
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.9

    def _draw_number(self, *_: object) -> None:
        """Draw from each global random generator."""
        torch.rand(())
        np.random.random()  # noqa: NPY002  # the one that user code draws from
        random.random()

    def _stop(self, engine: Engine) -> None:
        """Stop the run, once, in the way that was drawn."""
        if self._is_now(self.drawn["fault"]):
            self._fault_at = 0
            getattr(engine, self.drawn["fault"])()


def record(seed: int) -> dict[str, Any]:
    """Sweep the training of a seed, and return as plain data all there is to compare."""
    training, finder = Training(seed), FastaiLRFinder()
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stderr(io.StringIO()),  # where progress is shown
    ):
        warnings.simplefilter("always")
        training.prepare()
        before = training.digests()
        ended = _answer(functools.partial(training.sweep, finder))
        after, answers = training.digests(), _answers(finder)
        applied = _answer(functools.partial(finder.apply_suggested_lr, training.optimizer))
        lrs = _plain([group["lr"] for group in training.optimizer.param_groups])
        trained = _answer(training.train)
    return {
        "seed": seed,
        "drawn": training.drawn,
        "ended": ended,
        "warnings": [{"is": w.category.__name__, "text": str(w.message)} for w in caught],
        "changed": [name for name, digest in after.items() if digest != before[name]],
        "after": after,
        "answers": answers,
        "applied": {"answer": applied, "lr": lrs},
        "trained": {"answer": trained, **training.digests()},
    }


def compare(before: object, after: object, *, has_text: bool = True) -> list[str]:
    """Say where two records differ, a line for each number or word.

    Args:
        before: one record.
        after: the other.
        has_text: whether the wording of warnings, refusals and summaries counts too.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        f"{path}: {_readable(old.get(path, 'absent'))} -> {_readable(new.get(path, 'absent'))}"
        for path in {**old, **new}
        if old.get(path, "absent") != new.get(path, "absent")
        and (has_text or not path.endswith("/text"))
    ]


def _draw(generator: random.Random) -> dict[str, str]:
    """Draw a word about each thing, and change those that do not go together."""
    drawn = {}
    for name, words in _WORDS.items():
        options = [option.partition("*") for option in words.split()]
        drawn[name] = generator.choices(options, [int(n or 1) for _, _, n in options])[0][0]
    if drawn["optimizer"] == "lbfgs":
        drawn |= {"groups": "1", "closure": "yes"}
    if drawn["closure"] == "yes":
        drawn |= {"accumulated": "1", "scaler": "none", "step in": "train_step"}
    if drawn["step in"] == "kept_handler":
        drawn["keep_handlers"] = "named"
    if drawn["lr written in"] == "ignite":
        drawn["keep_handlers"] = "all"
    if drawn["data"] in ("cycle", "nothing"):
        drawn["run"] = "epoch_length"
    if drawn["optimizer"] in ("own", "hidden") and drawn["lr written in"].startswith("torch"):
        drawn["lr written in"] = "train_step"
    if drawn["step_mode"] == "exp" and drawn["start_lr"] == "zero":
        drawn["start_lr"] = "number"
    if drawn["lr written in"] == "val_loss" and drawn["val_loss"] == "none":
        drawn["val_loss"] = "function"
    return drawn


def _pass_over(engine: Engine, error: BaseException) -> None:
    """Handle an error that was raised on purpose, and no other."""
    if not isinstance(error, Fault):
        raise error


def _answers(finder: FastaiLRFinder) -> dict[str, Any]:
    """Ask a finder for all that it can say."""
    answers = {
        "result": _answer(lambda: finder.result),
        "get_results": _answer(finder.get_results),
        "lr_bounds": _answer(finder.lr_bounds),
    }
    for schedule, total_iters in itertools.product(("constant", "decay"), (None, 10_000)):
        plan: dict[str, Any] = {"schedule": schedule, "total_iters": total_iters}
        answers[f"{schedule}, {total_iters}"] = {
            "all": _answer(functools.partial(finder.suggestions, **plan)),
            **{m: _answer(functools.partial(finder.lr_suggestion, m, **plan)) for m in METHODS},
        }
    return answers


def _answer(call: Callable[[], object]) -> Any:
    """Return as plain data what a call returns or raises."""
    try:
        return _plain(call())
    except (Exception, KeyboardInterrupt) as error:
        return {"refused": type(error).__name__, "text": str(error)}


def _plain(value: Any) -> Any:
    """Make plain data of a value, with floats in hex."""
    if isinstance(value, LRFinderResult):
        content = value.to_dict()
        settings = {name: content["settings"][name] for name in _SETTINGS}
        more = {"interval": value.interval, "is_paired": value.is_paired, "text": repr(value)}
        value = {**{name: content[name] for name in _FIELDS}, "settings": settings, **more}
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.hex() if isinstance(value, float) else value


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Iterate over the numbers and words in plain data, and the way to each."""
    if isinstance(value, (dict, list)) and value:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, f"{path}/{key}")
    else:
        yield path, value


def _readable(leaf: object) -> str:
    """Show a leaf; a number that is in hex in decimal too."""
    if isinstance(leaf, str) and leaf.lstrip("-").startswith("0x"):
        return f"{float.fromhex(leaf):.6g} ({leaf})"
    return repr(leaf)


def _seed_all(seed: int) -> None:
    """Seed every global random generator."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the one that user code draws from
    torch.manual_seed(seed)


def _write(path: Path, seeds: Iterable[int]) -> None:
    """Write the records of some seeds."""
    print(f"sweeping with {Path(ignite_lrfinder.__file__).parent}", flush=True)
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    start = time.process_time()
    with path.open("w") as file:
        file.writelines(json.dumps(record(seed)) + "\n" for seed in seeds)
    print(f"written to {path}, in {time.process_time() - start:.0f} s of one core")


def _report(before: Path, after: Path, *, has_text: bool) -> bool:
    """Print how many records of two files differ, and the first differences; tell if any do."""
    old, new = (
        {each["seed"]: each for each in map(json.loads, path.read_text().splitlines())}
        for path in (before, after)
    )
    lines = {s: compare(old[s], new[s], has_text=has_text) for s in sorted({*old} & {*new})}
    lines |= {seed: ["is in one of the files only"] for seed in {*old} ^ {*new}}
    different = [seed for seed, differences in lines.items() if differences]
    print(f"{len(different)} of {len(lines)} sweeps differ")
    for seed in different[:_NUM_SHOWN]:
        print(f"seed {seed}, in {len(lines[seed])} places:")
        print("\n".join(f"    {line}" for line in lines[seed][:_NUM_SHOWN]))
    return bool(different)


def main() -> None:
    """Sweep and write what came of it, or compare two files."""
    parser = argparse.ArgumentParser(description="Compare random sweeps of two versions.")
    parser.add_argument("--count", type=int, default=1000, help="how many sweeps; default 1000")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default 0")
    parser.add_argument("--output", type=Path, help="where to write them, a line for each")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--ignore-text", action="store_true", help="wording may differ")
    args = parser.parse_args()
    if (args.output is None) == (args.compare is None):
        parser.error("one of --output and --compare must be given")
    if args.output is not None:
        _write(args.output, range(args.first, args.first + args.count))
    elif _report(*args.compare, has_text=not args.ignore_text):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
