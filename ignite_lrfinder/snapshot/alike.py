"""Many small objects of one class, as data sets hold them, captured and restored together.

Object by object, a data set of 810,000 annotations would take several times as long, as
`benchmarks/cost.py` shows.
"""

from itertools import chain
from operator import attrgetter, is_
from typing import Any

from ignite_lrfinder.snapshot.contents import PLAIN, restore_elements, restore_instance, slots_of

MANY = 10_000
"""The number of elements from which it is worth a look whether they are alike."""

_PASSED = PLAIN | {tuple}
_attributes = attrgetter("__dict__")


def are_alike(objects: list[Any]) -> bool:
    """Return whether objects are dicts, or instances of one class with attributes only."""
    cls = type(objects[0])
    if set(map(type, objects)) != {cls}:
        return False
    return cls is dict or (cls.__dictoffset__ != 0 and cls.__base__ is object and not slots_of(cls))


def _contents_of(objects: list[Any]) -> list[dict[Any, Any]]:
    """Return for each object the dict that holds its items or attributes."""
    return objects if type(objects[0]) is dict else list(map(_attributes, objects))


def capture(objects: list[Any]) -> list[dict[Any, Any]]:
    """Return a copy of what each object holds."""
    return list(map(dict.copy, _contents_of(objects)))


def restore(container: object, was: tuple[list[Any], type, list[dict[Any, Any]]]) -> None:
    """Restore what each of the objects in a container held."""
    objects, cls, copies = was
    if set(map(type, objects)) == {cls} and _is_same(_contents_of(objects), copies):
        return
    for obj, held in zip(objects, copies, strict=True):
        if cls is dict:
            restore_elements(obj, held)
        else:
            restore_instance(obj, (cls, held))


def members_of(objects: list[Any]) -> list[Any]:
    """Return what the objects hold, with the elements of tuples in place of the tuples."""
    held = list(chain.from_iterable(map(dict.values, _contents_of(objects))))
    kinds = set(map(type, held))
    members = [] if kinds <= _PASSED else [value for value in held if type(value) not in _PASSED]
    if tuple not in kinds:
        return members
    tuples = [value for value in held if type(value) is tuple]
    if set(map(type, chain.from_iterable(tuples))) <= PLAIN:
        return members
    return members + [e for e in chain.from_iterable(tuples) if type(e) not in PLAIN]


def _is_same(now: list[dict[Any, Any]], then: list[dict[Any, Any]]) -> bool:
    """Return whether dicts hold the same objects in the same order."""
    if list(map(len, now)) != list(map(len, then)):
        return False
    parts = (
        (chain.from_iterable(map(part, d)) for d in (now, then)) for part in (iter, dict.values)
    )
    return all(all(map(is_, *pair)) for pair in parts)
