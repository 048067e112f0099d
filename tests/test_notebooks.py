"""The notebooks are stored clean, and what executes them in CI fails where it should."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def notebook_of(code: str, *, execution_count: int | None = None) -> dict:
    """Return a notebook with one cell."""
    cell = {
        "cell_type": "code",
        "execution_count": execution_count,
        "id": "only",
        "metadata": {},
        "outputs": [],
        "source": code,
    }
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def execute(folder: Path, notebook: dict) -> subprocess.CompletedProcess[str]:
    """Execute a notebook as CI does, and keep the executed copy in the folder `executed`."""
    for module in ("nbclient", "ipykernel", "sklearn"):
        pytest.importorskip(module, reason="executing notebooks is optional")
    path = folder / "notebook.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, NOTEBOOKS / "execute.py", path, "--output", folder / "executed"]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    """No cell holds an output or the number of its execution."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_an_error_in_a_cell_fails(tmp_path: Path) -> None:
    """The exit status and the message tell of it."""
    done = execute(tmp_path, notebook_of("1 / 0"))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout


def test_a_notebook_stored_with_its_execution_is_refused(tmp_path: Path) -> None:
    """It is not even executed."""
    done = execute(tmp_path, notebook_of("1 + 1", execution_count=1))
    assert done.returncode == 1
    assert "cell 0 is stored with outputs" in done.stdout
    assert not (tmp_path / "executed").exists()


def test_a_notebook_reads_the_digits_through_torchvision(tmp_path: Path) -> None:
    """Where MNIST is asked for, its classes come back, and nothing is left beside the notebook."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is optional")
    code = (
        "from torchvision.datasets import MNIST\n"
        "data = [MNIST('data', train=train, download=True) for train in (True, False)]\n"
        "[[len(part), part[0][0].size, set(part.targets.tolist())] for part in data]"
    )
    done = execute(tmp_path, notebook_of(code))
    assert done.returncode == 0, done.stdout + done.stderr
    executed = json.loads((tmp_path / "executed" / "notebook.ipynb").read_text(encoding="utf-8"))
    (output,) = executed["cells"][0]["outputs"]
    assert eval("".join(output["data"]["text/plain"])) == [
        [1437, (28, 28), set(range(10))],
        [360, (28, 28), set(range(10))],
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"executed", "notebook.ipynb"}
