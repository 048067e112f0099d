"""Each example runs as its docstring says, and its suggested learning rate trains better."""

import importlib.util
import re
import socket
import subprocess
from pathlib import Path

import pytest
from processes import run_python, run_pythons
from torch import distributed

EXAMPLES = Path(__file__).parent.parent / "examples"
# What follows each learning rate in the output, and whether more of it is better.
ACCURACY = (r"test accuracy ([\d.]+)%", True)
DISTANCE = (r"energy distance ([\d.]+)", False)
OUTPUTS = {
    "from_scratch.py": ACCURACY,
    "gan.py": DISTANCE,
    "validation_loss.py": ACCURACY,
}
needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch has no gloo here",
)


def free_port() -> str:
    """Return a port on which the processes of a group can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def output_of(*done: subprocess.CompletedProcess[str]) -> str:
    """Return what processes printed, all of which must have succeeded."""
    for process in done:
        assert process.returncode == 0, process.stderr
    return "".join(process.stdout for process in done)


def assert_suggested_is_better(output: str, pattern: str, *, is_more_better: bool = True) -> None:
    """Compare the two trainings that an example prints, at the guessed and the suggested rate."""
    assert len(re.findall(r"^ *(guessed|suggested) learning rate ", output, re.MULTILINE)) == 2
    guessed, suggested = (float(value) for value in re.findall(pattern, output))
    assert guessed < suggested if is_more_better else guessed > suggested


def test_every_example_has_a_test() -> None:
    """Each file of the folder is run by a test below."""
    others = {
        "accelerate_trainer.py",
        "accumulation_amp.py",
        "digits.py",
        "distributed.py",
        "monai_trainer.py",
    }
    assert {path.name for path in EXAMPLES.glob("*.py")} == OUTPUTS.keys() | others


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_suggested_rate_trains_better_than_the_guessed_one(name: str, tmp_path: Path) -> None:
    """From the same weights the suggested rate gives the better model, and no file is written."""
    pattern, is_more_better = OUTPUTS[name]
    output = output_of(run_python(EXAMPLES / name, folder=tmp_path))
    assert_suggested_is_better(output, pattern, is_more_better=is_more_better)
    assert not list(tmp_path.iterdir())


def test_with_accumulation_a_point_is_an_optimizer_step(tmp_path: Path) -> None:
    """The accumulating example counts points in optimizer steps, each of several batches."""
    output = output_of(run_python(EXAMPLES / "accumulation_amp.py", folder=tmp_path))
    found = re.search(r"The sweep took (\d+) optimizer steps of 4 batches each", output)
    assert found
    assert 50 < int(found[1]) <= 100
    assert_suggested_is_better(output, ACCURACY[0])


def test_the_demo_draws_its_plot(tmp_path: Path) -> None:
    """The demo ends with a better accuracy, and writes its plot and nothing else."""
    output = output_of(run_python(EXAMPLES / "digits.py", folder=tmp_path))
    without, found = re.findall(r"the finder +[\d.e-]+ +([\d.]+)%", output)
    assert float(without) < float(found)
    assert [path.name for path in tmp_path.iterdir()] == ["lr_finder_digits.png"]


@pytest.mark.parametrize("module", ["accelerate", "monai"])
def test_a_foreign_trainer_trains_better_at_the_suggested_rate(module: str, tmp_path: Path) -> None:
    """The trainer of another package ends with a better accuracy, where it is installed."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is optional")
    output = output_of(run_python(EXAMPLES / f"{module}_trainer.py", folder=tmp_path))
    assert_suggested_is_better(output, ACCURACY[0])


@needs_gloo
@pytest.mark.parametrize("launcher", ["itself", "torchrun"])
def test_two_processes_suggest_the_same_rate(launcher: str, tmp_path: Path) -> None:
    """Started by the script or with torchrun's variables, both print the same learning rate."""
    ranks = [{"MASTER_PORT": free_port()}]
    if launcher == "torchrun":
        group = {**ranks[0], "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        ranks = [{**group, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    output = output_of(*run_pythons(ranks, EXAMPLES / "distributed.py", folder=tmp_path))
    suggestions = dict(re.findall(r"rank (\d) suggests ([\d.e-]+)$", output, re.MULTILINE))
    assert suggestions.keys() == {"0", "1"}
    assert suggestions["0"] == suggestions["1"]
    assert_suggested_is_better(output, ACCURACY[0])
