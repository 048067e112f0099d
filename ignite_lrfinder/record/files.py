"""Records on disk: strict JSON, in which NaN and infinity are strings."""

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ignite_lrfinder.errors import wrong_value
from ignite_lrfinder.protocols import Array
from ignite_lrfinder.record.plan import Plan
from ignite_lrfinder.record.record import Record, SweepSettings
from ignite_lrfinder.record.stop_reason import StopReason
from ignite_lrfinder.record.trial import Trial

# A hundred thousand points of a hundred groups take a fifth of it.
_MAX_BYTES = 2**30

_FORMAT = "ignite-lrfinder-result"
_VERSION = 1


def plain_data(record: Record) -> dict[str, Any]:
    """Return a record as dicts, lists, numbers and strings.

    Returns:
        A dict with the keys "format", "version", "stop_reason", "settings", "lr", "losses",
        "smoothed_losses", "trials", "non_finite_batch", "not_restored" and "num_batches".
    """
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "stop_reason": record.stop_reason.value,
        "settings": dataclasses.asdict(record.settings),
        "lr": record.lr.tolist(),
        "losses": record.losses.tolist(),
        "smoothed_losses": record.smoothed_losses.tolist(),
        "trials": [_plain_trial(trial) for trial in record.trials],
        "non_finite_batch": record.non_finite_batch,
        "not_restored": list(record.not_restored),
        "num_batches": record.num_batches,
    }


def save_record(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a record to a file that only its owner can read, all of it or nothing.

    Raises:
        OSError: if the file cannot be written; an existing file is then unchanged.
    """
    path = Path(path)
    text = json.dumps(_encode(plain_data(record)), allow_nan=False)
    # A temporary file is private, and replaces an existing one in one step.
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def load_record(path: str | os.PathLike[str]) -> Record:
    """Read a record that `save_record` wrote; every number comes back bit for bit.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it holds something other than a record, or one of another version.
    """
    content = _read(path)
    try:
        return Record(
            lr=_decode(content["lr"]),
            losses=_decode(content["losses"]),
            smoothed_losses=_decode(content["smoothed_losses"]),
            stop_reason=StopReason(content["stop_reason"]),
            settings=_decode_settings(content["settings"]),
            trials=tuple(_decode_trial(trial) for trial in content["trials"]),
            non_finite_batch=_int_or_none(content.get("non_finite_batch")),
            not_restored=tuple(map(str, content.get("not_restored", ()))),
            num_batches=_int_or_none(content.get("num_batches")),
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _not_a_record(path, f"a damaged result ({error!r:.200})") from error


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read the plain data of a record; its numbers may be strings."""
    if (size := os.stat(path).st_size) > _MAX_BYTES:
        raise _not_a_record(path, f"{size} bytes, more than {_MAX_BYTES}")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _not_a_record(path, f"no readable JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _not_a_record(path, "another kind of file")
    if content.get("version") != _VERSION:
        raise _not_a_record(path, f"version {content.get('version')!r:.50} of the format")
    return content


def _not_a_record(path: str | os.PathLike[str], found: str) -> ValueError:
    """Return the error for a file that `load_record` cannot read."""
    return wrong_value(
        "path",
        "a file that LRFinderResult.save wrote",
        os.fspath(path),
        f"It holds {found}. Save the result again with this version of ignite-lrfinder.",
    )


def _encode(value: object) -> object:
    """Replace the floats that strict JSON cannot hold by "nan", "inf" and "-inf"."""
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _decode(numbers: ArrayLike) -> Array:
    """Return nested lists of numbers, "nan" and "inf" among them, as an array."""
    return np.array(numbers, dtype=np.float64)


def _int_or_none(value: Any) -> int | None:
    """Return a number as an integer, and None as it is."""
    return None if value is None else int(value)


def _decode_settings(content: Mapping[str, Any]) -> SweepSettings:
    """Return the settings from their plain data."""
    return SweepSettings(
        start_lr=tuple(float(lr) for lr in content["start_lr"]),
        end_lr=tuple(float(lr) for lr in content["end_lr"]),
        num_iter=int(content["num_iter"]),
        step_mode=str(content["step_mode"]),
        smooth_f=float(content["smooth_f"]),
        diverge_th=float(content["diverge_th"]),
        # Files of version 1 that were written before there was a plan have none.
        plan=Plan(**content.get("plan", {})),
    )


def _plain_trial(trial: Trial) -> dict[str, object]:
    """Return the plain data of a trial."""
    return {
        "lr": trial.lr,
        "num_iter": trial.num_iter,
        "losses": trial.losses.tolist(),
        "is_diverged": trial.is_diverged,
        "is_validation": trial.is_validation,
    }


def _decode_trial(content: Mapping[str, Any]) -> Trial:
    """Return a trial from its plain data."""
    return Trial(
        lr=float(content["lr"]),
        num_iter=int(content["num_iter"]),
        losses=_decode(content["losses"]),
        is_diverged=bool(content["is_diverged"]),
        is_validation=bool(content["is_validation"]),
    )
