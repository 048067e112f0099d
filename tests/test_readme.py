"""The code of the README does what the README says."""

from pathlib import Path

import pytest
from pages import ROOT, blocks_of


def test_the_examples_of_the_readme_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first example trains at the rate that it finds, and the second verifies it by trials."""
    monkeypatch.chdir(tmp_path)
    example, verified = blocks_of(ROOT / "README.md", "python")
    names: dict = {}
    exec(example, names)
    assert (tmp_path / "lr_finder.png").stat().st_size > 0
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["trainer"].state.output < 1.0
    exec(verified, names)
    assert len(names["lr_finder"].result.trials) >= 5
