"""A memento puts the content of an object graph back into the very same objects."""

import collections
import copy
import dataclasses
import random
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.memento import Memento


class Plain:
    def __init__(self) -> None:
        self.count = 1
        self.inner = [1, 2]


class Slotted:
    __slots__ = ("__hidden", "count")

    def __init__(self) -> None:
        self.count = 1
        self.__hidden = [1]

    def change(self) -> None:
        self.count = 2
        self.__hidden.append(2)

    def content(self) -> tuple[int, list[int]]:
        return self.count, self.__hidden


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    values: list[int]


class Pair(tuple):
    note: str = ""


def change_plain(obj: Plain) -> None:
    """Change, add and remove attributes."""
    obj.inner.append(3)
    del obj.count
    obj.added = 1  # type: ignore[attr-defined]  # on purpose


def refill(obj: collections.OrderedDict) -> None:
    """Give a dict the same items in another order, and one more."""
    obj.move_to_end("a")
    obj["c"] = 3


def shift(obj: types.SimpleNamespace) -> None:
    """Replace one attribute and change what another holds."""
    obj.a = 5
    obj.b["x"].add(4)


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], object], Callable[[Any], object]]] = {
    # what is remembered, what is done to it, how its content is read
    "list": (lambda: [1, [2]], lambda o: (o[1].append(3), o.append(4)), list),
    "dict": (lambda: {"a": 1, "b": [2]}, lambda o: (o["b"].clear(), o.pop("a")), dict),
    "dict-order": (lambda: collections.OrderedDict(a=1, b=2), refill, lambda o: list(o.items())),
    "defaultdict": (lambda: collections.defaultdict(list, a=[1]), lambda o: o["b"], dict),
    "set": (lambda: {1, 2}, lambda o: (o.add(3), o.discard(1)), sorted),
    "deque": (
        lambda: collections.deque([1, 2], maxlen=2),
        lambda o: o.append(3),
        lambda o: (list(o), o.maxlen),
    ),
    "bytearray": (lambda: bytearray(b"ab"), lambda o: o.extend(b"c"), bytes),
    "tuple-of-lists": (lambda: ([1], [2]), lambda o: o[0].append(3), list),
    "namespace": (lambda: types.SimpleNamespace(a=1, b={"x": {2}}), shift, lambda o: vars(o)),
    "attributes": (Plain, change_plain, vars),
    "slots": (Slotted, Slotted.change, Slotted.content),
    "frozen": (lambda: Frozen([1]), lambda o: o.values.append(2), lambda o: o.values),
    "tuple-attributes": (
        lambda: Pair([1]),
        lambda o: setattr(o, "note", "new"),
        lambda o: (o.note, "note" in vars(o)),
    ),
    "array": (lambda: np.arange(4.0), lambda o: o.fill(np.nan), lambda o: o.tobytes()),
    "array-of-objects": (
        lambda: np.array([{"a": 1}, None], dtype=object),
        lambda o: (o[0].clear(), o.__setitem__(1, 2)),
        lambda o: o.tolist(),
    ),
    "torch-generator": (
        lambda: torch.Generator().manual_seed(1),
        lambda o: torch.rand(3, generator=o),
        lambda o: o.get_state().tolist(),
    ),
    "python-generator": (lambda: random.Random(1), lambda o: o.gauss(0, 1), random.Random.getstate),
    "numpy-generator": (
        lambda: np.random.default_rng(1),
        lambda o: o.random(),
        lambda o: o.bit_generator.state,
    ),
    "numpy-random-state": (
        lambda: np.random.RandomState(1),  # users still have them
        lambda o: o.rand(),
        lambda o: str(o.get_state(legacy=False)),
    ),
}


@pytest.mark.parametrize("depth", [0, 2], ids=["itself", "nested"])
@pytest.mark.parametrize("kind", KINDS)
def test_content_comes_back_in_place(kind: str, depth: int) -> None:
    """Whatever holds data gets its content back, at the root and deep inside other objects."""
    make, change, read = KINDS[kind]
    obj = make()
    root: object = obj
    for _ in range(depth):
        root = [types.SimpleNamespace(held=(root,))]
    before = copy.deepcopy(read(obj))
    memento = Memento()
    memento.remember("x", root)
    change(obj)
    assert read(obj) != before
    assert memento.restore() == {}
    assert read(obj) == before


@pytest.mark.parametrize("kind", ["list", "dict", "set", "array", "attributes"])
def test_content_can_be_restored_twice(kind: str) -> None:
    """What a first restore gave back is not the copy itself, which a second restore still has."""
    make, change, read = KINDS[kind]
    obj = make()
    before = copy.deepcopy(read(obj))
    memento = Memento()
    memento.remember("x", obj)
    for _ in range(2):
        change(obj)
        memento.restore()
        assert read(obj) == before


def test_objects_that_were_replaced_come_back_themselves() -> None:
    """Not an equal object but the same one stands where it stood."""
    inner, model = [1], nn.Linear(2, 2)
    holder = types.SimpleNamespace(inner=inner, model=model)
    weight = model.weight
    memento = Memento()
    memento.remember("x", holder)
    holder.inner, model.weight = [1], nn.Parameter(torch.zeros(2, 2))
    memento.restore()
    assert holder.inner is inner
    assert model.weight is weight


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


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_gets_its_bits_back_into_its_storage(kind: str) -> None:
    """Whatever the dtype and the strides, the same tensor over the same memory has its values."""
    tensor = TENSORS[kind]()
    before, place, stride = bits(tensor), tensor.data_ptr(), tensor.stride()
    memento = Memento()
    memento.remember("x", tensor)
    base = tensor[:1] if kind == "expanded" else tensor
    base.copy_(torch.logical_not(base) if tensor.dtype == torch.bool else base + 3)
    assert bits(tensor) != before or kind == "empty"
    assert memento.restore() == {}
    assert bits(tensor) == before
    assert (tensor.data_ptr(), tensor.stride()) == (place, stride)


def replace_data(parameter: nn.Parameter) -> None:
    """Give a parameter other memory, as casts and sharded training do."""
    parameter.data = torch.zeros(3, 3)


def cast_data(parameter: nn.Parameter) -> None:
    """Give a parameter another dtype."""
    parameter.data = parameter.data.double()


def transpose_data(parameter: nn.Parameter) -> None:
    """Let a parameter see the same memory in another order."""
    parameter.data = parameter.data.T


def grow_data(parameter: nn.Parameter) -> None:
    """Give a parameter another shape."""
    parameter.data = torch.zeros(5)


@pytest.mark.parametrize("change", [replace_data, cast_data, transpose_data, grow_data])
def test_a_parameter_that_was_given_other_memory_gets_its_own_back(
    change: Callable[[nn.Parameter], None],
) -> None:
    """After `parameter.data = ...` the parameter is over its old memory again."""
    parameter = nn.Parameter(torch.arange(9.0).reshape(3, 3))
    place, view = parameter.data_ptr(), parameter.detach()
    memento = Memento()
    memento.remember("x", parameter)
    change(parameter)
    assert memento.restore() == {}
    assert parameter.dtype == torch.float32
    assert parameter.tolist() == torch.arange(9.0).reshape(3, 3).tolist()
    assert parameter.data_ptr() == place
    view[0, 0] = 7
    assert parameter[0, 0] == 7


@pytest.mark.parametrize("later", ["none", "same", "other"])
@pytest.mark.parametrize("is_present", [True, False], ids=["gradient", "no-gradient"])
def test_a_gradient_is_the_same_tensor_with_the_same_values(is_present: bool, later: str) -> None:
    """A gradient that was there comes back itself; one that was not is gone."""
    parameter = nn.Parameter(torch.ones(2))
    gradient = torch.tensor([3.0, 4.0]) if is_present else None
    parameter.grad = gradient
    memento = Memento()
    memento.remember("x", parameter)
    if later == "none":
        parameter.grad = None
    elif later == "same" and gradient is not None:
        gradient.zero_()
    else:
        parameter.grad = torch.zeros(2)
    memento.restore()
    assert parameter.grad is gradient
    assert gradient is None or gradient.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("requires_grad", [True, False], ids=["trained", "frozen"])
def test_a_parameter_is_trained_or_frozen_as_before(requires_grad: bool) -> None:
    """`requires_grad` comes back."""
    parameter = nn.Parameter(torch.ones(2), requires_grad=requires_grad)
    memento = Memento()
    memento.remember("x", parameter)
    parameter.requires_grad_(not requires_grad)
    memento.restore()
    assert parameter.requires_grad is requires_grad


def test_a_tensor_made_in_inference_mode_comes_back() -> None:
    """Torch lets such a tensor be written in inference mode alone."""
    with torch.inference_mode():
        tensor = torch.ones(2)
    memento = Memento()
    memento.remember("x", tensor)
    with torch.inference_mode():
        tensor.zero_()
    assert memento.restore() == {}
    assert tensor.tolist() == [1, 1]


def test_a_graph_that_nobody_changed_can_still_be_differentiated() -> None:
    """Restoring does not write into an autograd graph without need, which would spoil it."""
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    memento = Memento()
    memento.remember("x", y)
    memento.restore()
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.tolist() == y.tolist()


def test_a_result_inside_a_graph_gets_its_values_back() -> None:
    """A tensor with a history that was written to has its values again."""
    y = torch.ones(2, requires_grad=True) * 2
    memento = Memento()
    memento.remember("x", y)
    y.detach().zero_()
    assert memento.restore() == {}
    assert y.tolist() == [2, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_copies_are_made_by_keep(dtype: torch.dtype) -> None:
    """The place of the copies is the caller's choice, for the values and the gradient alike."""
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.clone())
        return kept[-1]

    tensor = torch.ones(2, dtype=dtype)
    tensor.grad = torch.zeros(2, dtype=dtype)
    memento = Memento(keep=keep)
    memento.remember("x", tensor)
    kept[0].fill_(5)
    memento.restore()
    assert len(kept) == 2
    assert tensor.tolist() == [5, 5]


def test_cycles_and_deep_nesting_are_walked() -> None:
    """Neither an object that holds itself nor ten thousand lists in each other stop the walk."""
    innermost: list[Any] = [1]
    nested: list[Any] = innermost
    for _ in range(10_000):
        nested = [nested]
    innermost.append(innermost)
    memento = Memento()
    memento.remember("x", nested)
    innermost.clear()
    assert memento.restore() == {}
    assert innermost[0] == 1
    assert innermost[1] is innermost


def test_what_is_opaque_is_left_alone() -> None:
    """An opaque object is not noted, nor what hangs on it alone."""
    opaque, seen = [[1]], [[1]]
    memento = Memento(is_opaque=lambda obj: obj is opaque)
    memento.remember("x", [opaque, seen])
    for obj in (opaque, seen):
        obj[0].append(2)
    memento.restore()
    assert opaque == [[1, 2]]
    assert seen == [[1]]


@pytest.mark.parametrize("make", [torch.ones, np.ones], ids=["tensor", "array"])
def test_bulk_data_is_not_copied(make: Callable[[tuple[int, ...]], Any]) -> None:
    """In a source of data samples keep what was written to them, orders do not."""
    bulk, order = make((2, 2)), make((4,))
    memento = Memento(is_data=True)
    memento.remember("x", [bulk, order])
    bulk[:] = 0
    order[:] = 0
    memento.restore()
    assert bulk.sum() == 0
    assert order.sum() == 4


def test_long_containers_are_noted_but_not_looked_into() -> None:
    """Of more than a thousand samples the order comes back, what each of them holds does not."""
    long, short = [[i] for i in range(1001)], [[0], [1]]
    memento = Memento(is_data=True)
    memento.remember("x", long, short)
    for obj in (long, short):
        obj[0].append(9)
        obj.reverse()
    memento.restore()
    assert long == [[0, 9], *([i] for i in range(1, 1001))]
    assert short == [[0], [1]]


def test_read_only_arrays_are_left_alone() -> None:
    """An array that cannot be written is no error."""
    array = np.broadcast_to(np.arange(3), (2, 3))
    memento = Memento()
    memento.remember("x", array)
    assert memento.restore() == {}


def test_locks_weak_references_and_classes_are_left_alone() -> None:
    """What has no content to put back is passed over."""

    class Settings:
        values = [1]  # noqa: RUF012  # shared on purpose

    lock, owner = threading.Lock(), Plain()
    memento = Memento()
    memento.remember("x", [lock, weakref.ref(owner), weakref.proxy(owner), Settings, threading])
    lock.acquire()
    Settings.values.append(2)
    owner.count = 5
    assert memento.restore() == {}
    assert lock.locked()
    assert Settings.values == [1, 2]
    assert owner.count == 5


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_parameter_is_refused_with_a_remedy() -> None:
    """A parameter without values cannot be remembered, and the error says what to do."""
    model = nn.LazyLinear(2)
    with pytest.raises(LRFinderError, match=r"net must be initialised.*Pass one batch"):
        Memento().remember("net", model)


class Stubborn(random.Random):
    def setstate(self, state: object) -> None:
        raise OSError("on purpose")


def test_an_object_that_fails_does_not_keep_back_the_others() -> None:
    """The first error is reported under its name, and everything else is restored."""
    first, stubborn, last = [1], Stubborn(), [1]
    memento = Memento()
    memento.remember("first", first)
    memento.remember("stubborn", stubborn)
    memento.remember("last", last)
    for obj in (first, last):
        obj.append(2)
    failures = memento.restore()
    assert list(failures) == ["stubborn"]
    assert isinstance(failures["stubborn"], OSError)
    assert (first, last) == ([1], [1])


def test_only_what_is_named_is_restored() -> None:
    """A restore by name leaves what was remembered under other names."""
    a, b = [1], [1]
    memento = Memento()
    memento.remember("a", a)
    memento.remember("b", b)
    a.append(2)
    b.append(2)
    memento.restore(["b"])
    assert (a, b) == ([1, 2], [1])


def test_forgetting_lets_go_of_objects_and_copies() -> None:
    """After `forget` nothing that was noted is held, and a restore does nothing."""
    obj = Plain()
    watch = weakref.ref(obj)
    memento = Memento()
    memento.remember("x", obj)
    assert any(one is obj for one in memento.seen())
    memento.forget()
    assert not memento.seen()
    obj.count = 7
    memento.restore()
    assert obj.count == 7
    del obj
    assert watch() is None
