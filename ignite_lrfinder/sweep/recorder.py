"""Gather losses into points: in batches from a device, in step with other processes."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import ignite.distributed as idist
import torch
from torch import Tensor

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.record import StopReason
from ignite_lrfinder.sweep.loss import Loss

MAX_POINTS = 10
"""The most points that are read at once: a read costs about as much as launching ten kernels."""


class LossRecorder:
    """Gather the losses of iterations into the losses of points, and read them in batches.

    A point is an optimizer step: its loss is the mean over the iterations that share the step and,
    in a distributed run, over the processes. Losses on a device, and losses of several processes,
    are read ten points at a time, so that the host runs ahead of the device and ten points need
    one collective.

    Attributes:
        ending: why another process ended, as of the last read. This process must then end too,
            without another exchange.
    """

    def __init__(self) -> None:
        self.ending: StopReason | None = None
        self._unread: list[list[Loss]] = []
        self._pending: list[Loss] = []
        self._has_tensors = False
        self._is_distributed = idist.get_world_size() > 1

    def add(self, loss: Loss) -> None:
        """Add the loss of an iteration."""
        self._pending.append(loss)
        self._has_tensors = self._has_tensors or type(loss) is not float

    def discard(self) -> None:
        """Drop the losses of iterations that led to no step."""
        self._pending.clear()

    def has_non_finite(self) -> bool:
        """Return whether a loss since the last step is NaN or infinite, in any process.

        This waits for the device and for the other processes, all of which must call it.
        """
        has_one = any(not math.isfinite(loss) for loss in self._pending)
        if not self._is_distributed:
            return has_one
        together = exchange(Message(has_non_finite=has_one))
        self.ending = together.ending
        if self.ending is not None:
            # The process that ended has sent none of these points.
            self._unread.clear()
        return together.has_non_finite

    def close_point(self, *, is_last: bool = False) -> Sequence[float]:
        """Make a point of the iterations since the last one, and read what is due.

        Args:
            is_last: whether no point follows.

        Returns:
            What `read` returns; nothing while losses are buffered.
        """
        self._unread.append(self._pending)
        self._pending = []
        is_buffered = self._has_tensors or self._is_distributed
        if is_buffered and len(self._unread) < MAX_POINTS and not is_last:
            return ()
        return self.read()

    def read(
        self, ending: StopReason | None = None, *, is_collective: bool = True
    ) -> Sequence[float]:
        """Return the losses of the points since the last read, each a mean.

        Args:
            ending: why this process ends, if the others may not end.
            is_collective: whether to average over the processes, all of which must then call this
                or `has_non_finite`.
        """
        unread, self._unread = self._unread, []
        points: list[list[float]] = _to_host(unread) if self._has_tensors else unread  # type: ignore[assignment]  # all floats
        # A single loss stays as it is, with its sign if it is zero.
        means = [loss[0] if len(loss) == 1 else sum(loss) / len(loss) for loss in points]
        if not (is_collective and self._is_distributed and self.ending is None):
            return means
        together = exchange(Message(means, ending=ending))
        self.ending = together.ending
        return together.losses


def _to_host(points: Sequence[Sequence[Loss]]) -> list[list[float]]:
    """Read the losses of points, with a single transfer for each device and dtype."""
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


_ENDINGS = tuple(reason for reason in StopReason if reason.is_cut_short)


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """The message of one process, or of all processes combined.

    Attributes:
        losses: the losses of points, at most `MAX_POINTS`.
        has_non_finite: whether a loss since the last step is NaN or infinite.
        ending: why the process ends, if the others cannot know it.
    """

    losses: Sequence[float] = ()
    has_non_finite: bool = False
    ending: StopReason | None = None


def exchange(message: Message) -> Message:
    """Send a message to all processes, and return the messages of all processes combined.

    Args:
        message: the message of this process.

    Returns:
        The mean losses of the points that all processes have, whether any process has a loss that
        is not finite, and why a process ends, after which there is no further exchange.

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
    assert isinstance(total, torch.Tensor)  # as for any tensor
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
    return Message([loss / num_processes for loss in losses], has_non_finite > 0, ending)
