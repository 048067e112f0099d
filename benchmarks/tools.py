"""The tools under test: this finder at several prices, ablations of it, and the alternatives.

Each is a function from an untrained setup to suggested learning rates. Every finder runs with its
default settings; only `num_iter` is passed if there is no default. The alternatives are other
finders, once and averaged over as many sweeps as the same iterations allow; Optuna, with short
training runs; and the rate that is usual for the optimizer. They are optional, and imported on
demand.
"""

import copy
import dataclasses
import functools
import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from ignite.engine import Engine
from ignite.handlers import FastaiLRFinder as IgniteLRFinder
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from benchmarks.data import Batch
from benchmarks.held_out_tasks import MEMORIZED
from benchmarks.oracle import Schedule
from benchmarks.tasks import Loss, Task, train_step
from ignite_lrfinder import FastaiLRFinder, Trials
from ignite_lrfinder.suggest import Verdict

# Most finders start at the optimizer's own learning rate, which is set too low to have any effect.
START_LR = 1e-7
NUM_ITER = 100

_FASTAI = "fastai.callback.schedule"

# The maximum number of iterations of a sweep with trials.
BUDGET = 800

# As in this finder's trials: the length of a training, and the batches that are compared.
_TRIAL_ITER = 130
_REPORT_EVERY = 10
_OPTUNA_RANGE = (1e-6, 10.0)

_GRID = np.geomspace(START_LR, 10.0, 17)

Suggestion = Mapping[Schedule, float | None]
Verify = bool | Literal["auto"] | Trials


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """A training that has not started."""

    task: Task
    model: nn.Module
    optimizer: Optimizer
    loss: Loss
    loader: DataLoader[Batch]


def training(task: Task, seed: int) -> Training:
    """Set up a training, with different batches than the oracle's."""
    model = task.initial_model(seed)
    optimizer = task.optimizer(model.parameters(), lr=START_LR)
    torch.manual_seed(500 + seed)
    return Training(task, model, optimizer, task.loss, task.loader())


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """A way to find a learning rate.

    Attributes:
        suggest: runs the tool; to refuse, it raises RuntimeError or suggests None.
        module: the module that must be importable.
        is_ablation: whether the tool is this finder with a part removed.
        only: the names of the tasks that it is for; default, all.
    """

    suggest: Callable[[Training], Suggestion]
    module: str = "ignite"
    is_ablation: bool = False
    only: Sequence[str] | None = None

    def is_for(self, task: Task) -> bool:
        """Return whether the tool is for a task."""
        return self.only is None or task.name in self.only

    def why_missing(self) -> str | None:
        """Return why the tool can't be measured; None if it can."""
        try:
            importlib.import_module(self.module)
        except (ImportError, RuntimeError) as error:  # torchvision raises the latter
            return f"{self.module} can't be imported ({error})"
        return None


def for_any_plan(lr: float | None) -> Suggestion:
    """Suggest the same rate for both schedules, for a tool that does not distinguish them."""
    return {"constant": lr, "cosine": lr}


def trainer_of(t: Training) -> Engine:
    """Return an Ignite trainer."""

    def step(engine: Engine, batch: Batch) -> float:
        return train_step(t.model, t.optimizer, t.loss, batch)

    return Engine(step)


def attached(
    t: Training, *, num_iter: int = NUM_ITER, verify: Verify = False, validate: bool = False
) -> FastaiLRFinder:
    """Return this finder after its run."""
    lr_finder = FastaiLRFinder()
    to_save = {"model": t.model, "optimizer": t.optimizer}
    val_loss = functools.partial(t.task.validation_loss, t.model) if validate else None
    with lr_finder.attach(
        trainer_of(t), to_save, num_iter=num_iter, verify=verify, val_loss=val_loss
    ) as trainer:
        trainer.run(t.loader)
    return lr_finder


def ours(
    t: Training,
    *,
    num_iter: int = NUM_ITER,
    verify: Verify = False,
    validate: bool = False,
    tell_length: bool = True,
) -> Suggestion:
    """Run this finder, and ask for a suggestion for each schedule."""
    lr_finder = attached(t, num_iter=num_iter, verify=verify, validate=validate)
    total_iters = t.task.num_iter if tell_length else None
    suggest = functools.partial(lr_finder.lr_suggestion, total_iters=total_iters)
    return {"constant": _one(suggest()), "cosine": _one(suggest(schedule="decay"))}


def ours_long(t: Training) -> Suggestion:
    """Run this finder with trials by the validation loss, half as long as the training."""
    num_iter = t.task.num_iter
    trials = Trials(max_iter=3 * num_iter, long_iter=num_iter // 2)
    return ours(t, verify=trials, validate=True)


def ours_not_corrected(t: Training) -> Suggestion:
    """Suggest the rate that is best for runs as short as the trials."""
    result = attached(t, verify=True).result
    verdict = result.reading.verdict
    assert isinstance(verdict, Verdict)  # all tasks have stable trials
    return for_any_plan(verdict.best_lr)


def grid_of_trials(t: Training) -> Suggestion:
    """Spend the same number of iterations on short trials at rates spread over the whole range."""
    num_iter = BUDGET // len(_GRID)
    scores = [_trial_score(t, lr, num_iter) for lr in _GRID]
    return for_any_plan(float(_GRID[np.argmin(scores)]))


def ignite(t: Training) -> Suggestion:
    """Run Ignite's own finder."""
    lr_finder = IgniteLRFinder()
    to_save = {"model": t.model, "optimizer": t.optimizer}
    with lr_finder.attach(trainer_of(t), to_save, num_iter=NUM_ITER) as trainer:
        trainer.run(t.loader)
    return for_any_plan(_one(lr_finder.lr_suggestion()))


def torch_lr_finder(t: Training) -> Suggestion:
    """Run torch-lr-finder, which returns its suggestion from `plot`."""
    plt = importlib.import_module("matplotlib.pyplot")
    lr_finder = importlib.import_module("torch_lr_finder").LRFinder(t.model, t.optimizer, t.loss)
    lr_finder.range_test(t.loader)
    figure, ax = plt.subplots()
    try:
        _, lr = lr_finder.plot(ax=ax)
    finally:
        plt.close(figure)
    return for_any_plan(float(lr))


def fastai(t: Training, *, method: str) -> Suggestion:
    """Run fastai's `lr_find`, with torch's optimizer in fastai's wrapper."""
    schedule = importlib.import_module(_FASTAI)
    learner = importlib.import_module("fastai.learner")
    wrapper = importlib.import_module("fastai.optimizer").OptimWrapper
    loaders = importlib.import_module("fastai.data.core").DataLoaders(t.loader, t.loader)
    with tempfile.TemporaryDirectory() as folder:
        learn = learner.Learner(
            loaders,
            t.model,
            loss_func=t.loss,
            opt_func=functools.partial(wrapper, opt=t.task.optimizer),
            path=folder,
        )
        try:
            found = learn.lr_find(show_plot=False, suggest_funcs=(getattr(schedule, method),))
        except IndexError:  # of `valley`, on a curve that never falls
            return for_any_plan(None)
    return for_any_plan(float(found[0]))


def lightning(t: Training) -> Suggestion:
    """Run Lightning's tuner."""
    pytorch = importlib.import_module("lightning.pytorch")
    tuner = importlib.import_module("lightning.pytorch.tuner")

    class Module(pytorch.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = t.model, START_LR

        def training_step(self, batch: Batch, index: int) -> Tensor:
            return t.loss(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Optimizer:
            return t.task.optimizer(self.parameters(), lr=self.lr)

    with tempfile.TemporaryDirectory() as folder:
        trainer = pytorch.Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        found: Any = tuner.Tuner(trainer).lr_find(Module(), train_dataloaders=t.loader)
        return for_any_plan(found.suggestion())


def averaged(t: Training, *, tool: Callable[[Training], Suggestion]) -> Suggestion:
    """Run a finder as often as the iterations allow, on different batches; return the median."""
    lrs = []
    for _ in range(BUDGET // NUM_ITER):
        model = copy.deepcopy(t.model)
        optimizer = t.task.optimizer(model.parameters(), lr=START_LR)
        try:
            lr = tool(dataclasses.replace(t, model=model, optimizer=optimizer))["constant"]
        except RuntimeError:
            continue
        lrs += [] if lr is None else [lr]
    return for_any_plan(float(np.exp(np.median(np.log(lrs)))) if lrs else None)


def optuna(t: Training) -> Suggestion:
    """Search with Optuna's defaults: short runs, pruned if they are worse than the median."""
    module = importlib.import_module("optuna")
    module.logging.set_verbosity(module.logging.ERROR)
    study = module.create_study(sampler=module.samplers.TPESampler(seed=0))
    left = BUDGET
    while left >= _REPORT_EVERY:
        trial = study.ask()
        lr = trial.suggest_float("lr", *_OPTUNA_RANGE, log=True)
        model = copy.deepcopy(t.model)
        optimizer = t.task.optimizer(model.parameters(), lr=lr)
        losses: list[float] = []
        for batch in t.task.batches(500, min(_TRIAL_ITER, left)):
            losses.append(train_step(model, optimizer, t.loss, batch))
            if len(losses) % _REPORT_EVERY == 0:
                trial.report(float(np.mean(losses[-_REPORT_EVERY:])), len(losses))
            if not np.isfinite(losses[-1]) or trial.should_prune():
                break
        left -= len(losses)
        if len(losses) == _TRIAL_ITER and np.isfinite(losses).all():
            study.tell(trial, float(np.mean(losses[_TRIAL_ITER // 2 :])))
        else:
            study.tell(trial, state=module.trial.TrialState.PRUNED)
    return for_any_plan(float(study.best_params["lr"]))


def usual_rate(t: Training) -> Suggestion:
    """Return the rate that the optimizer is usually given."""
    is_sgd = isinstance(t.optimizer, SGD)
    has_momentum = is_sgd and t.optimizer.defaults["momentum"] > 0
    return for_any_plan(0.01 if has_momentum else 0.1 if is_sgd else 1e-3)


def _trial_score(t: Training, lr: float, num_iter: int) -> float:
    """Train from scratch; return the mean loss of the second half, inf if any is not finite."""
    model = copy.deepcopy(t.model)
    optimizer = t.task.optimizer(model.parameters(), lr=lr)
    batches = t.task.batches(500, num_iter)
    losses = [train_step(model, optimizer, t.loss, batch) for batch in batches]
    score = float(np.mean(losses[num_iter // 2 :]))
    return score if np.isfinite(losses).all() else float("inf")


def _one(lr: float | list[float]) -> float:
    """Return the learning rate of the first parameter group."""
    return lr[0] if isinstance(lr, list) else lr


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "ours, sweep": Tool(ours),
        "ours, Trials(200)": Tool(functools.partial(ours, verify=Trials(max_iter=200))),
        'ours, "auto"': Tool(functools.partial(ours, verify="auto")),
        "ours, True": Tool(functools.partial(ours, verify=True)),
        'ours, "auto", val_loss': Tool(functools.partial(ours, verify="auto", validate=True)),
        "ours, long, val_loss": Tool(ours_long, only=MEMORIZED),
        "usual rate": Tool(usual_rate),
        "Ignite": Tool(ignite),
        "Ignite, 8 sweeps": Tool(functools.partial(averaged, tool=ignite)),
        "torch-lr-finder": Tool(torch_lr_finder, "torch_lr_finder"),
        "fastai valley": Tool(functools.partial(fastai, method="valley"), _FASTAI),
        "fastai valley, 8 sweeps": Tool(
            functools.partial(averaged, tool=functools.partial(fastai, method="valley")), _FASTAI
        ),
        "fastai minimum": Tool(functools.partial(fastai, method="minimum"), _FASTAI),
        "Lightning": Tool(lightning, "lightning.pytorch.tuner"),
        "Optuna": Tool(optuna, "optuna"),
        "ours, 50 points": Tool(functools.partial(ours, num_iter=50), is_ablation=True),
        "ours, 200 points": Tool(functools.partial(ours, num_iter=200), is_ablation=True),
        "ours, True, not corrected": Tool(ours_not_corrected, is_ablation=True),
        "ours, True, length not told": Tool(
            functools.partial(ours, verify=True, tell_length=False), is_ablation=True
        ),
        "ours, trials without a sweep": Tool(grid_of_trials, is_ablation=True),
    }
)
"""The tools by their names in the table, in its order."""
