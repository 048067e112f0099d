"""What the processes of a distributed run tell one another, so that all take the same decisions.

There is one kind of message, of one size, with one collective. So a process that ends early, say
because its data did, meets the others at whatever they are about to exchange, and no one waits.
"""

import dataclasses

import ignite.distributed as idist
import torch

from ignite_lrfinder.divergence import StopReason
from ignite_lrfinder.errors import LRFinderError

MAX_POINTS = 10
"""The most points that a message holds."""

_ENDINGS = (StopReason.OUT_OF_DATA, StopReason.TERMINATED)


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """What one process says, or what all say together.

    Attributes:
        losses: the losses of points, at most `MAX_POINTS`.
        has_non_finite: whether a loss that led to no step yet is NaN or infinite.
        ending: why the process ends, of the reasons that the others cannot know by themselves.
    """

    losses: tuple[float, ...] = ()
    has_non_finite: bool = False
    ending: StopReason | None = None


def exchange(message: Message) -> Message:
    """Send a message to all processes, each of which sends one, and return what all say together.

    Args:
        message: what this process says.

    Returns:
        The mean losses of the points that all processes have, whether any has a loss that is not
        finite, and why one ends, if one does: then this was the last exchange.

    Raises:
        LRFinderError: if the processes do not take their steps together.
    """
    num_losses = len(message.losses)
    sent = [
        float(message.has_non_finite),
        *(float(message.ending is ending) for ending in _ENDINGS),
        *(float(point < num_losses) for point in range(MAX_POINTS)),
        *message.losses,
        *[0.0] * (MAX_POINTS - num_losses),
    ]
    total = idist.all_reduce(torch.tensor(sent, dtype=torch.float64, device=idist.device()))
    assert isinstance(total, torch.Tensor)  # what a tensor comes back as
    has_non_finite, *received = total.tolist()
    endings, received = received[: len(_ENDINGS)], received[len(_ENDINGS) :]
    num_processes = idist.get_world_size()
    num_common = sum(present == num_processes for present in received[:MAX_POINTS])
    ending = next((e for e, count in zip(_ENDINGS, endings, strict=True) if count), None)
    if ending is None and any(0 < present < num_processes for present in received[:MAX_POINTS]):
        raise LRFinderError(
            "All processes must take their optimizer steps in the same iterations, got one that "
            "had taken more than another. Accumulate gradients over as many batches in each."
        )
    losses = received[MAX_POINTS : MAX_POINTS + num_common]
    return Message(tuple(loss / num_processes for loss in losses), has_non_finite > 0, ending)
