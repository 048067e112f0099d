"""Which trainers and optimizers are inside the block of a finder."""

import contextlib
from collections.abc import Sequence

from ignite.engine import Engine

from ignite_lrfinder.protocols import OptimizerLike

# By the ids of the pairs: the blocks of two trainers may share an optimizer.
_swept: dict[int, tuple[Engine, OptimizerLike]] = {}


def begin_block(trainer: Engine, optimizer: OptimizerLike, undo: contextlib.ExitStack) -> None:
    """Count a trainer and its optimizer as swept, until a stack is unwound."""
    pair = (trainer, optimizer)
    undo.callback(_swept.pop, id(pair), None)
    _swept[id(pair)] = pair


def is_swept(trainer: Engine) -> bool:
    """Return whether a trainer is inside the block of a finder."""
    return any(each is trainer for each, _ in _swept.values())


def are_swept(groups: Sequence[object]) -> bool:
    """Return whether parameter groups belong to an optimizer in a block, or to its wrapper."""
    known = {id(group) for _, optimizer in _swept.values() for group in optimizer.param_groups}
    return any(id(group) in known for group in groups)
