"""Objects whose state cannot be captured: frames, iterators, threads, files, processes, sockets."""

import concurrent.futures
import inspect
import io
import multiprocessing.connection
import multiprocessing.process
import multiprocessing.queues
import operator
import queue
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Generator
from typing import Any

from ignite_lrfinder.snapshot.functions import closure_variables

Watch = Callable[[], bool]
"""Returns whether an object may have changed since `watch` was called."""

_COROUTINES = (types.CoroutineType, types.AsyncGeneratorType)
_CHANNELS = (
    multiprocessing.connection._ConnectionBase, multiprocessing.queues.Queue,
    multiprocessing.queues.SimpleQueue, queue.SimpleQueue,
)  # fmt: skip


def is_live(cls: type) -> bool:
    """Return whether instances of a class go on by themselves, or cannot go back."""
    return _watch_of(cls) is not None


def watch(obj: Any) -> Watch:
    """Return a function that returns whether an object may have changed since now."""
    start = _watch_of(type(obj))
    return (lambda: True) if start is None else start(obj)


def frame_variables(obj: object) -> list[object]:
    """Return the local variables of a generator, an empty list for other objects."""
    is_frame = isinstance(obj, types.GeneratorType)
    return list(inspect.getgeneratorlocals(obj).values()) if is_frame else []


def used_by_threads() -> list[object]:
    """Return the objects that the functions of other live threads refer to directly."""
    found: list[object] = []
    for thread in threading.enumerate():
        if thread is threading.main_thread() or thread is threading.current_thread():
            continue
        target = vars(thread).get("_target")
        found += [thread, getattr(target, "__self__", None), *vars(thread).get("_args", ())]
        found += (vars(thread).get("_kwargs") or {}).values()
        if isinstance(target, types.FunctionType):
            found += closure_variables(target).values()
    return [obj for obj in found if obj is not None]


def is_loader_iterator(obj: object) -> bool:
    """Return whether an object is the running iterator of a `DataLoader`."""
    return _is_loader_iterator(type(obj))


def _is_loader_iterator(cls: type) -> bool:
    """Return whether a class is one of torch's iterators over a `DataLoader`."""
    modules = {base.__module__ for base in cls.__mro__}
    return "torch.utils.data.dataloader" in modules and hasattr(cls, "__next__")


def _watch_of(cls: type) -> Callable[[Any], Watch] | None:
    """Return what watches instances of a class, or None."""
    watches: tuple[tuple[Any, Callable[[Any], Watch]], ...] = (
        (types.GeneratorType, _watch_generator),
        (_COROUTINES, lambda obj: lambda: True),
        (_CHANNELS, lambda obj: lambda: True),
        (io.IOBase, _watch_file),
        (threading.Thread, lambda thread: thread.is_alive),
        (multiprocessing.process.BaseProcess, lambda process: process.is_alive),
        (subprocess.Popen, lambda process: lambda: process.poll() is None),
        (socket.socket, lambda obj: lambda: obj.fileno() != -1),
        (concurrent.futures.Executor, _watch_executor),
    )
    for kinds, start in watches:
        if issubclass(cls, kinds):
            return start
    is_built_in = isinstance(getattr(cls, "__next__", None), types.WrapperDescriptorType)
    return _watch_iterator if is_built_in or _is_loader_iterator(cls) else None


def _watch_generator(generator: Generator[Any, Any, Any]) -> Watch:
    """Watch a generator: one that has ended, or was not started, shows that it did not move."""
    state = inspect.getgeneratorstate(generator)
    if state in (inspect.GEN_CREATED, inspect.GEN_CLOSED):
        return lambda: inspect.getgeneratorstate(generator) != state
    return lambda: True


def _watch_file(file: Any) -> Watch:
    """Watch the position of a file; the standard streams are not part of a training."""
    if file.closed or _is_standard_stream(file):
        return lambda: False
    position = _tell(file)
    return lambda: file.closed or position is None or _tell(file) != position


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
    if _is_loader_iterator(type(iterator)):
        return iterator._num_yielded
    if type(iterator).__name__ in ("count", "repeat"):
        return repr(iterator)
    position = operator.length_hint(iterator, -1)
    return None if position == -1 else position
