"""Detect whether an object that cannot be captured may have changed: a watch for each kind."""

import concurrent.futures
import contextvars
import gc
import inspect
import io
import itertools
import mmap
import multiprocessing.connection
import multiprocessing.managers
import multiprocessing.process
import multiprocessing.queues
import multiprocessing.shared_memory
import multiprocessing.synchronize
import operator
import queue
import socket
import subprocess
import sys
import threading
import types
import zlib
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from ignite_lrfinder.snapshot.contents import (
    BARE,
    UNSET,
    attributes_of,
    class_attribute,
    elements_of,
    once_for_each_class,
)

_FLAGS = (threading.Event, multiprocessing.synchronize.Event)
# What such an object shows of its state. A compressor shows nothing, and is new each time.
_BY_MODULE: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(
        ("_blake2", "_hashlib", "_md5", "_sha1", "_sha2", "_sha256", "_sha3", "_sha512"),
        lambda obj: obj.digest() if getattr(obj, "digest_size", 0) else obj.digest(8),
    ),
    "_asyncio": lambda obj: getattr(obj, "_state", None),
    "dbm.dumb": lambda obj: list(obj.items()),
    "pyexpat": lambda obj: getattr(obj, "CurrentByteIndex", None),
    "sqlite3": lambda obj: (
        object() if hasattr(obj, "fetchone") else getattr(obj, "total_changes", None)
    ),
    **dict.fromkeys(
        ("zlib", "_bz2", "_lzma", "_gdbm", "_dbm", "_sre", "_pickle"), lambda obj: object()
    ),
}

Watch = Callable[[], bool]
"""Returns whether an object may have changed since `watch` was called."""

FILES = (io.BufferedReader, io.TextIOWrapper)
"""The files of `open` whose position can be restored; what is made of others has more state."""

# Up to 16 MiB, a checksum of all bytes takes a few milliseconds; of more, so many are looked at.
_MAX_DIGESTED = 1 << 24
_NUM_SAMPLES = 4096
_STANDING = (inspect.GEN_CREATED, inspect.GEN_CLOSED)
# These move with the iterators that they are made of.
_DERIVED = (zip, map, filter, enumerate, itertools.starmap)
_COROUTINES = (types.CoroutineType, types.AsyncGeneratorType)
_CHANNELS = (
    multiprocessing.connection._ConnectionBase, multiprocessing.queues.Queue,
    multiprocessing.queues.SimpleQueue, queue.SimpleQueue,
)  # fmt: skip


@once_for_each_class
def watch_of(cls: type) -> Callable[[Any], Watch] | None:
    """Return what watches instances of a class, or None."""
    watches: tuple[tuple[Any, Callable[[Any], Watch]], ...] = (
        (np.flatiter, lambda obj: _watch_value(lambda: obj.index)),
        (types.GeneratorType, _watch_generator),
        (_COROUTINES, lambda obj: lambda: True),
        (_CHANNELS, lambda obj: lambda: True),
        (io.IOBase, watch_file),
        (threading.Thread, lambda thread: thread.is_alive),
        (multiprocessing.process.BaseProcess, lambda process: process.is_alive),
        (subprocess.Popen, lambda process: lambda: process.poll() is None),
        (socket.socket, lambda obj: lambda: obj.fileno() != -1),
        (concurrent.futures.Executor, _watch_executor),
        (_FLAGS, lambda flag: _watch_value(flag.is_set)),
        (threading.Semaphore, lambda obj: _watch_value(lambda: obj._value)),
        (multiprocessing.synchronize.Semaphore, lambda obj: _watch_value(obj.get_value)),
        (multiprocessing.managers.BaseProxy, lambda obj: lambda: True),
        (multiprocessing.shared_memory.SharedMemory, _watch_shared_memory),
        (multiprocessing.shared_memory.ShareableList, lambda obj: _watch_shared_memory(obj.shm)),
        (contextvars.Context, lambda obj: _watch_value(lambda: list(map(id, obj.values())))),
        (mmap.mmap, lambda obj: _watch_value(lambda: _digest(obj))),
    )
    for kinds, start in watches:
        if issubclass(cls, kinds):
            return start
    if cls.__module__ in _BY_MODULE:
        return lambda obj: _watch_value(lambda: _BY_MODULE[cls.__module__](obj))
    is_built_in = isinstance(class_attribute(cls, "__next__"), types.WrapperDescriptorType)
    return _watch_iterator if is_built_in or is_loader_iterator(cls) else None


def is_loader_iterator(cls: type) -> bool:
    """Return whether a class is one of torch's iterators over a `DataLoader`."""
    modules = {base.__module__ for base in cls.__mro__}
    return "torch.utils.data.dataloader" in modules and _is_iterator(cls)


def _is_iterator(cls: type) -> bool:
    """Return whether instances of a class are iterators."""
    return class_attribute(cls, "__next__") is not UNSET


def _watch_generator(generator: Generator[Any, Any, Any]) -> Watch:
    """Watch a generator: one that has ended, or was not started, shows that it did not move."""
    state = inspect.getgeneratorstate(generator)
    if state in _STANDING:
        return lambda: inspect.getgeneratorstate(generator) != state
    return lambda: True


def watch_file(file: Any) -> Watch:
    """Watch the position of a file; the standard streams are not part of training."""
    if file.closed or _is_standard_stream(file):
        return lambda: False
    position = _tell(file)
    return lambda: file.closed or position is None or _tell(file) != position


def position_to_restore(file: Any) -> int | None:
    """Return the position of a file that is only read; None where it cannot be restored.

    A file that is written has changed with what was written.
    """
    if file.closed or _is_standard_stream(file) or file.writable() or not file.seekable():
        return None
    return _tell(file)


def _is_standard_stream(file: Any) -> bool:
    """Return whether a file is one of the process's standard streams."""
    try:
        return file in (sys.stdin, sys.stdout, sys.stderr) or file.fileno() in (0, 1, 2)
    except (OSError, ValueError):
        return False


def _tell(file: Any) -> int | None:
    """Return the position of a file, or None where it has none."""
    try:
        return file.tell()
    except (OSError, ValueError):
        return None


def _watch_value(read: Callable[[], object]) -> Watch:
    """Watch what an object shows."""
    before = read()
    return lambda: read() != before


def _watch_shared_memory(memory: Any) -> Watch:
    """Watch memory that processes share, until it is closed."""
    return _watch_value(lambda: _digest(memory.buf) if memory.buf is not None else None)


def _digest(buffer: Any) -> object:
    """Return a checksum of a buffer: of all its bytes, or, where they are many, of some."""
    try:
        with memoryview(buffer) as view:
            step = 1 if len(view) <= _MAX_DIGESTED else len(view) // _NUM_SAMPLES
            return None if view.readonly else zlib.crc32(view[::step].tobytes())
    except (BufferError, ValueError):  # it was closed
        return None


def watch_attributes(obj: object) -> Watch:
    """Watch which objects an object has as attributes, and how many elements they have."""
    before = _shown(obj)

    def has_changed() -> bool:
        now = _shown(obj)
        return len(now) != len(before) or any(
            value is not was or size != length
            for (value, size), (was, length) in zip(now, before, strict=True)
        )

    return has_changed


def _shown(obj: object) -> list[tuple[object, int]]:
    """Return the attributes of an object, each with the number of its elements, else 0."""
    values = attributes_of(obj).values()
    return [(v, len(elements_of(v)) if type(v) in BARE else 0) for v in values]


def _watch_executor(executor: Any) -> Watch:
    """Watch the workers of an executor."""
    names = ("_threads", "_processes")
    return lambda: any(getattr(executor, name, None) for name in names)


def _watch_iterator(iterator: Any) -> Watch:
    """Watch how far an iterator is; where nothing shows it, it may have moved."""
    position = _position(iterator)
    return lambda: position is None or _position(iterator) != position


def _position(iterator: Any) -> object:
    """Return what shows how far an iterator is, or None."""
    if is_loader_iterator(type(iterator)):
        return iterator._num_yielded
    if type(iterator) in (itertools.count, itertools.repeat):
        return repr(iterator)
    if isinstance(iterator, types.GeneratorType):
        state = inspect.getgeneratorstate(iterator)
        return state if state in _STANDING else None
    if type(iterator) in _DERIVED:
        held = gc.get_referents(iterator)
        held += [part for parts in held if type(parts) is tuple for part in parts]
        positions = [_position(obj) for obj in held if _is_iterator(type(obj))]
        return None if None in positions else positions
    position = operator.length_hint(iterator, -1)
    return None if position == -1 else position
