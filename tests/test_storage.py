"""Where copies are held: whatever the place, the values come back bit for bit and nothing stays."""

import errno
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Training, seed_all
from ignite.engine import Events
from processes import run_python
from torch.utils.data import DataLoader

from ignite_lrfinder import FastaiLRFinder, LRFinderError, Trials
from ignite_lrfinder.snapshot.storage import OnDisk, in_host_memory, on_device

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
]
nan = float("nan")
TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "floats": lambda: torch.randn(3, 4),
    "scalar": lambda: torch.tensor(1.5),
    "empty": lambda: torch.empty(0, 3),
    "special": lambda: torch.tensor([nan, -0.0, float("inf"), 1e-45]),
    "bfloat16": lambda: torch.randn(5).bfloat16(),
    "bools": lambda: torch.tensor([True, False, True]),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "conjugate": lambda: torch.randn(3, dtype=torch.complex64).conj(),
    "transposed": lambda: torch.randn(3, 4).t(),
    "part": lambda: torch.arange(20)[3:17:2],
    "expanded": lambda: torch.randn(3, 1).expand(3, 4),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "parameter": lambda: torch.nn.Parameter(torch.randn(2, 2)),
}


@pytest.mark.parametrize("place", ["host", "device", "disk"])
@pytest.mark.parametrize("name", TENSORS)
def test_what_is_kept_comes_back(name: str, place: str, tmp_path: Path) -> None:
    """The values are those of the moment they were kept, also after others were kept behind."""
    disk = OnDisk(tmp_path)
    keep = {"host": in_host_memory, "device": on_device, "disk": disk}[place]
    tensor = TENSORS[name]()
    expected = tensor.detach().clone()
    kept = keep(tensor.detach())
    keep(torch.randn(100))
    if name != "expanded":
        tensor.data.zero_()
    for _ in range(2):
        torch.testing.assert_close(kept(), expected, rtol=0, atol=0, equal_nan=True)
        assert kept().dtype == expected.dtype
    disk.close()


def test_the_file_is_private_and_has_no_name(tmp_path: Path) -> None:
    """Nobody else can open it, and no listing of the directory shows it."""
    keep = OnDisk(tmp_path)
    keep(torch.ones(10))
    assert list(tmp_path.iterdir()) == []
    mode = os.fstat(keep._file.fileno()).st_mode
    assert stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO) == 0
    keep.close()


@pytest.mark.parametrize("verify", [False, Trials(max_iter=75, short_iter=10, long_iter=15)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd-momentum"])
def test_a_sweep_with_its_snapshot_on_disk_leaves_no_trace(
    make_training: Callable[..., Training], tmp_path: Path, optimizer: str, verify: bool | Trials
) -> None:
    """The training goes on bit for bit as without the finder, and the directory is empty."""

    def course(*, is_swept: bool) -> tuple[list[float], dict]:
        training = make_training(optimizer)
        training.trainer.run(training.loader, max_epochs=1)
        if is_swept:
            finder = FastaiLRFinder()
            with finder.attach(
                training.trainer, training.to_save, num_iter=20, snapshot=tmp_path, verify=verify
            ) as trainer:
                trainer.run(training.loader)
            assert bool(finder.result.trials) == bool(verify)
        training.losses.clear()
        seed_all(3)
        training.trainer.run(training.loader, max_epochs=2)
        return list(training.losses), {
            k: v.tolist() for k, v in training.model.state_dict().items()
        }

    assert course(is_swept=True) == course(is_swept=False)
    assert list(tmp_path.iterdir()) == []


def test_after_an_exception_the_directory_is_empty_and_the_file_closed(
    make_training: Callable[..., Training], tmp_path: Path
) -> None:
    """Room on the disk is given back with the block, however it ends."""
    training = make_training()
    before, inside = open_files(), []

    def fail() -> None:
        inside.append(open_files())
        raise ZeroDivisionError

    def run() -> None:
        finder = FastaiLRFinder()
        with finder.attach(training.trainer, training.to_save, snapshot=str(tmp_path)):
            fail()

    with pytest.raises(ZeroDivisionError):
        run()
    assert inside[0] > before == open_files()
    assert list(tmp_path.iterdir()) == []


def open_files() -> int:
    """Count the files that this process has open."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_full_disk_is_a_clear_error_before_anything_changes(
    make_training: Callable[..., Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the directory; weights, random state and handlers are untouched."""
    training = make_training()

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file

        def write(self, content: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    created = OnDisk.__init__

    def create(self: OnDisk, directory: Path) -> None:
        created(self, directory)
        monkeypatch.setattr(self, "_file", Full(self._file))

    monkeypatch.setattr(OnDisk, "__init__", create)
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    random_state, files = torch.get_rng_state(), open_files()
    with (
        pytest.raises(LRFinderError, match=r"must have room.*No space left"),
        FastaiLRFinder().attach(training.trainer, training.to_save, snapshot=tmp_path),
    ):
        pytest.fail("the block was entered")
    monkeypatch.undo()
    assert open_files() == files
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, value in training.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert type(training.loader) is DataLoader
    with FastaiLRFinder().attach(training.trainer, training.to_save, num_iter=5) as trainer:
        trainer.run(training.loader)


def test_a_disk_that_fills_during_the_run_loses_nothing_that_it_holds(
    make_training: Callable[..., Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state that trials start from does not fit any more; what was copied before comes back."""
    training, files = make_training(), []

    class Filling:
        def __init__(self, file: Any) -> None:
            self.file, self.room = file, [math.inf]
            files.append(self)

        def write(self, content: memoryview) -> int:
            if self.room == [0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            num_written = self.file.write(content[: int(min(self.room[0], len(content)))])
            self.room[0] -= num_written
            return num_written

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    created = OnDisk.__init__

    def create(self: OnDisk, directory: Path) -> None:
        created(self, directory)
        monkeypatch.setattr(self, "_file", Filling(self._file))

    @training.trainer.on(Events.STARTED)
    def change_and_fill() -> None:
        with torch.no_grad():
            next(training.model.parameters()).add_(1.0)
        for file in files:
            file.room[0] = 5

    monkeypatch.setattr(OnDisk, "__init__", create)
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    with (
        pytest.raises(LRFinderError, match=r"must have room.*No space left"),
        FastaiLRFinder().attach(
            training.trainer, training.to_save, snapshot=tmp_path, verify=True, num_iter=20
        ) as trainer,
    ):
        trainer.run(training.loader)
    assert [file.room for file in files] == [[0]]
    for name, value in training.model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("snapshot", "error"), [(3, TypeError), (None, TypeError), ("nowhere/at/all", ValueError)]
)
def test_what_is_no_directory_is_refused(
    make_training: Callable[..., Training], snapshot: object, error: type[Exception]
) -> None:
    """The message lists the places there are."""
    training = make_training()
    with (
        pytest.raises(error, match="snapshot must be 'cpu', 'device' or a directory"),
        FastaiLRFinder().attach(training.trainer, training.to_save, snapshot=snapshot),  # type: ignore[arg-type]  # what it is about
    ):
        pass


MEMORY = """
import resource, sys, torch
from ignite.engine import Engine
from ignite_lrfinder import FastaiLRFinder
torch.set_num_threads(1)
place, megabytes = sys.argv[1], 40
parameters = [torch.nn.Parameter(torch.ones(megabytes * 2**18)) for _ in range(8)]
optimizer = torch.optim.SGD(parameters, lr=1e-3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with FastaiLRFinder().attach(Engine(lambda e, b: 1.0), {"optimizer": optimizer}, snapshot=place):
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()
assert all(bool((p == 1).all()) for p in parameters[:1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / megabytes)
"""


@pytest.mark.parametrize(("place", "most"), [("cpu", 9.5), ("device", 9.5), ("disk", 2.0)])
def test_memory_is_one_copy_or_one_tensor(place: str, most: float, tmp_path: Path) -> None:
    """Of eight tensors one copy is held in memory, or with a directory at most one at a time."""
    where = str(tmp_path) if place == "disk" else place
    run = run_python("-c", MEMORY, where)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < most


def test_a_tensor_whose_copy_is_on_disk_stays_resizable(tmp_path: Path) -> None:
    """Writing its bytes does not pin the memory of the tensor."""
    tensor, place = torch.ones(3), OnDisk(tmp_path)
    place(tensor)
    place.close()
    tensor.resize_(6)
    assert tensor.untyped_storage().resizable()
