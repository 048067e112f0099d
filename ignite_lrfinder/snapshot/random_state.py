"""Capture and restore random generators, global ones and ones that objects hold."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Restorer = Callable[[], object]


def global_states() -> list[tuple[str, Restorer]]:
    """Return the name of each global random generator and a function that restores it."""
    states: list[tuple[str, Restorer]] = []
    # Accelerators come first, because one of them may need torch's present seed.
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            if module.is_initialized():
                restore = functools.partial(module.set_rng_state_all, module.get_rng_state_all())
            else:
                restore = functools.partial(_begin_again, module, torch.initial_seed())
            states.append((f"random state of {kind}", restore))
    if torch.backends.mps.is_available():
        restore = functools.partial(torch.mps.set_rng_state, torch.mps.get_rng_state())
        states.append(("random state of mps", restore))
    states += [
        ("random state of Python", functools.partial(random.setstate, random.getstate())),
        ("random state of NumPy", functools.partial(np.random.set_state, np.random.get_state())),  # noqa: NPY002  # the global one is what other code draws from
        ("random state of torch", functools.partial(torch.set_rng_state, torch.get_rng_state())),
    ]
    return states


def _begin_again(module: Any, host_seed: int) -> None:
    """Restore the generators of an accelerator to their state at its first use.

    They then have their seed, which drawing does not change. A device that was not started has no
    other state; a generator that was seeded together with the host gets the seed the host had.
    """
    for generator in module.default_generators if module.is_initialized() else ():
        seed = generator.initial_seed()
        is_seeded_since = seed == torch.initial_seed() != host_seed
        generator.manual_seed(host_seed if is_seeded_since else seed)


def generator_restorer(obj: object) -> Restorer | None:
    """Return a function that restores a random generator; None for any other object."""
    if isinstance(obj, torch.Generator):
        return functools.partial(obj.set_state, obj.get_state())
    if isinstance(obj, random.Random):
        return functools.partial(obj.setstate, obj.getstate())
    if isinstance(obj, np.random.RandomState):
        return functools.partial(obj.set_state, obj.get_state())
    if isinstance(obj, np.random.Generator):
        obj = obj.bit_generator
    if isinstance(obj, np.random.BitGenerator):
        return functools.partial(setattr, obj, "state", obj.state)
    return None
