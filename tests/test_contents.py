"""Containers, attributes and slots get their contents back, whatever a subclass redefines."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ignite_lrfinder.snapshot import contents


class Backwards(list):
    """A list that is read backwards, and counts how often."""

    num_reads = 0

    def __iter__(self) -> Iterator[Any]:
        self.num_reads += 1
        return reversed(self)


class Wrapping(dict):
    """A dict that wraps what is put into it, and refuses to be emptied."""

    def __setitem__(self, key: object, value: object) -> None:
        super().__setitem__(key, (value,))

    def clear(self) -> None:
        raise TypeError("refused")


class Frozen(list):
    """A list that refuses to be written."""

    def __setitem__(self, index: object, value: object) -> None:
        raise TypeError("frozen")


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], object], Callable[[Any], object]]] = {
    # the container, what is done to it, how its content is read
    "list": (lambda: [1, 2], lambda o: o.reverse(), list),
    "dict": (lambda: {"a": 1, "b": 2}, lambda o: o.update(a=3, c=4), lambda o: list(o.items())),
    "dict-key": (lambda: {1: "a"}, lambda o: o.update({2: o.pop(1)}), dict),
    "ordered-dict": (
        lambda: collections.OrderedDict(a=1, b=2),
        lambda o: o.move_to_end("a"),
        lambda o: list(o.items()),
    ),
    "set": (lambda: {1, 2}, lambda o: o.add(3), sorted),
    "deque": (
        lambda: collections.deque([1, 2], maxlen=2),
        lambda o: o.append(3),
        lambda o: (list(o), o.maxlen),
    ),
    "list-with-its-own-iter": (lambda: Backwards([1, 2]), lambda o: o.append(3), lambda o: o[:]),
    "dict-with-its-own-methods": (
        lambda: Wrapping(a=1),
        lambda o: dict.__setitem__(o, "b", 2),
        lambda o: list(o.items()),
    ),
    "list-that-cannot-be-set": (
        lambda: Frozen([1, 2]),
        lambda o: o.append(3),
        lambda o: list(o),
    ),
    "list-of-pairs": (lambda: [(1, 2)], lambda o: o.append((3, 4)), list),
}


@pytest.mark.parametrize("kind", KINDS)
def test_restore_elements_undoes_a_change(kind: str) -> None:
    """A changed container has its former elements, in their order."""
    make, change, read = KINDS[kind]
    obj = make()
    before, held = read(obj), contents.elements_of(obj)
    change(obj)
    assert read(obj) != before
    contents.restore_elements(obj, held)
    assert read(obj) == before


def test_restore_elements_restores_the_same_objects() -> None:
    """A restored list or dict holds the former element itself, not an equal one."""
    element, other = [1], [1]
    for obj, key in (([element], 0), ({"a": element}, "a")):
        held = contents.elements_of(obj)
        obj[key] = other  # type: ignore[index]  # both take their key
        contents.restore_elements(obj, held)
        assert obj[key] is element  # type: ignore[index]


def test_reading_and_restoring_call_no_overridden_method() -> None:
    """A subclass that counts its reads has counted none."""
    obj = Backwards([1, 2])
    contents.restore_elements(obj, contents.elements_of(obj))
    assert obj.num_reads == 0


def test_an_unchanged_set_keeps_its_order() -> None:
    """A set that was emptied and filled again would iterate in another order."""
    obj = set(range(5000))
    for i in range(5000):
        if i not in (1, 8, 33, 64, 4103):
            obj.discard(i)
    order = list(obj)
    contents.restore_elements(obj, contents.elements_of(obj))
    assert list(obj) == order


def test_restore_elements_compares_no_values() -> None:
    """An array, whose comparison is ambiguous, replaces the bytes that took its place."""
    array = np.array([1, 2])
    obj = [array, 3]
    held = contents.elements_of(obj)
    obj[0] = b"ab"
    contents.restore_elements(obj, held)
    assert obj[0] is array


class Plain:
    """An object with a few attributes."""

    def __init__(self) -> None:
        self.first = 1
        self.second = [2]


class Slotted:
    """An object without a `__dict__`."""

    __slots__ = ("__private", "public")


@dataclasses.dataclass(frozen=True)
class Sealed:
    """An object that refuses assignment."""

    __slots__ = ("value",)
    value: int


def test_attributes_of_returns_the_dict_of_an_object() -> None:
    """The mapping is the one that `vars` returns, with its items in their order."""
    obj = Plain()
    assert contents.attributes_of(obj) is vars(obj)
    assert list(contents.attributes_of(obj)) == ["first", "second"]


def test_attributes_of_returns_an_empty_mapping_for_an_object_without_attributes() -> None:
    """An object without a `__dict__`, or with one that is not a mapping, is not an error."""

    class Odd:
        __dict__ = "not a mapping"  # type: ignore[assignment]  # on purpose

    for obj in (Slotted(), Odd(), 5):
        assert contents.attributes_of(obj) == {}


def test_slots_of_finds_private_slots() -> None:
    """The name of a private slot includes the name of its class."""
    assert [s.__name__ for s in contents.slots_of(Slotted)] == ["_Slotted__private", "public"]


def test_slots_of_finds_the_slots_of_base_classes() -> None:
    """A subclass with slots has those of its base classes too."""

    class Derived(Slotted):
        __slots__ = "single"

    names = [slot.__name__ for slot in contents.slots_of(Derived)]
    assert names == ["single", "_Slotted__private", "public"]


@pytest.mark.parametrize("before", [1, contents.UNSET], ids=["set", "unset"])
@pytest.mark.parametrize("after", [2, contents.UNSET], ids=["changed", "deleted"])
def test_restore_slot_restores_a_value_and_its_absence(before: object, after: object) -> None:
    """A slot of a frozen dataclass has its former value, or none."""
    [slot] = contents.slots_of(Sealed)
    obj = Sealed.__new__(Sealed)
    contents.restore_slot(obj, (slot, after))
    contents.restore_slot(obj, (slot, before))
    assert contents.slot_value(slot, obj) is before
    assert getattr(obj, "value", contents.UNSET) is before
