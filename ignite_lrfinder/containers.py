"""Lists, dicts, sets and their like: what they hold, and putting it back into the same object.

A subclass may give its own meaning to iteration and item access, so the methods of the built-in
types are used throughout.
"""

import collections
from typing import Any

KINDS = (list, dict, set, collections.deque, bytearray, tuple)


def content(obj: Any) -> list[Any]:
    """Return what a container holds, in its order: its elements, or the items of a dict."""
    if isinstance(obj, dict):
        return list(_kind_of(obj).items(obj))
    return list(_kind_of(obj).__iter__(obj)) if not isinstance(obj, bytearray) else [bytes(obj)]


def restore(obj: Any, held: list[Any]) -> None:
    """Put back what a container held, unless it holds the same objects still."""
    if isinstance(obj, tuple) or _is_same(content(obj), held):
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


def _is_same(now: list[Any], held: list[Any]) -> bool:
    """Tell whether two contents are the same objects in the same order."""
    if len(now) != len(held):
        return False
    if held and isinstance(held[0], tuple):
        # The items of a dict are made anew each time.
        return all(
            a is b or (type(a) is tuple and len(a) == len(b) == 2 and _is_same([*a], [*b]))
            for a, b in zip(now, held, strict=True)
        )
    return all(a is b or (type(a) is bytes and a == b) for a, b in zip(now, held, strict=True))


def _kind_of(obj: object) -> Any:
    """Return the built-in type that a container is of."""
    kinds = (collections.OrderedDict, *KINDS)
    return next(kind for kind in kinds if isinstance(obj, kind))
