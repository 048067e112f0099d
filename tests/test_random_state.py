"""Random generators, global ones and those that objects hold, go on where they were."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ignite_lrfinder.snapshot.random_state import (
    generator_state,
    global_states,
    is_generator,
    restore_generator,
)

DRAWS: dict[str, Callable[[], float]] = {
    "Python": lambda: random.gauss(0, 1),  # keeps a second number back, which is state as well
    "NumPy": lambda: np.random.standard_normal(),  # noqa: NPY002  # the global one; likewise
    "torch": lambda: torch.randn(()).item(),
}


@pytest.mark.parametrize("library", DRAWS)
def test_global_states_restore_each_generator(library: str) -> None:
    """After any number of draws the generator of that name gives the same numbers again."""
    draw = DRAWS[library]
    draw()
    [put_back] = [put for name, put in global_states() if name == f"random state of {library}"]
    expected = [draw() for _ in range(3)]
    put_back()
    assert [draw() for _ in range(3)] == expected


def test_global_states_restart_an_accelerator_first_used_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A device that was not started has the numbers afterwards that it would have begun with."""
    device, is_started = torch.Generator().manual_seed(7), False
    expected = torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: is_started)
    monkeypatch.setattr(torch.cuda, "default_generators", (device,))
    [put_back] = [put for name, put in global_states() if name == "random state of cuda"]
    torch.rand(5, generator=device)
    after = device.get_state()
    put_back()
    assert device.get_state().equal(after)  # not started: nothing may be asked of it
    is_started = True
    put_back()
    assert torch.rand(3, generator=device).tolist() == expected
    # Seeded with the host by `torch.manual_seed`, which is put back only after it.
    host_seed = torch.initial_seed()
    torch.manual_seed(5)
    device.manual_seed(5)
    put_back()
    assert device.initial_seed() == host_seed


GENERATORS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch": (lambda: torch.Generator().manual_seed(1), lambda g: torch.rand((), generator=g)),
    "python": (lambda: random.Random(1), lambda g: g.gauss(0, 1)),
    "numpy": (lambda: np.random.default_rng(1), lambda g: g.random()),
    "numpy-legacy": (lambda: np.random.RandomState(1), lambda g: g.standard_normal()),
    "numpy-bits": (lambda: np.random.PCG64(1), lambda g: g.random_raw()),
    "numpy-mersenne": (lambda: np.random.MT19937(1), lambda g: g.random_raw()),
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_restore_generator_repeats_the_numbers(kind: str) -> None:
    """Restored once or twice, a generator repeats the numbers drawn after its state was read."""
    make, draw = GENERATORS[kind]
    generator = make()
    draw(generator)
    assert is_generator(type(generator))
    state = generator_state(generator)
    expected = [draw(generator) for _ in range(3)]
    for _ in range(2):
        restore_generator(generator, state)
        assert [draw(generator) for _ in range(3)] == expected


@pytest.mark.parametrize(
    "obj",
    [None, 3, [1], torch.ones(1), random.random],
    ids=["none", "number", "list", "tensor", "function"],
)
def test_is_generator_rejects_other_objects(obj: object) -> None:
    """Other objects, functions that draw among them, are told apart."""
    assert not is_generator(type(obj))
