"""Lists, dicts, sets and their like get what they held back, whatever a subclass makes of it."""

import collections
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ignite_lrfinder.snapshot import contents as containers


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
    # what is held, what is done to it, how it is read
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
    "bytearray": (lambda: bytearray(b"ab"), lambda o: o.extend(b"c"), bytes),
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
def test_what_was_held_comes_back(kind: str) -> None:
    """A container that was changed has its content back, in its order."""
    make, change, read = KINDS[kind]
    obj = make()
    before, held = read(obj), containers.content(obj)
    change(obj)
    assert read(obj) != before
    containers.restore(obj, held)
    assert read(obj) == before


def test_elements_come_back_themselves() -> None:
    """Not an equal element but the same one is put back, in lists and under keys of dicts."""
    element, other = [1], [1]
    for obj, key in (([element], 0), ({"a": element}, "a")):
        held = containers.content(obj)
        obj[key] = other  # type: ignore[index]  # both take their key
        containers.restore(obj, held)
        assert obj[key] is element  # type: ignore[index]


def test_looking_at_a_container_runs_none_of_its_own_methods() -> None:
    """A subclass that counts how often it is read has not been read."""
    obj = Backwards([1, 2])
    containers.restore(obj, containers.content(obj))
    assert obj.num_reads == 0


def test_a_tuple_is_left_alone() -> None:
    """What cannot change needs no restoring."""
    obj = (1, 2)
    assert containers.content(obj) == [1, 2]
    containers.restore(obj, [])
    assert obj == (1, 2)


def test_an_unchanged_set_keeps_its_order() -> None:
    """A set with gaps in its table, filled anew, would be iterated over in another order."""
    obj = set(range(5000))
    for i in range(5000):
        if i not in (1, 8, 33, 64, 4103):
            obj.discard(i)
    order = list(obj)
    containers.restore(obj, containers.content(obj))
    assert list(obj) == order


def test_bytes_in_the_place_of_something_that_cannot_be_compared_give_way() -> None:
    """What an element was is not asked whether it equals what is there now."""
    array = np.array([1, 2])
    obj = [array, 3]
    held = containers.content(obj)
    obj[0] = b"ab"
    containers.restore(obj, held)
    assert obj[0] is array
