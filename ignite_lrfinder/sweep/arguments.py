"""The arguments of `attach`, checked before anything is touched."""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, cast

import ignite.distributed as idist
from ignite.engine import Engine

from ignite_lrfinder.errors import integer, wrong_type, wrong_value
from ignite_lrfinder.protocols import (
    Array,
    Handler,
    KeepHandlers,
    OptimizerLike,
    Saveable,
    SnapshotPlace,
)
from ignite_lrfinder.record import Plan, SweepSettings
from ignite_lrfinder.snapshot import is_generator
from ignite_lrfinder.suggest import Trials
from ignite_lrfinder.sweep.engine import training_of
from ignite_lrfinder.sweep.handlers import HandlerChoice, handlers_of, is_named
from ignite_lrfinder.sweep.rates import group_lrs, lr_table, number
from ignite_lrfinder.sweep.validation import evaluators_of

_EXAMPLE = '{"model": model, "optimizer": optimizer}'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of `attach`, checked and converted to plain numbers when they are stored.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for an argument with the wrong value.
    """

    trainer: Engine
    to_save: Mapping[str, Saveable] | OptimizerLike
    output_transform: Callable[..., object]
    num_iter: int | None
    start_lr: float | Sequence[float] | None
    end_lr: float | Sequence[float]
    step_mode: str
    smooth_f: float
    diverge_th: float
    keep_handlers: KeepHandlers
    mute_handlers: Collection[Handler]
    val_loss: Callable[[], object] | None
    verify: bool | Literal["auto"] | Trials
    plan: Plan
    snapshot: SnapshotPlace
    progress: bool
    _group_lrs: tuple[tuple[float, ...], tuple[float, ...]] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Check each argument."""
        if not isinstance(self.trainer, Engine):
            remedy = (
                "Pass the trainer; for a function that trains on a batch, call find_lr instead."
            )
            raise wrong_type("trainer", "an ignite Engine", self.trainer, remedy)
        if not isinstance(self.to_save, Mapping) and hasattr(self.to_save, "param_groups"):
            object.__setattr__(self, "to_save", {"optimizer": self.to_save})
        _check_to_save(self.to_save)
        _check_functions(self.output_transform, self.val_loss)
        _check_choice("step_mode", self.step_mode, "exp", "linear")
        _check_snapshot(self.snapshot)
        self._check_handlers()
        is_exp = self.step_mode == "exp"
        lrs = group_lrs(self.optimizer, self.start_lr, self.end_lr, is_exp=is_exp)
        object.__setattr__(self, "_group_lrs", lrs)
        object.__setattr__(self, "num_iter", _checked_num_iter(self.num_iter))
        object.__setattr__(self, "smooth_f", _checked_smooth_f(self.smooth_f))
        object.__setattr__(self, "diverge_th", _checked_diverge_th(self.diverge_th))
        _check_verify(self.verify)
        if not isinstance(self.progress, bool):
            remedy = "Pass progress=True, or leave it out."
            raise wrong_type("progress", "True or False", self.progress, remedy)

    def _check_handlers(self) -> None:
        """Check that each named handler is a handler of the trainer or of an engine it runs."""
        attached = handlers_of(self.trainer)
        used = (*training_of(self.trainer), self.val_loss, *attached)
        for engine in evaluators_of(self.trainer, *used):
            attached += handlers_of(engine)
        _check_names("mute_handlers", self.mute_handlers, attached, "a collection of handlers")
        if isinstance(self.keep_handlers, str):
            _check_choice("keep_handlers", self.keep_handlers, "auto", "all", "none")
        else:
            kinds = "'auto', 'all', 'none' or a collection of handlers"
            _check_names("keep_handlers", self.keep_handlers, attached, kinds)

    def handler_choices(self) -> dict[Engine, HandlerChoice]:
        """Return which handlers run: of the trainer, then of each evaluator that the run uses."""
        choice = HandlerChoice(self.keep_handlers, self.mute_handlers)
        used = (*training_of(self.trainer), self.val_loss, *choice.running(self.trainer))
        evaluators = evaluators_of(self.trainer, *used)
        return {self.trainer: choice, **dict.fromkeys(evaluators, choice.for_evaluator())}

    @property
    def optimizer(self) -> OptimizerLike:
        """The optimizer that is swept."""
        return cast(OptimizerLike, self.saved["optimizer"])

    @property
    def saved(self) -> Mapping[str, Saveable]:
        """The objects to restore, by name."""
        return cast(Mapping[str, Saveable], self.to_save)

    @property
    def trials(self) -> Trials | None:
        """The settings of the trials; None for no trials."""
        if isinstance(self.verify, Trials):
            return self.verify
        return Trials(early_stopping=self.verify == "auto") if self.verify else None

    @property
    def is_showing(self) -> bool:
        """Whether this process shows a progress bar."""
        return self.progress and idist.get_rank() == 0

    def lr_table(self, num_iter: int) -> Array:
        """Return the learning rates of `num_iter` points; shape (T, G)."""
        return lr_table(*self._group_lrs, num_iter, self.step_mode)

    def settings(self, table: Array) -> SweepSettings:
        """Return the settings of a sweep over a table of learning rates."""
        return SweepSettings(
            start_lr=tuple(table[0].tolist()),
            end_lr=tuple(table[-1].tolist()),
            num_iter=len(table),
            step_mode=self.step_mode,
            smooth_f=self.smooth_f,
            diverge_th=self.diverge_th,
            plan=self.plan,
        )


def _check_to_save(to_save: object) -> None:
    """Check the objects to restore, and the optimizer among them."""
    if not isinstance(to_save, Mapping):
        requirement = "a mapping from names to objects"
        raise wrong_type("to_save", requirement, to_save, f"Pass {_EXAMPLE}.")
    for name, obj in to_save.items():
        methods = ("state_dict", "load_state_dict")
        has_methods = all(callable(getattr(obj, method, None)) for method in methods)
        if not has_methods and not is_generator(type(obj)):
            requirement = (
                "an object with the methods state_dict and load_state_dict, or a random generator"
            )
            raise wrong_type(f"to_save[{name!r}]", requirement, obj, "Leave it out, or add them.")
    if "optimizer" not in to_save:
        requirement = "a mapping with the key 'optimizer'"
        raise wrong_value("to_save", requirement, list(to_save), f"Pass {_EXAMPLE}.")
    _check_optimizer(to_save["optimizer"])


def _check_optimizer(optimizer: object) -> None:
    """Check that an object is an optimizer with parameter groups."""
    groups = getattr(optimizer, "param_groups", None)
    is_optimizer = callable(getattr(optimizer, "step", None)) and isinstance(groups, Sequence)
    if not is_optimizer or not all(isinstance(g, dict) and "lr" in g for g in groups or ()):
        raise wrong_type(
            "to_save['optimizer']",
            "an optimizer: an object with step, and param_groups that have the key 'lr'",
            optimizer,
            f"Pass {_EXAMPLE}.",
        )
    if not groups:
        requirement = "an optimizer with at least one parameter group"
        remedy = "Give it the parameters of the model."
        raise wrong_value("to_save['optimizer']", requirement, groups, remedy)


def _checked_num_iter(num_iter: object) -> int | None:
    """Return the number of points as an int."""
    if num_iter is None:
        return None
    remedy = "Pass how many learning rates to test, such as num_iter=100."
    return integer("num_iter", num_iter, least=1, remedy=remedy)


def _checked_smooth_f(smooth_f: object) -> float:
    """Return the smoothing factor as a float."""
    value = number("smooth_f", smooth_f)
    if not 0 <= value < 1:
        raise wrong_value("smooth_f", "in [0, 1)", smooth_f, "Pass 0 to turn smoothing off.")
    return value


def _checked_diverge_th(diverge_th: object) -> float:
    """Return the divergence threshold as a float."""
    value = number("diverge_th", diverge_th)
    if not value >= 1:
        remedy = 'Pass float("inf") for a sweep that never stops early.'
        raise wrong_value("diverge_th", "at least 1", diverge_th, remedy)
    return value


def _check_functions(output_transform: object, val_loss: object) -> None:
    """Check that the functions that return a loss are functions."""
    if not callable(output_transform):
        remedy = "Pass a function, such as lambda output: output['loss']."
        raise wrong_type("output_transform", "callable", output_transform, remedy)
    if val_loss is not None and not callable(val_loss):
        remedy = "Pass a function, such as lambda: evaluator.run(val_loader).metrics['loss']."
        raise wrong_type("val_loss", "callable or None", val_loss, remedy)


def _check_verify(verify: object) -> None:
    """Check that `verify` is True, False, "auto" or the settings of the trials."""
    requirement, remedy = "True, False, 'auto' or Trials(...)", "Leave it out for the sweep alone."
    if not isinstance(verify, (bool, str, Trials)):
        raise wrong_type("verify", requirement, verify, remedy)
    if isinstance(verify, str) and verify != "auto":
        raise wrong_value("verify", requirement, verify, remedy)


def _check_choice(name: str, value: object, *choices: str) -> None:
    """Check that an argument is one of the given words."""
    words = " or ".join(repr(choice) for choice in choices)
    remedy = f"The default is {choices[0]!r}."
    if not isinstance(value, str):
        raise wrong_type(name, words, value, remedy)
    if value not in choices:
        raise wrong_value(name, words, value, remedy)


def _check_snapshot(snapshot: object) -> None:
    """Check that the snapshot has a place."""
    places = "'cpu', 'device' or a directory that can be written to"
    if not isinstance(snapshot, (str, os.PathLike)):
        raise wrong_type("snapshot", places, snapshot, "The default is 'cpu'.")
    if snapshot in ("cpu", "device"):
        return
    if not os.path.isdir(snapshot) or not os.access(snapshot, os.W_OK | os.X_OK):
        remedy = "Pass 'device' to keep the copy on the device, or make the directory first."
        raise wrong_value("snapshot", places, snapshot, remedy)


def _check_names(name: str, handlers: object, attached: Collection[Handler], kinds: str) -> None:
    """Check that an argument is a collection of attached handlers."""
    if isinstance(handlers, str) or not isinstance(handlers, Collection):
        raise wrong_type(name, kinds, handlers, f"Name handlers as in {name}=[handler].")
    for handler in handlers:
        if not any(is_named(each, [handler]) for each in attached):
            requirement = "a collection of handlers of the trainer"
            remedy = "Attach it to the trainer before the finder, or leave it out."
            raise wrong_value(name, requirement, handler, remedy)
