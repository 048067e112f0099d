"""Send a result to Ignite's loggers."""

from ignite.engine import Engine, Events
from ignite.handlers.base_logger import BaseLogger

from ignite_lrfinder.errors import wrong_type
from ignite_lrfinder.result import LRFinderResult


def log_result(result: LRFinderResult, logger: BaseLogger, tag: str = "lr_finder") -> None:
    """Log the points of a sweep, one step for each point.

    Args:
        result: the result of a sweep.
        logger: an Ignite logger, such as `ignite.handlers.TensorboardLogger`.
        tag: the prefix of the curves, which keeps them apart from the training's: "loss",
            "smoothed_loss" and "lr", or "lr_0", "lr_1" and so on with several parameter groups.

    Raises:
        TypeError: if `logger` is not an Ignite logger.

    Example:
        >>> from ignite.handlers import TensorboardLogger
        >>> with TensorboardLogger(log_dir="logs") as logger:  # doctest: +SKIP
        ...     log_result(lr_finder.result, logger)
    """
    if not isinstance(logger, BaseLogger):
        remedy = "Pass a logger such as ignite.handlers.TensorboardLogger."
        raise wrong_type("logger", "an Ignite logger", logger, remedy)
    # Loggers attach to engines. This one is never run; its iterations are the points.
    engine = Engine(lambda engine, batch: None)
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
