"""The pages of the documentation are true: code runs, links and names lead somewhere."""

import importlib.util
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import Training
from pages import DOCS, ROOT, blocks_of, links_of, run_blocks

from ignite_lrfinder import FastaiLRFinder, NoSuggestionError, StopReason

PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts]
WITH_CODE = [path.stem for path in PAGES if path.parent == DOCS and blocks_of(path, "python")]


def check_front_page(names: dict) -> None:
    """The plot is there, and the training used the suggested rate."""
    assert Path("lr_finder.png").stat().st_size > 0
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["trainer"].state.epoch == 3


def check_coming_from(names: dict) -> None:
    """The loop, made a function, trains."""
    x, y = torch.randn(32, 6), torch.zeros(32, dtype=torch.long)
    losses = [names["trainer"].run([(x, y)], max_epochs=n).output for n in (1, 20)]
    assert losses[1] < losses[0]


def check_logging(names: dict) -> None:
    """The saved result is loaded again, and each point is a row of the table."""
    assert names["again"].losses.tolist() == names["result"].losses.tolist()
    assert len(Path("sweep.csv").read_text().splitlines()) == len(names["result"]) + 1
    assert any(Path("runs").iterdir())


def check_restored(names: dict) -> None:
    """Both trainings end with the same weights, which differ from the initial ones."""
    without, found = names["without"], names["found"]
    assert all(torch.equal(without[name], found[name]) for name in without)
    torch.manual_seed(0)
    assert not torch.equal(found["0.bias"], torch.nn.Linear(20, 64).bias)


def check_tutorial(names: dict) -> None:
    """The numbers are as the text says, and the peak of a decay is above the constant rate."""
    assert names["accuracy_guessed"] < 0.5
    assert names["accuracy_suggested"] > 0.9
    assert len(names["lr_finder"].result.trials) >= 5
    assert names["peak"] > names["constant"]
    assert Path("trials.png").stat().st_size > 0


CHECKS: dict[str, Callable[[dict], None]] = {
    "coming_from": check_coming_from,
    "index": check_front_page,
    "logging": check_logging,
    "restored": check_restored,
    "tutorial": check_tutorial,
}


def given(make_training: Callable[..., Training]) -> dict[str, object]:
    """Make what a page assumes: a model, an optimizer, a trainer, a loader."""
    training = make_training("sgd-momentum")
    return {
        "model": training.model,
        "optimizer": training.optimizer,
        "trainer": training.trainer,
        "train_loader": training.loader,
        "criterion": torch.nn.CrossEntropyLoss(),
    }


def test_every_page_with_code_has_a_check() -> None:
    """Each page with code has a check of what the code ends with, and each check a page."""
    assert sorted(WITH_CODE) == sorted(CHECKS)


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs_in_order(
    name: str,
    make_training: Callable[..., Training],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each block runs after the one before, and the page ends as it says."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "docs", **given(make_training)}
    run_blocks(DOCS / f"{name}.md", names)
    CHECKS[name](names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_all_python_of_a_page_is_run_by_tests(page: Path) -> None:
    """No block of Python has another mark; code that is not run is on a how-to page."""
    opened = re.findall(r"^`{3,}(py.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    allowed = {"python", "python no-run"} if page.parent.name == "howto" else {"python"}
    assert set(opened) <= allowed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Each link and picture leads to a file, and each anchor to a heading of the file."""
    assert all(path.is_file() for path in links_of(page))
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", text):
        other = (page.parent / target).resolve() if target else page
        assert anchor in anchors_of(other), f"{target}#{anchor}"


def anchors_of(page: Path) -> list[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("folder", ["docs", "ignite_lrfinder"])
def test_dotted_names_of_the_package_exist(folder: str) -> None:
    """Each module, class and function named in full, in prose as in code, can be imported."""
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".md", ".py")]
    texts = [path.read_text("utf-8") for path in files if "_build" not in path.parts]
    names = {name for text in texts for name in re.findall(r"ignite_lrfinder(?:\.\w+)+", text)}
    assert len(names) > 5
    for name in names:
        pkgutil.resolve_name(name)


def test_every_page_is_in_the_table_of_contents() -> None:
    """Each page is listed by another one."""
    listed = {DOCS / "index.md"}
    for page in PAGES:
        toctrees = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        entries = [line for tree in toctrees for line in tree.split() if not line.startswith(":")]
        listed |= {DOCS / f"{entry}.md" for entry in entries}
    assert set(PAGES) <= listed


def test_the_benchmark_tables_of_the_readme_and_the_docs_are_equal() -> None:
    """Each row is on both pages."""
    in_readme, on_page = (
        re.findall(r"^\|.* of \d+ \|.*$", path.read_text("utf-8"), re.MULTILINE)
        for path in (ROOT / "README.md", DOCS / "benchmarks.md")
    )
    assert len(on_page) >= 7
    assert in_readme == on_page


def test_a_table_included_from_the_readme_is_found() -> None:
    """The differences from Ignite's class stand between the words that the page names."""
    text = (DOCS / "coming_from.md").read_text("utf-8")
    start, end = re.findall(r'^:(?:start-after|end-before): "(.*)"$', text, re.MULTILINE)
    included = (ROOT / "README.md").read_text("utf-8").split(start)[1].split(end)[0]
    assert included.count("\n| ") >= 10
    assert "`num_iter + 1`" in included


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    """Import the script that draws the curves of "Reading the curve"."""
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def suggestion_of(lr_finder: FastaiLRFinder) -> float | str:
    """Return the suggestion, or why there is none."""
    try:
        suggestion = lr_finder.lr_suggestion()
    except NoSuggestionError as error:
        return str(error)
    assert isinstance(suggestion, float)
    return suggestion


@pytest.mark.parametrize(
    ("name", "stop_reason", "expected"),
    [
        ("good", StopReason.DIVERGED, (0.02, 0.2)),
        ("noisy", StopReason.DIVERGED, (0.003, 0.2)),
        ("noisy_slow", StopReason.DIVERGED, (0.005, 0.1)),
        ("flat", StopReason.COMPLETED, "flat"),
        ("not_diverging", StopReason.COMPLETED, (0.005, 0.03)),
        ("rising", StopReason.DIVERGED, "only rises"),
        ("nan", StopReason.NON_FINITE, (0.02, 0.2)),
        ("verified", StopReason.DIVERGED, (0.005, 0.1)),
    ],
)
def test_a_curve_is_as_the_page_describes_it(
    name: str,
    stop_reason: StopReason,
    expected: tuple[float, float] | str,
    figures: ModuleType,
    tmp_path: Path,
) -> None:
    """The figure is drawn, and the stop reason and suggestion or refusal are those described."""
    lr_finder = figures.draw(name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"curve_{name}.png"]
    assert (DOCS / "images" / f"curve_{name}.png").is_file()
    assert lr_finder.result.stop_reason is stop_reason
    suggestion = suggestion_of(lr_finder)
    if isinstance(expected, str):
        assert isinstance(suggestion, str)
        assert f"The curve {expected}" in suggestion.replace("is flat", "flat")
    else:
        assert isinstance(suggestion, float)
        assert expected[0] < suggestion < expected[1]


def test_the_page_shows_every_curve(figures: ModuleType) -> None:
    """The page shows each curve of the script, and no other."""
    shown = re.findall(r"\(images/curve_(\w+)\.png\)", (DOCS / "reading.md").read_text("utf-8"))
    assert sorted(shown) == sorted(figures.SWEEPS)
