"""The notebooks are stored without outputs, and executing them in CI fails where it should."""

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import run_python

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
DIGITS = """
from torchvision.datasets import MNIST
data = [MNIST('data', train=train, download=True) for train in (True, False)]
[[len(part), part[0][0].size, set(part.targets.tolist())] for part in data]
"""


def notebook_of(*cells: str, execution_count: int | None = None) -> dict:
    """Return a notebook with some cells of code."""
    code = [
        {
            "cell_type": "code",
            "execution_count": execution_count,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    return {"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class Executed(NamedTuple):
    """What came of executing two notebooks in a folder."""

    done: subprocess.CompletedProcess[str]
    folder: Path


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Execute a notebook that fails in its second cell, and one stored with its execution."""
    for module in ("nbclient", "ipykernel", "sklearn", "torchvision"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is optional")
    folder = tmp_path_factory.mktemp("notebooks")
    notebooks = {
        "failing": notebook_of(DIGITS, "1 / 0"),
        "stored": notebook_of("1 + 1", execution_count=1),
    }
    paths = [folder / f"{name}.ipynb" for name in notebooks]
    for path, notebook in zip(paths, notebooks.values(), strict=True):
        path.write_text(json.dumps(notebook), encoding="utf-8")
    done = run_python(NOTEBOOKS / "execute.py", *paths, "--output", folder / "executed")
    return Executed(done, folder)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    """No cell has an output or an execution count."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_the_exit_status_is_the_number_of_notebooks_that_failed(executed: Executed) -> None:
    """Here it is both."""
    assert executed.done.returncode == 2, executed.done.stdout + executed.done.stderr


def test_an_error_in_a_cell_is_printed(executed: Executed) -> None:
    """The message names the notebook and the error."""
    assert "failing.ipynb" in executed.done.stdout
    assert "ZeroDivisionError" in executed.done.stdout


def test_a_notebook_stored_with_its_execution_is_refused(executed: Executed) -> None:
    """The message names the cell, and the notebook is not executed."""
    assert "stored.ipynb: cell 0 is stored with outputs" in executed.done.stdout
    assert [path.name for path in (executed.folder / "executed").iterdir()] == ["failing.ipynb"]


def test_a_notebook_reads_the_digits_through_torchvision(executed: Executed) -> None:
    """MNIST's class reads the digits from the folder of the run, and no other file is written."""
    copy = json.loads((executed.folder / "executed" / "failing.ipynb").read_text("utf-8"))
    (output,) = copy["cells"][0]["outputs"]
    assert eval("".join(output["data"]["text/plain"])) == [
        [1437, (28, 28), set(range(10))],
        [360, (28, 28), set(range(10))],
    ]
    names = {path.name for path in executed.folder.iterdir()}
    assert names == {"executed", "failing.ipynb", "stored.ipynb"}
