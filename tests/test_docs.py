"""The pages of the documentation are true: code runs, links and names lead somewhere."""

import ast
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Training
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from pages import DOCS, ROOT, blocks_of, links_of, module_of, outputs, run_page
from PIL import Image

import ignite_lrfinder
from ignite_lrfinder import LRFinderResult, NoSuggestionError, StopReason

PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts]
WITH_CODE = [path.stem for path in PAGES if path.parent == DOCS and blocks_of(path, "python")]


def check_coming_from(names: dict) -> None:
    """The loop, made a function, trains."""
    x, y = torch.randn(32, 6), torch.zeros(32, dtype=torch.long)
    losses = [names["trainer"].run([(x, y)], max_epochs=n).output for n in (1, 20)]
    assert losses[1] < losses[0]


def check_faq(names: dict) -> None:
    """The plain loop has a suggestion."""
    assert 1e-4 < names["result"].lr_suggestion() < 1.0


def check_gallery(names: dict) -> None:
    """The sweep of the page has a suggestion; its figures are closed here."""
    assert 1e-3 < names["result"].lr_suggestion() < 1.0
    names["plt"].close("all")


def check_install(names: dict) -> None:
    """The version that the page prints is that of the package."""
    assert names["ignite_lrfinder"].__version__ in (DOCS / "install.md").read_text("utf-8")


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
    assert len(names["lr_finder"].result.trials) >= 3
    assert names["peak"] > names["constant"]
    assert Path("trials.png").stat().st_size > 0


CHECKS: dict[str, Callable[[dict], None]] = {
    "coming_from": check_coming_from,
    "faq": check_faq,
    "gallery": check_gallery,
    "install": check_install,
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
    run_page(DOCS / f"{name}.md", names)
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


def test_the_front_page_includes_the_example_of_the_readme() -> None:
    """The code and its output lie between the headings that the page names."""
    text = (DOCS / "index.md").read_text("utf-8")
    start, end = re.findall(r'^:(?:start-after|end-before): "(.*)"$', text, re.MULTILINE)
    included = (ROOT / "README.md").read_text("utf-8").split(start)[1].split(end)[0]
    assert "```python" in included
    assert "```text" in included


def test_the_table_of_the_api_has_every_public_name() -> None:
    """Each name is in the first column, and its page documents it."""
    text = (DOCS / "api.md").read_text("utf-8")
    pages = dict(re.findall(r"^\| \[`(\w+)`\]\((\S+)\) \|", text, re.MULTILINE))
    assert sorted(pages) == sorted(ignite_lrfinder.__all__)
    for name, page in pages.items():
        assert f":: ignite_lrfinder.{name}\n" in (DOCS / page).read_text("utf-8")


def test_the_faq_quotes_messages_of_the_package() -> None:
    """Each heading below "Warnings" and "Errors" is part of a text in the package's code."""
    faq = (DOCS / "faq.md").read_text("utf-8").split("## Questions")[0]
    quoted = re.findall(r"^### (.*)$", faq, re.MULTILINE)
    assert len(quoted) >= 10
    texts = list(texts_of_the_package())
    missing = [heading for heading in quoted if not any(heading in text for text in texts)]
    # The shape of a curve, its loss and its noise are filled in.
    assert missing == ["The curve is flat", "The curve only rises"]
    assert {"is flat", "only rises"} <= set(texts)


def texts_of_the_package() -> Iterator[str]:
    """Return the strings in the package's code, without what is filled in."""
    for path in (ROOT / "ignite_lrfinder").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(getattr(part, "value", "")) for part in node.values)


figures = module_of("figures")


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("lr: 1.00e-02, 88 of 100\n", "lr: 1.10e-02,  90 of 100\n", True),
        ("lr: 1.00e-02\n", "lr: 2.00e-02\n", False),
        ("lr: 1.00e-02\n", "rate: 1.00e-02\n", False),
        ("", "lr: 1.00e-02\n", False),
    ],
    ids=["rounding", "number", "word", "missing"],
)
def test_an_output_is_compared_by_words_and_roughly_by_numbers(
    shown: str, printed: str, expected: bool
) -> None:
    """Another machine may round differently; anything else is a difference."""
    assert outputs.is_close(shown, printed) is expected


def suggestion_of(result: LRFinderResult) -> float | str:
    """Return the suggestion, or why there is none."""
    try:
        suggestion = result.lr_suggestion()
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
    tmp_path: Path,
) -> None:
    """The figure is drawn, and the stop reason and suggestion or refusal are those described."""
    result = figures.draw_curve(name, tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == [f"curve_{name}-dark.png", f"curve_{name}.png"]
    check_pictures(tmp_path)
    assert result.stop_reason is stop_reason
    suggestion = suggestion_of(result)
    if isinstance(expected, str):
        assert isinstance(suggestion, str)
        assert f"The curve {expected}" in suggestion.replace("is flat", "flat")
    else:
        assert isinstance(suggestion, float)
        assert expected[0] < suggestion < expected[1]


def test_every_picture_is_used_and_has_a_dark_version() -> None:
    """README.md or a page shows each picture, and no picture is missing."""
    pages = [ROOT / "README.md", *PAGES]
    text = "".join(page.read_text("utf-8") for page in pages)
    shown = set(re.findall(r"images/(\w+)\.png", text))
    drawn = {path.stem for path in (DOCS / "images").glob("*.png")}
    plain = {name for name in drawn if not name.endswith("-dark")}
    assert shown == plain
    assert drawn - plain == {f"{name}-dark" for name in plain}


def check_pictures(drawn: Path) -> None:
    """Check that the documentation's pictures show what has just been drawn."""
    for path in drawn.glob("*.png"):
        stored, new = description_of(DOCS / "images" / path.name), description_of(path)
        assert outputs.is_close(stored, new), (
            f"{path.name} must show what the code draws now. Run `python docs/figures.py`.\n"
            f"shown:\n{stored}\ndrawn:\n{new}"
        )


def description_of(picture: Path) -> str:
    """Return what a picture says that it shows."""
    with Image.open(picture) as image:
        return image.info.get("Description", "")


@pytest.mark.parametrize("name", ["digits", "regret"])
def test_a_picture_is_as_new_as_the_code_that_draws_it(name: str, tmp_path: Path) -> None:
    """Drawn again it has the same lines, colors and words; the curves are compared above."""
    figures.PICTURES[name](tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 2
    check_pictures(tmp_path)


@pytest.mark.parametrize(("page", "num_pictures"), [("gallery", 8), ("tutorial", 2)])
def test_the_pictures_of_a_page_are_as_new_as_its_code(
    page: str, num_pictures: int, tmp_path: Path
) -> None:
    """Drawn again they have the same lines, colors and words."""
    figures.draw_page(page, tmp_path, {"": figures.STYLES[""]})
    assert len(list(tmp_path.glob("*.png"))) == num_pictures
    check_pictures(tmp_path)


def test_the_dark_version_of_the_benchmark_is_as_new_as_the_light_one(tmp_path: Path) -> None:
    """Made again from the light one it has the same pixels."""
    figures.draw_trust(tmp_path)
    stored, new = (plt.imread(folder / "trust-dark.png") for folder in (DOCS / "images", tmp_path))
    np.testing.assert_array_equal(stored, new)


@pytest.mark.parametrize(
    "change",
    [
        lambda ax: ax.lines[0].set_color("C3"),
        lambda ax: ax.lines[0].set_linewidth(4),
        lambda ax: ax.lines[0].set_label("lr: 3.00e-01"),
        lambda ax: ax.set_xscale("log"),
        lambda ax: ax.axvline(1.0),
        lambda ax: ax.figure.set_size_inches(9, 3),
    ],
    ids=["color", "width", "number", "scale", "mark", "size"],
)
def test_a_changed_picture_has_another_description(change: Callable[[Axes], object]) -> None:
    """Each change that a reader can see is one."""
    figure, ax = plt.subplots(figsize=(4, 3))
    ax.plot([1, 2], [3, 4], color="C0", linewidth=1, label="lr: 1.00e-01")
    before = figures.describe(figure)
    assert outputs.is_close(before, figures.describe(figure))
    change(ax)
    assert not outputs.is_close(before, figures.describe(figure))
    plt.close(figure)


def test_the_points_of_the_regret_are_those_of_the_table() -> None:
    """Each finder of the table is a point at its mean, and a line from there to its worst.

    The grid search is a line at its mean.
    """
    rows = list(figures.regret_rows())
    assert len(rows) >= 14
    *points_of, (searched, _, lines_of) = rows
    assert searched == "grid search"
    assert sum(name.startswith("ours") for name, *_ in rows) == 4
    figure = figures.regret_over_iterations(rows)
    for k, ax in enumerate(figure.axes):
        points = [xy for line in ax.lines[1::2] for xy in line.get_xydata().tolist()]
        expected = [[max(n, figures.NO_ITERATIONS), values[k][0]] for _, n, values in points_of]
        assert sorted(points) == sorted(expected)
        ends = [segment[-1, 1] for part in ax.collections for segment in part.get_segments()]
        assert sorted(ends) == sorted(values[k][1] for *_, values in points_of)
        assert set(ax.lines[-1].get_ydata()) == {lines_of[k][0]}
    plt.close(figure)


def test_the_page_shows_every_curve() -> None:
    """The page shows each curve of the script, and no other."""
    shown = re.findall(r"\(images/curve_(\w+)\.png\)", (DOCS / "reading.md").read_text("utf-8"))
    assert sorted(shown) == sorted(figures.SWEEPS)
