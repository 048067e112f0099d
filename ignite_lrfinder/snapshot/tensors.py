"""A tensor's values, storage and gradient: remembered, and put back into the same tensor."""

import functools
from collections.abc import Callable, Iterable

import torch

from ignite_lrfinder.snapshot.random_state import Restorer
from ignite_lrfinder.snapshot.storage import Kept

_PROBE = 1024


def has_values(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor has values: not on the meta device, nor with its memory given away."""
    if tensor.is_meta:
        return False
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided:
        return True
    return tensor.is_nested or tensor.numel() == 0 or tensor.untyped_storage().nbytes() > 0


def place_of(tensor: torch.Tensor) -> object | None:
    """Return what tells which memory a tensor shows, and how; None where that cannot be told."""
    is_usual = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    if not is_usual or tensor.layout != torch.strided or tensor.is_nested or not tensor.data_ptr():
        return None
    how = (tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg())
    return (tensor.device, tensor.data_ptr(), *how)


def wait_for(devices: Iterable[torch.device]) -> None:
    """Wait until accelerators have done what was asked of them, on whatever stream."""
    for device in devices:
        if device.type == "mps":
            torch.mps.synchronize()
        elif device.type in ("cuda", "xpu"):
            getattr(torch, device.type).synchronize(device)


def restorer(tensor: torch.Tensor, keep: Callable[[torch.Tensor], Kept]) -> Restorer:
    """Return a function that puts a tensor back to what it is now.

    Args:
        tensor: any tensor with storage; one inside an autograd graph comes back with its values.
        keep: keep the values, and return a function that returns them.
    """
    alias = tensor.detach()
    kept = keep(alias)
    if tensor.layout != torch.strided or tensor.is_nested:
        # Only the tensor itself will lead to its storage: accumulation in place replaces its parts.
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
    """Put back a tensor's values into the storage it had, and its gradient."""
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
    """Put the values that were kept back into a tensor."""
    _write(alias, kept())


def _has_moved(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Tell whether `tensor.data` was given another storage since `alias` was made of it."""
    if (tensor.dtype, tensor.device, tensor.shape) != (alias.dtype, alias.device, alias.shape):
        return True
    return tensor.data_ptr() != alias.data_ptr() or tensor.stride() != alias.stride()


def _write(alias: torch.Tensor, content: torch.Tensor) -> None:
    """Copy values into a tensor where they differ.

    Memory may be read-only, and a graph through a tensor that was written cannot be differentiated.
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
    """Tell whether two strided tensors are the same bit for bit; where it cannot be told, no."""
    if type(alias) not in (torch.Tensor, torch.nn.Parameter) or alias.is_quantized:
        return False
    # What was trained differs at once; only what seems untouched is worth a look at all of it.
    for part in (slice(_PROBE), slice(None)):
        now, then = alias.reshape(-1)[part], content.reshape(-1)[part].to(alias.device)
        if not torch.equal(_bits(now), _bits(then)):
            return False
    return True


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bytes of a tensor, in which NaN equals itself and -0.0 differs from 0.0."""
    return tensor.resolve_conj().resolve_neg().contiguous().view(torch.uint8)
