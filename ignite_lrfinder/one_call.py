"""`find_lr`: from a trainer or a train step to a result in one call."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ignite.engine import Engine
from torch import nn

from ignite_lrfinder.errors import wrong_type
from ignite_lrfinder.finder import FastaiLRFinder
from ignite_lrfinder.protocols import OptimizerLike, Saveable
from ignite_lrfinder.result import LRFinderResult
from ignite_lrfinder.suggest import Trials


def find_lr(
    trainer: Engine | Callable[[Any], object],
    to_save: Mapping[str, Saveable] | OptimizerLike,
    data: Iterable[Any],
    *,
    num_iter: int | None = 100,
    epoch_length: int | None = None,
    verify: bool | Literal["auto"] | Trials = "auto",
    **attach_arguments: Any,
) -> LRFinderResult:
    """Run a range test, restore everything, and return the result.

    Args:
        trainer: an Ignite trainer; or, for a plain PyTorch loop, a function that trains on one
            batch and returns the loss.
        to_save: as for `FastaiLRFinder.attach`; the optimizer alone is enough, because the objects
            that the train step uses are restored, too.
        data: the batches, such as a data loader.
        num_iter: the number of points, at least 1; None for the number of iterations of an epoch.
        epoch_length: the iterations of an epoch, for data of unknown length.
        verify: as for `attach`; by default "auto", with long trials only where they are needed.
        attach_arguments: further arguments of `FastaiLRFinder.attach`.

    Returns:
        The result of the sweep and of the trials.

    Raises:
        TypeError: if `trainer` is neither a trainer nor a function; or as for `attach`.
        ValueError: as for `attach`.
        LRFinderError: as for `attach`.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> x = torch.randn(64, 4)
        >>> def train_step(batch):
        ...     optimizer.zero_grad()
        ...     loss = torch.nn.functional.mse_loss(model(batch), batch.sum(1, keepdim=True))
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss.item()
        >>> result = find_lr(train_step, optimizer, [x], start_lr=1e-5)
        >>> 0.01 < result.lr_suggestion() < 1
        True
    """
    if not isinstance(trainer, Engine):
        _check_train_step(trainer)
        trainer = Engine(functools.partial(_train, trainer))
    lr_finder = FastaiLRFinder()
    with lr_finder.attach(
        trainer, to_save, num_iter=num_iter, verify=verify, **attach_arguments
    ) as swept:
        swept.run(data, max_epochs=1, epoch_length=epoch_length)
    return lr_finder.result


def _check_train_step(train_step: object) -> None:
    """Check that an object can be called with a batch, and trains on it."""
    remedy = "Pass a function that trains on one batch and returns the loss."
    requirement = "an ignite Engine or a function of a batch"
    if not callable(train_step) or isinstance(train_step, nn.Module):
        raise wrong_type("trainer", requirement, train_step, remedy)
    try:
        # The outermost function is called: a decorator may pass further arguments.
        signature = inspect.signature(train_step, follow_wrapped=False)
    except (TypeError, ValueError):  # of built-in code
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise wrong_type("trainer", requirement, train_step, remedy) from error


def _train(train_step: Callable[[Any], object], engine: Engine, batch: object) -> object:
    """Call a train step that takes only the batch."""
    return train_step(batch)
