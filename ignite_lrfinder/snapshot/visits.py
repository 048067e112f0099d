"""Capture one object, of each kind; return whether to go on to what it refers to."""

from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.snapshot import alike, arrays, contents, extension, tensors
from ignite_lrfinder.snapshot.capture import Capture
from ignite_lrfinder.snapshot.contents import BARE, once_for_each_class
from ignite_lrfinder.snapshot.libraries import is_made_at_run_time
from ignite_lrfinder.snapshot.random_state import generator_state, restore_generator

# What an engine holds of a run in progress; it is replaced during a sweep, not changed.
RUN = ("_internal_run_generator", "_dataloader_iter", "_init_iter")
HANDLERS = "_event_handlers"


def visit_instance(capture: Capture, obj: Any) -> bool:
    """Capture the class, attributes and slots of an object."""
    cls = type(obj)
    attributes = getattr(obj, "__dict__", None)
    held = attributes.copy() if type(attributes) is dict else None
    capture.store(contents.restore_instance, obj, (cls, held))
    if is_made_at_run_time(cls) and cls not in capture.classes:
        capture.classes.add(cls)
        capture.store(contents.restore_class, cls, dict(vars(cls)))
    for slot in contents.slots_of(cls):
        capture.store(contents.restore_slot, obj, (slot, contents.slot_value(slot, obj)))
    is_data = _holds_data(cls)
    if is_data is None or is_data is capture.is_data:
        return True
    capture.over_as(capture.walk.references(obj), is_data=is_data)
    return False


@once_for_each_class
def _holds_data(cls: type) -> bool | None:
    """Return whether instances of a class hold data or state; None where their holder says it."""
    if issubclass(cls, (Sampler, torch.nn.Module, torch.optim.Optimizer)):
        return False
    return True if issubclass(cls, Dataset) else None


def go_on(capture: Capture, obj: object) -> bool:
    """Capture nothing of an object itself."""
    return True


def leave(capture: Capture, obj: object) -> bool:
    """Leave an object alone, with all that only it refers to."""
    return False


def visit_tensor(capture: Capture, tensor: torch.Tensor) -> bool:
    """Capture a tensor's values, memory, gradient and hooks."""
    if is_lazy(tensor):
        raise LRFinderError(
            f"{capture.section.name} must be initialized, got a lazy parameter. Pass one batch "
            "through the model before attaching the finder."
        )
    if not tensors.has_values(tensor):
        return False
    capture.store_values(tensor)
    held = [tensor.grad if tensor.is_leaf else None, tensor._backward_hooks]
    capture.over([*held, getattr(tensor, "_post_accumulate_grad_hooks", None)])
    return visit_instance(capture, tensor)


def visit_storage(capture: Capture, storage: torch.UntypedStorage) -> bool:
    """Capture the bytes of a storage that an object holds itself."""
    capture.store_values(tensors.of_storage(storage))
    return True


def visit_array(capture: Capture, array: np.ndarray) -> bool:
    """Capture an array's values."""
    capture.store_values(array)
    if type(array) is np.ndarray and array.flags.writeable and not array.dtype.hasobject:
        return False  # it has values and nothing else
    return visit_instance(capture, array)


def visit_record(capture: Capture, record: np.void) -> bool:
    """Capture an element of a structured array."""
    capture.store(arrays.restore_record, record, record.copy())
    return True


def visit_generator(capture: Capture, generator: object) -> bool:
    """Capture the state of a random generator."""
    capture.store(restore_generator, generator, generator_state(generator))
    return visit_instance(capture, generator)


def visit_container(capture: Capture, obj: Any) -> bool:
    """Capture the elements of a container."""
    elements = contents.elements_of(obj)
    capture.store_elements(obj, elements)
    if len(elements) >= alike.MANY and _capture_alike(capture, obj, elements):
        return False
    if type(obj) in BARE:
        return True
    if hasattr(type(obj), "default_factory"):
        capture.store(arrays.restore_default, obj, obj.default_factory)
    return visit_instance(capture, obj)


def _capture_alike(capture: Capture, container: object, elements: contents.Elements) -> bool:
    """Capture the elements of a bare container together, and return whether they are alike."""
    objects = list(elements.values()) if isinstance(elements, dict) else elements
    if type(container) not in BARE or not alike.are_alike(objects):
        return False
    seen, cls = capture.walk.seen, type(objects[0])
    if cls is not dict and capture.visit_of(cls) is not visit_instance:
        return False
    if not seen.keys().isdisjoint(map(id, objects)):
        return False
    seen.update(zip(map(id, objects), objects, strict=True))
    capture.store(alike.restore, container, (objects, cls, alike.capture(objects)))
    capture.over([cls, *alike.members_of(objects)])
    if isinstance(elements, dict):
        capture.over(elements)
    return True


def visit_buffer(capture: Capture, obj: Any) -> bool:
    """Capture the bytes of a buffer."""
    capture.store(arrays.restore_buffer, obj, arrays.buffer_state(obj))
    has_more = type(obj).__dictoffset__ != 0 or bool(contents.slots_of(type(obj)))
    return has_more and visit_instance(capture, obj)


def visit_shared_value(capture: Capture, obj: Any) -> bool:
    """Capture the value in memory that processes share."""
    capture.over([obj.get_obj()])
    return True


def visit_weak(capture: Capture, obj: Any) -> bool:
    """Capture a container of weak references, and what it refers to otherwise."""
    held = arrays.weak_elements(obj)
    capture.store(arrays.restore_weak, obj, held)
    capture.over(held)
    return False


def visit_engine(capture: Capture, engine: Engine) -> bool:
    """Capture an engine that a train step may run, apart from its handlers."""
    attributes = vars(engine).copy()
    capture.store(contents.restore_instance, engine, (type(engine), attributes))
    held = [value for name, value in attributes.items() if name not in (HANDLERS, *RUN)]
    capture.over([type(engine), *held])
    return False


def visit_loader(capture: Capture, loader: DataLoader[Any]) -> bool:
    """Capture a loader: its samplers as state, the rest as data."""
    capture.loaders.append(loader)
    visit_instance(capture, loader)
    iterator = vars(loader).get("_iterator")
    rest = [obj for obj in vars(loader).values() if obj is not iterator]
    capture.over_as([loader.batch_sampler, loader.sampler], is_data=False)
    capture.over_as([*rest, type(loader)], is_data=True)
    return False


def visit_script_module(capture: Capture, module: Any) -> bool:
    """Capture a TorchScript module, whose tensors and attributes lie outside Python."""
    names = module._concrete_type.get_attributes() if "_concrete_type" in vars(module) else ()
    attributes = {name: module._c.getattr(name) for name in names}
    capture.store(_restore_script_attributes, module, attributes)
    held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    capture.over([*held, *attributes.values()])
    return visit_instance(capture, module)


def visit_extension(capture: Capture, obj: Any) -> bool:
    """Capture an object of an extension type, as far as it has a way to copy its state."""
    restore, was = extension.capture(obj)
    if restore is not None:
        capture.store(restore, obj, was)
    elif not (capture.is_data or extension.is_known_extension(type(obj))):
        capture.not_restored[id(obj)] = obj
    capture.over(extension.references(obj))
    return visit_instance(capture, obj)


def _restore_script_attributes(module: Any, attributes: dict[str, Any]) -> None:
    """Restore the attributes of a TorchScript module."""
    for name, value in attributes.items():
        module._c.setattr(name, value)
