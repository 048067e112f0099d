"""What an object holds: the elements of a container, attributes and slots, restored in place.

A subclass may redefine iteration, item access and attribute access, so the methods of the built-in
types and the descriptors of the slots are used throughout.
"""

import collections
import functools
import types
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, TypeVar

CONTAINERS = (list, dict, set, frozenset, collections.deque, tuple)
"""The types of objects that have elements."""

# An ordered dict is a dict too, but keeps its order with methods of its own, so it comes first.
BARE = (collections.OrderedDict, *CONTAINERS)
"""The types of containers that hold nothing but their elements."""

PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""The commonest types without state, which are recognized before any look at an object."""

Elements = list[Any] | dict[Any, Any]

UNSET = object()
"""The value of a slot or variable that has none."""

Fact = TypeVar("Fact")
_forget_facts: list[Callable[[], object]] = []


def once_for_each_class(compute: Callable[[type], Fact]) -> Callable[[type], Fact]:
    """Let a function of a class compute its result once, until `forget_classes`."""
    cached = functools.lru_cache(maxsize=None)(compute)
    _forget_facts.append(cached.cache_clear)
    return cached


def forget_classes() -> None:
    """Release the classes of which something was computed, and what their methods enclose."""
    for forget in _forget_facts:
        forget()


def elements_of(obj: Any) -> Elements:
    """Return a copy of what a container holds, in its order: a dict for a dict, else a list."""
    if type(obj) in (dict, list):
        return obj.copy()
    kind = _kind_of(obj)
    return dict(kind.items(obj)) if isinstance(obj, dict) else list(kind.__iter__(obj))


def restore_elements(obj: Any, elements: Any) -> None:
    """Restore the former elements of a container, unless it still holds the same objects."""
    kind = _kind_of(obj)
    # An element whose hash changed is not found where it lies.
    is_found = not isinstance(obj, (dict, set)) or all(
        map(functools.partial(kind.__contains__, obj), elements)
    )
    if is_found and _is_same(obj if type(obj) in (dict, list) else elements_of(obj), elements):
        return
    if isinstance(obj, list):
        kind.__setitem__(obj, slice(None), elements)
        return
    kind.clear(obj)
    if isinstance(obj, dict):
        kind.update(obj, elements)
    else:
        add = kind.add if isinstance(obj, set) else kind.append
        for element in elements:
            add(obj, element)


def _is_same(now: Any, then: Any) -> bool:
    """Return whether two contents are the same objects in the same order."""
    if len(now) != len(then) or not all(map(is_, now, then)):
        return False
    return type(then) is list or all(map(is_, now.values(), then.values()))


def _kind_of(obj: object) -> Any:
    """Return the built-in type that a container is of."""
    kind = type(obj)
    return kind if kind in BARE else next(k for k in BARE if issubclass(kind, k))


def attributes_of(obj: object) -> Mapping[str, Any]:
    """Return the `__dict__` of an object: the mapping itself, empty for an object without one."""
    try:
        attributes = getattr(obj, "__dict__", None)
    except Exception:  # a property may raise anything
        return {}
    return attributes if issubclass(type(attributes), Mapping) else {}  # type: ignore[return-value]  # just checked


def restore_instance(obj: object, was: tuple[type, dict[str, Any] | None]) -> None:
    """Restore the former class and attributes of an object."""
    cls, attributes = was
    if type(obj) is not cls:
        obj.__class__ = cls
    if attributes is not None and not _is_same(obj.__dict__, attributes):
        restore_elements(obj.__dict__, attributes)


def restore_class(cls: type, was: dict[str, Any]) -> None:
    """Restore the former attributes of a class that a library made for its instances."""
    for name in [name for name in vars(cls) if name not in was]:
        type.__delattr__(cls, name)
    for name, value in was.items():
        if vars(cls).get(name, UNSET) is not value:
            type.__setattr__(cls, name, value)


def class_attribute(cls: type, name: str) -> object:
    """Return an attribute of a class as it is stored, or `UNSET`.

    To ask the class for it may run code: a mock makes another mock each time.
    """
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return UNSET


@once_for_each_class
def slots_of(cls: type) -> tuple[types.MemberDescriptorType, ...]:
    """Return the descriptors of the slots that classes written in Python give their instances."""
    slots = []
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            is_mangled = name.startswith("__") and not name.endswith("__")
            stored = f"_{base.__name__.lstrip('_')}{name}" if is_mangled else name
            descriptor = base.__dict__.get(stored)
            if isinstance(descriptor, types.MemberDescriptorType):
                slots.append(descriptor)
    return tuple(slots)


def slot_value(slot: types.MemberDescriptorType, obj: object) -> object:
    """Return the value of a slot, or `UNSET`."""
    try:
        return slot.__get__(obj)
    except AttributeError:
        return UNSET


def restore_slot(obj: object, was: tuple[types.MemberDescriptorType, object]) -> None:
    """Restore the former value of a slot, also in a frozen dataclass."""
    slot, value = was
    if slot_value(slot, obj) is value:
        return
    if value is UNSET:
        slot.__delete__(obj)
    else:
        slot.__set__(obj, value)
