"""Run the finder at chosen epochs of training, which continues with the suggested rate."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any, cast

from ignite.engine import Engine, Events

from ignite_lrfinder.errors import NoSuggestionError, integer, warn, wrong_type
from ignite_lrfinder.finder import FastaiLRFinder
from ignite_lrfinder.protocols import OptimizerLike, Saveable, Schedule
from ignite_lrfinder.record import Plan
from ignite_lrfinder.result import LRFinderResult
from ignite_lrfinder.schedulers import Scheduler
from ignite_lrfinder.sweep import Arguments
from ignite_lrfinder.swept import is_swept

_SIGNATURE = inspect.signature(FastaiLRFinder.attach)
_NOT_CHECKED = ("self", "schedule", "total_iters")
_ANY_LR = 1e-12


class LRFinderAtEpochs:
    """Run the finder at the start of chosen epochs, and continue with the suggested rate.

    At the start of each of these epochs, a sweep runs on the trainer's data. Afterwards everything
    is restored except the learning rate, which is set to the suggestion. Without a suggestion the
    learning rate stays as it is, and a warning says why.

    Args:
        epochs: the numbers of the epochs, counted from 1.
        to_save: as for `FastaiLRFinder.attach`.
        lr_scheduler: as for `FastaiLRFinder.apply_suggested_lr`.
        schedule: as for `FastaiLRFinder.lr_suggestion`.
        total_iters: as for `FastaiLRFinder.lr_suggestion`.
        attach_arguments: further arguments of `FastaiLRFinder.attach`. Without `start_lr`, a sweep
            starts at the optimizer's present rate, so it cannot suggest a lower rate.

    Attributes:
        results: the result of each sweep so far, by epoch.

    Raises:
        TypeError: for an argument of the wrong type; for the arguments of `attach`, at the start of
            the first epoch.
        ValueError: for an argument with the wrong value, at the same times.

    Example:
        >>> import torch
        >>> from ignite.engine import create_supervised_trainer
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.MSELoss())
        >>> to_save = {"model": model, "optimizer": optimizer}
        >>> at_epochs = LRFinderAtEpochs([1, 3], to_save, start_lr=1e-5, num_iter=60)
        >>> at_epochs.attach(trainer)
        >>> x = torch.randn(64, 4)
        >>> _ = trainer.run([(x, x.sum(1, keepdim=True))] * 10, max_epochs=3)
        >>> sorted(at_epochs.results)
        [1, 3]
    """

    def __init__(
        self,
        epochs: Collection[int],
        to_save: Mapping[str, Saveable] | OptimizerLike,
        *,
        lr_scheduler: Scheduler | None = None,
        schedule: Schedule = "constant",
        total_iters: int | None = None,
        **attach_arguments: Any,
    ) -> None:
        self._plan = Plan(schedule, total_iters)
        try:
            _SIGNATURE.bind(None, None, to_save, **attach_arguments)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        self.results: dict[int, LRFinderResult] = {}
        self._epochs = _check_epochs(epochs)
        self._to_save = to_save
        self._lr_scheduler = lr_scheduler
        self._attach_arguments = attach_arguments
        self._is_checked = False

    def attach(self, trainer: Engine) -> None:
        """Add the finder to a trainer.

        Args:
            trainer: the engine that trains.
        """
        trainer.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, trainer: Engine) -> None:
        """Run the finder if this epoch was chosen, and set the suggested rate."""
        # A sweep, of this finder or another, starts epochs, too.
        if is_swept(trainer):
            return
        if not self._is_checked:
            self._check_arguments(trainer)
        epoch = trainer.state.epoch
        if epoch not in self._epochs:
            return
        finder, data = FastaiLRFinder(), trainer.state.dataloader
        epoch_length = trainer.state.epoch_length
        with finder.attach(
            trainer,
            self._to_save,
            schedule=self._plan.schedule,
            total_iters=self._plan.total_iters,
            **self._attach_arguments,
        ) as swept:
            swept.run(data, max_epochs=1, epoch_length=epoch_length)
        self.results[epoch] = finder.result
        self._apply(finder.result, epoch)

    def _check_arguments(self, trainer: Engine) -> None:
        """Check at the first epoch what no later epoch can make valid."""
        call = _SIGNATURE.bind(self, trainer, self._to_save, **self._attach_arguments)
        call.apply_defaults()
        given = {k: v for k, v in call.arguments.items() if k not in _NOT_CHECKED}
        if given["start_lr"] is None:  # the optimizer's own rate, which a warm-up may begin at 0
            given["start_lr"] = _ANY_LR
        if not isinstance(given["keep_handlers"], str):  # handlers may be attached later
            given["keep_handlers"] = "auto"
        given["mute_handlers"] = ()
        Arguments(**given, plan=self._plan)
        self._is_checked = True

    def _apply(self, result: LRFinderResult, epoch: int) -> None:
        """Set the suggested learning rate, or warn that there is none."""
        to_save = self._to_save
        optimizer = to_save["optimizer"] if isinstance(to_save, Mapping) else to_save
        try:
            result.apply_suggested_lr(cast(OptimizerLike, optimizer), self._lr_scheduler)
        except NoSuggestionError as error:
            warn(f"The learning rate stays as it is in epoch {epoch}. {error}")


def _check_epochs(epochs: object) -> frozenset[int]:
    """Check the numbers of the epochs."""
    remedy = "Epochs are counted from 1, as in epochs=[1, 5]."
    if isinstance(epochs, str) or not isinstance(epochs, Collection):
        raise wrong_type("epochs", "a collection of integers", epochs, remedy)
    return frozenset(integer("each of epochs", epoch, least=1, remedy=remedy) for epoch in epochs)
