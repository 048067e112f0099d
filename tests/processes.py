"""Fresh Python processes, forked from a server that has imported torch once for all of them."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IMPORTED_ONCE = [
    "torch",
    "torch._dynamo",  # by the first optimizer
    "torch.distributed",
    "ignite.distributed",
    "ignite.engine",
    "ignite.handlers",
    "ignite.metrics",
    "sklearn.datasets",
    "sklearn.model_selection",
]
START_METHOD = "spawn"
if "forkserver" in multiprocessing.get_all_start_methods():
    START_METHOD = "forkserver"
    multiprocessing.set_forkserver_preload(IMPORTED_ONCE)


def run_python(
    *command: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run `python *command`, with a script or with `-c` and code, and return what it prints."""
    (done,) = run_pythons([environment or {}], *command, folder=folder, timeout=timeout)
    return done


def run_pythons(
    environments: Sequence[Mapping[str, str]],
    *command: str | Path,
    folder: Path | None = None,
    timeout: float = 600,
) -> list[subprocess.CompletedProcess[str]]:
    """Run the same command in several processes at once, each with variables of its own."""
    arguments = [str(word) for word in command]
    context: Any = multiprocessing.get_context(START_METHOD)
    with tempfile.TemporaryDirectory() as outputs:
        processes = [
            context.Process(
                target=_run, args=(arguments, folder, dict(environment), f"{outputs}/{rank}")
            )
            for rank, environment in enumerate(environments)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout)
            process.kill()
            process.join()
        return [
            subprocess.CompletedProcess(
                arguments,
                process.exitcode or 0,
                Path(f"{outputs}/{rank}.stdout").read_text("utf-8"),
                Path(f"{outputs}/{rank}.stderr").read_text("utf-8"),
            )
            for rank, process in enumerate(processes)
        ]


def _run(
    arguments: list[str], folder: Path | None, environment: Mapping[str, str], output: str
) -> None:
    """Become what `python` with these arguments is, with its output in two files."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
