"""Objects of extension types, whose state lies outside Python."""

import builtins
import contextlib
import copyreg
import gc
import io
import pickle
import types
from collections.abc import Callable, Mapping, MappingView
from typing import Any

from ignite_lrfinder.snapshot.contents import PLAIN, attributes_of, once_for_each_class, slots_of
from ignite_lrfinder.snapshot.libraries import is_standard_module

_KNOWN = ("torch", "numpy", "ignite")
_ATOMS = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, tuple, *PLAIN)

Restore = Callable[[Any, Any], object]


class Irreversible(TypeError):
    """Raised for an object that has no way to restore its state in place."""


def is_extension(cls: type) -> bool:
    """Return whether instances of a class may hold changing state that Python does not show."""
    # What is hashed by its value does not change in place.
    return _owner(cls) is not None and cls.__hash__ in (object.__hash__, None)


def is_known_extension(cls: type) -> bool:
    """Return whether torch, NumPy or Python implement what Python does not show of instances.

    Their types that hold state and have no way to copy it have rules of their own.
    """
    owner = _owner(cls)
    return owner is not None and (_is_known(owner) or _is_known(cls))


def hides_references(cls: type) -> bool:
    """Return whether instances of a class may refer to objects that only the interpreter knows.

    Such are the views of a dict, and proxies of extension types.
    """
    owner = _owner(cls)
    if owner is None or _is_known(owner):
        is_bare = owner is cls and cls.__dictoffset__ == 0
        return is_bare and is_standard_module(cls.__module__)
    return not owner.__module__.startswith("pandas.")


@once_for_each_class
def _owner(cls: type) -> type | None:
    """Return the class that gives instances of a class their hidden state."""
    for base in reversed(cls.__mro__):
        if _has_hidden_state(base):
            return base
    return None


def _is_known(cls: type) -> bool:
    """Return whether a class belongs to torch, NumPy or the standard library."""
    if cls.__module__ == "builtins":  # the default of classes without a `__module__`
        is_named = getattr(builtins, cls.__name__, None) is cls or cls in vars(types).values()
        return is_named or issubclass(cls, MappingView) or cls.__name__ == "PyCapsule"
    return cls.__module__.partition(".")[0] in _KNOWN or is_standard_module(cls.__module__)


def capture(obj: Any) -> tuple[Restore | None, Any]:
    """Return what restores an object, and its state; None where it has no way to copy it."""
    if _is_block_manager(type(obj)):
        return _restore_blocks, (obj.blocks, list(obj.axes), list(map(_block_state, obj.blocks)))
    if _is_block(type(obj)):
        return _restore_block, _block_state(obj)
    # Caches, records of who shares memory, and arrays whose values are captured as such.
    if type(obj).__module__.startswith("pandas._libs") or _is_pandas_array(type(obj)):
        return _leave, None
    try:
        held = _held_by(obj)
        return _restore_state, (_state_of(obj, held), held)
    except MemoryError:
        raise
    except Exception:  # there are many ways to deny a copy
        return None, None


def references(obj: Any) -> list[object]:
    """Return what an object refers to that Python does not show."""
    if _is_block_manager(type(obj)):
        return [block.values for block in obj.blocks]
    if _is_block(type(obj)):
        return [obj.values]
    return list(_held_by(obj).values())


class _Pickler(pickle.Pickler):
    """A pickler that refers to some objects by their ids.

    Args:
        file: where to write.
        held: these objects.
    """

    def __init__(self, file: io.BytesIO, held: Mapping[int, object]) -> None:
        super().__init__(file, protocol=4)
        self._held = held

    def persistent_id(self, obj: object) -> int | None:
        """Return the id of an object to refer to."""
        return id(obj) if id(obj) in self._held else None


class _Unpickler(pickle.Unpickler):
    """The unpickler for the output of `_Pickler`."""

    def __init__(self, file: io.BytesIO, held: Mapping[int, object]) -> None:
        super().__init__(file)
        self._held = held

    def persistent_load(self, pid: int) -> object:
        """Return the object with an id."""
        return self._held[pid]


def _held_by(obj: object) -> dict[int, object]:
    """Return what an object refers to directly, by id; that is not copied with its state."""
    if type(obj).__module__.startswith("pandas._libs"):
        return {}
    attributes = attributes_of(obj)
    held = [attributes, *attributes.values(), *gc.get_referents(obj)]
    # A tuple may be made for each look at it.
    held += [part for parts in held if type(parts) is tuple for part in parts]
    return {id(part): part for part in held if not issubclass(type(part), _ATOMS)}


def _state_of(obj: Any, held: Mapping[int, object]) -> bytes:
    """Return the arguments and the state that an object gives for pickling."""
    reduce = copyreg.dispatch_table.get(type(obj))
    _, *parts = (obj.__reduce_ex__(4) if reduce is None else reduce(obj))[:3]
    _Pickler(file := io.BytesIO(), held).dump(parts)
    return file.getvalue()


def _restore_state(obj: Any, was: tuple[bytes, Mapping[int, object]]) -> None:
    """Restore the state of an object if it changed.

    Raises:
        Irreversible: if it changed, and cannot be restored.
    """
    state, held = was
    if _state_of(obj, held) == state:
        return
    args, *states = _Unpickler(io.BytesIO(state), held).load()
    for method, given in (("__setstate__", states), ("__init__", args)):
        with contextlib.suppress(Exception):
            getattr(obj, method)(*given)
        if _state_of(obj, held) == state:
            return
    raise Irreversible(f"{type(obj).__qualname__} has no way to restore its state in place")


def _is_pandas_array(cls: type) -> bool:
    """Return whether a class is an array of pandas around one of NumPy, with a cache."""
    owner = _owner(cls)
    return owner is not None and owner.__module__ == "pandas._libs.arrays"


def _is_block_manager(cls: type) -> bool:
    """Return whether a class holds the columns of a pandas object."""
    return cls.__module__.startswith("pandas.") and hasattr(cls, "blocks")


def _restore_blocks(manager: Any, was: tuple[Any, list[Any], list[Any]]) -> None:
    """Restore the columns of a pandas object; their values are arrays, restored by themselves."""
    blocks, axes, states = was
    for block, state in zip(blocks, states, strict=True):
        _restore_block(block, state)
    manager.blocks, manager.axes = blocks, list(axes)
    getattr(manager, "_rebuild_blknos_and_blklocs", lambda: None)()


def _is_block(cls: type) -> bool:
    """Return whether a class holds columns of one type of a pandas object."""
    return cls.__module__.startswith("pandas.") and hasattr(cls, "mgr_locs")


def _block_state(block: Any) -> tuple[Any, Any, Any]:
    """Return which array a block holds, where it is, and who shares it."""
    return block.values, block.mgr_locs, block.refs


def _restore_block(block: Any, was: tuple[Any, Any, Any]) -> None:
    """Restore which array a block holds, where it is, and who shares it."""
    block.values, block.mgr_locs, block.refs = was


def _leave(obj: object, was: object) -> None:
    """Leave an object as it is."""


def _has_hidden_state(cls: type) -> bool:
    """Return whether instances of a class take more memory than attributes and slots do."""
    pointer = tuple.__itemsize__
    num_pointers = len(slots_of(cls)) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__basicsize__ > object.__basicsize__ + pointer * num_pointers
