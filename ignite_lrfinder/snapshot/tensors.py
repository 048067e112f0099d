"""Capture a tensor's values, storage and gradient, and restore them in the same tensor."""

import functools
from collections.abc import Callable, Iterable

import torch

from ignite_lrfinder.snapshot.random_state import Restorer
from ignite_lrfinder.snapshot.storage import Kept

_PROBE = 1024


def has_values(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has values: allocated memory, not on the meta device."""
    if tensor.is_meta:
        return False
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided:
        return True
    return tensor.is_nested or tensor.numel() == 0 or tensor.untyped_storage().nbytes() > 0


def place_of(tensor: torch.Tensor) -> object | None:
    """Return a key for the memory that a tensor views and how; None if there is no such key."""
    is_usual = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    if not is_usual or tensor.layout != torch.strided or tensor.is_nested or not tensor.data_ptr():
        return None
    how = (tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg())
    return (tensor.device, tensor.data_ptr(), *how)


def wait_for(devices: Iterable[torch.device]) -> None:
    """Wait until accelerators have finished all work, on every stream."""
    for device in devices:
        if device.type == "mps":
            torch.mps.synchronize()
        elif device.type in ("cuda", "xpu"):
            getattr(torch, device.type).synchronize(device)


def restorer(tensor: torch.Tensor, keep: Callable[[torch.Tensor], Kept]) -> Restorer:
    """Return a function that restores a tensor to its present state.

    Args:
        tensor: any tensor with storage; of one inside an autograd graph only the values are
            restored.
        keep: copies the values, and returns a function that returns the copy.
    """
    alias = tensor.detach()
    kept = keep(alias)
    if tensor.layout != torch.strided or tensor.is_nested:
        # Only the tensor itself leads to its storage: accumulation in place replaces its parts.
        alias = tensor
    if not tensor.is_leaf:
        return functools.partial(_write_kept, alias, kept)
    return functools.partial(_restore_leaf, tensor, alias, kept, tensor.grad, tensor.requires_grad)


def _restore_leaf(
    tensor: torch.Tensor,
    alias: torch.Tensor,
    kept: Kept,
    grad: torch.Tensor | None,
    requires_grad: bool,
) -> None:
    """Restore a tensor's values in the storage it had, and its gradient."""
    if not tensor.is_leaf:
        tensor.detach_()
    if alias is not tensor and _has_moved(tensor, alias):
        tensor.data = alias
    _write(alias, kept())
    if tensor.requires_grad != requires_grad:
        tensor.requires_grad_(requires_grad)
    if tensor.grad is not grad:
        tensor.grad = grad


def _write_kept(alias: torch.Tensor, kept: Kept) -> None:
    """Restore the copied values of a tensor."""
    _write(alias, kept())


def _has_moved(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Return whether `tensor.data` has another storage than when `alias` was made."""
    if (tensor.dtype, tensor.device, tensor.shape) != (alias.dtype, alias.device, alias.shape):
        return True
    return tensor.data_ptr() != alias.data_ptr() or tensor.stride() != alias.stride()


def _write(alias: torch.Tensor, content: torch.Tensor) -> None:
    """Copy values into a tensor where they differ.

    Memory may be read-only, and autograd cannot differentiate through a tensor that was written.
    """
    if alias.is_nested:
        for part, values in zip(alias.unbind(), content.unbind(), strict=True):
            _write(part, values)
        return
    if alias.layout == torch.strided:
        if _is_same(alias, content):
            return
        if 0 in alias.stride():
            distinct = tuple(slice(None if stride else 1) for stride in alias.stride())
            alias, content = alias[distinct], content[distinct]
    with torch.inference_mode(alias.is_inference()):
        alias.copy_(content)


def _is_same(alias: torch.Tensor, content: torch.Tensor) -> bool:
    """Return whether two strided tensors are equal bit for bit; False if it is unknown."""
    if type(alias) not in (torch.Tensor, torch.nn.Parameter) or alias.is_quantized:
        return False
    # Trained values differ early; only values that seem unchanged are compared completely.
    for part in (slice(_PROBE), slice(None)):
        now, then = alias.reshape(-1)[part], content.reshape(-1)[part].to(alias.device)
        if not torch.equal(_bits(now), _bits(then)):
            return False
    return True


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bytes of a tensor, in which NaN equals itself and -0.0 differs from 0.0."""
    return tensor.resolve_conj().resolve_neg().contiguous().view(torch.uint8)
