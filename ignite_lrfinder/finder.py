"""`FastaiLRFinder`: attach a range test to a trainer; all else is delegated to the result."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from ignite.engine import Engine
from torch import nn

from ignite_lrfinder.errors import LRFinderError, warn
from ignite_lrfinder.protocols import (
    Handler,
    KeepHandlers,
    OptimizerLike,
    Saveable,
    Schedule,
    SnapshotPlace,
)
from ignite_lrfinder.record import Plan, Record, StopReason
from ignite_lrfinder.result import LRFinderResult
from ignite_lrfinder.snapshot import Interrupts, Snapshot, adopt
from ignite_lrfinder.suggest import Trials
from ignite_lrfinder.sweep import (
    Arguments,
    Muting,
    Progress,
    StepWatch,
    SweepHooks,
    Validation,
    end_run,
    event_list,
    handler_table,
    is_graph,
    is_running,
    is_scaler,
    is_scheduler,
    library_objects,
    pending_run,
    start_afresh,
    train_step_of,
    unchanged,
)
from ignite_lrfinder.swept import begin_block, is_swept

P = ParamSpec("P")
R = TypeVar("R")

_MAX_PATHS = 10


def _of_result(
    method: Callable[Concatenate[LRFinderResult, P], R],
) -> "Callable[Concatenate[FastaiLRFinder, P], R]":
    """Return a method of the finder that calls a method of its last result."""

    @functools.wraps(method)
    def call(self: "FastaiLRFinder", *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self.result, *args, **kwargs)

    return call


class FastaiLRFinder:
    """Find a learning rate with a range test inside a trainer you already have.

    Inside the block of `attach`, the trainer's run raises the learning rate from `start_lr` to
    `end_lr` and records the loss until it diverges. When the block ends, everything is restored.
    The other methods delegate to the result of the last sweep.

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
        to_save: Mapping[str, Saveable] | OptimizerLike,
        output_transform: Callable[..., object] = unchanged,
        num_iter: int | None = None,
        start_lr: float | Sequence[float] | None = None,
        end_lr: float | Sequence[float] = 10.0,
        step_mode: str = "exp",
        smooth_f: float = 0.05,
        diverge_th: float = 5.0,
        *,
        keep_handlers: KeepHandlers = "auto",
        mute_handlers: Collection[Handler] = (),
        val_loss: Callable[[], object] | None = None,
        verify: bool | Literal["auto"] | Trials = False,
        schedule: Schedule = "constant",
        total_iters: int | None = None,
        snapshot: SnapshotPlace = "cpu",
        progress: bool = False,
    ) -> Iterator[Engine]:
        """Attach the range test to a trainer for the duration of a `with` block.

        The block runs the trainer once, in the usual way. A point is one optimizer step. When the
        block ends, even by an exception, the trainer, the objects in `to_save`, all random state
        and the data loader are restored, bit for bit. Some things cannot be undone, such as taking
        items from a one-shot iterator, or what a running handler does outside the process. A
        warning names the objects that may have changed.

        Args:
            trainer: the engine that trains.
            to_save: the objects that training changes, by name, each with `state_dict` and
                `load_state_dict`; the optimizer has the name "optimizer". Or the optimizer alone.
            output_transform: a function from the trainer's output to the loss. A loss is a number,
                a tensor of one element, or a mapping with one of these under the key "loss".
            num_iter: the number of points, at least 1; default, the number of iterations of the
                run, and 100 for a run of unknown length. The loader restarts as often as needed.
            start_lr: the first learning rate, in (0, inf), or in [0, inf) for a linear sweep; one
                number, or one for each parameter group; default, the optimizer's own rate.
            end_lr: the last learning rate, in (start_lr, inf); one number, or one for each group.
                With one number the parameter groups keep the ratio of their learning rates, and the
                largest ends at `end_lr`.
            step_mode: "exp" for points evenly spaced in log learning rate, or "linear".
            smooth_f: the weight of the newest loss in the moving average that decides when to stop,
                in [0, 1); 0 turns smoothing off.
            diverge_th: stop where the smoothed loss and, with smoothing, two of the last four
                losses exceed `best + (diverge_th - 1) * max(|best|, first - best, noise)`, in
                [1, inf]; the noise is a large step between the first eleven losses.
            keep_handlers: which of the trainer's handlers run during the sweep. "auto": user
                handlers that prepare training (on STARTED, EPOCH_STARTED, GET_BATCH_*,
                ITERATION_STARTED and custom events); "all"; "none"; or a collection of handlers
                that run in addition to "auto". Handlers added inside the block run, and stay. The
                same rule holds for handlers that a handler adds during the run; they are removed.
            mute_handlers: handlers that do not run, or objects whose methods they are.
            val_loss: a function without arguments that returns the loss to record, such as a
                validation loss; called after each point, also in trials. The trainer's output then
                does not have to be a loss. Train/eval modes are restored after each call.
                Evaluators that it uses are restored, and all their handlers but metrics are muted.
            verify: whether the same run continues after the sweep with short trials at a few fixed
                learning rates, each from the start and on the same batches. "auto": long trials
                only if the curve cannot be read or batch noise hides what the short ones gained;
                True: long trials in any case; `Trials(...)` sets their budget.
            schedule: what the learning rate is for: "constant" for a constant rate, "decay" for the
                peak of a rate that ends far below it, as with a cosine, linear or one-cycle
                schedule, with or without warm-up. The result's answers are for this plan.
            total_iters: the optimizer steps of the planned training, at least 1; used only with
                `verify`; default, ten times the length of a trial.
            snapshot: where the copy of all state is held: "cpu", in host memory; "device", beside
                the original; or a directory, for state that fits in neither. The file in it has no
                name, and is gone when the block ends.
            progress: whether to show the point, its learning rate and its smoothed loss in Ignite's
                progress bar, and then the trials; on the first process only.

        Yields:
            The trainer, to be run.

        Raises:
            TypeError: for an argument of the wrong type; nothing has changed.
            ValueError: for an argument with the wrong value; nothing has changed.
            ModuleNotFoundError: for `progress` without tqdm; nothing has changed.
            LRFinderError: if a sweep is in progress, if the directory of `snapshot` is full, if the
                optimizer takes no step, or if something could not be restored.

        Inside the block `trainer.run` raises TypeError or ValueError for an output without a loss.
        """
        arguments = Arguments(
            trainer=trainer,
            to_save=to_save,
            output_transform=output_transform,
            num_iter=num_iter,
            start_lr=start_lr,
            end_lr=end_lr,
            step_mode=step_mode,
            smooth_f=smooth_f,
            diverge_th=diverge_th,
            val_loss=val_loss,
            verify=verify,
            plan=Plan(schedule, total_iters),
            keep_handlers=keep_handlers,
            mute_handlers=mute_handlers,
            snapshot=snapshot,
            progress=progress,
        )
        self._refuse_second_attach(trainer)
        # All is undone in reverse order; a failure does not prevent the rest.
        with Interrupts() as interrupts, contextlib.ExitStack() as undo:
            undo.callback(adopt(train_step_of(trainer)))
            choices = arguments.handler_choices()
            running = [handler for engine, c in choices.items() for handler in c.running(engine)]
            before = Snapshot(
                trainer,
                arguments.saved,
                snapshot,
                evaluators=[engine for engine in choices if engine is not trainer],
                handlers=(*running, arguments.val_loss),
                others=tuple(library_objects(running)),
                opaque=(*map(handler_table, choices), *map(event_list, choices)),
            )
            undo.callback(self._report_not_restored, before)
            undo.callback(before.restore)
            scalers, graphs = before.objects_of(is_scaler), before.objects_of(is_graph)
            schedulers = before.objects_of(is_scheduler)
            modules = before.objects_of(lambda cls: issubclass(cls, nn.Module))
            undo.callback(self._end_block)
            self._begin_block()
            begin_block(trainer, arguments.optimizer, undo)
            steps = StepWatch(arguments.optimizer, scalers, graphs, schedulers)
            undo.callback(steps.remove)
            in_run = functools.partial(is_running, trainer)
            mutings = [Muting(e, c, steps.hold_lr, in_run) for e, c in choices.items()]
            for muting in mutings:
                undo.callback(muting.undo)
                muting.mute()
            hooks = SweepHooks(
                arguments,
                steps,
                muting=mutings[0],
                validate=Validation(arguments.val_loss, modules) if arguments.val_loss else None,
                snapshot=before,
                progress=Progress() if arguments.is_showing else None,
                on_result=self._store_result,
            )
            undo.callback(hooks.remove)
            hooks.add()
            undo.callback(end_run, trainer, pending_run(trainer))
            # Signals whose handlers were set inside the block are deferred, too.
            undo.callback(interrupts.replace_handlers)
            start_afresh(trainer)
            self.logger.info("LR range test: begins with the next run of the trainer")
            try:
                interrupts.allow()
                yield trainer
                hooks.check_run()
            finally:
                # An interrupt may arrive before this line, but not between it and the undoing.
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
            A dict with the lists "lr" and "loss", a float for each point; with several parameter
            groups, "lr" has a list of floats for each point. Empty before the first sweep.
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
    apply_suggested_lr = _of_result(LRFinderResult.apply_suggested_lr)

    def _store_result(self, record: Record) -> None:
        """Store the record of a sweep as the result."""
        self._result = LRFinderResult.of(record)
        self.logger.info(
            "LR range test: %d points, ended because %s", len(record), record.stop_reason.message
        )

    def _report_not_restored(self, snapshot: Snapshot) -> None:
        """Warn of the objects that could not be restored, and store their paths in the result."""
        if not (paths := snapshot.not_restored):
            return
        if self._result is not None:
            self._result = dataclasses.replace(self._result, not_restored=paths)
            # The stop reason already says that the data is used up.
            if self._result.stop_reason is StopReason.OUT_OF_DATA and paths == ("data",):
                return
        shown = ", ".join(paths[:_MAX_PATHS]) + (", ..." if len(paths) > _MAX_PATHS else "")
        warn(
            f"The finder could not restore these objects: {shown}. They, and the objects that they "
            "use, stay as the sweep left them. Create them again before training; "
            "lr_finder.result.not_restored lists all of them."
        )

    def _refuse_second_attach(self, trainer: Engine) -> None:
        """Refuse to attach during a sweep."""
        if self._is_attached or is_swept(trainer):
            owner = "lr_finder" if self._is_attached else "trainer"
            raise LRFinderError(
                f"{owner} must not be in a sweep already, got a second attach. Leave the first "
                "block before attaching again; if a handler attaches, name it in mute_handlers."
            )

    def _begin_block(self) -> None:
        """Forget the last result, and refuse another block inside this one."""
        self._result = None
        self._is_attached = True

    def _end_block(self) -> None:
        """Allow another block."""
        self._is_attached = False
