"""Capture one object graph: each mutable object once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.snapshot import arrays, contents, tensors, watches
from ignite_lrfinder.snapshot.copies import Copies
from ignite_lrfinder.snapshot.functions import restore_variables
from ignite_lrfinder.snapshot.reachable import Walk
from ignite_lrfinder.snapshot.tensors import Keep
from ignite_lrfinder.snapshot.variables import Variables

Visit = Callable[["Capture", Any], bool]
"""Captures an object, and returns whether to go on to what it refers to."""

Restore = Callable[[Any, Any], object]
"""Restores an object to what it was."""

Entry = tuple[Restore, Any, Any]
"""What restores an object, the object, and what it was."""


class Section(NamedTuple):
    """What was captured under one name.

    Attributes:
        name: what a user calls it.
        entries: what was captured, in order.
        hashed: dicts and sets, restored after the others, as hashes may depend on these.
        empty: containers that hold nothing but their elements, and had none. Most containers
            of a model are tables of hooks without any.
    """

    name: str
    entries: list[Entry]
    hashed: list[Entry]
    empty: list[Any]

    def changes(self) -> Iterator[Entry]:
        """Iterate over what may have changed."""
        yield from self.entries
        yield from self.hashed
        for container in filter(None, self.empty):
            yield contents.restore_elements, container, type(container)()


class Capture:
    """A walk over object graphs that captures what it meets.

    Args:
        visit_of: returns what captures an instance of a class.
        keep: copies the values of a tensor, and returns a function that returns them.
        opaque: objects to leave alone, with all that only they refer to.
        base: an earlier capture, whose copies of what has not changed since then are shared.

    Attributes:
        sections: what was captured, in order.
        section: the last of these, which is being captured.
        copies: the values of tensors and arrays.
        variables: the variables of modules and classes that were captured.
        walk: the walk, which holds the objects that were visited.
        is_data: whether objects are captured as data now, or as training state.
        loaders: the data loaders that were captured.
        live: objects that cannot be restored, each with a function that returns whether it may have
            changed.
        watched: data that is not copied, each with a function that returns whether it was written.
        not_restored: objects that could not be captured, by id.
        classes: the classes made at run time that were captured.
    """

    def __init__(
        self,
        visit_of: Callable[[type], Visit],
        *,
        keep: Keep,
        opaque: Iterable[object],
        base: "Capture | None",
    ) -> None:
        self.sections: list[Section] = []
        self.section = Section("", [], [], [])
        self.copies = Copies(keep, None if base is None else base.copies)
        self.variables = Variables()
        self.walk = Walk(opaque)
        self.is_data = False
        self.loaders: list[DataLoader[Any]] = []
        self.live: list[tuple[object, watches.Watch]] = []
        self.watched: list[tuple[object, watches.Watch]] = []
        self.not_restored: dict[int, object] = {}
        self.classes: set[type] = set()
        self.visit_of = visit_of

    def add(self, name: str, roots: Iterable[object], *, is_data: bool) -> None:
        """Capture the content of `roots` and of all that they refer to; see `Memento.capture`."""
        self.section = Section(name, [], [], [])
        self.sections.append(self.section)
        self.over_as(roots, is_data=is_data)
        for owner, names in self.variables.new():
            namespace = vars(owner) if isinstance(owner, type) else owner
            values = {name: namespace[name] for name in names if name in namespace}
            self.store(restore_variables, owner, (values, names))
        for data, is_copied in self.copies.data_by_size():
            if is_copied:
                self._copy(data)
            else:
                self.watched.append((data, arrays.watch_data(data)))
        self.copies.values.copy()

    def add_entries(self, name: str, entries: Iterable[Entry]) -> None:
        """Store what restores some objects, as a section of its own."""
        self.sections.append(Section(name, [*entries], [], []))

    def over(self, roots: Iterable[object]) -> None:
        """Capture objects and all that they refer to."""
        self.walk.over(roots, self._visit)

    def over_as(self, roots: Iterable[object], *, is_data: bool) -> None:
        """Capture objects as data, or as training state."""
        before, self.is_data = self.is_data, is_data
        self.over(roots)
        self.is_data = before

    def store(self, restore: Restore, obj: object, was: object) -> None:
        """Store what one object was."""
        self.section.entries.append((restore, obj, was))

    def store_elements(self, container: object, elements: contents.Elements) -> None:
        """Store what a container held."""
        if type(container) in contents.BARE and not elements:
            self.section.empty.append(container)
            return
        is_hashed = issubclass(type(container), (dict, set))
        entries = self.section.hashed if is_hashed else self.section.entries
        entries.append((contents.restore_elements, container, elements))

    def store_values(self, data: torch.Tensor | np.ndarray) -> None:
        """Store the values of a tensor or array; of data at the end, as far as it is small."""
        if self.is_data or isinstance(data, np.memmap):
            self.copies.add_data(data)
        else:
            self._copy(data)

    def forget(self) -> None:
        """Free everything that was captured."""
        self.copies.clear()
        self.variables = Variables()
        self.section = Section("", [], [], [])
        for held in (self.sections, self.walk.seen, self.loaders, self.live, self.watched):
            held.clear()
        self.not_restored.clear()
        self.classes.clear()

    def _copy(self, data: torch.Tensor | np.ndarray) -> None:
        """Copy the values of an array or a tensor, and of a leaf its memory, gradient and hooks."""
        if isinstance(data, torch.Tensor):
            self.copies.values.add(data)
            if data.is_leaf:
                self.store(tensors.restore_tensor, data, tensors.capture_tensor(data))
        elif data.flags.writeable:
            self.store(arrays.restore_array, data, self.copies.of_array(data))

    def _visit(self, obj: object) -> bool:
        """Capture one object, and return whether to go on to what it refers to."""
        try:
            return self.visit_of(type(obj))(self, obj)
        except (LRFinderError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # an object may do anything when it is looked at
            self.not_restored[id(obj)] = obj
            return False
