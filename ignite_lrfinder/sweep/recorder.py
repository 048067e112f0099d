"""From the engine's output to a loss, without waiting for the device."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import cast

import ignite.distributed as idist
import torch
from torch import Tensor

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.sweep.loss import Loss

# Losses on the host are there to be read; only the work of it waits, to be done in one go. Those on
# a device wait for `MAX_POINTS`: reading costs about as much as launching some ten small kernels.
_MAX_POINTS_ON_HOST = 100


class LossRecorder:
    """Gather the losses of iterations into the losses of points, and read them in batches.

    A point is an optimizer step: its loss is the mean over the iterations that share the step and,
    in a distributed run, over the processes. Losses on a device, and those of several processes,
    are read ten points at a time, so that the host runs ahead of the device and one collective
    serves a batch.

    Attributes:
        unread: the losses of the points that wait for being read: for each a loss, or a list of
            those of its iterations.
        is_late: whether losses can be known only ten points at a time.
        ending: why another process ended, as told at the last reading. After that this one must
            end too, and tells the others nothing any more.
    """

    def __init__(self) -> None:
        self.unread: list[Loss | list[Loss]] = []
        self.ending: StopReason | None = None
        self._pending: list[Loss] = []
        self._is_distributed = idist.get_world_size() > 1
        self.is_late = self._is_distributed

    @property
    def read_every(self) -> int:
        """How many points may wait for being read."""
        return MAX_POINTS if self.is_late else _MAX_POINTS_ON_HOST

    def add(self, loss: Loss) -> None:
        """Take the loss of one more iteration."""
        self._pending.append(loss)
        self.is_late = self.is_late or isinstance(loss, Tensor)

    def discard(self) -> None:
        """Drop the losses of iterations that led to no step."""
        self._pending.clear()

    def has_non_finite(self) -> bool:
        """Tell whether a loss that led to no step yet is NaN or infinite, in any of the processes.

        This waits for the device and for the other processes, all of which must call it.
        """
        has_one = any(not math.isfinite(loss) for loss in self._pending)
        if not self._is_distributed:
            return has_one
        together = exchange(Message(has_non_finite=has_one))
        self.ending = together.ending
        if self.ending is not None:
            # The one that ended had no answer to them.
            self.unread.clear()
        return together.has_non_finite

    def close_point(self, loss: Loss | None = None) -> None:
        """Make one point of the iterations since the last, or of a loss that stands for them."""
        if loss is not None:
            self.discard()
            self.add(loss)
        self.unread.append(self._pending[0] if len(self._pending) == 1 else self._pending)
        self._pending = []

    def is_due(self) -> bool:
        """Tell whether the points that wait ought to be read."""
        return not self.is_late or len(self.unread) >= self.read_every

    def read(
        self, ending: StopReason | None = None, *, is_collective: bool = True
    ) -> tuple[float, ...]:
        """Return the losses of the points since the last reading, each a mean.

        Args:
            ending: why this process ends, where the others may not.
            is_collective: average over the processes, all of which must then call this, or
                `has_non_finite`.
        """
        means = _means(self.unread)
        self.unread.clear()
        if not (is_collective and self._is_distributed and self.ending is None):
            return means
        together = exchange(Message(means, ending=ending))
        self.ending = together.ending
        return together.losses


def _means(points: Sequence[Loss | list[Loss]]) -> tuple[float, ...]:
    """Return the loss of each point, the mean over its iterations, read from where it is."""
    if set(map(type, points)) <= {float}:
        return tuple(cast(Sequence[float], points))
    losses: list[Sequence[Loss]] = [p if isinstance(p, list) else [p] for p in points]
    return tuple([_mean(each) for each in _to_host(losses)])


def _mean(losses: list[float]) -> float:
    """Return the mean of losses; of a single one itself, with its sign if it is zero."""
    return losses[0] if len(losses) == 1 else sum(losses) / len(losses)


def _to_host(points: Sequence[Sequence[Loss]]) -> list[list[float]]:
    """Read the losses of points, those on one device with a single transfer."""
    tensors: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for loss in itertools.chain.from_iterable(points):
        if isinstance(loss, Tensor):
            tensors.setdefault((loss.device, loss.dtype), []).append(loss)
    read = {place: iter(torch.stack(losses).tolist()) for place, losses in tensors.items()}
    return [
        [
            float(next(read[loss.device, loss.dtype]) if isinstance(loss, Tensor) else loss)
            for loss in losses
        ]
        for losses in points
    ]


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
