"""A tensor gets its values, its storage and its flags back, and is not written without need."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ignite_lrfinder.snapshot import tensors
from ignite_lrfinder.snapshot.memento import Memento


def restore_after(
    change: Callable[[torch.Tensor], object], tensor: torch.Tensor
) -> Callable[[], None]:
    """Capture a tensor, change it, and return a function that restores it."""
    memento = Memento()
    memento.capture("tensor", tensor)
    change(tensor)

    def restore() -> None:
        assert memento.restore() == {}

    return restore


def leave(tensor: torch.Tensor) -> None:
    """Change nothing."""


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "float": lambda: torch.tensor([1.5, float("nan"), -0.0]),
    "half": lambda: torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
    "complex": lambda: torch.tensor([1 + 2j, 3 - 1j]),
    "conjugate": lambda: torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "integer": lambda: torch.tensor([1, 2]),
    "boolean": lambda: torch.tensor([True, False]),
    "scalar": lambda: torch.tensor(3.0),
    "empty": lambda: torch.zeros(0, 3),
    "transposed": lambda: torch.arange(6.0).reshape(2, 3).T,
    "strided": lambda: torch.arange(6.0)[::2],
    "expanded": lambda: torch.ones(1).expand(4),
    "channels-last": lambda: torch.rand(1, 2, 3, 3).to(memory_format=torch.channels_last),
}


def bits(tensor: torch.Tensor) -> list[object]:
    """Read a tensor so that NaN equals itself and -0.0 is not 0.0."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.detach().resolve_conj())
    return [repr(x) for x in tensor.detach().clone().contiguous().flatten().tolist()]


def overwrite(tensor: torch.Tensor) -> None:
    """Write other values into a tensor, once where its elements share their memory."""
    base = tensor[:1] if 0 in tensor.stride() else tensor
    base.copy_(torch.logical_not(base) if tensor.dtype == torch.bool else base + 3)


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_gets_its_bits_back_into_its_storage(kind: str) -> None:
    """Whatever the dtype and the strides, the same tensor over the same memory has its values."""
    tensor = TENSORS[kind]()
    before, place, stride = bits(tensor), tensor.data_ptr(), tensor.stride()
    restore = restore_after(overwrite, tensor)
    assert bits(tensor) != before or kind == "empty"
    restore()
    assert bits(tensor) == before
    assert (tensor.data_ptr(), tensor.stride()) == (place, stride)


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_that_nobody_wrote_is_not_written(kind: str) -> None:
    """Unchanged memory, which may be read-only, is left alone: the count of writes stays."""
    tensor = TENSORS[kind]()
    num_writes = tensor._version
    restore_after(leave, tensor)()
    assert tensor._version == num_writes


@pytest.mark.parametrize("index", [0, 5_000], ids=["early", "late"])
def test_a_change_anywhere_in_a_large_tensor_is_noticed(index: int) -> None:
    """One element that differs, at the beginning or far behind, comes back."""
    tensor = torch.zeros(10_000)
    restore = restore_after(lambda t: t[index].fill_(1), tensor)
    assert tensor.sum() == 1
    restore()
    assert tensor.sum() == 0


def replace_data(parameter: torch.Tensor) -> None:
    """Give a parameter other memory, as casts and sharded training do."""
    parameter.data = torch.zeros(3, 3)


def cast_data(parameter: torch.Tensor) -> None:
    """Give a parameter another dtype."""
    parameter.data = parameter.data.double()


def transpose_data(parameter: torch.Tensor) -> None:
    """Let a parameter see the same memory in another order."""
    parameter.data = parameter.data.T


def grow_data(parameter: torch.Tensor) -> None:
    """Give a parameter another shape."""
    parameter.data = torch.zeros(5)


@pytest.mark.parametrize("change", [replace_data, cast_data, transpose_data, grow_data])
def test_a_parameter_that_was_given_other_memory_gets_its_own_back(
    change: Callable[[torch.Tensor], None],
) -> None:
    """After `parameter.data = ...` the parameter is over its old memory again."""
    parameter = nn.Parameter(torch.arange(9.0).reshape(3, 3))
    place, view = parameter.data_ptr(), parameter.detach()
    restore_after(change, parameter)()
    assert parameter.dtype == torch.float32
    assert parameter.tolist() == torch.arange(9.0).reshape(3, 3).tolist()
    assert parameter.data_ptr() == place
    view[0, 0] = 7
    assert parameter[0, 0] == 7


@pytest.mark.parametrize("requires_grad", [True, False], ids=["trained", "frozen"])
def test_a_parameter_is_trained_or_frozen_as_before(requires_grad: bool) -> None:
    """`requires_grad` comes back."""
    parameter = nn.Parameter(torch.ones(2), requires_grad=requires_grad)
    restore_after(lambda p: p.requires_grad_(not requires_grad), parameter)()
    assert parameter.requires_grad is requires_grad


def test_a_buffer_that_became_part_of_a_graph_is_out_of_it_again() -> None:
    """A plain tensor that something differentiable was added to is plain again."""
    buffer = torch.ones(2)
    restore = restore_after(lambda t: t.add_(torch.ones(2, requires_grad=True)), buffer)
    assert buffer.grad_fn is not None
    restore()
    assert buffer.tolist() == [1, 1]
    assert buffer.grad_fn is None
    assert not buffer.requires_grad


def test_a_tensor_made_in_inference_mode_comes_back() -> None:
    """Torch lets such a tensor be written in inference mode alone."""
    with torch.inference_mode():
        tensor = torch.ones(2)

    def zero(tensor: torch.Tensor) -> None:
        with torch.inference_mode():
            tensor.zero_()

    restore_after(zero, tensor)()
    assert tensor.tolist() == [1, 1]


GRAPHS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "saves-its-result": torch.exp,
    "saves-its-input": lambda x: x * x,
}


@pytest.mark.parametrize("value", [1.0, float("nan")], ids=str)
@pytest.mark.parametrize("function", GRAPHS.values(), ids=GRAPHS)
def test_a_graph_that_nobody_changed_can_still_be_differentiated(
    function: Callable[[torch.Tensor], torch.Tensor], value: float
) -> None:
    """Neither the leaf nor the result of a graph is written without need, which would spoil it."""
    x = torch.full((2,), value, requires_grad=True)
    y = function(x)
    for tensor in (x, y):
        restore_after(leave, tensor)()
    (gradient,) = torch.autograd.grad(y.sum(), x)
    expected = torch.exp(x) if function is torch.exp else 2 * x
    assert bits(gradient) == bits(expected)


def test_a_result_inside_a_graph_gets_its_values_back() -> None:
    """A tensor with a history that was written to has its values again."""
    y = torch.ones(2, requires_grad=True) * 2
    restore_after(lambda t: t.detach().zero_(), y)()
    assert y.tolist() == [2, 2]


def sparse() -> torch.Tensor:
    """Make a sparse tensor."""
    return torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse()


def test_what_was_added_to_a_sparse_tensor_is_undone() -> None:
    """Accumulation in place, which gives a sparse tensor new parts, is taken back."""
    tensor = sparse()
    restore = restore_after(lambda t: t.add_(torch.ones(2, 2).to_sparse()), tensor)
    assert tensor.to_dense().tolist() == [[1, 3], [4, 1]]
    restore()
    assert tensor.to_dense().tolist() == [[0, 2], [3, 0]]


def test_a_sparse_result_inside_a_graph_is_no_error() -> None:
    """A sparse tensor with a history has its values afterwards."""
    tensor = torch.eye(2, requires_grad=True).to_sparse()
    restore_after(leave, tensor)()
    assert tensor.to_dense().tolist() == [[1, 0], [0, 1]]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_each_part_of_a_nested_tensor_comes_back() -> None:
    """Parts of different lengths have their values again."""
    tensor = torch.nested.nested_tensor([torch.ones(2), torch.full((3,), 2.0)])
    restore_after(lambda t: [part.zero_() for part in t.unbind()], tensor)()
    assert [part.tolist() for part in tensor.unbind()] == [[1, 1], [2, 2, 2]]


class Agreeable(torch.Tensor):
    """A tensor that claims to be equal to every other."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.equal:
            return True
        return super().__torch_function__(func, types, args, kwargs)


def test_a_tensor_of_another_class_comes_back() -> None:
    """A subclass, which may compare in its own way, has its values again."""
    tensor = torch.ones(3).as_subclass(Agreeable)
    restore_after(lambda t: t.zero_(), tensor)()
    assert tensor.tolist() == [1, 1, 1]


def given_away() -> torch.Tensor:
    """Make a tensor whose memory was freed, as a sharded module's is between uses."""
    tensor = torch.ones(3)
    tensor.untyped_storage().resize_(0)
    return tensor


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: torch.ones(3), True),
        (lambda: torch.ones(0, 3), True),
        (sparse, True),
        (lambda: torch.ones(3, device="meta"), False),
        (given_away, False),
    ],
    ids=["plain", "empty", "sparse", "meta", "given-away"],
)
def test_a_tensor_without_memory_has_no_values(
    make: Callable[[], torch.Tensor], expected: bool
) -> None:
    """Neither a tensor on the meta device nor one whose memory is gone can be captured."""
    assert tensors.has_values(make()) is expected


def test_accelerators_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is, and the host is not."""
    waited: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    tensors.synchronize([torch.device(name) for name in ("cpu", "meta", "cuda:1")])
    assert waited == [torch.device("cuda:1")]
