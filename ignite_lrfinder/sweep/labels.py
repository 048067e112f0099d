"""Detect batches in the order of their labels: a single label each, which seldom changes."""

import itertools

import torch

_MIN_SAMPLES = 8
_SHARE = 0.8
_INTEGERS = (torch.int64, torch.int32, torch.uint8)


class LabelWatch:
    """Count the batches with a single label, and how often that label changes.

    Only batches of the form (inputs, labels) count, with one integer for each of at least eight
    samples, in host memory: to read labels on a device is to wait for it.
    """

    def __init__(self) -> None:
        self._num_seen = 0
        self._singles: list[int] = []

    def see(self, batch: object) -> None:
        """Look at the labels of a batch."""
        if batch.__class__ not in (list, tuple) or len(batch) != 2:  # type: ignore[arg-type]  # just checked
            return
        labels = batch[1]  # type: ignore[index]
        if type(labels) is not torch.Tensor or labels.dtype not in _INTEGERS:
            return
        if labels.device.type != "cpu" or labels.layout is not torch.strided or labels.dim() != 1:
            return
        values = labels.resolve_neg().numpy()
        if len(values) >= _MIN_SAMPLES:
            self._num_seen += 1
            if (values == values[0]).all():
                self._singles.append(int(values[0]))

    @property
    def are_ordered(self) -> bool:
        """Whether most batches had a single label, the same as the one before, but not always."""
        singles = self._singles
        num_changes = sum(a != b for a, b in itertools.pairwise(singles))
        return len(singles) >= _SHARE * self._num_seen and 0 < num_changes <= len(singles) / 2
