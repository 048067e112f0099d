"""Tell data in the order of its labels by its batches: one label each, and not always the same."""

import torch

_MIN_SAMPLES = 8
_SHARE = 0.8
_INTEGERS = (torch.int64, torch.int32, torch.uint8)


class LabelWatch:
    """Count the batches that have a single label.

    Only batches of the form (inputs, labels) count, whose labels are one integer for each of at
    least eight samples, in host memory: elsewhere a look would wait for the device.
    """

    def __init__(self) -> None:
        self._num_seen = 0
        self._num_single = 0
        self._single: set[int] = set()

    def see(self, batch: object) -> None:
        """Look at the labels of a batch."""
        if batch.__class__ not in (list, tuple) or len(batch) != 2:  # type: ignore[arg-type]  # just checked
            return
        labels = batch[1]  # type: ignore[index]
        is_tensor = isinstance(labels, torch.Tensor) and labels.device.type == "cpu"
        if not is_tensor or labels.dtype not in _INTEGERS or labels.dim() != 1:
            return
        values = labels.numpy()
        if len(values) >= _MIN_SAMPLES:
            self._num_seen += 1
            if (values == values[0]).all():
                self._num_single += 1
                self._single.add(int(values[0]))

    @property
    def are_ordered(self) -> bool:
        """Whether most batches had a single label, and these had more than one."""
        return len(self._single) > 1 and self._num_single >= _SHARE * self._num_seen
