"""The frozen result of a sweep; save, load."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from ignite_lrfinder.record import (
    FORMAT,
    VERSION,
    Record,
    StopReason,
    decode,
    decode_settings,
    decode_trial,
    not_a_result,
    plain_trial,
    read,
    write,
)

if TYPE_CHECKING:
    import pandas  # as below


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LRFinderResult(Record):
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
        >>> from ignite_lrfinder import StopReason, SweepSettings
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

    @classmethod
    def of(cls, record: Record) -> "LRFinderResult":
        """Return the result that answers for a record."""
        return cls(
            **{field.name: getattr(record, field.name) for field in dataclasses.fields(Record)}
        )

    def __repr__(self) -> str:
        """Say in a few lines what was tested and what is suggested, see `report.summary`."""
        from ignite_lrfinder.report import summary

        return summary(self)

    def _repr_html_(self) -> str:
        """Show in a notebook what `__repr__` says, with a small picture, see `report.html`."""
        from ignite_lrfinder.report import html

        return html(self)

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
            "trials": [plain_trial(trial) for trial in self.trials],
        }

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
                lr=decode(content["lr"]),
                losses=decode(content["losses"]),
                smoothed_losses=decode(content["smoothed_losses"]),
                stop_reason=StopReason(content["stop_reason"]),
                settings=decode_settings(content["settings"]),
                trials=tuple(decode_trial(trial) for trial in content["trials"]),
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise not_a_result(path, f"a damaged result ({error!r:.200})") from error
