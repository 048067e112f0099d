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
    # what is captured, what is done to it, how its content is read
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
def test_content_comes_back_in_place(kind: str, depth: int) -> None:
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
def test_content_can_be_restored_twice(kind: str) -> None:
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


def test_objects_that_were_replaced_come_back_themselves() -> None:
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
def test_a_gradient_is_the_same_tensor_with_the_same_values(is_present: bool, later: str) -> None:
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


def test_a_sparse_gradient_comes_back() -> None:
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
def test_copies_are_made_by_keep(dtype: torch.dtype) -> None:
    """The place of the copies is the caller's choice, for the values and the gradient alike."""
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        kept.append(copy := tensor.clone())
        return lambda: copy

    tensor = torch.ones(2, dtype=dtype)
    tensor.grad = torch.zeros(2, dtype=dtype)
    memento = Memento(keep=keep)
    memento.capture("x", tensor)
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
    memento.capture("x", nested)
    innermost.clear()
    assert memento.restore() == {}
    assert innermost[0] == 1
    assert innermost[1] is innermost


def test_what_is_opaque_is_left_alone() -> None:
    """An opaque object is not noted, nor what hangs on it alone."""
    opaque, seen = [[1]], [[1]]
    memento = Memento(is_opaque=lambda obj: obj is opaque)
    memento.capture("x", [opaque, seen])
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
    memento.capture("x", [bulk, order])
    bulk[:] = 0
    order[:] = 0
    memento.restore()
    assert bulk.sum() == 0
    assert order.sum() == 4


def test_long_containers_are_noted_but_not_looked_into() -> None:
    """Of more than a thousand samples the order comes back, what each of them holds does not."""
    long, short = [[i] for i in range(1001)], [[0], [1]]
    memento = Memento(is_data=True)
    memento.capture("x", long, short)
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
    memento.capture("x", array)
    assert memento.restore() == {}


def test_locks_weak_references_and_classes_are_left_alone() -> None:
    """An object without content is skipped."""

    class Settings:
        values = [1]  # noqa: RUF012  # shared on purpose

    lock, owner = threading.Lock(), Plain()
    memento = Memento()
    memento.capture("x", [lock, weakref.ref(owner), weakref.proxy(owner), Settings, threading])
    lock.acquire()
    Settings.values.append(2)
    owner.count = 5
    assert memento.restore() == {}
    assert lock.locked()
    assert Settings.values == [1, 2]
    assert owner.count == 5


class Sharded(nn.Module):
    """A module that keeps, as torch's sharded ones do, what talks to other processes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 1
        self.mesh = Plain()


def test_what_talks_to_other_processes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of torch's distributed package modules are noted, and what they communicate by is not."""
    for cls in (Sharded, Plain):
        monkeypatch.setattr(cls, "__module__", "torch.distributed.sharded")
    model = Sharded()
    memento = Memento()
    memento.capture("x", model)
    model.count = model.mesh.count = 5
    memento.restore()
    assert (model.count, model.mesh.count) == (1, 5)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_parameter_is_refused_with_a_remedy() -> None:
    """A parameter without values cannot be captured, and the error says what to do."""
    model = nn.LazyLinear(2)
    with pytest.raises(LRFinderError, match=r"net must be initialised.*Pass one batch"):
        Memento().capture("net", model)


class Stubborn(random.Random):
    def setstate(self, state: object) -> None:
        raise OSError("on purpose")


def test_an_object_that_fails_does_not_keep_back_the_others() -> None:
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


def test_only_what_is_named_is_restored() -> None:
    """A restore by name leaves what was captured under other names."""
    a, b = [1], [1]
    memento = Memento()
    memento.capture("a", a)
    memento.capture("b", b)
    a.append(2)
    b.append(2)
    memento.restore(["b"])
    assert (a, b) == ([1, 2], [1])


def test_forgetting_lets_go_of_objects_and_copies() -> None:
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


def test_memory_that_two_tensors_share_is_kept_once() -> None:
    """Tied parameters, and others of the very same memory, cost one copy and all come back."""
    weight = nn.Parameter(torch.arange(6.0))
    tied, other_way, part = nn.Parameter(weight.data), weight.data.view(2, 3), weight.data[1:]
    kept: list[torch.Size] = []

    def keep(tensor: torch.Tensor) -> Kept:
        kept.append(tensor.shape)
        return in_host_memory(tensor)

    memento = Memento(keep=keep)
    memento.capture("weights", [weight, weight, tied, other_way, part, weight.data])
    assert kept == [(6,), (2, 3), (5,)]
    with torch.no_grad():
        weight.zero_()
    assert memento.restore() == {}
    assert tied.tolist() == [0, 1, 2, 3, 4, 5]
    assert other_way.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_two_views_of_a_number_in_the_same_memory_are_two() -> None:
    """A conjugate has the memory of what it is made of, and other values."""
    number = torch.tensor([1 + 2j])
    held = [number, number.conj(), torch.empty(0), torch.empty(0)]
    memento = Memento(keep=in_host_memory)
    memento.capture("numbers", held)
    number.zero_()
    assert memento.restore() == {}
    assert held[0].tolist() == [1 + 2j]
    assert held[1].tolist() == [1 - 2j]
