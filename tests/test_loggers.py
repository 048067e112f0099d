"""A result in Ignite's loggers: points, plot and summary under a separate tag."""

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from ignite.engine import Engine, Events
from ignite.handlers import (
    ClearMLLogger,
    MLflowLogger,
    NeptuneLogger,
    TensorboardLogger,
    WandBLogger,
)
from ignite.handlers.base_logger import BaseLogger, BaseOutputHandler
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from strategies import result_of, u_shape
from tensorboardX.proto import event_pb2

from ignite_lrfinder import LRFinderResult, log_result

LR = np.geomspace(1e-4, 1.0, 5)
LOSSES = np.array([2.0, 1.5, 1.0, 4.0, np.nan])


def valley(num_points: int = 100) -> LRFinderResult:
    """Return the first points of a sweep with a suggestion."""
    log10_lr = np.linspace(-6, 1, 100)
    result = result_of(10**log10_lr, u_shape(log10_lr, fall_at=-3, cliff_at=0))
    first = slice(num_points)
    return dataclasses.replace(
        result,
        lr=result.lr[first],
        losses=result.losses[first],
        smoothed_losses=result.smoothed_losses[first],
    )


class Recorder(BaseLogger):
    """A custom logger, made of Ignite's parts."""

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
    """Each point is a step with its loss, smoothed loss and the rate of each group."""
    result = result_of(LR[:, None] * np.array([1.0, 0.5])[:num_groups], LOSSES)
    logger = Recorder()
    log_result(result, logger, tag="range_test")
    assert [step for step, _ in logger.written] == [1, 2, 3, 4, 5]
    names = ["lr"] if num_groups == 1 else ["lr_0", "lr_1"]
    for k, (_, metrics) in enumerate(logger.written):
        assert metrics["range_test", "loss"] == pytest.approx(LOSSES[k], nan_ok=True)
        assert metrics["range_test", "smoothed_loss"] == pytest.approx(LOSSES[k], nan_ok=True)
        assert [metrics["range_test", name] for name in names] == result.lr[k].tolist()


def test_tensorboard_logs_points_beside_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scalars of a sweep have separate names from those of a training."""
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


def test_tensorboard_shows_the_plot_and_the_summary(tmp_path: Path) -> None:
    """The event file has an image and a text at the last point, and no pyplot figure stays open."""
    result = valley()
    with TensorboardLogger(log_dir=str(tmp_path)) as logger:
        log_result(result, logger, tag="range_test")
    values = {
        value.tag: (event.step, value)
        for event in events_of(tmp_path)
        for value in event.summary.value
    }
    step, image = values["range_test/curve"]
    assert step == len(result)
    assert image.image.encoded_image_string.startswith(b"\x89PNG")
    assert (image.image.width, image.image.height) == (700, 460)
    step, text = values["range_test/summary/text_summary"]
    assert step == len(result)
    assert text.tensor.string_val[0].decode().split("  \n") == result.summary().split("\n")
    assert not plt.get_fignums()


def events_of(folder: Path) -> Iterator[Any]:
    """Return the events of the only event file in a folder."""
    (path,) = folder.glob("events*")
    data = path.read_bytes()
    while data:
        # A record: its length in 8 bytes, a checksum in 4, the event, a checksum in 4.
        (length,) = struct.unpack("<Q", data[:8])
        yield event_pb2.Event.FromString(data[12 : 12 + length])  # type: ignore[attr-defined]  # made at run time
        data = data[16 + length :]


def service(logger_class: Any, **attributes: Any) -> Any:
    """Return one of Ignite's loggers with a recorder instead of its service."""

    class Connected(logger_class):
        def __init__(self) -> None:
            self.__dict__.update(attributes)

        def __getattr__(self, name: str) -> Any:
            return getattr(attributes["service"], name)

        def attach_output_handler(self, *args: Any, **kwargs: Any) -> Any:
            """Ignore the points, which other tests log."""

    return Connected()


@pytest.mark.parametrize("num_points", [0, 100])
def test_each_service_receives_the_plot_and_the_summary(num_points: int) -> None:
    """Each service is called with its own methods; a result without points has no plot."""
    result = valley(num_points)
    words, last, figure = result.summary(), len(result), mock.ANY
    clearml = mock.Mock()
    log_result(result, service(ClearMLLogger, clearml_logger=clearml))
    mlflow = mock.Mock()
    log_result(result, service(MLflowLogger, service=mlflow))
    neptune = mock.MagicMock()
    log_result(result, service(NeptuneLogger, experiment=neptune))
    wandb = mock.Mock()
    log_result(result, service(WandBLogger, service=wandb))

    clearml.report_text.assert_called_once_with(f"lr_finder/summary\n{words}")
    mlflow.log_text.assert_called_once_with(words, "lr_finder/summary.txt")
    neptune.__setitem__.assert_called_once_with("lr_finder/summary", words)
    if num_points == 0:
        for unused in (
            clearml.report_matplotlib_figure,
            mlflow.log_figure,
            neptune.__getitem__,
            wandb.log,
        ):
            unused.assert_not_called()
        return
    clearml.report_matplotlib_figure.assert_called_once_with(
        title="lr_finder", series="curve", figure=figure, iteration=last
    )
    mlflow.log_figure.assert_called_once_with(figure, "lr_finder/curve.png")
    neptune.__getitem__.assert_called_once_with("lr_finder/curve")
    neptune["lr_finder/curve"].upload.assert_called_once_with(figure)
    wandb.Image.assert_called_once_with(figure, caption=words)
    wandb.log.assert_called_once_with({"lr_finder/curve": wandb.Image.return_value}, step=last)
    drawn = mlflow.log_figure.call_args.args[0]
    assert isinstance(drawn, Figure)
    legend = drawn.axes[0].get_legend()
    assert legend is not None
    assert f"suggested lr: {result.lr_suggestion():.2e}" in [t.get_text() for t in legend.texts]


def test_an_object_other_than_a_logger_is_refused() -> None:
    """TensorBoard's own writer, for example, has another interface."""
    with pytest.raises(TypeError, match="logger must be an Ignite logger, got 3"):
        log_result(result_of(LR, LOSSES), 3)  # type: ignore[arg-type]  # what it is about


def test_a_finder_stands_for_its_result(tmp_path: Path) -> None:
    """Anything else is refused."""
    finder = mock.Mock(result=result_of(LR, LOSSES))
    with TensorboardLogger(log_dir=tmp_path) as logger:
        log_result(finder, logger)
        with pytest.raises(TypeError, match="result must be a result or a finder, got 3"):
            log_result(3, logger)  # type: ignore[arg-type]  # what it is about
    assert any(tmp_path.iterdir())
