"""Results on disk: strict JSON, in which NaN and infinity are strings."""

import contextlib
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
from ignite_lrfinder.record.record import SweepSettings
from ignite_lrfinder.record.trial import Trial

# A hundred thousand points of a hundred groups take a fifth of it.
_MAX_BYTES = 2**30

FORMAT = "ignite-lrfinder-result"
VERSION = 1


def write(path: str | os.PathLike[str], content: Mapping[str, object]) -> None:
    """Write plain data to a file that only its owner can read, all of it or nothing.

    Raises:
        OSError: if the file cannot be written; one that was there before is as it was.
    """
    path = Path(path)
    text = json.dumps(_encode(content), allow_nan=False)
    # Such a file is private, and takes the place of another at once.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read the plain data of a result; its numbers may be strings.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it holds something else than a result, or one of another version.
    """
    if (size := os.stat(path).st_size) > _MAX_BYTES:
        raise not_a_result(path, f"{size} bytes, more than {_MAX_BYTES}")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise not_a_result(path, f"no readable JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise not_a_result(path, "another kind of file")
    if content.get("version") != VERSION:
        raise not_a_result(path, f"version {content.get('version')!r:.50} of the format")
    return content


def not_a_result(path: str | os.PathLike[str], found: str) -> ValueError:
    """Make the error for a file that `load` cannot read."""
    return wrong_value(
        "path",
        "a file that LRFinderResult.save wrote",
        os.fspath(path),
        f"It holds {found}. Save the result again with this version of ignite-lrfinder.",
    )


def _encode(value: object) -> object:
    """Replace the floats that strict JSON has no word for by "nan", "inf" and "-inf"."""
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def decode(numbers: ArrayLike) -> Array:
    """Turn nested lists of numbers, "nan" and "inf" among them, into an array."""
    return np.array(numbers, dtype=np.float64)


def decode_settings(content: Mapping[str, Any]) -> SweepSettings:
    """Rebuild the settings from what `dataclasses.asdict` made of them."""
    return SweepSettings(
        start_lr=tuple(float(lr) for lr in content["start_lr"]),
        end_lr=tuple(float(lr) for lr in content["end_lr"]),
        num_iter=int(content["num_iter"]),
        step_mode=str(content["step_mode"]),
        smooth_f=float(content["smooth_f"]),
        diverge_th=float(content["diverge_th"]),
    )


def plain_trial(trial: Trial) -> dict[str, object]:
    """Make plain data of a trial."""
    return {
        "lr": trial.lr,
        "num_iter": trial.num_iter,
        "losses": trial.losses.tolist(),
        "is_diverged": trial.is_diverged,
        "is_validation": trial.is_validation,
    }


def decode_trial(content: Mapping[str, Any]) -> Trial:
    """Rebuild a trial from its plain data."""
    return Trial(
        lr=float(content["lr"]),
        num_iter=int(content["num_iter"]),
        losses=decode(content["losses"]),
        is_diverged=bool(content["is_diverged"]),
        is_validation=bool(content["is_validation"]),
    )
