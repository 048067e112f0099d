"""Which trainers and optimizers are inside the block of a finder."""

import contextlib
from collections.abc import Iterator, Sequence

from ignite.engine import Engine

from ignite_lrfinder.protocols import OptimizerLike

_swept: list[tuple[Engine, OptimizerLike]] = []


@contextlib.contextmanager
def sweeping(trainer: Engine, optimizer: OptimizerLike) -> Iterator[None]:
    """Count a trainer and its optimizer as swept for the duration of a `with` block."""
    pair = (trainer, optimizer)
    _swept.append(pair)
    try:
        yield
    finally:
        # By identity, and one only: the blocks of two trainers may share an optimizer.
        del _swept[next(i for i, each in enumerate(_swept) if each is pair)]


def is_swept(trainer: Engine) -> bool:
    """Return whether a trainer is inside the block of a finder."""
    return any(each is trainer for each, _ in _swept)


def are_swept(groups: Sequence[object]) -> bool:
    """Return whether parameter groups belong to an optimizer in a block, or to its wrapper."""
    known = {id(group) for _, optimizer in _swept for group in optimizer.param_groups}
    return any(id(group) in known for group in groups)
