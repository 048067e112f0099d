"""From the engine's output to a loss: what is understood, what is refused, and when it is read."""

import collections
import fractions
import math
import re
import types
from collections.abc import Callable, Sequence

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from conftest import Log
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ignite_lrfinder import FastaiLRFinder, LRFinderResult, StopReason
from ignite_lrfinder.sweep import measurement
from ignite_lrfinder.sweep.divergence import DivergenceMonitor
from ignite_lrfinder.sweep.loss import loss_of
from ignite_lrfinder.sweep.recorder import LossRecorder

pytestmark = [
    pytest.mark.filterwarnings("ignore:Run completed without loss diverging:UserWarning"),
    pytest.mark.filterwarnings("ignore:The loss must be finite until it has fallen:UserWarning"),
]

NUMPY_TYPES = [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int64, np.uint8]
TORCH_TYPES = [
    torch.bfloat16,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.int8,
    torch.int64,
    torch.uint8,
]


@pytest.mark.parametrize(
    "output",
    [
        3,
        3.0,
        fractions.Fraction(3),
        *[dtype(3) for dtype in NUMPY_TYPES],
        np.array(3),
        np.array([[3.0]]),
        *[torch.tensor(3, dtype=dtype) for dtype in TORCH_TYPES],
        torch.tensor([3.0]),
        torch.tensor([[[3]]]),
        torch.tensor(3.0, requires_grad=True),
        torch.tensor([1.5], requires_grad=True) * 2,
        nn.Parameter(torch.tensor(3.0)),
        {"loss": 3},
        {"loss": torch.tensor([3.0], requires_grad=True), "acc": torch.zeros(5)},
        collections.OrderedDict(acc=1, loss=np.float32(3)),
    ],
    ids=lambda output: f"{type(output).__name__}-{getattr(output, 'dtype', '')}",
)
def test_a_single_number_is_a_loss(output: object) -> None:
    """Numbers of Python and NumPy, tensors of one element, and mappings with "loss" are losses."""
    loss = loss_of(output)
    assert type(loss) is float
    assert loss == 3.0


@pytest.mark.parametrize("output", [True, np.bool_(True), torch.tensor(True)], ids=repr)
def test_a_bool_is_a_loss(output: object) -> None:
    """True is 1, as everywhere in Python."""
    assert loss_of(output) == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-320], ids=str)
@pytest.mark.parametrize("kind", [float, np.float64, lambda v: torch.tensor(v, dtype=torch.double)])
def test_a_loss_keeps_its_bits(kind: Callable[[float], object], value: float) -> None:
    """NaN, infinity and the smallest numbers are unchanged."""
    assert np.array(loss_of(kind(value))).tobytes() == np.array(value).tobytes()


FITTING = {
    "tuple": (torch.zeros(2), torch.tensor(7.0)),
    "x-y-y_pred-loss": (torch.zeros(4, 2), torch.zeros(4), torch.zeros(4, 1), torch.tensor(7.0)),
    "list": [np.zeros(2), 7],
    "another-key": {"accuracy": 0.5, "total_loss": torch.tensor(7.0)},
    "number-key": {0: 7.0},
    "only-one-scalar": {"loss_name": "mse", "value": torch.tensor([7.0])},
    "several-losses": torch.tensor([6.0, 8.0]),
    "several-under-loss": {"loss": torch.tensor([6.0, 8.0])},
    "dict-under-loss": {"loss": {"ce": torch.tensor(7.0)}},
    "dict-in-a-list": [torch.zeros(2), {"loss": torch.tensor(7.0)}],
    "several-in-a-tuple": (torch.zeros(2), torch.tensor([6.0, 8.0])),
    "integers": torch.tensor([6, 8]),
    "tuple-under-loss": {"losses": (torch.zeros(2), torch.tensor(7.0)), "accuracy": 0.5},
    "attribute": types.SimpleNamespace(logits=torch.zeros(2), loss=torch.tensor(7.0)),
    "losses": {"losses": torch.tensor([6.0, 8.0])},
    "array": np.array([[6.0, 8.0]]),
}
AMBIGUOUS: dict[str, tuple[object, str]] = {
    "loss-accuracy": ((0.7, 0.5), r"output\[0\] to attach; if .* try output\[1\]\."),
    "accuracy-loss": ((0.5, 2.3), r"output\[1\] to attach; if .* try output\[0\]\."),
    "needs-a-gradient": (
        (torch.tensor(0.9), torch.tensor(0.4, requires_grad=True)),
        r"output\[1\] to attach; if .* try output\[0\]\.",
    ),
    "three": ((3.0, 4.0, 5.0), r"output\[0\] to attach; if .* try output\[1\] or output\[2\]\."),
    "named": ({"accuracy": 4.0, "mse_loss": 0.2}, r"output\['mse_loss'\] to attach\.$"),
    "one-number": ((torch.ones(4), torch.ones(4), 0.5), r"output\[2\] to attach\.$"),
}
WITHOUT_LOSS = [(), [], {}, (None, None), torch.zeros(0), torch.tensor(1j), "text", object()]


@pytest.mark.parametrize("output", FITTING.values(), ids=FITTING)
def test_the_suggested_output_transform_finds_the_loss(output: object) -> None:
    """Where a loss is in the output, the error gives an `output_transform` that finds it."""
    with pytest.raises((TypeError, ValueError), match="output_transform") as caught:
        loss_of(output)
    found = re.search(r"output_transform=(lambda output: .+?) to attach[;.]", str(caught.value))
    assert found is not None
    assert loss_of(eval(found.group(1))(output)) == 7.0


@pytest.mark.parametrize(("output", "advice"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_the_likeliest_loss_comes_first_and_others_are_named(output: object, advice: str) -> None:
    """A name, a gradient, a value that no accuracy has, or the first place makes a loss likely."""
    with pytest.raises((TypeError, ValueError), match=r"lambda output: " + advice):
        loss_of(output)


@pytest.mark.parametrize("output", WITHOUT_LOSS, ids=lambda output: f"{output!r:.20}")
def test_without_a_possible_loss_no_output_transform_is_suggested(output: object) -> None:
    """The error suggests a transform only if the output holds a possible loss."""
    with pytest.raises((TypeError, ValueError), match=r"Pass an output_transform .* that picks"):
        loss_of(output)


@pytest.mark.parametrize(
    ("output", "error", "shown"),
    [
        (None, TypeError, "got None. Let the train step return its loss"),
        ({"a": 1, "b": 2}, TypeError, r"got dict with the keys \['a', 'b'\]"),
        ((1, "x"), TypeError, r"got tuple of length 2 \(int, str\)"),
        ([torch.zeros(2)], TypeError, r"got list of length 1 \(Tensor\)"),
        (torch.zeros(2, 3), ValueError, r"got Tensor of shape \(2, 3\) and type torch.float32"),
        (np.zeros(4), ValueError, r"got ndarray of shape \(4,\) and type float64"),
        ("text", TypeError, "got str 'text'"),
        (1 + 2j, TypeError, r"got complex \(1\+2j\)"),
        (torch.tensor(1j), ValueError, r"got Tensor of shape \(\) and type torch.complex64"),
        (torch.zeros(0), ValueError, r"got Tensor of shape \(0,\)"),
    ],
    ids=["none", "dict", "tuple", "list", "tensor", "array", "text", "complex", "complex-tensor",
         "empty"],
)  # fmt: skip
def test_the_error_describes_the_output(output: object, error: type[Exception], shown: str) -> None:
    """Any other output is refused, with its keys, its length or its shape."""
    with pytest.raises(error, match=r"The trainer's output must be a loss .*" + shown):
        loss_of(output)


def read_all(points: Sequence[Sequence[float | torch.Tensor]]) -> list[float]:
    """Record points of several losses each, and return what is read."""
    recorder = LossRecorder()
    read: list[float] = []
    for index, point in enumerate(points):
        for loss in point:
            recorder.add(loss)
        read += recorder.close_point(is_last=index == len(points) - 1)
    assert recorder.read() == []
    return read


@pytest.mark.parametrize("kind", [float, torch.tensor], ids=["host", "device"])
def test_a_point_is_the_mean_of_its_iterations(kind: Callable[[float], float]) -> None:
    """A point is the mean of the losses added since the previous point, and is read once."""
    points = [[1.0], [2.0, 4.0], [5.0, 6.0, 10.0], [0.5]]
    assert read_all([[kind(loss) for loss in point] for point in points]) == [1.0, 3.0, 7.0, 0.5]


def test_losses_of_several_dtypes_are_read_in_order() -> None:
    """Losses of different dtypes keep their order."""
    losses = [1.0, torch.tensor(2.0), torch.tensor(3, dtype=torch.int64), 4.0, torch.tensor(5.0)]
    assert read_all([[loss] for loss in losses]) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_discarded_losses_are_in_no_point() -> None:
    """Losses that led to no step are in no point."""
    recorder = LossRecorder()
    recorder.add(100.0)
    recorder.discard()
    recorder.add(1.0)
    assert recorder.close_point() == [1.0]


def test_host_losses_are_read_at_once_and_device_losses_every_ten_points() -> None:
    """A float is read with its point; tensors are read ten points at a time, or with the last."""
    recorder = LossRecorder()
    recorder.add(1.0)
    assert recorder.close_point() == [1.0]
    num_read = []
    for index in range(24):
        recorder.add(torch.tensor(1.0))
        num_read.append(len(recorder.close_point(is_last=index == 23)))
    assert num_read == ([0] * 9 + [10]) * 2 + [0, 0, 0, 4]


def test_an_unread_loss_that_is_not_finite_is_found() -> None:
    """A NaN among the losses that led to no step yet is found, on the host and on a device."""
    for bad in (torch.tensor(torch.nan), float("inf")):
        recorder = LossRecorder()
        recorder.add(1.0)
        assert not recorder.has_non_finite()
        recorder.add(bad)
        assert recorder.has_non_finite()


class CountReads(TorchDispatchMode):
    """Count how often a number is read out of a tensor, for which the host waits on a device."""

    num_reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.num_reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def sweep_over(
    losses: Sequence[float], loss_type: Callable[[float], object] = float, every: int = 1
) -> tuple[LRFinderResult, int]:
    """Run a sweep whose train step returns these losses; return the result and the step count."""
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)
    steps = Log()

    def train_step(engine: Engine, batch: object) -> object:
        if engine.state.iteration % every == 0:
            parameter.grad = torch.ones(())
            optimizer.step()
            steps.append(engine.state.iteration)
        return loss_type(losses[engine.state.iteration - 1])

    finder, num_iter = FastaiLRFinder(), len(losses) // every
    with finder.attach(Engine(train_step), {"optimizer": optimizer}, num_iter=num_iter) as t:
        t.run([0] * 7)
    return finder.result, len(steps)


def test_a_sweep_of_n_points_reads_n_over_10_tensors() -> None:
    """Over a sweep of n points at most n / 10 + 5 numbers are read one by one."""
    with CountReads() as counter:
        torch.tensor(1.0).item()
        assert counter.num_reads == 1
        result, _ = sweep_over([1.0] * 200, torch.tensor)
    assert len(result) == 200
    assert counter.num_reads - 1 <= 200 / 10 + 5


GRID = np.linspace(-3, 3, 95)
STREAMS = {
    "diverging": 2 - np.tanh(GRID) + np.exp(np.minimum(6 * (GRID - 1), 9)),
    "flat": np.ones(95),
    "nan": np.where(np.arange(95) == 43, np.nan, 1.0),
    "nan-in-the-last-batch": np.where(np.arange(95) == 93, np.nan, 1.0),
    "infinite-first": np.where(np.arange(95) == 0, np.inf, 1.0),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_reading_in_batches_gives_the_same_result(
    monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    """Losses read ten at a time end the sweep at the same point, with up to nine steps more."""
    losses = STREAMS[stream].tolist()
    at_once, num_steps = sweep_over(losses)
    assert num_steps == len(at_once)
    monkeypatch.setattr(measurement, "loss_of", unread)
    batched, num_steps = sweep_over(losses)
    assert len(batched) <= num_steps <= len(batched) + 9
    assert_same_result(batched, at_once)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 30) | st.just(math.nan), min_size=2, max_size=40),
    st.integers(0, 300),
)
def test_no_step_follows_a_host_loss_that_ends_the_sweep(
    losses: list[float], num_before: int
) -> None:
    """Whatever losses come before, the step of the last point is the last step."""
    stream = [1.0] * num_before + losses
    monitor = DivergenceMonitor(smooth_f=0.05, diverge_th=5.0)
    monitor.update(stream)
    num_points = len(monitor.losses)
    result, num_steps = sweep_over(stream)
    assert len(result) == num_steps == num_points
    assert result.losses.tobytes() == np.array(stream[:num_points]).tobytes()
    assert result.smoothed_losses.tolist() == pytest.approx(
        list(monitor.smoothed), rel=0, abs=0, nan_ok=True
    )


@pytest.mark.parametrize("index", [3, 30])
def test_at_most_nine_steps_follow_a_device_loss_that_ends_the_sweep(
    monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    """Host losses in between do not delay the read."""
    losses = np.where(np.arange(200) == index, np.nan, 1.0).tolist()
    monkeypatch.setattr(
        measurement, "loss_of", lambda loss: unread(loss) if math.isnan(loss) else float(loss)
    )
    result, num_steps = sweep_over(losses, np.float64)
    assert len(result) == index + 1
    assert num_steps <= len(result) + 9


def test_a_step_after_a_skipped_one_in_the_same_iteration_is_a_point() -> None:
    """A scaler's skip does not discard the micro-batches that follow a taken step."""
    parameter = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-5)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)

    def train_step(engine: Engine, batch: object) -> float:
        iteration = engine.state.iteration
        if iteration == 5:
            return 10.0
        if iteration == 4:
            parameter.grad = torch.tensor(math.inf)
            scaler.scale(parameter.sum())
            scaler.step(optimizer)
            scaler.update()
        parameter.grad = torch.zeros(())
        optimizer.step()
        return 1.0

    finder, to_save = FastaiLRFinder(), {"optimizer": optimizer, "scaler": scaler}
    with finder.attach(Engine(train_step), to_save, num_iter=8) as trainer:
        trainer.run([0] * 20)
    assert finder.result.losses.tolist() == [1, 1, 1, 1, 5.5, 1, 1, 1]


@pytest.mark.parametrize("every", [3, 12])
@pytest.mark.parametrize("index", range(24, 36))
def test_a_nan_micro_batch_ends_host_and_device_sweeps_alike(
    monkeypatch: pytest.MonkeyPatch, index: int, every: int
) -> None:
    """Wherever in a point NaN occurs, both sweeps have the same result."""
    losses = np.where(np.arange(120) == index, np.nan, 1.0).tolist()
    at_once, _ = sweep_over(losses, every=every)
    monkeypatch.setattr(measurement, "loss_of", unread)
    batched, _ = sweep_over(losses, every=every)
    assert at_once.stop_reason is StopReason.NON_FINITE
    assert_same_result(batched, at_once)


def unread(loss: float) -> torch.Tensor:
    """Return a loss as it comes from a device: a tensor that nobody has read yet."""
    return torch.tensor(loss, dtype=torch.float64)


def assert_same_result(a: LRFinderResult, b: LRFinderResult) -> None:
    """Compare two results bit for bit."""
    assert a.stop_reason is b.stop_reason
    for name in ("lr", "losses", "smoothed_losses"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


def test_a_buffer_that_the_train_step_reuses_is_copied() -> None:
    """The loss of a point is the tensor's value at that point, not at the later read."""
    buffer = torch.zeros(())

    def reused(loss: float) -> torch.Tensor:
        return buffer.fill_(loss)

    losses = [1.0, 0.75, 0.5, 1.25]
    result, _ = sweep_over(losses, reused)
    assert result.losses.tolist() == losses


def test_a_loss_on_a_device_shares_no_memory_with_the_output() -> None:
    """Later writes to the train step's tensor do not change the buffered loss."""
    buffer = torch.zeros((), device="meta")
    loss = loss_of(buffer)
    assert isinstance(loss, torch.Tensor)
    version = loss._version
    buffer.fill_(1.0)
    assert loss._version == version


@pytest.mark.parametrize("num_points", [20, 95])
def test_processes_exchange_ten_points_at_a_time(
    monkeypatch: pytest.MonkeyPatch, num_points: int
) -> None:
    """With two processes a sweep takes one collective for ten points, and none for each point."""
    sent: list[torch.Tensor] = []

    def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
        sent.append(tensor)
        return 2 * tensor

    monkeypatch.setattr(idist, "get_world_size", lambda: 2)
    monkeypatch.setattr(idist, "all_reduce", all_reduce)
    result, _ = sweep_over(np.linspace(1, 2, num_points).tolist())
    assert result.losses == pytest.approx(np.linspace(1, 2, num_points))
    assert len(sent) == -(-num_points // 10)
    assert len({tuple(tensor.shape) for tensor in sent}) == 1
