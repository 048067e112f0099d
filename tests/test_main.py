"""The command line prints a saved result and draws it."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from strategies import result_of, u_shape

from ignite_lrfinder import LRFinderResult
from ignite_lrfinder.__main__ import main

LR = np.geomspace(1e-7, 10.0, 100)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a file with a result."""
    path = tmp_path / "sweep.json"
    result_of(LR, u_shape(np.log10(LR), fall_at=-3.0, cliff_at=-0.5)).save(path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run the command line."""
    monkeypatch.setattr(sys, "argv", ["ignite_lrfinder", *map(str, arguments)])
    main()


def test_a_saved_result_is_printed(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is the summary for the given plan."""
    run(monkeypatch, saved)
    assert capsys.readouterr().out == f"{LRFinderResult.load(saved).summary()}\n"
    run(monkeypatch, saved, "--schedule", "decay", "--total-iters", 900)
    assert "for the peak of a rate that decays" in capsys.readouterr().out


def test_plot_and_page_are_for_the_given_plan(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page has the suggestion that is printed."""
    page = saved.with_suffix(".html")
    run(monkeypatch, saved, "--schedule", "decay", "--html", page)
    lr = LRFinderResult.load(saved).lr_suggestion(schedule="decay")
    suggested = f"Suggested learning rate: {lr:.2e}, for the peak"
    assert suggested in capsys.readouterr().out
    assert suggested in page.read_text(encoding="utf-8")


def test_a_result_without_points_is_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command exits with an error that says so."""
    path, none = tmp_path / "empty.json", np.empty(0)
    result = result_of(LR, LR)
    dataclasses.replace(result, lr=none[:, None], losses=none, smoothed_losses=none).save(path)
    with pytest.raises(SystemExit):
        run(monkeypatch, path, "--plot", tmp_path / "empty.png")
    assert "must have points to be drawn" in capsys.readouterr().err


def test_a_saved_result_is_drawn(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plot is a PNG, and the page contains it."""
    plot, page = saved.with_suffix(".png"), saved.with_suffix(".html")
    run(monkeypatch, saved, "--plot", plot, "--html", page)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [None, "{}"], ids=["missing", "not-a-result"])
def test_a_file_without_a_result_is_a_clear_error(
    text: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command exits with an error that names the file."""
    path = tmp_path / "other.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit):
        run(monkeypatch, path)
    assert "other.json" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "name"), [("--plot", "no/c.png"), ("--html", "no/c.html")])
def test_a_file_that_cannot_be_written_is_a_clear_error(
    option: str,
    name: str,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command exits with an error that names the file, without a traceback."""
    with pytest.raises(SystemExit):
        run(monkeypatch, saved, option, saved.parent / name)
    assert f"error: [Errno 2] No such file or directory: '{saved.parent / name}'" in (
        capsys.readouterr().err
    )
