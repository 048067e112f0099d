"""From `start_lr` and `end_lr` to a range for each parameter group."""

import numpy as np
import pytest
import torch
from conftest import make_optimizer

from ignite_lrfinder.sweep.rates import group_lrs


@pytest.mark.parametrize(
    ("own", "start_lr", "end_lr", "expected"),
    [
        ([0.5], None, 2, ([0.5], [2.0])),
        ([0.25, 0.5], None, 2.0, ([0.25, 0.5], [1.0, 2.0])),
        ([0.25, 0.5], 1.0, 2.0, ([0.5, 1.0], [1.0, 2.0])),
        ([0.25, 0.5], [0.5, 0.125], 2.0, ([0.5, 0.125], [2.0, 0.5])),
        ([0.25, 0.5], 0.125, [1.0, 2.0], ([0.125, 0.125], [1.0, 2.0])),
        ([0.25, 0.5], None, [1.0, 2.0], ([0.25, 0.5], [1.0, 2.0])),
        ([0.0, 0.5], None, 2.0, ([0.0, 0.5], [0.0, 2.0])),
        ([0.0, 0.0], 0.5, 2.0, ([0.5, 0.5], [2.0, 2.0])),
        ([0.1, 0.3], None, 0.7, ([0.1, 0.3], [0.7 / 3, 0.7])),
    ],
    ids=["one", "own", "start", "starts", "ends", "own-ends", "frozen", "all-zero", "thirds"],
)
def test_groups_keep_their_ratio_unless_a_list_is_given(
    own: list[float], start_lr: object, end_lr: object, expected: tuple[list, list]
) -> None:
    """One number is for the largest group; the others keep their ratio to it."""
    starts, ends = group_lrs(make_optimizer(*own), start_lr, end_lr, is_exp=True)
    assert starts == tuple(expected[0])
    assert ends == pytest.approx(expected[1], rel=1e-15)
    assert max(ends) == max(expected[1])


@pytest.mark.parametrize(
    ("own", "start_lr", "end_lr", "is_exp", "error", "message"),
    [
        ([0.1], 1.0, 0.5, True, ValueError, r"end_lr must be greater than start_lr=1\.0, got 0\.5"),
        ([0.1], 1.0, 1.0, True, ValueError, r"end_lr must be greater than start_lr=1\.0, got 1\.0"),
        ([0.1], 0, 1.0, True, ValueError, r"start_lr must be positive and finite, got 0"),
        ([0.1], -1, 1.0, False, ValueError, r"start_lr must be finite and not negative, got -1"),
        ([0.1], None, float("inf"), True, ValueError, r"end_lr must be finite and not .* got inf"),
        ([0.1], None, float("nan"), True, ValueError, r"end_lr must be finite and not .* got nan"),
        ([0.1], [0.1, 0.2], 1.0, True, ValueError, r"start_lr must be one number for each of the"),
        ([0.1, 0.2], None, [1.0], True, ValueError, r"end_lr must be one number for each of the"),
        ([0.1, 0.2], None, [0.15, 1.0], False, None, None),
        ([0.1, 0.2], None, [1.0, 0.15], False, ValueError, r"end_lr must be greater than start_lr"),
        ([0.0], None, 0, True, ValueError, r"end_lr must be greater than 0 in some"),
        ([0.1], "a", 1.0, True, TypeError, r"start_lr must be a number or one .* got 'a'"),
        ([0.1], None, None, True, TypeError, r"end_lr must be a number or one .* got None"),
        ([0.1], True, 1.0, True, TypeError, r"start_lr must be a number or one .* got True"),
        ([0.1], [None], 1.0, True, TypeError, r"start_lr must be a number, got None"),
        ([0.1], 1j, 1.0, True, TypeError, r"start_lr must be a number or one .* got 1j"),
        ([0.1], float("nan"), 1.0, True, ValueError, r"start_lr must be finite and not .* got nan"),
        ([0.1], float("inf"), 1.0, True, ValueError, r"start_lr must be finite and not .* got inf"),
        ([0.1], 10**400, 1.0, True, ValueError, r"start_lr must be finite, got 1000"),
        ([0.1], None, 10**400, True, ValueError, r"end_lr must be finite, got 1000"),
        ([0.1], torch.tensor(1j), 1.0, True, TypeError, r"start_lr must be a number or one"),
        ([0.1], torch.tensor(True), 1.0, True, TypeError, r"start_lr must be a number or one"),
        ([0.1], np.array("a"), 1.0, True, TypeError, r"start_lr must be a number or one"),
        ([0.1], b"ab", 1.0, True, TypeError, r"start_lr must be a number or one .* got b'ab'"),
        ([0.1, 0.2], [0.1, 20.0], 10.0, True, ValueError, r"than start_lr=20\.0, got 10\.0"),
    ],
)  # fmt: skip
def test_an_invalid_range_is_refused(
    own: list[float],
    start_lr: object,
    end_lr: object,
    is_exp: bool,
    error: type[Exception] | None,
    message: str | None,
) -> None:
    """The error names the argument, the requirement and the value."""
    optimizer = make_optimizer(*own)
    if error is None:
        group_lrs(optimizer, start_lr, end_lr, is_exp=is_exp)
        return
    with pytest.raises(error, match=message):
        group_lrs(optimizer, start_lr, end_lr, is_exp=is_exp)


def test_groups_that_share_a_tensor_need_one_range() -> None:
    """Groups that share one tensor as their learning rate cannot have different ranges."""
    optimizer = make_optimizer(0.1, 0.1)
    shared = torch.tensor(0.1)
    for group in optimizer.param_groups:
        group["lr"] = shared
    starts, ends = group_lrs(optimizer, None, 1.0, is_exp=True)
    assert (starts[0], ends) == (starts[1], (1.0, 1.0))
    with pytest.raises(ValueError, match="separate learning-rate tensor"):
        group_lrs(optimizer, [0.1, 0.01], 1.0, is_exp=True)
