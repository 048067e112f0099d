"""The state of a training at one moment, and a second moment that shares what has not changed."""

import functools

import numpy as np
import torch
from conftest import Net
from ignite.engine import Engine

from ignite_lrfinder.snapshot.moment import Moment
from ignite_lrfinder.snapshot.storage import Kept, in_host_memory


def test_a_later_moment_copies_only_what_has_changed() -> None:
    """Of a network of which one layer was written, the second moment copies that layer."""
    net = Net()
    order, other = np.arange(1000), np.arange(1000)
    trainer = Engine(lambda engine, batch: (net(batch), order, other))
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> Kept:
        sizes.append(tensor.numel())
        return in_host_memory(tensor)

    capture = functools.partial(
        Moment, [trainer], {"model": net}, keep, handlers=(), others=(), opaque=()
    )
    before = capture()
    assert len(sizes) > 5
    sizes.clear()
    weight = next(net.layers.parameters())
    original = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
    order[0] = 7
    new = net.new = torch.ones(3)
    later = capture(base=before)
    assert sorted(sizes) == [new.nbytes, weight.nbytes]

    values = weight.detach().clone()
    with torch.no_grad():
        weight.zero_()
        new.zero_()
    order[:] = other[:] = 0
    later.restore()
    assert torch.equal(weight, values)
    assert new.tolist() == [1, 1, 1]
    assert (order[0], order[1], other[1]) == (7, 1, 1)
    before.restore()
    assert torch.equal(weight, original)
    assert not hasattr(net, "new")
    assert (order[0], other[1]) == (0, 1)


def test_a_later_moment_distinguishes_the_signs_of_zero() -> None:
    """An array whose zero became negative is copied again, as its bits have changed."""
    array = np.zeros(1)
    trainer = Engine(lambda engine, batch: array)
    capture = functools.partial(
        Moment, [trainer], {}, in_host_memory, handlers=(), others=(), opaque=()
    )
    before = capture()
    array[0] = -0.0
    later = capture(base=before)
    array[0] = 1
    later.restore()
    assert np.signbit(array[0])
