"""The loss in a trainer's output, or an error that says how to find it."""

import math
import numbers
from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor, strided

_OUTPUT = "The trainer's output"
_MAX_CANDIDATES = 3

Loss = float | Tensor


def loss_of(output: object, source: str = _OUTPUT) -> Loss:
    """Return the loss in the trainer's output, after the user's `output_transform`.

    Args:
        output: a number, a NumPy scalar, a tensor or array of one element, or a mapping with one of
            these under the key "loss".
        source: where the output comes from, for the error.

    Returns:
        The loss as a float, or as a tensor of shape () if reading it would wait for a device.

    Raises:
        TypeError: for any other output; the message suggests an `output_transform`.
        ValueError: for a tensor or array of several elements.
    """
    # The usual output first: this runs for each point.
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
        # A copy, because it is read later and the train step may reuse its buffer.
        return value.to_dense().reshape(()).clone()
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise ValueError(_refusal(output, source))
        value = value.reshape(-1)[0]
    if isinstance(value, (numbers.Real, np.bool_)):
        return float(value)
    raise TypeError(_refusal(output, source))


def unchanged(output: object) -> object:
    """Return the output: the default `output_transform`."""
    return output


def _refusal(output: object, source: str) -> str:
    """Return the error message for an output that is not a loss."""
    remedy = _remedy(output) if source == _OUTPUT else "Let it return the loss."
    return (
        f"{source} must be a loss (a number, a tensor of one element, or a "
        f"mapping with the key 'loss'), got {_describe(output)}. {remedy}"
    )


def _describe(output: object) -> str:
    """Describe an output by its keys, its length or its shape."""
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
    """Suggest an `output_transform`: the likeliest loss first, then the other candidates."""
    if output is None:
        return "Let the train step return its loss."
    ranked = sorted(_possible_losses(output), key=lambda candidate: candidate[1], reverse=True)
    # Only the values that are as likely to be a single number as the first.
    paths = [path for path, rank in ranked if rank[:2] == ranked[0][1][:2]][:_MAX_CANDIDATES]
    if not paths:
        return "Pass an output_transform to attach that picks the loss."
    others = " or ".join(f"output{path}" for path in paths[1:])
    alternative = f"; if that is not the loss, try {others}" if others else ""
    return f"Pass output_transform=lambda output: output{paths[0]} to attach{alternative}."


def _possible_losses(value: object, name: str = "") -> Iterator[tuple[str, tuple[bool, ...]]]:
    """Yield the paths to possible losses in a value, each with its rank.

    The rank prefers values with "loss" in their name, then single numbers, values that require a
    gradient, values that no accuracy can have, and scalars.
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
        is_no_accuracy = not bool(((value >= 0) & (value <= 1)).all())
        is_named = "loss" in name.lower()
        yield mean, (is_named, size == 1, has_grad, is_no_accuracy, value.ndim == 0)
    elif isinstance(value, numbers.Real):
        is_float = isinstance(value, float)
        yield "", ("loss" in name.lower(), True, False, not 0 <= float(value) <= 1, is_float)
    elif (loss := getattr(value, "loss", None)) is not None:
        for path, rank in _possible_losses(loss, "loss"):
            yield f".loss{path}", rank
