"""Lists, dicts, sets and their like: what they hold, and putting it back into the same object.

A subclass may give its own meaning to iteration and item access, so the methods of the built-in
types are used throughout.
"""

import collections
import itertools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

KINDS = (list, dict, set, collections.deque, bytearray, tuple)
# An ordered dict, which is a dict too, keeps its order with methods of its own, so it comes first.
_ALL_KINDS = (collections.OrderedDict, *KINDS)


def content(obj: Any) -> list[Any]:
    """Return what a container holds, in its order: its elements, or the items of a dict."""
    if _is_empty(obj) and type(obj) is not bytearray:
        return []
    if isinstance(obj, dict):
        return list(_kind_of(obj).items(obj))
    return list(_kind_of(obj).__iter__(obj)) if not isinstance(obj, bytearray) else [bytes(obj)]


def restore(obj: Any, held: list[Any]) -> None:
    """Put back what a container held, unless it holds the same objects still."""
    if isinstance(obj, tuple) or (not held and _is_empty(obj)) or _is_same(content(obj), held):
        return
    kind = _kind_of(obj)
    if isinstance(obj, bytearray):
        kind.__setitem__(obj, slice(None), held[0])
    elif isinstance(obj, list):
        kind.__setitem__(obj, slice(None), held)
    else:
        kind.clear(obj)
        for element in held:
            if isinstance(obj, dict):
                kind.__setitem__(obj, *element)
            elif isinstance(obj, set):
                kind.add(obj, element)
            else:
                kind.append(obj, element)


def _is_empty(obj: object) -> bool:
    """Tell quickly that a container of the built-in type itself holds nothing, as most do."""
    return type(obj) in _ALL_KINDS and not obj


def _is_same(now: list[Any], held: list[Any]) -> bool:
    """Tell whether two contents are the same objects in the same order."""
    return len(now) == len(held) and all(map(_is_same_element, now, held))


def _is_same_element(now: Any, held: Any) -> bool:
    """Tell whether two elements are the same object.

    The items of a dict are made anew each time, and so is the one string of bytes.
    """
    if now is held:
        return True
    if type(now) is tuple and type(held) is tuple and len(now) == len(held) == 2:
        return now[0] is held[0] and now[1] is held[1]
    return type(now) is type(held) is bytes and now == held


def _kind_of(obj: object) -> Any:
    """Return the built-in type that a container is of."""
    kind = type(obj)
    return kind if kind in _ALL_KINDS else next(k for k in _ALL_KINDS if isinstance(obj, k))


# What a slot holds that was never set.
UNSET = object()


_IS_SLOWER_AFTER = (3, 11) <= sys.version_info < (3, 13)


def attributes_of(obj: object, *, stays_quick: bool = True) -> Mapping[str, Any]:
    """Return the attributes that an object keeps in its `__dict__`: that itself, not a copy.

    In CPython 3.11 and 3.12 whoever asks for a `__dict__` makes the object slower: reading or
    writing one of its attributes then takes several times as long, also in the training that
    follows. That is so while the dict shares its table of names with the other objects of the
    class. Taking an item out gives it a table of its own; here that is done, and the item put back,
    in one call, in which no other code runs. Where a class has `__getattr__`, as a network has, it
    would not help.

    Args:
        obj: any object; one without a `__dict__` has no attributes here.
        stays_quick: give its dict a table of its own, of up to a kilobyte.
    """
    attributes = getattr(obj, "__dict__", None)
    if not isinstance(attributes, Mapping):
        return {}
    if stays_quick and _IS_SLOWER_AFTER and type(attributes) is dict and attributes:
        is_plain = type(next(reversed(attributes))) is str  # another's hash is other code
        if is_plain and not hasattr(type(obj), "__getattr__"):
            attributes.update(itertools.islice(iter(attributes.popitem, None), 1))
    return attributes


def slots_of(cls: type) -> Iterator[str]:
    """Iterate over the names of the slots that classes written in Python give their instances."""
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                is_mangled = name.startswith("__") and not name.endswith("__")
                yield f"_{base.__name__.lstrip('_')}{name}" if is_mangled else name


def restore_slot(obj: object, name: str, value: object) -> None:
    """Put back what a slot held, or `UNSET` for nothing, in a frozen dataclass too."""
    if getattr(obj, name, UNSET) is value:
        return
    if value is UNSET:
        object.__delattr__(obj, name)
    else:
        object.__setattr__(obj, name, value)
