"""Public types and protocols."""

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""An array of floats; each use gives the shape."""

Handler = Callable[..., object]
"""A handler of an Ignite engine."""

KeepHandlers = Literal["auto", "all", "none"] | Collection[Handler]
"""Which handlers run during a sweep: a rule, or the handlers that run in addition to "auto"."""

Schedule = Literal["constant", "decay"]
"""What a learning rate is for: a constant rate, or the peak of a rate that decays."""

SnapshotPlace = Literal["cpu", "device"] | os.PathLike[str] | str
"""Where a snapshot is held: in host memory, beside the original, or in a directory."""


class OptimizerLike(Protocol):
    """An optimizer: any object with parameter groups and a step."""

    @property
    def param_groups(self) -> Sequence[dict[str, Any]]:
        """The parameter groups, each a dict with the key "lr"."""
        ...

    @property
    def step(self) -> Callable[..., Any]:
        """The method that takes a step."""
        ...


class Saveable(Protocol):
    """An object that can be in `to_save`."""

    def state_dict(self) -> object:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> object:
        """Load a state."""
        ...
