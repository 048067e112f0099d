"""From the engine's output to a loss, without waiting for the device."""

import math
import numbers
from collections.abc import Mapping

import ignite.distributed as idist
import numpy as np
import torch

# A wait on the device costs about as much as launching some ten small kernels.
_READ_EVERY = 10

Loss = float | torch.Tensor


def loss_of(output: object) -> Loss:
    """Find the loss in what the trainer returned, after the user's `output_transform`.

    Args:
        output: a number, a NumPy scalar, a tensor or array of one element, or a mapping with the
            key "loss" that holds one of these.

    Returns:
        The loss as a float; as a tensor of shape () where reading it would wait for a device.

    Raises:
        TypeError: for another kind of output, showing it and an `output_transform` that would fit.
        ValueError: for a tensor or array of several elements.
    """
    value = output["loss"] if isinstance(output, Mapping) and "loss" in output else output
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_complex():
            raise ValueError(_refusal(output))
        value = value.detach().reshape(())
        if value.device.type == "cpu":
            return float(value.double().numpy())
        # It is read later, and a train step may hand out the same buffer each time.
        return value.clone()
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise ValueError(_refusal(output))
        value = value.reshape(-1)[0]
    if isinstance(value, (numbers.Real, np.bool_)):
        return float(value)
    raise TypeError(_refusal(output))


class LossRecorder:
    """Gather the losses of iterations into the losses of points, and read them in batches.

    A point is an optimizer step: its loss is the mean over the iterations that share the step and,
    in a distributed run, over the processes. Losses on a device, and those of several processes,
    are read ten points at a time, so that the host runs ahead of the device and one collective
    serves a batch.
    """

    def __init__(self) -> None:
        self._pending: list[Loss] = []
        self._unread: list[list[Loss]] = []
        self._read_every = _READ_EVERY if idist.get_world_size() > 1 else 1

    def add(self, loss: Loss) -> None:
        """Take the loss of one more iteration."""
        self._pending.append(loss)

    def discard(self) -> None:
        """Drop the losses of iterations that led to no step."""
        self._pending.clear()

    def has_non_finite(self, *, is_waiting: bool) -> bool:
        """Tell whether a loss that led to no step yet is NaN or infinite.

        Args:
            is_waiting: wait for losses on a device as well; else only those on the host are looked
                at.
        """
        on_host = [loss for loss in self._pending if is_waiting or isinstance(loss, float)]
        return any(not math.isfinite(loss) for loss in on_host)

    def close_point(self) -> None:
        """Make one point of the iterations since the last."""
        if any(isinstance(loss, torch.Tensor) for loss in self._pending):
            self._read_every = _READ_EVERY
        self._unread.append(self._pending)
        self._pending = []

    def is_due(self) -> bool:
        """Tell whether enough points wait for being read."""
        return len(self._unread) >= self._read_every

    def read(self, *, is_collective: bool = True) -> list[float]:
        """Return the losses of the points since the last reading, each a mean.

        Args:
            is_collective: average over the processes, all of which must then call this.
        """
        lengths = [len(point) for point in self._unread]
        losses = _to_host([loss for point in self._unread for loss in point])
        self._unread = []
        ends = np.cumsum(lengths)
        means = [
            float(np.mean(losses[end - length : end])) if length > 1 else float(losses[end - 1])
            for length, end in zip(lengths, ends, strict=True)
        ]
        if is_collective and means and idist.get_world_size() > 1:
            means = _mean_over_processes(means)
        return means


def _to_host(losses: list[Loss]) -> list[float]:
    """Read losses, those on one device with a single transfer."""
    values = [math.nan if isinstance(loss, torch.Tensor) else loss for loss in losses]
    by_place: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, loss in enumerate(losses):
        if isinstance(loss, torch.Tensor):
            by_place.setdefault((loss.device, loss.dtype), []).append(index)
    for indices in by_place.values():
        tensors = [loss for index in indices if isinstance(loss := losses[index], torch.Tensor)]
        read = torch.stack(tensors).tolist()
        for index, value in zip(indices, read, strict=True):
            values[index] = float(value)
    return values


def _mean_over_processes(means: list[float]) -> list[float]:
    """Average each loss over the processes with one collective."""
    total = idist.all_reduce(torch.tensor(means, dtype=torch.float64, device=idist.device()))
    assert isinstance(total, torch.Tensor)  # what a tensor comes back as
    return (total / idist.get_world_size()).tolist()


def _refusal(output: object) -> str:
    """Say what came instead of a loss, and which `output_transform` would find one in it."""
    return (
        "The trainer's output must be a loss (a number, a tensor of one element, or a mapping with "
        f"the key 'loss'), got {_describe(output)}. {_remedy(output)}"
    )


def _describe(output: object) -> str:
    """Show what came: its keys, its length or its shape."""
    kind = type(output).__name__
    if output is None:
        return "None"
    if isinstance(output, Mapping):
        return f"{kind} with the keys {list(output)}"
    if isinstance(output, (torch.Tensor, np.ndarray)):
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
    if isinstance(output, Mapping):
        keys = [key for key, value in output.items() if _is_scalar(value)]
        named = [key for key in keys if "loss" in str(key).lower()]
        key = next(iter([*named, *keys, *output]), "loss")
        return f"Pass output_transform=lambda output: output[{key!r}] to attach."
    if isinstance(output, (tuple, list)):
        index = next((i for i, value in enumerate(output) if _is_scalar(value)), 0)
        return f"Pass output_transform=lambda output: output[{index}] to attach."
    if isinstance(output, (torch.Tensor, np.ndarray)):
        return "Pass output_transform=lambda output: output.mean() to attach."
    return "Pass an output_transform to attach that picks the loss."


def _is_scalar(value: object) -> bool:
    """Tell whether a value could be a loss."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return math.prod(value.shape) == 1
    return isinstance(value, numbers.Real)
