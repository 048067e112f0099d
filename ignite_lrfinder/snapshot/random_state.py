"""Random generators, global and held by objects: their states captured and restored."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Restorer = Callable[[], object]


_GENERATORS = (
    torch.Generator, random.Random, np.random.RandomState, np.random.Generator,
    np.random.BitGenerator, np.random.SeedSequence,
)  # fmt: skip


def global_states() -> list[tuple[str, Restorer]]:
    """Return for each global random generator its name and a function that restores its state."""
    states: list[tuple[str, Restorer]] = []
    # Accelerators come first, as restoring theirs may read torch's seed.
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            if module.is_initialized():
                restore = functools.partial(module.set_rng_state_all, module.get_rng_state_all())
            else:
                restore = functools.partial(_restart, module, torch.initial_seed())
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


def _restart(module: Any, host_seed: int) -> None:
    """Restore the generators of an accelerator to the state in which it is first used.

    That state follows from the seed, which drawing does not change. A device that was not started
    shows nothing else. Where it was seeded together with the host since then, it had the seed that
    the host had.
    """
    for generator in module.default_generators if module.is_initialized() else ():
        seed = generator.initial_seed()
        is_seeded_since = seed == torch.initial_seed() != host_seed
        generator.manual_seed(host_seed if is_seeded_since else seed)


def is_generator(cls: type) -> bool:
    """Return whether instances of a class are random generators with a state."""
    return issubclass(cls, _GENERATORS) and not issubclass(cls, random.SystemRandom)


def generator_state(generator: Any) -> Any:
    """Return the state of a random generator."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, (torch.Generator, np.random.RandomState)):
        return generator.get_state()
    if isinstance(generator, np.random.SeedSequence):
        return _reduced(generator)
    source = getattr(generator, "bit_generator", generator)
    return source.state, _reduced(getattr(source, "seed_seq", None))


def restore_generator(generator: Any, state: Any) -> None:
    """Restore the state of a random generator."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, (torch.Generator, np.random.RandomState)):
        generator.set_state(state)
    elif isinstance(generator, np.random.SeedSequence):
        generator.__setstate_cython__(state)
    else:
        source = getattr(generator, "bit_generator", generator)
        source.state, seeds = state
        if seeds is not None:
            restore_generator(source.seed_seq, seeds)


def _reduced(seeds: object) -> Any:
    """Return the state of a seed sequence, which counts what was spawned; None of other seeds."""
    return seeds.__reduce__()[2] if isinstance(seeds, np.random.SeedSequence) else None
