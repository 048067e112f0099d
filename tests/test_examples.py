"""Each example runs as its docstring says, and is better off with the finder than without."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
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


def output_of(folder: Path, *command: str) -> str:
    """Run Python in an empty folder and return what it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "MASTER_PORT": port},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_suggested_is_better(output: str, pattern: str, *, is_more_better: bool = True) -> None:
    """Compare the two trainings that an example printed, the guessed learning rate's first."""
    assert len(re.findall(r"^ *(guessed|suggested) learning rate ", output, re.MULTILINE)) == 2
    guessed, suggested = (float(value) for value in re.findall(pattern, output))
    assert guessed < suggested if is_more_better else guessed > suggested


def test_every_example_is_run_here() -> None:
    """No file of the folder is left untested."""
    others = {"accumulation_amp.py", "digits.py", "distributed.py", "monai_trainer.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == OUTPUTS.keys() | others


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_suggested_rate_trains_better_than_the_guessed_one(name: str, tmp_path: Path) -> None:
    """From the same weights the suggested rate ends nearer the goal, and no file is left behind."""
    pattern, is_more_better = OUTPUTS[name]
    output = output_of(tmp_path, str(EXAMPLES / name))
    assert_suggested_is_better(output, pattern, is_more_better=is_more_better)
    assert not list(tmp_path.iterdir())


def test_a_point_is_an_optimizer_step_of_several_batches(tmp_path: Path) -> None:
    """The accumulating example counts points in optimizer steps, and is better off with them."""
    output = output_of(tmp_path, str(EXAMPLES / "accumulation_amp.py"))
    found = re.search(r"The sweep took (\d+) optimizer steps of 4 batches each", output)
    assert found
    assert 50 < int(found[1]) <= 100
    assert_suggested_is_better(output, ACCURACY[0])


def test_the_demo_draws_its_plot(tmp_path: Path) -> None:
    """The demo ends with a better accuracy, and leaves a plot and nothing else."""
    output = output_of(tmp_path, str(EXAMPLES / "digits.py"))
    without, found = re.findall(r"the finder +[\d.e-]+ +([\d.]+)%", output)
    assert float(without) < float(found)
    assert [path.name for path in tmp_path.iterdir()] == ["lr_finder_digits.png"]


def test_monais_trainer_is_better_off(tmp_path: Path) -> None:
    """MONAI's trainer ends with a better accuracy; run where MONAI, a large package, is there."""
    pytest.importorskip("monai", reason="MONAI is optional")
    output = output_of(tmp_path, str(EXAMPLES / "monai_trainer.py"))
    assert_suggested_is_better(output, ACCURACY[0])


@pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="torch has no gloo here",
)
@pytest.mark.parametrize(
    "launcher",
    [[], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]],
    ids=["spawned", "torchrun"],
)
def test_both_processes_suggest_the_same(launcher: list[str], tmp_path: Path) -> None:
    """However the two processes are started, they print one and the same learning rate."""
    output = output_of(tmp_path, *launcher, str(EXAMPLES / "distributed.py"))
    suggestions = dict(re.findall(r"rank (\d) suggests ([\d.e-]+)$", output, re.MULTILINE))
    assert suggestions.keys() == {"0", "1"}
    assert suggestions["0"] == suggestions["1"]
    assert_suggested_is_better(output, ACCURACY[0])
