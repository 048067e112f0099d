"""Tensors: their values, kept once for memory that several share, their storage and gradient."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch._subclasses import FakeTensor

from ignite_lrfinder.snapshot.storage import Kept, is_dense, is_plain

_PROBE = 1024
_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")

Keep = Callable[[torch.Tensor], Kept]
"""Copies the values of a tensor to where the snapshot is held."""


def has_values(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has values: a meta or fake one, or one freed by FSDP, has none."""
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        return False
    if not is_dense(tensor):
        return True
    return tensor.numel() == 0 or tensor.untyped_storage().nbytes() > 0


def synchronize(devices: Iterable[torch.device]) -> None:
    """Wait until accelerators have finished what was submitted to them, on whatever stream."""
    for device in devices:
        if device.type == "mps":
            torch.mps.synchronize()
        elif device.type in ("cuda", "xpu"):
            getattr(torch, device.type).synchronize(device)


class Values:
    """The values of tensors. Of memory that several tensors show, there is one copy.

    Args:
        keep: copies values to where the snapshot is held.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._pending: dict[tuple[torch.device, int], list[torch.Tensor]] = {}
        self._kept: list[tuple[torch.Tensor, Kept]] = []
        # From a storage to the parts of it that were copied, and to what keeps it alive.
        self._parts: dict[tuple[torch.device, int], list[tuple[int, int]]] = {}
        self._by_place: dict[tuple[torch.device, int, int], Kept] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Capture the values of a tensor: at once, or, where it may share its memory, in `copy`."""
        alias = tensor.detach()
        if not is_dense(tensor):
            # Accumulation in place replaces the parts of a sparse tensor.
            is_replaced = tensor.layout != torch.strided or tensor.is_nested
            self._kept.append((tensor if is_replaced else alias, self._keep(alias)))
        elif alias.numel():
            storage = alias.untyped_storage()
            self._pending.setdefault((alias.device, storage.data_ptr()), []).append(alias)

    def find(self, part: torch.Tensor) -> Kept | None:
        """Return the copy of a part of memory, if that part was copied by itself."""
        if not self._by_place:
            copies = ((alias, kept) for alias, kept in self._kept if _is_bytes(alias))
            self._by_place = {_place_of(alias): kept for alias, kept in copies}
        return self._by_place.get(_place_of(part)) if _is_bytes(part) else None

    def copy(self) -> None:
        """Copy the memory of the tensors that were added."""
        for place, aliases in self._pending.items():
            copied = self._parts.setdefault(place, [])
            for start, stop in _merge([*map(_extent, aliases), *copied]):
                if (start, stop) not in copied:
                    part = _bytes_of(aliases[0], start, stop)
                    self._kept.append((part, self._keep(part)))
                    copied.append((start, stop))
        self._pending.clear()

    def restore(self) -> list[BaseException]:
        """Restore all values where they differ, and return what failed."""
        failures: list[BaseException] = []
        # Backwards: what was copied first is older.
        for alias, kept in reversed(self._kept):
            try:
                _write(alias, kept())
            except BaseException as error:  # the others must be restored, whatever it was
                failures.append(error)
        return failures

    def clear(self) -> None:
        """Free the copies."""
        self._pending.clear()
        self._parts.clear()
        self._kept.clear()
        self._by_place.clear()


def of_storage(storage: torch.UntypedStorage) -> torch.Tensor:
    """Return a tensor that shows the bytes of a storage."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def capture_tensor(tensor: torch.Tensor) -> Any:
    """Return the memory, the gradient and the hooks of a leaf."""
    hooks = [getattr(tensor, name, None) for name in _HOOKS]
    copies = [None if table is None else dict(table) for table in hooks]
    return tensor.detach(), tensor.grad, tensor.requires_grad, hooks, copies


def restore_tensor(tensor: torch.Tensor, was: Any) -> None:
    """Restore what `capture_tensor` captured."""
    alias, grad, requires_grad, hooks, copies = was
    if not tensor.is_leaf:
        tensor.detach_()
    is_movable = tensor.layout == torch.strided and not tensor.is_nested
    if is_movable and _has_moved(tensor, alias):
        tensor.data = alias
    if tensor.requires_grad != requires_grad:
        tensor.requires_grad_(requires_grad)
    if tensor.grad is not grad:
        tensor.grad = grad
    for name, table, copy in zip(_HOOKS, hooks, copies, strict=True):
        _restore_hooks(tensor, name, table, copy)


def _restore_hooks(tensor: torch.Tensor, name: str, table: Any, copy: Any) -> None:
    """Restore the hooks of a tensor; a table that a hook of the sweep made is emptied."""
    now = getattr(tensor, name, None)
    if now is not None and now is not table:
        now.clear()
        setattr(tensor, name, table)
    if table is not None and dict(table) != copy:
        table.clear()
        table.update(copy)


def _is_bytes(part: torch.Tensor) -> bool:
    """Return whether a tensor is a part of memory, as `_bytes_of` returns it."""
    return is_dense(part) and part.dtype == torch.uint8


def _place_of(part: torch.Tensor) -> tuple[torch.device, int, int]:
    """Return where a part of memory is."""
    return part.device, part.data_ptr(), part.numel()


def _extent(tensor: Any) -> tuple[int, int]:
    """Return the first byte of a storage that a tensor shows, and the one behind the last."""
    start = tensor.storage_offset()
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return start * tensor.element_size(), (start + reach + 1) * tensor.element_size()


def _merge(extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge the extents that overlap."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(extents):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _bytes_of(tensor: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Return a part of a tensor's storage as bytes."""
    part = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return part.set_(tensor.untyped_storage(), start, (stop - start,), (1,))


def _has_moved(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Return whether `tensor.data` was replaced since `alias` was made of it."""
    if (tensor.dtype, tensor.device, tensor.shape) != (alias.dtype, alias.device, alias.shape):
        return True
    return tensor.data_ptr() != alias.data_ptr() or tensor.stride() != alias.stride()


def _write(alias: torch.Tensor, content: torch.Tensor) -> None:
    """Copy values into a tensor where they differ, as its memory may be read-only."""
    if alias.is_nested:
        for part, values in zip(alias.unbind(), content.unbind(), strict=True):
            _write(part, values)
    elif not is_same(alias, content):
        with torch.inference_mode(alias.is_inference()):
            alias.copy_(content)


def is_same(alias: torch.Tensor, content: torch.Tensor) -> bool:
    """Return whether two tensors are the same bit for bit; False where that is unknown."""
    if not is_plain(alias):
        return False
    # Trained values differ at once; only what seems untouched is compared as a whole.
    parts = [slice(_PROBE), slice(None)] if alias.numel() > _PROBE else [...]
    return all(torch.equal(alias[part], content[part].to(alias.device)) for part in parts)
