"""All that a sweep may change, captured and restored."""

from ignite_lrfinder.snapshot.contents import attributes_of
from ignite_lrfinder.snapshot.data_source import is_loader_iterator
from ignite_lrfinder.snapshot.interrupts import Interrupts
from ignite_lrfinder.snapshot.reachable import objects_of, reachable_from, trained_among
from ignite_lrfinder.snapshot.snapshot import Snapshot

__all__ = [
    "Interrupts",
    "Snapshot",
    "attributes_of",
    "is_loader_iterator",
    "objects_of",
    "reachable_from",
    "trained_among",
]
