"""The README's example does what the README says."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_example_of_the_readme_trains_at_the_rate_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as it stands, the example draws its plot and leaves the suggestion in the optimizer."""
    monkeypatch.chdir(tmp_path)
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert (tmp_path / "lr_finder.png").stat().st_size > 0
    assert names["optimizer"].param_groups[0]["lr"] == names["lr_finder"].lr_suggestion()
    assert names["trainer"].state.output < 1.0
