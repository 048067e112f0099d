"""From the engine's output to a loss, without waiting for the device."""

import itertools
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor, strided

from ignite_lrfinder.divergence import StopReason
from ignite_lrfinder.lockstep import MAX_POINTS, Message, exchange

# Losses on the host are there to be read; only the work of it waits, to be done in one go. Those on
# a device wait for `MAX_POINTS`: reading costs about as much as launching some ten small kernels.
_MAX_POINTS_ON_HOST = 100

_OUTPUT = "the trainer's output"

Loss = float | Tensor


def loss_of(output: object, source: str = _OUTPUT) -> Loss:
    """Find the loss in what the trainer returned, after the user's `output_transform`.

    Args:
        output: a number, a NumPy scalar, a tensor or array of one element, or a mapping with the
                key "loss" that holds one of these.
        source: where it comes from, for the error.

    Returns:
        The loss as a float; as a tensor of shape () where reading it would wait for a device.

    Raises:
        TypeError: for another kind of output, showing it and an `output_transform` that would fit.
        ValueError: for a tensor or array of several elements.
    """
    # First what nearly every train step returns, in the quickest way: each point pays for it.
    if type(output) is float:
        return output
    value = output
    if type(output) is not Tensor and isinstance(output, Mapping) and "loss" in output:
        value = output["loss"]
    if type(value) is Tensor and value.is_cpu and value.ndim == 0 and value.layout is strided:
        number = value.tolist()
        if type(number) is float:  # type: ignore[comparison-overlap]  # torch says a list
            return number
    if isinstance(value, Tensor):
        value = value.detach()
        if value.numel() != 1 or value.is_complex():
            raise ValueError(_refusal(output, source))
        if value.is_cpu:
            return float(value.to_dense().double().resolve_neg().numpy().item())
        # It is read later, and a train step may hand out the same buffer each time.
        return value.to_dense().reshape(()).clone()
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise ValueError(_refusal(output, source))
        value = value.reshape(-1)[0]
    if isinstance(value, (numbers.Real, np.bool_)):
        return float(value)
    raise TypeError(_refusal(output, source))


def unchanged(output: object) -> object:
    """Return the output, where no `output_transform` is needed to find the loss in it."""
    return output


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


def _refusal(output: object, source: str) -> str:
    """Say what came instead of a loss, and which `output_transform` would find one in it."""
    remedy = _remedy(output) if source == _OUTPUT else "Let it return the loss."
    return (
        f"{source[0].upper()}{source[1:]} must be a loss (a number, a tensor of one element, or a "
        f"mapping with the key 'loss'), got {_describe(output)}. {remedy}"
    )


def _describe(output: object) -> str:
    """Show what came: its keys, its length or its shape."""
    kind = type(output).__name__
    if output is None:
        return "None"
    if isinstance(output, Mapping):
        return f"{kind} with the keys {list(output)}"
    if isinstance(output, (Tensor, np.ndarray)):
        return f"{kind} of shape {tuple(output.shape)} and type {output.dtype}"
    if isinstance(output, (tuple, list)):
        return (
            f"{kind} of length {len(output)} ({', '.join(type(item).__name__ for item in output)})"
        )
    return f"{kind} {output!r:.80}"


def _remedy(output: object) -> str:
    """Suggest an `output_transform`."""
    if output is None:
        return "Let the train step return its loss."
    losses = sorted(_possible_losses(output), key=lambda path_and_rank: path_and_rank[1])
    if losses:
        return f"Pass output_transform=lambda output: output{losses[-1][0]} to attach."
    return "Pass an output_transform to attach that picks the loss."


def _possible_losses(value: object, name: str = "") -> Iterator[tuple[str, tuple[bool, ...]]]:
    """Iterate over the ways to something like a loss in a value, each with how likely it is.

    Likely is what is called so, then a single number, one that can be differentiated, one of no
    dimensions; of several, the last.
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            index = str.__repr__(key) if isinstance(key, str) else repr(key)
            for path, rank in _possible_losses(part, str(key)):
                yield f"[{index}]{path}", rank
    elif isinstance(value, (tuple, list)):
        for index, part in enumerate(value):
            for path, rank in _possible_losses(part, name):
                yield f"[{index}]{path}", rank
    elif isinstance(value, (Tensor, np.ndarray)):
        size = math.prod(value.shape)
        if size == 0 or (isinstance(value, Tensor) and value.is_complex()):
            return
        has_grad = isinstance(value, Tensor) and value.requires_grad
        is_float = isinstance(value, np.ndarray) or value.is_floating_point()
        mean = "" if size == 1 else ".mean()" if is_float else ".float().mean()"
        yield mean, ("loss" in name.lower(), size == 1, has_grad, value.ndim == 0)
    elif isinstance(value, numbers.Real):
        yield "", ("loss" in name.lower(), True, False, isinstance(value, float))
    elif (loss := getattr(value, "loss", None)) is not None:
        for path, rank in _possible_losses(loss, "loss"):
            yield f".loss{path}", rank
