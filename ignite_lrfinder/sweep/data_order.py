"""Detect samples that come in an order, so that the curve shows the order."""

import itertools
from collections.abc import Iterator

import torch
from ignite.engine import State
from torch.utils.data import BatchSampler, SequentialSampler

from ignite_lrfinder.suggest import Reading, Refusal

# In batches of eight shuffled samples, a single label is rare with two classes or more. Samples in
# the order of their labels give such batches nearly always, and seldom change the label.
_MIN_SAMPLES = 8
_SHARE = 0.8
_MAX_CHANGES = 0.25
_INTEGERS = (torch.int64, torch.int32, torch.uint8)

# Losses of samples ordered by label may be correlated more strongly than this; losses of shuffled
# samples are not. With fewer points the smoothing may miss the shape of the curve.
_ORDERED = 0.65
_MIN_POINTS = 50


class LabelWatch:
    """Counts of the batches with a single label, and of the changes of that label.

    Only batches of the form (inputs, labels) count, with one integer for each of at least eight
    samples, in host memory, because reading labels on a device waits for it.
    """

    def __init__(self) -> None:
        self._num_seen = 0
        self._singles: list[int] = []

    def update(self, state: State) -> None:
        """Count the batch of a trainer by its labels; a train step may have deleted it."""
        try:
            batch: object = state.batch
        except AttributeError:
            return
        if batch.__class__ not in (list, tuple) or len(batch) != 2:  # type: ignore[arg-type]  # just checked
            return
        labels = batch[1]  # type: ignore[index]
        if type(labels) is not torch.Tensor or labels.dtype not in _INTEGERS:
            return
        if labels.device.type != "cpu" or labels.layout is not torch.strided or labels.dim() != 1:
            return
        # Not by NumPy, which would make the tensor's storage one that cannot be resized.
        if len(labels) >= _MIN_SAMPLES:
            self._num_seen += 1
            if torch.equal(labels, labels[:1].expand_as(labels)):
                self._singles += labels[:1].tolist()

    @property
    def are_ordered(self) -> bool:
        """Whether most batches had a single label, which changed, but seldom."""
        singles = self._singles
        num_changes = sum(a != b for a, b in itertools.pairwise(singles))
        return len(singles) >= _SHARE * self._num_seen and 0 < num_changes <= _MAX_CHANGES * len(
            singles
        )


def warnings_of_order(data: object, reading: Reading, labels: LabelWatch) -> Iterator[str]:
    """Yield a warning about samples that come in an order.

    Args:
        data: what the trainer ran on.
        reading: the reading of the sweep.
        labels: the labels of the batches of the sweep.
    """
    if labels.are_ordered:
        yield (
            "Samples must be shuffled, got most batches with a single label each, so the curve "
            "shows the order of the labels. Shuffle the data."
        )
        return
    curve = reading.curve
    if isinstance(curve, Refusal) or len(curve.lr) < _MIN_POINTS:
        return
    if curve.correlation > _ORDERED and _draws_in_order(data):
        yield (
            f"Samples must be shuffled, got neighboring losses correlated by "
            f"{curve.correlation:.2f} from a loader that draws in order, so the curve may wander. "
            "Pass shuffle=True."
        )


def _draws_in_order(data: object) -> bool:
    """Return whether a loader draws its samples one after the other."""
    batch_sampler = getattr(data, "batch_sampler", None)
    if type(batch_sampler) not in (BatchSampler, type(None)):
        return False
    # A loader that was given a batch sampler has another sampler, which it does not use.
    owner = data if batch_sampler is None else batch_sampler
    return isinstance(getattr(owner, "sampler", None), SequentialSampler)
