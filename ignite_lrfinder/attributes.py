"""The attributes of an object: those in its `__dict__`, and those in its slots."""

import itertools
from collections.abc import Iterator
from typing import Any

# What a slot holds that was never set.
UNSET = object()


def attributes_of(obj: object) -> dict[str, Any]:
    """Return the attributes that an object keeps in its `__dict__`, to be read and changed there.

    Whoever asks CPython (3.11 to 3.13) for a `__dict__` makes the object slower: an attribute then
    takes up to three times as long, also in the training that follows. That is so while the dict
    shares its table of names with the other objects of the class. Taking an item out gives it a
    table of its own; here that is done, and the item put back, in one call in which no other code
    runs. Where a class has `__getattr__`, as a network has, its objects never were so quick.

    Args:
        obj: any object; one without a `__dict__` has no attributes here.
    """
    attributes = getattr(obj, "__dict__", None)
    if not isinstance(attributes, dict):
        return {}
    if type(attributes) is dict and attributes and not hasattr(type(obj), "__getattr__"):
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
