"""The README's example does what the README says."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_examples_of_the_readme_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as they stand, one trains at the rate it found, and the next verifies it by trials."""
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    example, verified = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert (tmp_path / "lr_finder.png").stat().st_size > 0
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["trainer"].state.output < 1.0
    exec(verified, names)
    assert len(names["lr_finder"].result.trials) >= 5
