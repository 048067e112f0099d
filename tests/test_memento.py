"""A memento restores the content of an object graph in the same objects."""

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

from ignite_lrfinder import LRFinderError
from ignite_lrfinder.snapshot.memento import Memento
from ignite_lrfinder.snapshot.storage import Kept, in_host_memory


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


class Unset:
    __slots__ = ("count",)


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
    "empty-list": (list, lambda o: o.append(1), list),
    "empty-dict": (dict, lambda o: o.update(a=1), dict),
    "empty-ordered-dict": (collections.OrderedDict, lambda o: o.update(a=1), dict),
    "empty-set": (set, lambda o: o.add(1), set),
    "empty-deque": (collections.deque, lambda o: o.append(1), list),
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
    "unset-slot": (
        Unset,
        lambda o: setattr(o, "count", 1),
        lambda o: getattr(o, "count", "unset"),
    ),
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
    "masked-array": (
        lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
        lambda o: (o.__setitem__(0, np.ma.masked), o.data.fill(0)),
        lambda o: (o.data.tolist(), o.mask.tolist()),
    ),
    "resized-array": (
        lambda: np.arange(4),
        lambda o: o.resize(6, refcheck=False),
        lambda o: o.tolist(),
    ),
    "default-factory": (
        lambda: collections.defaultdict(list),
        lambda o: setattr(o, "default_factory", int),
        lambda o: o.default_factory,
    ),
    "generator": (
        lambda: torch.Generator().manual_seed(1),
        lambda o: torch.rand(3, generator=o),
        lambda o: o.get_state().tolist(),
    ),
}


@pytest.mark.parametrize("depth", [0, 2], ids=["itself", "nested"])
@pytest.mark.parametrize("kind", KINDS)
def test_restore_restores_content_in_place(kind: str, depth: int) -> None:
    """Whatever holds data gets its content back, at the root and deep inside other objects."""
    make, change, read = KINDS[kind]
    obj = make()
    root: object = obj
    for _ in range(depth):
        root = [types.SimpleNamespace(held=(root,))]
    before = copy.deepcopy(read(obj))
    memento = Memento()
    memento.capture("x", root)
    change(obj)
    assert read(obj) != before
    assert memento.restore() == {}
    assert read(obj) == before


@pytest.mark.parametrize("kind", ["list", "dict", "set", "array", "attributes"])
def test_restore_can_be_repeated(kind: str) -> None:
    """What a first restore gave back is not the copy itself, which a second restore still has."""
    make, change, read = KINDS[kind]
    obj = make()
    before = copy.deepcopy(read(obj))
    memento = Memento()
    memento.capture("x", obj)
    for _ in range(2):
        change(obj)
        memento.restore()
        assert read(obj) == before


def test_restore_restores_replaced_objects_themselves() -> None:
    """Not an equal object but the same one stands where it stood."""
    inner, model = [1], nn.Linear(2, 2)
    holder = types.SimpleNamespace(inner=inner, model=model)
    weight = model.weight
    memento = Memento()
    memento.capture("x", holder)
    holder.inner, model.weight = [1], nn.Parameter(torch.zeros(2, 2))
    memento.restore()
    assert holder.inner is inner
    assert model.weight is weight


@pytest.mark.parametrize("later", ["none", "same", "other"])
@pytest.mark.parametrize("is_present", [True, False], ids=["gradient", "no-gradient"])
def test_restore_restores_a_gradient_itself(is_present: bool, later: str) -> None:
    """A gradient that was there comes back itself; one that was not is gone."""
    parameter = nn.Parameter(torch.ones(2))
    gradient = torch.tensor([3.0, 4.0]) if is_present else None
    parameter.grad = gradient
    memento = Memento()
    memento.capture("x", parameter)
    if later == "none":
        parameter.grad = None
    elif later == "same" and gradient is not None:
        gradient.zero_()
    else:
        parameter.grad = torch.zeros(2)
    memento.restore()
    assert parameter.grad is gradient
    assert gradient is None or gradient.tolist() == [3.0, 4.0]


def test_restore_restores_a_sparse_gradient() -> None:
    """What later steps accumulate into the sparse gradient of an embedding is taken out again."""
    embedding = nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    memento = Memento()
    memento.capture("x", embedding)
    embedding(torch.tensor([2])).sum().backward()
    gradient = embedding.weight.grad
    assert gradient is not None
    assert gradient.to_dense().tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]
    assert memento.restore() == {}
    assert gradient.to_dense().tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_capture_copies_values_with_keep(dtype: torch.dtype) -> None:
    """The values of a tensor and of its gradient come from where `keep` put them."""
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        kept.append(values := tensor.clone())
        return lambda: values

    tensor = torch.ones(2, dtype=dtype)
    tensor.grad = torch.ones(2, dtype=dtype)
    memento = Memento(keep=keep)
    memento.capture("x", tensor)
    assert len(kept) == 2
    for values in kept:
        values.zero_()
    memento.restore()
    assert tensor.tolist() == tensor.grad.tolist() == [0, 0]


def test_capture_follows_cycles_and_deep_nesting() -> None:
    """Neither an object that holds itself nor ten thousand lists in each other stop the walk."""
    innermost: list[Any] = [1]
    nested: list[Any] = innermost
    for _ in range(10_000):
        nested = [nested]
    innermost.append(innermost)
    memento = Memento()
    memento.capture("x", nested)
    innermost.clear()
    assert memento.restore() == {}
    assert innermost[0] == 1
    assert innermost[1] is innermost


def test_capture_skips_opaque_objects() -> None:
    """An opaque object is not noted, nor what hangs on it alone."""
    opaque, seen = [[1]], [[1]]
    memento = Memento(opaque=[opaque])
    memento.capture("x", [opaque, seen])
    for obj in (opaque, seen):
        obj[0].append(2)
    memento.restore()
    assert opaque == [[1, 2]]
    assert seen == [[1]]


LARGE: dict[str, tuple[Callable[..., Any], Callable[[Any], object]]] = {
    "tensor": (torch.zeros, lambda data: data[0].fill_(1)),
    "array": (np.zeros, lambda data: data[0].fill(1)),
    "tensor's data": (torch.zeros, lambda data: data.data[0].fill_(1)),
    "transposed tensor": (lambda shape: torch.zeros(shape[::-1]).T, lambda data: data[0].fill_(1)),
    "transposed array": (lambda shape: np.zeros(shape[::-1]).T, lambda data: data[0].fill(1)),
    "masked array": (np.ma.zeros, lambda data: data.__setitem__(0, 1)),
}


@pytest.mark.parametrize("kind", LARGE)
def test_capture_does_not_copy_large_data(kind: str) -> None:
    """Of data what is small comes back, whatever its shape; what is large is named if written."""
    make, write = LARGE[kind]
    large, small, untouched = make((40, 1_000_000)), make((4, 3)), make((40, 1_000_000))
    memento = Memento()
    memento.capture("data", {"large": large, "small": small, "other": untouched}, is_data=True)
    assert memento.not_restored() == []
    for data in (large, small):
        write(data)
    memento.restore()
    assert (large.sum(), small.sum()) == (1_000_000, 0)
    assert [path for path, _ in memento.not_restored()] == ["data['large']"]


def test_each_view_of_large_data_is_watched_alone() -> None:
    """A view of which nothing was written is not named, whatever the others show."""
    rows, memento = list(torch.zeros(200, 200_000)), Memento()
    memento.capture("data", rows, is_data=True)
    rows[-1].add_(1)  # the first rows are copied
    assert [path for path, _ in memento.not_restored()] == ["data[199]"]


def test_large_data_can_be_resized_after_it_was_watched() -> None:
    """What is watched shares no memory with NumPy, which would fix its size."""
    large, memento = torch.zeros(40_000_000), Memento()
    memento.capture("data", [large], is_data=True)
    assert memento.not_restored() == []
    assert large.resize_(50_000_000).shape == (50_000_000,)


def test_capture_restores_long_containers_with_what_they_hold() -> None:
    """There is no limit on the number of elements, in data as in the state of a training."""
    for is_data in (False, True):
        long = [[i] for i in range(3000)]
        memento = Memento()
        memento.capture("x", long, is_data=is_data)
        long[0].append(9)
        long.reverse()
        memento.restore()
        assert long == [[i] for i in range(3000)]


def test_capture_skips_read_only_arrays() -> None:
    """An array that cannot be written is no error."""
    array = np.broadcast_to(np.arange(3), (2, 3))
    memento = Memento()
    memento.capture("x", array)
    assert memento.restore() == {}


def test_capture_skips_locks_and_classes() -> None:
    """What has no content to put back is passed over."""

    class Settings:
        values = [1]  # noqa: RUF012  # shared on purpose

    lock = threading.Lock()
    memento = Memento()
    memento.capture("x", [lock, Settings, threading])
    lock.acquire()
    Settings.values.append(2)
    assert memento.restore() == {}
    assert lock.locked()
    assert Settings.values == [1, 2]


class Sharded(torch.optim.SGD):
    """An optimizer of torch's distributed package."""


Sharded.__module__ = "torch.distributed.optim"


def test_capture_restores_optimizers_whatever_their_package() -> None:
    """An optimizer such as `ZeroRedundancyOptimizer` is captured like any other."""
    optimizer = Sharded([nn.Parameter(torch.ones(1))], lr=0.1)
    memento = Memento()
    memento.capture("optimizer", optimizer)
    optimizer.param_groups[0]["lr"] = 0.5
    memento.restore()
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_capture_refuses_a_lazy_parameter() -> None:
    """A parameter without values cannot be remembered, and the error says what to do."""
    model = nn.LazyLinear(2)
    with pytest.raises(LRFinderError, match=r"net must be initialized.*Pass one batch"):
        Memento().capture("net", model)


class Stubborn(random.Random):
    def setstate(self, state: object) -> None:
        raise OSError("on purpose")


def test_restore_continues_after_a_failure() -> None:
    """The first error is reported under its name, and everything else is restored."""
    first, stubborn, last = [1], Stubborn(), [1]
    memento = Memento()
    memento.capture("first", first)
    memento.capture("stubborn", stubborn)
    memento.capture("last", last)
    for obj in (first, last):
        obj.append(2)
    failures = memento.restore()
    assert list(failures) == ["stubborn"]
    assert isinstance(failures["stubborn"], OSError)
    assert (first, last) == ([1], [1])


def test_restore_by_name_leaves_other_names() -> None:
    """A restore by name leaves what was remembered under other names."""
    a, b = [1], [1]
    memento = Memento()
    memento.capture("a", a)
    memento.capture("b", b)
    a.append(2)
    b.append(2)
    memento.restore(["b"])
    assert (a, b) == ([1, 2], [1])


def test_forget_frees_objects_and_copies() -> None:
    """After `forget` nothing that was noted is held, and a restore does nothing."""
    obj = Plain()
    watch = weakref.ref(obj)
    memento = Memento()
    memento.capture("x", obj)
    assert any(one is obj for one in memento.seen())
    memento.forget()
    assert not memento.seen()
    obj.count = 7
    memento.restore()
    assert obj.count == 7
    del obj
    assert watch() is None


def test_capture_copies_shared_memory_once() -> None:
    """Tied parameters, views of a flat buffer and expanded tensors cost one copy of their bytes."""
    flat = torch.arange(6.0)
    tensors = [flat, nn.Parameter(flat), flat.view(2, 3), flat[1:], flat[:2], flat[::2]]
    tensors.append(torch.ones(1).expand(1_000_000))
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> Kept:
        kept.append(tensor.nbytes)
        return in_host_memory(tensor)

    memento = Memento(keep=keep)
    memento.capture("weights", tensors)
    assert sorted(kept) == [4, 24]
    flat.zero_()
    tensors[-1][:1].zero_()
    assert memento.restore() == {}
    assert flat.tolist() == [0, 1, 2, 3, 4, 5]
    assert tensors[-1].sum() == 1_000_000


def test_capture_copies_only_the_part_of_memory_that_tensors_show() -> None:
    """A slice of a large tensor costs its own bytes, and the rest is left as written."""
    large = torch.zeros(1000)
    first, last = large[:3], large[-2:]
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> Kept:
        kept.append(tensor.nbytes)
        return in_host_memory(tensor)

    memento = Memento(keep=keep)
    memento.capture("slices", first, last)
    large.fill_(1)
    memento.restore()
    assert kept == [12, 8]
    assert large.sum() == 995


def test_capture_of_a_view_later_keeps_what_was_captured_first() -> None:
    """Memory that was captured before a sweep is restored to that, also if captured again."""
    flat = torch.arange(4.0)
    memento = Memento()
    memento.capture("weights", flat[:2])
    flat.zero_()
    memento.capture("data", flat)
    flat.fill_(7)
    memento.restore()
    assert flat.tolist() == [0, 1, 0, 0]


def test_a_number_and_its_conjugate_are_restored() -> None:
    """A conjugate shares the memory of what it is made of, and has other values."""
    number = torch.tensor([1 + 2j])
    tensors = [number, number.conj(), torch.empty(0), torch.empty(0)]
    memento = Memento(keep=in_host_memory)
    memento.capture("numbers", tensors)
    number.zero_()
    assert memento.restore() == {}
    assert tensors[0].tolist() == [1 + 2j]
    assert tensors[1].tolist() == [1 - 2j]
