"""The attributes of an object: those in its `__dict__`, and those in its slots."""

import itertools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

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
