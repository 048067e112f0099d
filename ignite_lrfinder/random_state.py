"""Random generators, the global ones and those that objects hold: put back where they were."""

import functools
import random
from collections.abc import Callable

import numpy as np
import torch

Restorer = Callable[[], object]


def global_states() -> list[tuple[str, Restorer]]:
    """Return, for each global random generator, its name and a function that puts it back."""
    states: list[tuple[str, Restorer]] = [
        ("random state of Python", functools.partial(random.setstate, random.getstate())),
        ("random state of NumPy", functools.partial(np.random.set_state, np.random.get_state())),  # noqa: NPY002  # the global one is what other code draws from
        ("random state of torch", functools.partial(torch.set_rng_state, torch.get_rng_state())),
    ]
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available() and module.is_initialized():
            put_back = functools.partial(module.set_rng_state_all, module.get_rng_state_all())
            states.append((f"random state of {kind}", put_back))
    if torch.backends.mps.is_available():
        put_back = functools.partial(torch.mps.set_rng_state, torch.mps.get_rng_state())
        states.append(("random state of mps", put_back))
    return states


def generator_restorer(obj: object) -> Restorer | None:
    """Return a function that puts a random generator back to where it is now; None for others."""
    if isinstance(obj, torch.Generator):
        return functools.partial(obj.set_state, obj.get_state())
    if isinstance(obj, random.Random):
        return functools.partial(obj.setstate, obj.getstate())
    if isinstance(obj, np.random.RandomState):
        return functools.partial(obj.set_state, obj.get_state())
    if isinstance(obj, np.random.Generator):
        return functools.partial(setattr, obj.bit_generator, "state", obj.bit_generator.state)
    return None
