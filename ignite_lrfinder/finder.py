"""`FastaiLRFinder`: attach a range test to a trainer, and hand on what it found."""

import contextlib
import functools
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from ignite.engine import Engine

from ignite_lrfinder.errors import LRFinderError
from ignite_lrfinder.protocols import KeepHandlers, Saveable, SnapshotPlace
from ignite_lrfinder.record import Record
from ignite_lrfinder.result import LRFinderResult
from ignite_lrfinder.snapshot import Interrupts, Snapshot, attributes_of, objects_of, trained_among
from ignite_lrfinder.suggest import Trials
from ignite_lrfinder.sweep import (
    Muting,
    Progress,
    StepWatch,
    SweepHooks,
    Validation,
    check_attach,
    end_run,
    event_list,
    graphs_among,
    handler_table,
    kept_of,
    kept_reporters,
    pending_run,
    scalers_among,
    start_afresh,
    train_step_of,
    unchanged,
)

P = ParamSpec("P")
R = TypeVar("R")

_swept_trainers: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _of_result(
    method: Callable[Concatenate[LRFinderResult, P], R], *, is_undone_by_block: bool = False
) -> "Callable[Concatenate[FastaiLRFinder, P], R]":
    """Return a method of the finder that calls a method of its last result."""

    @functools.wraps(method)
    def call(self: "FastaiLRFinder", *args: P.args, **kwargs: P.kwargs) -> R:
        if is_undone_by_block and self._is_attached:
            raise LRFinderError(
                f"{method.__name__} must be called after the block of attach, got a call inside "
                "it, which the end of the block would undo. Call it after the block."
            )
        return method(self.result, *args, **kwargs)

    return call


class FastaiLRFinder:
    """Find a learning rate with a range test inside a trainer you already have.

    Inside the block of `attach`, the trainer's run raises the learning rate from `start_lr` to
    `end_lr` and records the loss, until the loss diverges. When the block ends, everything is as
    it was.

    Example:
        >>> import torch
        >>> from ignite.engine import create_supervised_trainer
        >>> from ignite_lrfinder import FastaiLRFinder
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.MSELoss())
        >>> x = torch.randn(64, 4)
        >>> batches = [(x, x.sum(1, keepdim=True))]
        >>> lr_finder = FastaiLRFinder()
        >>> with lr_finder.attach(
        ...     trainer, {"model": model, "optimizer": optimizer}, num_iter=100
        ... ) as t:
        ...     _ = t.run(batches)
        >>> 0.01 < lr_finder.lr_suggestion() < 1
        True
        >>> lr_finder.apply_suggested_lr(optimizer)

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186; fastai's
        `lr_find`; `ignite.handlers.FastaiLRFinder`, whose interface this is.
    """

    def __init__(self) -> None:
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")
        self._result: LRFinderResult | None = None
        self._is_attached = False

    @contextlib.contextmanager
    def attach(
        self,
        trainer: Engine,
        to_save: Mapping[str, Saveable],
        output_transform: Callable[..., object] = unchanged,
        num_iter: int | None = None,
        start_lr: float | Sequence[float] | None = None,
        end_lr: float | Sequence[float] = 10.0,
        step_mode: str = "exp",
        smooth_f: float = 0.05,
        diverge_th: float = 5.0,
        *,
        keep_handlers: KeepHandlers = "auto",
        val_loss: Callable[[], object] | None = None,
        verify: bool | Trials = False,
        snapshot: SnapshotPlace = "cpu",
        progress: bool = False,
    ) -> Iterator[Engine]:
        """Attach the range test to a trainer for the length of a `with` block.

        The block runs the trainer once, as it is always run. A point is one optimizer step. When
        the block ends, by whatever exception, the trainer, the objects in `to_save`, all random
        state and the data loader are as they were, bit for bit. What cannot be undone is what a
        kept handler does to the outside world, and the items taken from a one-shot iterator.

        Args:
            trainer: the engine that trains.
            to_save: names to the objects that a training changes, each with `state_dict` and
                `load_state_dict`, among them the optimizer under "optimizer".
            output_transform: a function from the trainer's output to the loss. A loss is a number,
                a tensor of one element, or a mapping that has one under the key "loss".
            num_iter: the number of points, at least 1; default, as many as the run has iterations,
                and 100 for a run of unknown length. The loader starts again as often as needed.
            start_lr: the first learning rate, in (0, inf), from 0 on for a linear sweep; one
                number, or one for each parameter group; default, the optimizer's own.
            end_lr: the last learning rate, in (start_lr, inf), likewise. Parameter groups keep the
                ratio of their learning rates, the largest being the number given, unless a list
                gives them apart.
            step_mode: "exp" for points evenly spaced in log learning rate, or "linear".
            smooth_f: the weight of the newest loss in the moving average that decides on stopping,
                in [0, 1); 0 turns smoothing off.
            diverge_th: stop where the smoothed loss exceeds
                `best + (diverge_th - 1) * max(|best|, first - best)`, in [1, inf].
            keep_handlers: which of the trainer's handlers run during the sweep. "auto", those of
                the user that prepare training (on STARTED, EPOCH_STARTED, GET_BATCH_*,
                ITERATION_STARTED and custom events); "all"; "none"; or a collection of handlers
                that run besides those of "auto". Handlers added inside the block run, and stay.
            val_loss: returns the loss to record, as of a validation; called without arguments after
                each point, also in trials. What the trainer returns need then not be a loss. The
                train/eval modes are put back after each call. Evaluators that it refers to are
                restored, and their handlers muted but for their metrics.
            verify: whether the same run goes on after the sweep with short trials at a few fixed
                learning rates, each from the start and on the same batches; `Trials(...)` says how
                much they may train.
            snapshot: where the copy of all state is held: "cpu", in host memory; "device", beside
                the original; or the path of a directory with room for it, for what fits in neither.
                The directory holds a file without a name, and nothing when the block ends.
            progress: whether to show the point, its learning rate and smoothed loss in Ignite's
                progress bar, and the trials after it; on the first process only.

        Yields:
            The trainer, to be run.

        Raises:
            TypeError: for an argument of the wrong kind; nothing has been touched then.
            ValueError: for an argument of the wrong value; nothing has been touched then.
            ModuleNotFoundError: for `progress` without tqdm; nothing has been touched then.
            LRFinderError: if a sweep is under way already, if the directory of `snapshot` is full,
                if the optimizer takes no step, or if something could not be put back afterwards.

        Inside the block `trainer.run` raises TypeError or ValueError for an output that is no loss.
        """
        arguments = check_attach(
            trainer,
            to_save,
            output_transform=output_transform,
            num_iter=num_iter,
            start_lr=start_lr,
            end_lr=end_lr,
            step_mode=step_mode,
            smooth_f=smooth_f,
            diverge_th=diverge_th,
            val_loss=val_loss,
            verify=verify,
            keep_handlers=keep_handlers,
            snapshot=snapshot,
            progress=progress,
        )
        self._refuse_second_attach(trainer)
        references = list(objects_of(train_step_of(trainer)))
        scalers = scalers_among(
            *to_save.values(),
            *attributes_of(trainer).values(),
            *attributes_of(trainer.state).values(),
            *references,
        )
        trained = trained_among(arguments.optimizer, references)
        validation = Validation(arguments.val_loss, trainer, (*to_save.values(), *trained))
        kept: dict[Engine, KeepHandlers] = {trainer: keep_handlers}
        kept |= {engine: kept_of(engine, keep_handlers) for engine in validation.evaluators}
        # What is to be undone is undone backwards, and a step that fails does not keep back others.
        with Interrupts() as interrupts, contextlib.ExitStack() as undo:
            before = Snapshot(
                trainer,
                to_save,
                snapshot,
                evaluators=validation.evaluators,
                others=(*kept_reporters(kept), *scalers, *trained, *validation.loaders),
                opaque=(*map(handler_table, kept), *map(event_list, kept)),
            )
            undo.callback(before.restore)
            undo.callback(self._end_block, trainer)
            self._begin_block(trainer)
            steps = StepWatch(arguments.optimizer, scalers, graphs_among(references))
            undo.callback(steps.remove)
            mutings = [Muting(engine, keep, steps.hold_lr) for engine, keep in kept.items()]
            for muting in mutings:
                undo.callback(muting.undo)
                muting.mute()
            hooks = SweepHooks(
                trainer,
                arguments,
                steps,
                muted=mutings[0].muted,
                validate=validation if arguments.val_loss is not None else None,
                snapshot=before,
                progress=Progress() if arguments.is_showing else None,
                on_result=self._store_result,
            )
            undo.callback(hooks.remove)
            hooks.add()
            undo.callback(end_run, trainer, pending_run(trainer))
            start_afresh(trainer)
            try:
                interrupts.allow()
                yield trainer
            finally:
                # An interrupt may still fall before this, but none between it and the undoing.
                interrupts.is_deferring = True

    @property
    def result(self) -> LRFinderResult:
        """The result of the last sweep.

        Raises:
            LRFinderError: if no sweep has run yet.
        """
        if self._result is None:
            raise LRFinderError(
                "The finder must have run a sweep, got none yet. Run the trainer inside the `with` "
                "block of attach first."
            )
        return self._result

    def __repr__(self) -> str:
        """Return the summary of the last result."""
        if self._result is None:
            return f"{type(self).__name__}: no sweep has run yet."
        return self._result.summary()

    def _repr_html_(self) -> str | None:
        """Return the last result as HTML, for notebooks."""
        return None if self._result is None else self._result._repr_html_()

    def get_results(self) -> dict[str, list[Any]]:
        """Return the learning rates and the smoothed losses of the last sweep, as Ignite does.

        Returns:
            A dict {"lr": [...], "loss": [...]}, with a float for each point, or a list of floats in
            "lr" where there are several parameter groups; empty before the first sweep.
        """
        if self._result is None:
            return {}
        lr = self._result.lr
        return {
            "lr": (lr[:, 0] if lr.shape[1] == 1 else lr).tolist(),
            "loss": self._result.smoothed_losses.tolist(),
        }

    lr_suggestion = _of_result(LRFinderResult.lr_suggestion)
    suggestions = _of_result(LRFinderResult.suggestions)
    lr_bounds = _of_result(LRFinderResult.lr_bounds)
    plot = _of_result(LRFinderResult.plot)
    plot_trials = _of_result(LRFinderResult.plot_trials)
    summary = _of_result(LRFinderResult.summary)

    apply_suggested_lr = _of_result(LRFinderResult.apply_suggested_lr, is_undone_by_block=True)

    def _store_result(self, record: Record) -> None:
        """Store what a sweep measured as the result."""
        self._result = LRFinderResult.of(record)
        self.logger.info(
            "LR range test: %d points, ended because %s", len(record), record.stop_reason.message
        )

    def _refuse_second_attach(self, trainer: Engine) -> None:
        """Refuse to sweep where a sweep is under way."""
        if self._is_attached or trainer in _swept_trainers:
            owner = "lr_finder" if self._is_attached else "trainer"
            raise LRFinderError(
                f"{owner} must have no sweep under way, got a second attach. Leave the first block "
                "before attaching again."
            )

    def _begin_block(self, trainer: Engine) -> None:
        """Note that a sweep is under way."""
        self._result = None
        self._is_attached = True
        _swept_trainers.add(trainer)

    def _end_block(self, trainer: Engine) -> None:
        """Note that the sweep is over."""
        self._is_attached = False
        _swept_trainers.discard(trainer)
