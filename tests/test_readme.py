"""The README's example does what the README says, and its links lead somewhere."""

import re
from pathlib import Path

import pytest
from pages import ROOT, run_page

README = ROOT / "README.md"


def test_the_example_of_the_readme_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints what the README shows, and trains at the suggested rate."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    run_page(README, names)
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["trainer"].state.output < 1.0


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    """Each relative link and image is a file of the repository."""
    targets = relative_links(README.read_text(encoding="utf-8"))
    assert len(targets) >= 10
    assert all((ROOT / target.partition("#")[0]).is_file() for target in targets)


def test_the_page_on_a_package_index_has_absolute_links_only() -> None:
    """The build replaces each relative link with a URL that ends in the same path."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    paths = relative_links(text)
    for rule in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert relative_links(text) == []
    homepage = project["project"]["urls"]["Homepage"].removeprefix("https://github.com")
    assert all(re.search(rf"https:[^\s)]*{homepage}[^\s)]*/{re.escape(p)}", text) for p in paths)


def relative_links(text: str) -> list[str]:
    """Return the targets of links and images that are not URLs."""
    targets = re.findall(r'(?:\]\(|src="|srcset=")([^)"\s]+)', text)
    return [target for target in targets if not re.match(r"[a-z]+:|#", target)]
