"""All that a sweep may change, captured and restored."""

from ignite_lrfinder.snapshot.contents import attributes_of
from ignite_lrfinder.snapshot.interrupts import Interrupts
from ignite_lrfinder.snapshot.libraries import adopt
from ignite_lrfinder.snapshot.random_state import is_generator
from ignite_lrfinder.snapshot.reachable import reachable_from
from ignite_lrfinder.snapshot.snapshot import Snapshot
from ignite_lrfinder.snapshot.watches import is_loader_iterator

__all__ = [
    "Interrupts",
    "Snapshot",
    "adopt",
    "attributes_of",
    "is_generator",
    "is_loader_iterator",
    "reachable_from",
]
