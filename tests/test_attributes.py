"""The attributes of an object, looked at without making the object slower."""

import dataclasses
import sys

import pytest

from ignite_lrfinder.snapshot.contents import UNSET, attributes_of, restore_slot, slots_of


class Plain:
    """An object of a few attributes."""

    def __init__(self) -> None:
        self.first = 1
        self.second = [2]
        self.third = "3"


class Slotted:
    """An object without a `__dict__`."""

    __slots__ = ("__private", "public")


@dataclasses.dataclass(frozen=True)
class Frozen:
    """An object that refuses to be written."""

    __slots__ = ("value",)
    value: int


def test_it_is_the_objects_own_dict_with_all_in_its_order() -> None:
    """What is returned can be read and written as `vars` could, and nothing in it has moved."""
    obj = Plain()
    second = obj.second
    attributes = attributes_of(obj)
    assert attributes is vars(obj)
    assert list(attributes.items()) == [("first", 1), ("second", [2]), ("third", "3")]
    assert obj.second is second


@pytest.mark.skipif(
    not (3, 11) <= sys.version_info < (3, 13), reason="other releases lose nothing by looking"
)
def test_it_has_a_table_of_names_of_its_own_which_is_what_makes_it_quick() -> None:
    """The size of a dict tells it: one that shares its table with others does not count it."""
    shared = sys.getsizeof(vars(Plain()))
    assert sys.getsizeof(attributes_of(Plain())) > shared
    assert sys.getsizeof(attributes_of(Plain(), stays_quick=False)) <= shared


def test_no_attributes_are_none() -> None:
    """An object that has no attributes, or can have none, is no error."""
    obj = Plain()
    vars(obj).clear()
    assert attributes_of(obj) == {}
    assert attributes_of(obj) is vars(obj)
    assert attributes_of(Slotted()) == attributes_of(5) == {}


def test_what_only_looks_like_a_dict_is_left_alone() -> None:
    """A `__dict__` may be anything; that of a class is a view, to be read like the others."""

    class Odd:
        __dict__ = "none of ours"  # type: ignore[assignment]

    assert attributes_of(Odd()) == {}
    assert attributes_of(Plain)["__init__"] is Plain.__init__


def test_a_dict_that_is_its_own_namespace_keeps_its_items() -> None:
    """A subclass of dict may give its own meaning to what we would call."""

    class Namespace(dict[str, int]):
        def __init__(self, **items: int) -> None:
            super().__init__(**items)
            self.__dict__ = self

        def popitem(self) -> tuple[str, int]:
            raise AssertionError("left alone")

    namespace = Namespace(a=1, b=2)
    assert attributes_of(namespace) is namespace
    assert list(namespace.items()) == [("a", 1), ("b", 2)]


def test_an_attribute_whose_name_runs_code_is_not_touched() -> None:
    """A name may be of a class of its own, whose hash may fail."""

    class Name(str):
        is_failing = False

        def __hash__(self) -> int:
            if Name.is_failing:
                raise ValueError
            return super().__hash__()

    obj = Plain()
    vars(obj)[Name("fourth")] = 4
    Name.is_failing = True
    assert len(attributes_of(obj)) == 4


def test_attributes_that_are_being_iterated_over_go_on_to_the_end() -> None:
    """Attaching may happen inside a loop over the attributes."""
    obj = Plain()
    names = []
    for name in vars(obj):
        attributes_of(obj)
        names.append(name)
    assert names == ["first", "second", "third"]


def test_slots_are_named_as_they_are_stored() -> None:
    """A private slot carries the name of its class."""
    assert list(slots_of(Slotted)) == ["_Slotted__private", "public"]


@pytest.mark.parametrize("before", [1, UNSET])
@pytest.mark.parametrize("after", [2, UNSET])
def test_a_slot_is_put_back_set_or_not(before: object, after: object) -> None:
    """Also in an object that refuses to be written."""
    obj = Frozen.__new__(Frozen)
    restore_slot(obj, "value", after)
    restore_slot(obj, "value", before)
    assert getattr(obj, "value", UNSET) is before
