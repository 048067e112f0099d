"""A result in Ignite's loggers: every point, under a tag of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ignite.engine import Engine, Events
from ignite.handlers import TensorboardLogger
from ignite.handlers.base_logger import BaseLogger, BaseOutputHandler
from strategies import result_of

from ignite_lrfinder import log_result

LR = np.geomspace(1e-4, 1.0, 5)
LOSSES = np.array([2.0, 1.5, 1.0, 4.0, np.nan])


class Recorder(BaseLogger):
    """A logger of a user's own, made of Ignite's parts."""

    def __init__(self) -> None:
        self.written: list[tuple[int, dict[tuple[str, ...], float]]] = []

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> BaseOutputHandler:
        class Handler(BaseOutputHandler):
            def __call__(self, engine: Engine, logger: Any, event_name: Any) -> None:
                metrics = self._setup_output_metrics_state_attrs(engine)
                step = self.global_step_transform(engine, event_name)
                logger.written.append((step, metrics))

        return Handler(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("nothing of an optimizer is logged")


@pytest.mark.parametrize("num_groups", [1, 2])
def test_every_point_is_logged_under_the_tag(num_groups: int) -> None:
    """One step for each point, with the loss, the smoothed loss and the rate of each group."""
    result = result_of(LR[:, None] * np.array([1.0, 0.5])[:num_groups], LOSSES)
    logger = Recorder()
    log_result(result, logger, tag="range_test")
    assert [step for step, _ in logger.written] == [1, 2, 3, 4, 5]
    names = ["lr"] if num_groups == 1 else ["lr_0", "lr_1"]
    for k, (_, metrics) in enumerate(logger.written):
        assert metrics["range_test", "loss"] == pytest.approx(LOSSES[k], nan_ok=True)
        assert metrics["range_test", "smoothed_loss"] == pytest.approx(LOSSES[k], nan_ok=True)
        assert [metrics["range_test", name] for name in names] == result.lr[k].tolist()


def test_tensorboard_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scalars go to Ignite's TensorBoard logger, beside those of a training and not among them."""
    written: list[tuple[str, float, int]] = []
    logger = TensorboardLogger(log_dir=str(tmp_path))
    with logger:
        monkeypatch.setattr(
            logger.writer,
            "add_scalar",
            lambda name, value, step: written.append((name, value, step)),
        )
        log_result(result_of(LR, LOSSES), logger)
        trainer = Engine(lambda engine, batch: 1.0)
        logger.attach_output_handler(
            trainer, Events.ITERATION_COMPLETED, tag="training", output_transform=lambda x: x
        )
        trainer.run([0, 0])
    assert ("lr_finder/lr", LR[0], 1) in written
    assert ("lr_finder/loss", 4.0, 4) in written
    assert len([name for name, *_ in written if name.startswith("lr_finder/")]) == 15
    assert len([name for name, *_ in written if name.startswith("training/")]) == 2


def test_what_is_no_logger_is_refused() -> None:
    """A writer of TensorBoard itself, say, has another interface."""
    with pytest.raises(TypeError, match="logger must be an Ignite logger, got 3"):
        log_result(result_of(LR, LOSSES), 3)  # type: ignore[arg-type]  # what it is about
