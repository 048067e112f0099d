"""Execute notebooks from scratch, cell by cell, and fail on the first error.

Run it with `make notebooks`, or with `python notebooks/execute.py [NOTEBOOK ...]`; with
`--output FOLDER` it stores the executed copies. Each notebook runs in a separate empty folder,
without network access: the data that a reader would download is written there first.
Scikit-learn's digits replace MNIST, in MNIST's file format and with the file names that torchvision
expects.
"""

import argparse
import os
import re
import struct
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import from_numpy
from torch.nn.functional import interpolate, pad
from traitlets.config import Config

NOTEBOOKS = Path(__file__).parent
MNIST_FOLDER = Path("data", "MNIST", "raw")
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
    parser.add_argument("--output", type=Path, help="a folder for the executed notebooks")
    arguments = parser.parse_args()
    paths = arguments.notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    return sum(not succeeds(path, arguments.output) for path in paths)


def succeeds(path: Path, output: Path | None) -> bool:
    """Execute one notebook, print the outcome, and write the executed copy if requested."""
    notebook = nbformat.read(path, as_version=4)
    problem = stored_output(notebook)
    seconds = 0.0
    if problem is None:
        start = time.perf_counter()
        problem = execute(notebook)
        seconds = time.perf_counter() - start
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, output / path.name)
    print(f"{path.name}: {problem or f'executed in {seconds:.0f} s'}", flush=True)
    return problem is None


def stored_output(notebook: NotebookNode) -> str | None:
    """Return which cell is stored with outputs or an execution count, if any."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            return f"cell {index} is stored with outputs; clear them before you commit"
    return None


def execute(notebook: NotebookNode) -> str | None:
    """Execute every cell in place, in an empty folder; return the error, if any."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "work")
        write_digits_as_mnist(folder / MNIST_FOLDER)
        startup = Path(home, "ipython", "profile_default", "startup", "torchvision_operators.py")
        startup.parent.mkdir(parents=True)
        startup.write_text(STARTUP, encoding="utf-8")
        client = NotebookClient(
            notebook,
            timeout=MAX_SECONDS_A_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            config=Config(
                ConnectionFileMixin={"transport": "ipc", "ip": str(Path(home, "kernel"))}
            ),
        )
        try:
            client.execute(env=environment(startup.parents[2]))
        except CellExecutionError as error:
            return re.sub(r"\x1b\[[\d;]*m", "", str(error))
    return None


def environment(ipython_folder: Path) -> dict[str, str]:
    """Return the environment of the kernel, with inline figures."""
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    # Threads that wait without spinning: ten times faster if other jobs share the cores.
    return {"OMP_WAIT_POLICY": "PASSIVE", **inherited, "IPYTHONDIR": str(ipython_folder)}


def write_digits_as_mnist(folder: Path) -> None:
    """Write four fifths of the digits as MNIST's training set, the rest as its test set."""
    folder.mkdir(parents=True)
    pixels, labels = load_digits(return_X_y=True)
    small = from_numpy(pixels.reshape(-1, 1, 8, 8)) / 16
    # MNIST's digits fill about 20 of 28 pixels.
    images = pad(interpolate(small, size=(24, 24), mode="bilinear"), (2, 2, 2, 2)).squeeze(1)
    parts = train_test_split(
        (images.numpy() * 255).round().astype(np.uint8),
        labels.astype(np.uint8),
        test_size=0.2,
        stratify=labels,
        random_state=0,
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
