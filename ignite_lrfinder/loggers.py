"""A result into any of Ignite's loggers, beside the training's own curves."""

from ignite.engine import Engine, Events
from ignite.handlers.base_logger import BaseLogger

from ignite_lrfinder.errors import wrong_type
from ignite_lrfinder.result import LRFinderResult


def log_result(result: LRFinderResult, logger: BaseLogger, tag: str = "lr_finder") -> None:
    """Write the points of a sweep into a logger, one step for each.

    Args:
        result: the result of a sweep.
        logger: one of Ignite's, such as `ignite.handlers.TensorboardLogger`.
        tag: what the curves are under, so that they do not mix with the training's: "loss",
            "smoothed_loss" and "lr", or "lr_0", "lr_1" and so on with several parameter groups.

    Raises:
        TypeError: if `logger` is none of Ignite's.

    Example:
        >>> from ignite.handlers import TensorboardLogger
        >>> with TensorboardLogger(log_dir="logs") as logger:  # doctest: +SKIP
        ...     log_result(lr_finder.result, logger)
    """
    if not isinstance(logger, BaseLogger):
        remedy = "Pass one such as ignite.handlers.TensorboardLogger."
        raise wrong_type("logger", "one of Ignite's loggers", logger, remedy)
    # Loggers listen to engines, so this is one whose iterations are the points. It is never run.
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
