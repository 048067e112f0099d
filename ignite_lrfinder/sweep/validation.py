"""Compute a validation loss without side effects."""

from collections.abc import Callable, Sequence
from typing import cast

from ignite.engine import Engine
from torch import nn

from ignite_lrfinder.snapshot import reachable_from


class Validation:
    """A validation loss that restores the train or eval mode of every module.

    Args:
        val_loss: a function without arguments that returns the loss.
        modules: the modules that it may use, without repetition.
    """

    def __init__(self, val_loss: Callable[[], object], modules: Sequence[nn.Module]) -> None:
        self._val_loss = val_loss
        inner = {id(part) for module in modules for part in module.modules() if part is not module}
        self._models = [module for module in modules if id(module) not in inner]

    def __call__(self) -> object:
        """Return what `val_loss` returns."""
        modes = [[(part, part.training) for part in model.modules()] for model in self._models]
        try:
            return self._val_loss()
        finally:
            for parts in modes:
                _set_modes(parts)


def evaluators_of(trainer: Engine, *functions: object) -> list[Engine]:
    """Return the engines other than the trainer that functions refer to."""
    found = reachable_from(*functions)
    engines = [cast(Engine, obj) for obj in found if issubclass(type(obj), Engine)]
    return [engine for engine in engines if engine is not trainer]


def _set_modes(parts: list[tuple[nn.Module, bool]]) -> None:
    """Restore the train or eval modes of a module, the first in the list, and its submodules."""
    model, is_training = parts[0]
    if model.training != is_training:
        # Some modules override `train`, for example to merge weights for evaluation.
        model.train(is_training)
    for part, is_training in parts:
        part.training = is_training
