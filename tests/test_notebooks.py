"""The notebooks are stored with the outputs of one execution, and executing them fails clearly."""

import ast
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from processes import run_python

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
SHOWS = {"print", "display", "plot", "plot_results", "plot_trials"}
MNIST = """
from torchvision.datasets import MNIST
data = [MNIST('data', train=train, download=True) for train in (True, False)]
[[len(part), part[0][0].size, part.targets.bincount().tolist()] for part in data]
"""
DRAWS = """
from matplotlib import pyplot as plt
plt.plot([1, 2]);
"""


def code_cells(path: Path) -> list[dict[str, Any]]:
    """Return the code cells of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def shows_something(cells: list[dict[str, Any]]) -> list[bool]:
    """Return for each cell whether it prints or draws, itself or by a function of the notebook."""
    # The lines of IPython alone are no Python.
    trees = [
        ast.parse(re.sub(r"^( *)%.*", r"\1pass", "".join(c["source"]), flags=re.M)) for c in cells
    ]
    names = set(SHOWS)
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and calls(node) & SHOWS:
                names.add(node.name)
    definitions = (ast.FunctionDef, ast.ClassDef)
    return [
        any(calls(node) & names for node in tree.body if not isinstance(node, definitions))
        for tree in trees
    ]


def calls(node: ast.AST) -> set[str]:
    """Return the names of the functions and methods that are called."""
    functions = [child.func for child in ast.walk(node) if isinstance(child, ast.Call)]
    return {
        function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        for function in functions
    }


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_executed_once_from_top_to_bottom(path: Path) -> None:
    """Counts are in order, each cell that prints or draws has an output, and none failed."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = shows_something(cells)
    assert sum(shown) >= 4
    for cell, shows in zip(cells, shown, strict=True):
        assert bool(cell["outputs"]) >= shows, cell["source"]
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output["text"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_tells_nothing_of_its_machine(path: Path) -> None:
    """It has pictures, below 400 kB in all, and neither a path nor a version of Python."""
    outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 400_000
    words = [
        {kind: text for kind, text in output.get("data", output).items() if kind != "image/png"}
        for output in outputs
    ]
    assert not re.search(
        r"(?<![\w.])/(?:home|root|tmp|Users|work|usr|opt)/|[A-Z]:\\", json.dumps(words)
    )
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["language_info"] == {"name": "python"}
    assert all(cell["metadata"] == {} for cell in code_cells(path))


def test_the_stored_accuracies_show_what_the_finder_is_for() -> None:
    """On MNIST the suggestion is far better than the guess, which is as bad as its guide says."""
    cells = code_cells(NOTEBOOKS / "fastai_lr_finder_mnist.ipynb")
    text = "".join(str(output.get("text", "")) for cell in cells for output in cell["outputs"])
    rows = dict(re.findall(r"(guessed|suggested) +[\d.e-]+ +([\d.]+)%", text))
    assert float(rows["guessed"]) < 60
    assert float(rows["suggested"]) > 95
    assert "changed" in text.split("random state  unchanged")[1]


def notebook_of(*sources: str) -> dict[str, Any]:
    """Return a notebook with some cells of code, stored as executed in another order."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": 9,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": "stale"}],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class Executed(NamedTuple):
    """What came of executing notebooks in a folder."""

    done: subprocess.CompletedProcess[str]
    limited: subprocess.CompletedProcess[str]
    folder: Path

    def outputs(self, name: str) -> list[list[dict[str, Any]]]:
        """Return the outputs of each cell of the executed copy of a notebook."""
        return [cell["outputs"] for cell in code_cells(self.folder / "copies" / f"{name}.ipynb")]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Execute a notebook that works and one that fails; with a time limit one that does not end."""
    for module in ("nbclient", "ipykernel", "sklearn", "torchvision", "mlxtend"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is optional")
    folder = tmp_path_factory.mktemp("notebooks")
    notebooks = {
        "working": notebook_of(MNIST, DRAWS),
        "failing": notebook_of("print('before')", "1 / 0", "print('after')"),
        "endless": notebook_of("print('before')", "import threading\nthreading.Event().wait()"),
    }
    for name, notebook in notebooks.items():
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    script, options = NOTEBOOKS / "execute.py", ["--in-place", "--output", folder / "copies"]
    done = run_python(script, folder / "working.ipynb", folder / "failing.ipynb", *options)
    limited = run_python(script, folder / "endless.ipynb", *options, "--timeout", "3")
    return Executed(done, limited, folder)


def test_the_exit_status_is_the_number_of_notebooks_that_failed(executed: Executed) -> None:
    """Here one of two, and one of one."""
    assert executed.done.returncode == 1, executed.done.stdout + executed.done.stderr
    assert executed.limited.returncode == 1, executed.limited.stdout + executed.limited.stderr


def test_an_error_in_a_cell_is_printed(executed: Executed) -> None:
    """The message names the notebook, the cell and the error; the copy ends with it."""
    assert "failing.ipynb: cell 1 failed" in executed.done.stdout
    assert "ZeroDivisionError" in executed.done.stdout
    before, error, after = executed.outputs("failing")
    assert before[0]["text"] == ["before\n"]
    assert error[0]["ename"] == "ZeroDivisionError"
    assert after == []


def test_a_cell_that_runs_too_long_is_named(executed: Executed) -> None:
    """The message names the notebook, the cell and the limit; the copy has what came before."""
    message = "endless.ipynb: cell 1 ran for more than 3 s:\nimport threading\n"
    assert message in executed.limited.stdout
    before, endless = executed.outputs("endless")
    assert before[0]["text"] == ["before\n"]
    assert endless == []


def test_outputs_are_stored_in_place_only_if_every_cell_worked(executed: Executed) -> None:
    """Then they are those of the copy; other notebooks keep what they had."""
    working, failing, endless = (
        code_cells(executed.folder / f"{name}.ipynb") for name in ("working", "failing", "endless")
    )
    assert [cell["execution_count"] for cell in working] == [1, 2]
    assert [cell["outputs"] for cell in working] == executed.outputs("working")
    assert "image/png" in working[1]["outputs"][-1]["data"]
    assert all(cell["outputs"][0]["text"] == "stale" for cell in [*failing, *endless])


def test_a_notebook_reads_real_digits_through_torchvision(executed: Executed) -> None:
    """MNIST's class reads them from the folder of the run, and no other file is written."""
    (output,) = executed.outputs("working")[0]
    assert eval("".join(output["data"]["text/plain"])) == [
        [4000, (28, 28), [400] * 10],
        [1000, (28, 28), [100] * 10],
    ]
    names = {path.name for path in executed.folder.iterdir()}
    assert names == {"copies", "working.ipynb", "failing.ipynb", "endless.ipynb"}
