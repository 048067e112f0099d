"""Lists, dicts, sets and their like: what they hold, and putting it back into the same object.

A subclass may give its own meaning to iteration and item access, so the methods of the built-in
types are used throughout.
"""

import collections
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
