"""The code on each how-to page runs from nothing, in order, and ends as the page says."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ignite_lrfinder import StopReason

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path for path in sorted((ROOT / "docs" / "howto").glob("*.md"))}


def blocks_of(page: Path, info: str) -> list[str]:
    """Return the code blocks of a page that are marked with exactly these words."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{info}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def links_of(page: Path) -> list[Path]:
    """Return the files that a page links to."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    return [(page.parent / target).resolve() for target in targets]


def check_validation_loss(names: dict) -> None:
    """The trials end, and the training at the suggested rate beats guessing one of five classes."""
    assert len(names["lr_finder"].result.trials) >= 3
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["evaluator"].state.metrics["accuracy"] > 0.8


def check_accumulation(names: dict) -> None:
    """The scaler has its scale again, and the sweep a suggestion."""
    assert names["scaler"].get_scale() == 1024.0
    assert 1e-3 < names["lr_finder"].lr_suggestion() < 1.0


def check_parameter_groups(names: dict) -> None:
    """The groups keep their ratio when swept together, and the frozen one stays at 0."""
    body, head = (group["lr"] for group in names["optimizer"].param_groups)
    assert head == pytest.approx(10 * body)
    assert names["lr_finder"].lr_suggestion()[0] == 0.0
    assert names["lr_finder"].lr_suggestion()[1] > 1e-3


def check_several_optimizers(names: dict) -> None:
    """The swept optimizer has the suggested rate, the other its own."""
    suggestion = names["lr_finder"].lr_suggestion()
    assert 1e-4 < suggestion < 1.0
    assert names["d_optimizer"].param_groups[0]["lr"] == suggestion
    assert names["g_optimizer"].param_groups[0]["lr"] == 1e-3


def check_optimizers(names: dict) -> None:
    """The hand-written optimizer is as it was before its sweep."""
    assert names["optimizer"].param_groups[0]["lr"] == 1e-4
    assert all(not v.any() for v in names["optimizer"].velocity)


def check_schedulers(names: dict) -> None:
    """The bounds are in order, a decay peaks above a constant rate, and the scheduler follows."""
    assert names["min_lr"] < names["max_lr"]
    assert names["peak"] > names["lr_finder"].lr_suggestion()
    assert names["lr_scheduler"].base_lrs == [names["peak"]]
    assert names["trainer"].state.output < 0.8
    assert names["piecewise"].optimizer is names["one_cycle"].optimizer is names["cyclic"].optimizer


def check_data(names: dict) -> None:
    """The last sweep, over dicts, ended at the edge and has a suggestion."""
    assert names["lr_finder"].result.stop_reason is StopReason.DIVERGED
    assert 1e-3 < names["lr_finder"].lr_suggestion() < 1.0


def check_other_trainers(names: dict) -> None:
    """The handler's steps were the points, and what they did was undone."""
    assert len(names["lr_finder"].result) > 50
    assert names["optimizer"].param_groups[0]["lr"] == 1e-5


def check_distributed(names: dict) -> None:
    """The page has no code that one process could run."""
    assert not names.keys() - {"__name__", "__builtins__"}


def check_during_training(names: dict) -> None:
    """Both epochs have a result, the layers are thawed, and the last rate is the one applied."""
    assert list(names["at_epochs"].results) == [1, 3]
    assert all(parameter.requires_grad for parameter in names["model"].parameters())
    assert 1e-3 < names["optimizer"].param_groups[0]["lr"] < 1.0
    assert names["trainer"].state.output < 0.5


CHECKS: dict[str, Callable[[dict], None]] = {
    "accumulation_and_mixed_precision": check_accumulation,
    "data": check_data,
    "distributed": check_distributed,
    "during_training": check_during_training,
    "optimizers": check_optimizers,
    "other_trainers": check_other_trainers,
    "parameter_groups": check_parameter_groups,
    "schedulers": check_schedulers,
    "several_optimizers": check_several_optimizers,
    "validation_loss": check_validation_loss,
}


def test_every_page_is_run_here() -> None:
    """No page is left unchecked, and no check is left without its page."""
    assert PAGES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs_in_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From nothing, each block runs after the one before; the page prints, and ends as it says."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "howto"}
    blocks = blocks_of(PAGES[name], "python")
    for block in blocks:
        exec(compile(block, str(PAGES[name]), "exec"), names)
    CHECKS[name](names)
    assert bool(capsys.readouterr().out) == bool(blocks)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_is_there(name: str) -> None:
    """Each link of a page leads to a file."""
    assert all(path.is_file() for path in links_of(PAGES[name]))


@pytest.mark.parametrize(
    "name", [name for name, page in PAGES.items() if blocks_of(page, "python no-run")]
)
def test_code_that_is_not_run_is_that_of_an_example(name: str) -> None:
    """Every line of it stands, in this order, in an example that the page links to."""
    linked = links_of(PAGES[name])
    examples = [path.read_text(encoding="utf-8") for path in linked if path.suffix == ".py"]
    for block in blocks_of(PAGES[name], "python no-run"):
        assert any(is_in_order(lines_of(block), lines_of(example)) for example in examples)


def lines_of(code: str) -> list[str]:
    """Return the lines of code that are not empty, without their indentation."""
    return [line.strip() for line in code.splitlines() if line.strip()]


def is_in_order(part: list[str], whole: list[str]) -> bool:
    """Tell whether one list can be made of another by leaving items out."""
    rest = iter(whole)
    return all(line in rest for line in part)
