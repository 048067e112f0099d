"""Progress: one line with the current point, only where it is asked for."""

import sys
from collections.abc import Callable

import ignite.distributed as idist
import pytest
from conftest import Training

from ignite_lrfinder import FastaiLRFinder, StopReason, Trials

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]


def sweep(training: Training, **arguments: object) -> FastaiLRFinder:
    """Sweep with the bar."""
    finder = FastaiLRFinder()
    arguments = {"num_iter": 30, "end_lr": 10.0, "progress": True} | arguments
    with finder.attach(training.trainer, training.to_save, **arguments) as trainer:  # type: ignore[arg-type]  # any of them
        trainer.run(training.loader)
    return finder


def visible(text: str) -> list[str]:
    """Return the visible lines, after each carriage return has overwritten its line."""
    lines = [line.split("\r")[-1].strip() for line in text.split("\n")]
    return [line for line in lines if line]


def test_a_log_file_has_one_line(
    make_training: Callable[..., Training], capfd: pytest.CaptureFixture[str]
) -> None:
    """A log file gets the last point with its rate and loss, and no trials."""
    finder = sweep(make_training(), verify=Trials(max_iter=75, short_iter=10, long_iter=15))
    error = capfd.readouterr().err
    [line] = visible(error)
    result = finder.result
    n = len(result)
    assert line.startswith(f"LR range test: [{n}/{n}] 100%")
    assert f"lr={result.lr[-1, 0]:.3g}" in line
    assert f"loss={result.smoothed_losses[-1]:.3g}" in line


def test_a_terminal_shows_points_and_trials(
    make_training: Callable[..., Training],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All trials share one line, which is cleared; the sweep's line stays."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("ignite_lrfinder.sweep.progress._SECONDS_BETWEEN", -1.0)
    finder = sweep(make_training(), verify=Trials(max_iter=75, short_iter=10, long_iter=15))
    error = capfd.readouterr().err
    for point in range(1, len(finder.result) + 1):
        assert f"[{point}/30]" in error
    for index, trial in enumerate(finder.result.trials, start=1):
        assert f"Trial {index} of at most 6 at {trial.lr:.1e}: [{len(trial.losses)}/" in error
    [line] = visible(error)
    assert line.startswith("LR range test: [")


def test_a_sweep_that_ends_early_is_not_shown_as_complete(
    make_training: Callable[..., Training], capfd: pytest.CaptureFixture[str]
) -> None:
    """The total of the bar becomes the number of points."""
    finder = sweep(make_training("sgd-momentum"), num_iter=100, end_lr=1e6)
    assert finder.result.stop_reason is not StopReason.COMPLETED
    n = len(finder.result)
    assert f"[{n}/{n}]" in capfd.readouterr().err
    assert n < 100


def test_other_processes_and_quiet_sweeps_show_nothing(
    make_training: Callable[..., Training],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the first process shows a bar, and only if asked to."""
    sweep(make_training(), progress=False)
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    sweep(make_training())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_progress_does_not_change_the_result(make_training: Callable[..., Training]) -> None:
    """With and without a bar, the result is the same."""
    shown, quiet = sweep(make_training()), sweep(make_training(), progress=False)
    assert shown.result.to_dict() == quiet.result.to_dict()


def test_an_error_ends_the_line(
    make_training: Callable[..., Training], capfd: pytest.CaptureFixture[str]
) -> None:
    """After an exception, output begins on a new line."""
    training = make_training()

    def fail(output: object) -> float:
        if len(training.losses) == 9:
            raise ZeroDivisionError
        return 1.0

    with pytest.raises(ZeroDivisionError):
        sweep(training, output_transform=fail)
    error = capfd.readouterr().err
    assert "[8/8]" in error
    assert error.rstrip(" \r").endswith("\n")


def test_without_tqdm_nothing_changes(
    make_training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before the block, and says what to install."""
    training = make_training()
    monkeypatch.setitem(sys.modules, "tqdm.autonotebook", None)
    with pytest.raises(ModuleNotFoundError, match="tqdm"):
        sweep(training)
    assert not training.losses
    monkeypatch.undo()
    sweep(training)


def test_progress_that_is_not_a_bool_is_refused(make_training: Callable[..., Training]) -> None:
    """The message has a remedy."""
    with pytest.raises(TypeError, match=r"progress must be True or False, got 1\. Pass"):
        sweep(make_training(), progress=1)
