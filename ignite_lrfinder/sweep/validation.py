"""Compute a validation loss without side effects."""

from collections.abc import Callable, Iterable
from typing import cast

from ignite.engine import Engine
from torch import nn

from ignite_lrfinder.snapshot import reachable_from


class Validation:
    """A validation loss that leaves every module in train or eval mode as it was.

    Args:
        val_loss: returns the loss, called without arguments.
        objects: everything that may run, including the modules whose modes are restored.
    """

    def __init__(self, val_loss: Callable[[], object], objects: Iterable[object]) -> None:
        self._val_loss = val_loss
        self._models = _outermost(
            cast(nn.Module, obj) for obj in objects if issubclass(type(obj), nn.Module)
        )

    def __call__(self) -> object:
        """Return what `val_loss` returns."""
        modes = [[(part, part.training) for part in model.modules()] for model in self._models]
        try:
            return self._val_loss()
        finally:
            for parts in modes:
                _set_modes(parts)


def evaluators_of(trainer: Engine, *functions: object) -> list[Engine]:
    """Return the engines that functions refer to, except the trainer."""
    found = reachable_from(*functions)
    engines = [cast(Engine, obj) for obj in found if issubclass(type(obj), Engine)]
    return [engine for engine in engines if engine is not trainer]


def _outermost(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the modules that are not part of another, each once."""
    distinct = {id(module): module for module in modules}
    inner = {id(part) for m in distinct.values() for part in m.modules() if part is not m}
    return [module for key, module in distinct.items() if key not in inner]


def _set_modes(parts: list[tuple[nn.Module, bool]]) -> None:
    """Restore the train or eval modes of a module, which comes first, and its submodules."""
    model, is_training = parts[0]
    if model.training != is_training:
        # Some modules act on a change of mode, such as merging weights for evaluation.
        model.train(is_training)
    for part, is_training in parts:
        part.training = is_training
