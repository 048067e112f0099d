"""Random generators, the global ones and those that objects hold: put back where they were."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Restorer = Callable[[], object]


def global_states() -> list[tuple[str, Restorer]]:
    """Return, for each global random generator, its name and a function that puts it back."""
    states: list[tuple[str, Restorer]] = []
    # Those of accelerators come first, as one may still have to look at what torch's seed is.
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            if module.is_initialized():
                put_back = functools.partial(module.set_rng_state_all, module.get_rng_state_all())
            else:
                put_back = functools.partial(_begin_again, module, torch.initial_seed())
            states.append((f"random state of {kind}", put_back))
    if torch.backends.mps.is_available():
        put_back = functools.partial(torch.mps.set_rng_state, torch.mps.get_rng_state())
        states.append(("random state of mps", put_back))
    states += [
        ("random state of Python", functools.partial(random.setstate, random.getstate())),
        ("random state of NumPy", functools.partial(np.random.set_state, np.random.get_state())),  # noqa: NPY002  # the global one is what other code draws from
        ("random state of torch", functools.partial(torch.set_rng_state, torch.get_rng_state())),
    ]
    return states


def _begin_again(module: Any, host_seed: int) -> None:
    """Put the generators of an accelerator back to where they are when it is first used.

    They have their seed then, which drawing does not change. More cannot be asked of a device that
    was not started; but one that was seeded together with the host since is given the seed that the
    host had.
    """
    for generator in module.default_generators if module.is_initialized() else ():
        seed = generator.initial_seed()
        is_seeded_since = seed == torch.initial_seed() != host_seed
        generator.manual_seed(host_seed if is_seeded_since else seed)


def generator_restorer(obj: object) -> Restorer | None:
    """Return a function that puts a random generator back to where it is now; None for others."""
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
