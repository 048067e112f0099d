"""The code of each how-to page runs from scratch, in order, and ends as the page says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pages import DOCS, blocks_of, links_of, run_page

from ignite_lrfinder import StopReason

PAGES = {path.stem: path for path in sorted((DOCS / "howto").glob("*.md"))}


def check_validation_loss(names: dict) -> None:
    """The trials ran, and training at the suggested rate beats chance, one of five classes."""
    assert len(names["lr_finder"].result.trials) >= 3
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["evaluator"].state.metrics["accuracy"] > 0.8


def check_accumulation(names: dict) -> None:
    """The scale of the scaler is restored, and the sweep has a suggestion."""
    assert names["scaler"].get_scale() == 1024.0
    assert 1e-3 < names["lr_finder"].lr_suggestion() < 1.0


def check_parameter_groups(names: dict) -> None:
    """Groups swept together keep their ratio, and a frozen group stays at 0."""
    body, head = (group["lr"] for group in names["optimizer"].param_groups)
    assert head == pytest.approx(10 * body)
    assert names["lr_finder"].lr_suggestion()[0] == 0.0
    assert names["lr_finder"].lr_suggestion()[1] > 1e-3


def check_several_optimizers(names: dict) -> None:
    """The swept optimizer has the suggested rate, the other optimizer its previous one."""
    suggestion = names["lr_finder"].lr_suggestion()
    assert 1e-4 < suggestion < 1.0
    assert names["d_optimizer"].param_groups[0]["lr"] == suggestion
    assert names["g_optimizer"].param_groups[0]["lr"] == 1e-3


def check_optimizers(names: dict) -> None:
    """The hand-written optimizer is unchanged by its sweep."""
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
    """The last sweep, over dicts, diverged and has a suggestion."""
    assert names["lr_finder"].result.stop_reason is StopReason.DIVERGED
    assert 1e-3 < names["lr_finder"].lr_suggestion() < 1.0


def check_other_trainers(names: dict) -> None:
    """The steps of the handler were the points, and were undone."""
    assert len(names["lr_finder"].result) > 50
    assert names["optimizer"].param_groups[0]["lr"] == 1e-5


def check_distributed(names: dict) -> None:
    """The page has no code for a single process."""
    assert not names.keys() - {"__name__", "__builtins__"}


def check_during_training(names: dict) -> None:
    """Both epochs have a result, the layers are unfrozen, and the last rate was applied."""
    assert list(names["at_epochs"].results) == [1, 3]
    assert all(parameter.requires_grad for parameter in names["model"].parameters())
    assert 1e-3 < names["optimizer"].param_groups[0]["lr"] < 1.0
    assert names["trainer"].state.output < 0.5


def check_reinforcement_learning(names: dict) -> None:
    """The buffers are as before the sweeps: the episode's empty, the replay without their steps."""
    assert names["rewards"] == names["log_probs"] == []
    assert len(names["replay"]) == 200
    assert 1e-3 < names["lr_finder"].lr_suggestion() < 1.0


def check_validation_at_start(names: dict) -> None:
    """Trials ran, and the training afterwards learns at the suggested rate."""
    assert len(names["lr_finder"].result.trials) >= 3
    assert names["evaluator"].state.metrics["loss"] < 0.1
    assert names["trainer"].state.epoch == 2


def check_which_handlers_run(names: dict) -> None:
    """The handler that prepares has run once per epoch; the muted ones have not."""
    assert names["calls"] == {"set_temperature": 3, "warm_up": 0, "report": 0}


CHECKS: dict[str, Callable[[dict], None]] = {
    "accumulation_and_mixed_precision": check_accumulation,
    "data": check_data,
    "distributed": check_distributed,
    "during_training": check_during_training,
    "optimizers": check_optimizers,
    "other_trainers": check_other_trainers,
    "parameter_groups": check_parameter_groups,
    "reinforcement_learning": check_reinforcement_learning,
    "schedulers": check_schedulers,
    "several_optimizers": check_several_optimizers,
    "validation_at_start": check_validation_at_start,
    "validation_loss": check_validation_loss,
    "which_handlers_run": check_which_handlers_run,
}


def test_every_page_has_a_check() -> None:
    """Each page has a check of what its code ends with, and each check a page."""
    assert PAGES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs_in_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block runs after the one before and prints what is shown; the page ends as it says."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "howto"}
    run_page(PAGES[name], names)
    CHECKS[name](names)
    assert bool(blocks_of(PAGES[name], "text")) == bool(blocks_of(PAGES[name], "python"))


@pytest.mark.parametrize(
    "name", [name for name, page in PAGES.items() if blocks_of(page, "python no-run")]
)
def test_code_that_is_not_run_is_taken_from_an_example(name: str) -> None:
    """Its lines are, in this order, in an example that the page links to."""
    linked = links_of(PAGES[name])
    examples = [path.read_text(encoding="utf-8") for path in linked if path.suffix == ".py"]
    for block in blocks_of(PAGES[name], "python no-run"):
        assert any(is_in_order(lines_of(block), lines_of(example)) for example in examples)


def lines_of(code: str) -> list[str]:
    """Return the non-empty lines of code without their indentation."""
    return [line.strip() for line in code.splitlines() if line.strip()]


def is_in_order(part: list[str], whole: list[str]) -> bool:
    """Return whether one list is a subsequence of another."""
    rest = iter(whole)
    return all(line in rest for line in part)
