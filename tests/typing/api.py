"""The public API as a type checker sees it: pyright reads this file, nothing executes it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.handlers import ParamGroupScheduler, PiecewiseLinear
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from ignite_lrfinder import (
    FastaiLRFinder,
    LRFinderError,
    LRFinderResult,
    NoSuggestionError,
    StopReason,
    Trial,
    Trials,
    plot_results,
)


def attach_with_defaults(
    trainer: Engine, model: torch.nn.Module, optimizer: Optimizer, loader: DataLoader[torch.Tensor]
) -> None:
    lr_finder = FastaiLRFinder()
    with lr_finder.attach(trainer, {"model": model, "optimizer": optimizer}) as swept_trainer:
        engine: Engine = swept_trainer
        engine.run(loader)
    with lr_finder.attach(trainer, to_save={"optimizer": optimizer}):
        trainer.run(loader)


def attach_with_everything(trainer: Engine, optimizer: Optimizer) -> None:
    lr_finder = FastaiLRFinder()
    with lr_finder.attach(
        trainer,
        {"optimizer": optimizer},
        output_transform=lambda output: output["loss"],
        num_iter=100,
        start_lr=1e-6,
        end_lr=1,
        step_mode="linear",
        smooth_f=0.1,
        diverge_th=3.0,
        keep_handlers="none",
        val_loss=lambda: 1.0,
        verify=True,
        snapshot="device",
        progress=True,
    ):
        pass


def attach_with_one_value_for_each_group(trainer: Engine, optimizer: Optimizer) -> None:
    lr_finder = FastaiLRFinder()
    to_save = {"optimizer": optimizer}
    with lr_finder.attach(trainer, to_save, start_lr=[1e-6, 1e-5], end_lr=[1.0, 10.0]):
        pass
    with lr_finder.attach(trainer, to_save, start_lr=np.float64(1e-6), end_lr=10):
        pass


def attach_with_kept_handlers(trainer: Engine, optimizer: Optimizer) -> None:
    def handler(engine: Engine) -> None: ...

    lr_finder = FastaiLRFinder()
    with lr_finder.attach(trainer, {"optimizer": optimizer}, keep_handlers="all"):
        pass
    with lr_finder.attach(trainer, {"optimizer": optimizer}, keep_handlers=[handler]):
        pass


def attach_with_trials(trainer: Engine, optimizer: Optimizer) -> None:
    settings = Trials(max_iter=1400, short_iter=80, long_iter=260)
    with FastaiLRFinder().attach(trainer, {"optimizer": optimizer}, verify=settings):
        pass


def attach_refuses_what_it_does_not_know(trainer: Engine, optimizer: Optimizer) -> None:
    lr_finder = FastaiLRFinder()
    to_save = {"optimizer": optimizer}
    lr_finder.attach(trainer, to_save, num_iter="100")  # pyright: ignore[reportArgumentType]
    lr_finder.attach(trainer, to_save, snapshot=3)  # pyright: ignore[reportArgumentType]
    lr_finder.attach(trainer)  # pyright: ignore[reportCallIssue]


def suggest(lr_finder: FastaiLRFinder) -> None:
    default: float | list[float] = lr_finder.lr_suggestion()
    chosen: float | list[float] = lr_finder.lr_suggestion(method="valley")
    peak: float | list[float] = lr_finder.lr_suggestion(schedule="decay", total_iters=10_000)
    trials: tuple[Trial, ...] = lr_finder.result.trials
    suggestions: dict[str, float | list[float]] = lr_finder.suggestions()
    min_lr, max_lr = lr_finder.lr_bounds()
    bounds: tuple[float | list[float], float | list[float]] = (min_lr, max_lr)
    print(default, chosen, peak, trials, suggestions, bounds)


def apply(lr_finder: FastaiLRFinder, optimizer: Optimizer, lr_scheduler: LRScheduler) -> None:
    lr_finder.apply_suggested_lr(optimizer)
    lr_finder.apply_suggested_lr(optimizer, lr_scheduler)
    lr_finder.apply_suggested_lr(optimizer, lr_scheduler=lr_scheduler)
    piecewise = PiecewiseLinear(optimizer, "lr", [(0, 0.1)])
    lr_finder.apply_suggested_lr(optimizer, piecewise)
    lr_finder.apply_suggested_lr(optimizer, ParamGroupScheduler([piecewise]))


def plot(lr_finder: FastaiLRFinder) -> None:
    axes: Axes = lr_finder.plot()
    axes = lr_finder.plot(skip_start=0, skip_end=0, log_lr=False, display_suggestion=False)
    axes = lr_finder.plot(ax=Figure().subplots())
    axes = lr_finder.plot(figsize=(6, 4))
    pair: NDArray[Any] = lr_finder.plot(derivative=True)
    pair = lr_finder.plot_trials()
    pair = lr_finder.plot_trials(Figure().subplots(1, 2))
    pair[0].set_title("trials")
    axes = plot_results({"Adam": lr_finder.result}, ax=axes)
    axes.set_title("LR range test")


def read_results(lr_finder: FastaiLRFinder, path: Path) -> LRFinderResult:
    results = lr_finder.get_results()
    lrs, losses = results["lr"], results["loss"]
    print(lrs[0], losses[0])

    result: LRFinderResult = lr_finder.result
    lr: NDArray[np.float64] = result.lr
    raw: NDArray[np.float64] = result.losses
    smoothed: NDArray[np.float64] = result.smoothed_losses
    reason: StopReason = result.stop_reason
    text: str = reason.message + reason.remedy
    print(lr, raw, smoothed, text)

    result.stop_reason = reason  # pyright: ignore[reportAttributeAccessIssue]
    result.save(path)
    result.save("result.json")
    return LRFinderResult.load(path)


def catch(lr_finder: FastaiLRFinder) -> None:
    try:
        lr_finder.lr_suggestion()
    except NoSuggestionError:
        pass
    except LRFinderError as error:
        cause: RuntimeError = error
        print(cause)
