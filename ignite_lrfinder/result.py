"""The frozen result of a sweep; save, load."""

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ignite_lrfinder.comparison import are_paired, interval_of
from ignite_lrfinder.divergence import StopReason
from ignite_lrfinder.errors import wrong_value
from ignite_lrfinder.files import FORMAT, VERSION, not_a_result, read, write
from ignite_lrfinder.trial import Trial

if TYPE_CHECKING:
    import pandas  # as below


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """The settings that a sweep ran with, one value for each parameter group where they may differ.

    Attributes:
        start_lr: the first learning rate of each parameter group.
        end_lr: the last learning rate of each parameter group.
        num_iter: how many points were asked for.
        step_mode: "exp" or "linear".
        smooth_f: the weight of the newest loss in the causal average, in [0, 1).
        diverge_th: the divergence threshold, in [1, inf].
    """

    start_lr: tuple[float, ...]
    end_lr: tuple[float, ...]
    num_iter: int
    step_mode: str
    smooth_f: float
    diverge_th: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LRFinderResult:
    """What a sweep found: T points over G parameter groups.

    Attributes:
        lr: the learning rate of each point and parameter group, bit for bit as the optimizer used
            it; float64, shape (T, G), read-only.
        losses: the loss of each point as the trainer gave it; float64, shape (T,), read-only.
        smoothed_losses: the causal moving average of `losses` that decided on stopping; float64,
            shape (T,), read-only. Suggestions do not use it: it lags.
        stop_reason: why the sweep ended.
        settings: what the sweep was asked to do.
        trials: the short trainings at fixed rates that followed it, in their order.

    Example:
        >>> result = LRFinderResult(
        ...     lr=[[0.1], [1.0]],
        ...     losses=[2.0, 1.0],
        ...     smoothed_losses=[2.0, 1.95],
        ...     stop_reason=StopReason.COMPLETED,
        ...     settings=SweepSettings(
        ...         start_lr=(0.1,),
        ...         end_lr=(1.0,),
        ...         num_iter=2,
        ...         step_mode="exp",
        ...         smooth_f=0.05,
        ...         diverge_th=5.0,
        ...     ),
        ... )
        >>> result.lr.shape, len(result)
        ((2, 1), 2)
    """

    lr: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed_losses: NDArray[np.float64]
    stop_reason: StopReason
    settings: SweepSettings
    trials: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        """Make the arrays read-only and refuse those whose shapes do not belong together."""
        for name in ("lr", "losses", "smoothed_losses"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        num_groups = len(self.settings.start_lr)
        num_points = len(self.lr)
        if num_points == 0:
            object.__setattr__(self, "lr", self.lr.reshape(0, num_groups))
        _check_shape("lr", self.lr, (num_points, num_groups))
        _check_shape("losses", self.losses, (num_points,))
        _check_shape("smoothed_losses", self.smoothed_losses, (num_points,))

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.losses)

    def __repr__(self) -> str:
        """Say in a few lines what was tested and what is suggested, see `report.summary`."""
        from ignite_lrfinder.report import summary  # it reads results, as all above this file do

        return summary(self)

    def _repr_html_(self) -> str:
        """Show in a notebook what `__repr__` says, with a small picture, see `report.html`."""
        from ignite_lrfinder.report import html

        return html(self)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The lowest and the highest rate whose trials cannot be told apart from the best.

        Compared over the same batches, where the trials saw the same. The rates are those of the
        first trained parameter group; None without a stable trial.
        """
        return interval_of(self.trials)

    @property
    def is_paired(self) -> bool:
        """Whether all trials were judged on the same batches, as told by their first losses."""
        return are_paired(self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data: dicts, lists, numbers and strings.

        Returns:
            What `save` writes, with the keys "format", "version", "stop_reason", "settings", "lr",
            "losses", "smoothed_losses" and "trials".
        """
        return {
            "format": FORMAT,
            "version": VERSION,
            "stop_reason": self.stop_reason.value,
            "settings": dataclasses.asdict(self.settings),
            "lr": self.lr.tolist(),
            "losses": self.losses.tolist(),
            "smoothed_losses": self.smoothed_losses.tolist(),
            "trials": [_plain_trial(trial) for trial in self.trials],
        }

    @property
    def lr_names(self) -> list[str]:
        """The names of the parameter groups' learning rates, "lr" or "lr_0", "lr_1" and so on."""
        num_groups = self.lr.shape[1]
        return ["lr"] if num_groups == 1 else [f"lr_{group}" for group in range(num_groups)]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the points as a pandas DataFrame, one row for each.

        Returns:
            The columns "loss", "smoothed_loss" and "lr"; with several parameter groups "lr_0",
            "lr_1" and so on.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        import pandas  # it is optional, and slow to import

        columns = dict(zip(self.lr_names, self.lr.T, strict=True))
        return pandas.DataFrame(
            {**columns, "loss": self.losses, "smoothed_loss": self.smoothed_losses}
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to `path` as strict JSON; NaN and infinity are kept, as strings.

        Only the owner can read the file. It is written whole or not at all.

        Args:
            path: the file to write; one that exists is replaced.

        Raises:
            OSError: if the file cannot be written.
        """
        write(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "LRFinderResult":
        """Read a result that `save` wrote; every number comes back bit for bit.

        Args:
            path: the file to read.

        Returns:
            The result.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds something else than a result, or one of another version.
        """
        content = read(path)
        try:
            return cls(
                lr=_decode(content["lr"]),
                losses=_decode(content["losses"]),
                smoothed_losses=_decode(content["smoothed_losses"]),
                stop_reason=StopReason(content["stop_reason"]),
                settings=_decode_settings(content["settings"]),
                trials=tuple(_decode_trial(trial) for trial in content["trials"]),
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise not_a_result(path, f"a damaged result ({error!r:.200})") from error


def _check_shape(name: str, array: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if array.shape != shape:
        remedy = "Give one row for each point and one column for each parameter group."
        raise wrong_value(name, f"of shape {shape}", array.shape, remedy)


def _decode(numbers: ArrayLike) -> NDArray[np.float64]:
    """Turn nested lists of numbers, "nan" and "inf" among them, into an array."""
    return np.array(numbers, dtype=np.float64)


def _decode_settings(content: Mapping[str, Any]) -> SweepSettings:
    """Rebuild the settings from what `dataclasses.asdict` made of them."""
    return SweepSettings(
        start_lr=tuple(float(lr) for lr in content["start_lr"]),
        end_lr=tuple(float(lr) for lr in content["end_lr"]),
        num_iter=int(content["num_iter"]),
        step_mode=str(content["step_mode"]),
        smooth_f=float(content["smooth_f"]),
        diverge_th=float(content["diverge_th"]),
    )


def _plain_trial(trial: Trial) -> dict[str, object]:
    """Make plain data of a trial."""
    return {
        "lr": trial.lr,
        "num_iter": trial.num_iter,
        "losses": trial.losses.tolist(),
        "is_diverged": trial.is_diverged,
        "is_validation": trial.is_validation,
    }


def _decode_trial(content: Mapping[str, Any]) -> Trial:
    """Rebuild a trial from its plain data."""
    return Trial(
        lr=float(content["lr"]),
        num_iter=int(content["num_iter"]),
        losses=_decode(content["losses"]),
        is_diverged=bool(content["is_diverged"]),
        is_validation=bool(content["is_validation"]),
    )
