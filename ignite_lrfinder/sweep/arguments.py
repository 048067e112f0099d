"""What `attach` was given, checked before anything is touched.

Each message says "NAME must be REQUIREMENT, got VALUE. REMEDY"; where Ignite has words of its own
for the same mistake they stand in the remedy, for code that looks for them.
"""

import dataclasses
import numbers
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import ignite.distributed as idist
from ignite.engine import Engine

from ignite_lrfinder.errors import wrong_type, wrong_value
from ignite_lrfinder.protocols import OptimizerLike
from ignite_lrfinder.suggest import Trials
from ignite_lrfinder.sweep.muting import handlers_of, is_named
from ignite_lrfinder.sweep.rates import group_lrs, number
from ignite_lrfinder.sweep.validation import evaluators_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The checked arguments of `attach`, with one learning rate for each parameter group."""

    optimizer: OptimizerLike
    output_transform: Callable[..., object]
    num_iter: int | None
    start_lr: tuple[float, ...]
    end_lr: tuple[float, ...]
    step_mode: str
    smooth_f: float
    diverge_th: float
    val_loss: Callable[[], object] | None
    trials: Trials | None
    is_showing: bool


def check_attach(
    trainer: object,
    to_save: object,
    *,
    output_transform: object,
    num_iter: object,
    start_lr: object,
    end_lr: object,
    step_mode: object,
    smooth_f: object,
    diverge_th: object,
    val_loss: object,
    verify: object,
    keep_handlers: object,
    snapshot: object,
    progress: object,
) -> Arguments:
    """Check all arguments of `attach`.

    Raises:
        TypeError: for an argument of the wrong kind.
        ValueError: for one of the wrong value.
    """
    if not isinstance(trainer, Engine):
        raise wrong_type("trainer", "an ignite Engine", trainer, "Pass the trainer itself.")
    optimizer = _check_to_save(to_save)
    if not callable(output_transform):
        raise wrong_type(
            "output_transform",
            "callable",
            output_transform,
            "Pass a function from the trainer's output to the loss.",
        )
    if val_loss is not None and not callable(val_loss):
        remedy = "Pass a function, as in lambda: evaluator.run(val_loader).metrics['loss']."
        raise wrong_type("val_loss", "callable or None", val_loss, remedy)
    _check_choice("step_mode", step_mode, "exp", "linear")
    _check_snapshot(snapshot)
    _check_keep_handlers([trainer, *evaluators_of(val_loss, trainer)], keep_handlers)
    starts, ends = group_lrs(optimizer, start_lr, end_lr, is_exp=step_mode == "exp")
    return Arguments(
        optimizer=optimizer,
        output_transform=output_transform,
        num_iter=_check_num_iter(num_iter),
        start_lr=starts,
        end_lr=ends,
        step_mode=str(step_mode),
        smooth_f=_check_smooth_f(smooth_f),
        diverge_th=_check_diverge_th(diverge_th),
        val_loss=val_loss,
        trials=_check_verify(verify),
        is_showing=_check_progress(progress) and idist.get_rank() == 0,
    )


def _check_to_save(to_save: object) -> OptimizerLike:
    """Check `to_save` and return its optimizer."""
    example = '{"model": model, "optimizer": optimizer}'
    if not isinstance(to_save, Mapping):
        remedy = f"Argument to_save should be a mapping such as {example}."
        raise wrong_type("to_save", "a mapping from names to objects", to_save, remedy)
    for name, obj in to_save.items():
        for method in ("state_dict", "load_state_dict"):
            if not callable(getattr(obj, method, None)) and not is_generator(type(obj)):
                raise wrong_type(
                    f"to_save[{name!r}]",
                    "an object with state_dict and load_state_dict, or a random generator",
                    obj,
                    f"Object {type(obj)} should have `{method}` method.",
                )
    if "optimizer" not in to_save:
        remedy = f"Mapping to_save should contain 'optimizer' key, as in {example}."
        raise wrong_value("to_save", "a mapping with the key 'optimizer'", list(to_save), remedy)
    optimizer = to_save["optimizer"]
    groups = getattr(optimizer, "param_groups", None)
    is_optimizer = callable(getattr(optimizer, "step", None)) and isinstance(groups, Sequence)
    if not is_optimizer or not all(isinstance(g, dict) and "lr" in g for g in groups or ()):
        raise wrong_type(
            "to_save['optimizer']",
            "an optimizer: an object with step, and param_groups that have the key 'lr'",
            optimizer,
            f"Object to_save['optimizer'] should be torch optimizer, but given {type(optimizer)}.",
        )
    if not groups:
        raise wrong_value(
            "to_save['optimizer']",
            "an optimizer with at least one parameter group",
            groups,
            "Give it the parameters of the model.",
        )
    return optimizer


def _check_num_iter(num_iter: object) -> int | None:
    """Check the number of points."""
    if num_iter is None:
        return None
    if not isinstance(num_iter, numbers.Integral) or isinstance(num_iter, bool):
        remedy = f"if provided, num_iter should be an integer, but give {num_iter}."
        raise wrong_type("num_iter", "an integer or None", num_iter, remedy)
    if num_iter < 1:
        remedy = f"if provided, num_iter should be positive, but give {num_iter}."
        raise wrong_value("num_iter", "at least 1", num_iter, remedy)
    return int(num_iter)


def _check_smooth_f(smooth_f: object) -> float:
    """Check the smoothing factor."""
    value = number("smooth_f", smooth_f)
    if not 0 <= value < 1:
        remedy = "smooth_f is outside the range [0, 1]; 0 turns smoothing off."
        raise wrong_value("smooth_f", "in [0, 1)", smooth_f, remedy)
    return value


def _check_diverge_th(diverge_th: object) -> float:
    """Check the divergence threshold."""
    value = number("diverge_th", diverge_th)
    if not value >= 1:
        remedy = "diverge_th should be larger than 1; infinity never stops the sweep."
        raise wrong_value("diverge_th", "at least 1", diverge_th, remedy)
    return value


def _check_verify(verify: object) -> Trials | None:
    """Check the settings of the trials."""
    if isinstance(verify, Trials):
        return verify
    if not isinstance(verify, bool):
        remedy = "Pass verify=True for the usual trials."
        raise wrong_type("verify", "True, False or Trials(...)", verify, remedy)
    return Trials() if verify else None


def _check_progress(progress: object) -> bool:
    """Check whether to show progress."""
    if not isinstance(progress, bool):
        raise wrong_type("progress", "True or False", progress, "Leave it out for a quiet sweep.")
    return progress


def _check_snapshot(snapshot: object) -> None:
    """Check where the snapshot is to be held."""
    places = "'cpu', 'device' or a directory that can be written to"
    if not isinstance(snapshot, (str, os.PathLike)):
        raise wrong_type("snapshot", places, snapshot, "snapshot should be 'cpu' or 'device'.")
    if snapshot in ("cpu", "device"):
        return
    if not os.path.isdir(snapshot) or not os.access(snapshot, os.W_OK | os.X_OK):
        raise wrong_value("snapshot", places, snapshot, "Make the directory first.")


def _check_choice(name: str, value: object, *choices: str) -> None:
    """Check an argument that is one of a few words."""
    words = " or ".join(repr(choice) for choice in choices)
    if not isinstance(value, str):
        raise wrong_type(name, words, value, f"{name} should be {words}.")
    if value not in choices:
        raise wrong_value(name, words, value, f"{name} should be {words}.")


def _check_keep_handlers(engines: Iterable[Engine], keep: object) -> None:
    """Check that every handler that is named is a handler of the trainer or of an evaluator."""
    if isinstance(keep, str):
        _check_choice("keep_handlers", keep, "auto", "all", "none")
        return
    if not isinstance(keep, Collection):
        remedy = "Name handlers as in keep_handlers=[handler]."
        kinds = "'auto', 'all', 'none' or a collection of handlers"
        raise wrong_type("keep_handlers", kinds, keep, remedy)
    attached = [handler for engine in engines for handler in handlers_of(engine)]
    for name in keep:
        if not any(is_named(handler, [name]) for handler in attached):
            raise wrong_value(
                "keep_handlers",
                "a collection of handlers of the trainer",
                name,
                "Attach it to the trainer before the finder, or leave it out.",
            )
