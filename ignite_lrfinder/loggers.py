"""Send a result to Ignite's loggers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ignite.engine import Engine, Events
from ignite.handlers import (
    ClearMLLogger,
    MLflowLogger,
    NeptuneLogger,
    TensorboardLogger,
    WandBLogger,
)
from ignite.handlers.base_logger import BaseLogger

from ignite_lrfinder.errors import wrong_type
from ignite_lrfinder.plot import sweep_figure
from ignite_lrfinder.result import LRFinderResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_FIGSIZE = (7.0, 4.6)


class HasResult(Protocol):
    """A finder, which has a result."""

    @property
    def result(self) -> LRFinderResult:
        """The result of the last sweep."""
        ...


def log_result(
    result: LRFinderResult | HasResult, logger: BaseLogger, tag: str = "lr_finder"
) -> None:
    """Log the points of a sweep, its plot and its summary.

    Each point is logged as one step. The plot and the summary are logged to services that accept
    them: ClearML, MLflow, Neptune, TensorBoard, and Weights & Biases, where the summary is the
    caption of the plot. A result without points has only a summary, and none there.

    Args:
        result: the result of a sweep, or a finder that has run.
        logger: an Ignite logger, such as `ignite.handlers.TensorboardLogger`.
        tag: the prefix of the names, which separates them from the training's: "loss",
            "smoothed_loss" and "lr", or "lr_0", "lr_1" and so on with several parameter groups;
            "curve" and "summary".

    Raises:
        TypeError: if `result` is not a result or a finder, or `logger` not an Ignite logger.
        LRFinderError: if a finder has not run yet.
        ModuleNotFoundError: if matplotlib is not installed, and the service accepts a plot.

    Example:
        >>> from ignite.handlers import TensorboardLogger
        >>> with TensorboardLogger(log_dir="logs") as logger:  # doctest: +SKIP
        ...     log_result(lr_finder.result, logger)
    """
    if not isinstance(logger, BaseLogger):
        remedy = "Pass a logger such as ignite.handlers.TensorboardLogger."
        raise wrong_type("logger", "an Ignite logger", logger, remedy)
    result = result if isinstance(result, LRFinderResult) else getattr(result, "result", result)
    if not isinstance(result, LRFinderResult):
        raise wrong_type("result", "a result or a finder", result, "Pass lr_finder.result.")
    _log_points(result, logger, tag)
    for kind, log in _LOG_DISPLAY.items():
        if isinstance(logger, kind):
            curve = sweep_figure(result.reading, _FIGSIZE) if len(result) else None
            log(logger, tag, curve, result.summary(), len(result))


def _log_points(result: LRFinderResult, logger: BaseLogger, tag: str) -> None:
    """Log each point as an iteration of an engine, because loggers attach to engines."""
    engine = Engine(lambda engine, batch: None)  # never run
    logger.attach_output_handler(
        engine,
        event_name=Events.ITERATION_COMPLETED,
        tag=tag,
        metric_names="all",
        global_step_transform=lambda engine, event: engine.state.iteration,
    )
    for point in range(len(result)):
        engine.state.iteration = point + 1
        engine.state.metrics = {
            "loss": float(result.losses[point]),
            "smoothed_loss": float(result.smoothed_losses[point]),
            **dict(zip(result.lr_names, result.lr[point].tolist(), strict=True)),
        }
        engine.fire_event(Events.ITERATION_COMPLETED)


def _log_to_clearml(logger: Any, tag: str, curve: "Figure | None", text: str, step: int) -> None:
    """Report the plot as a matplotlib figure and the summary in the console."""
    if curve is not None:
        logger.clearml_logger.report_matplotlib_figure(
            title=tag, series="curve", figure=curve, iteration=step
        )
    logger.clearml_logger.report_text(f"{tag}/summary\n{text}")


def _log_to_mlflow(logger: Any, tag: str, curve: "Figure | None", text: str, step: int) -> None:
    """Store both as artifacts of the run."""
    if curve is not None:
        logger.log_figure(curve, f"{tag}/curve.png")
    logger.log_text(text, f"{tag}/summary.txt")


def _log_to_neptune(logger: Any, tag: str, curve: "Figure | None", text: str, step: int) -> None:
    """Store both as fields of the run."""
    if curve is not None:
        logger.experiment[f"{tag}/curve"].upload(curve)
    logger.experiment[f"{tag}/summary"] = text


def _log_to_tensorboard(
    logger: Any, tag: str, curve: "Figure | None", text: str, step: int
) -> None:
    """Write an image and a text, which TensorBoard reads as Markdown."""
    if curve is not None:
        logger.writer.add_figure(f"{tag}/curve", curve, step)
    logger.writer.add_text(f"{tag}/summary", text.replace("\n", "  \n"), step)


def _log_to_wandb(logger: Any, tag: str, curve: "Figure | None", text: str, step: int) -> None:
    """Log the plot with the summary as its caption, in the step of the last point."""
    if curve is not None:
        logger.log({f"{tag}/curve": logger.Image(curve, caption=text)}, step=step)


_LOG_DISPLAY: dict[type[BaseLogger], Callable[..., None]] = {
    ClearMLLogger: _log_to_clearml,
    MLflowLogger: _log_to_mlflow,
    NeptuneLogger: _log_to_neptune,
    TensorboardLogger: _log_to_tensorboard,
    WandBLogger: _log_to_wandb,
}
"""How to log a plot and a text to each service."""
