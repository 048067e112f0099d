"""The param scheduler of the sweep: its table, and the learning rates it writes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import make_optimizer
from hypothesis import given
from hypothesis import strategies as st

from ignite_lrfinder.sweep.rates import lr_table
from ignite_lrfinder.sweep.scheduler import LRSweep

FORMULAS: dict[str, Callable[[float, float, float], float]] = {
    "exp": lambda start, end, part: start * (end / start) ** part,
    "linear": lambda start, end, part: start + (end - start) * part,
}
rates = st.floats(1e-9, 1e3)


@pytest.mark.parametrize("step_mode", FORMULAS)
@given(start=st.lists(rates, min_size=1, max_size=3), factor=st.floats(1.01, 1e9),
       num_iter=st.integers(2, 50))  # fmt: skip
def test_a_table_follows_its_formula(
    step_mode: str, start: list[float], factor: float, num_iter: int
) -> None:
    """Point k of T follows the formula, exactly at both ends, and the table rises."""
    end = [lr * factor for lr in start]
    table = lr_table(start, end, num_iter, step_mode)
    assert table.shape == (num_iter, len(start))
    assert table[0].tolist() == start
    assert table[-1].tolist() == end
    for k in range(num_iter):
        expected = [
            FORMULAS[step_mode](lr, last, k / (num_iter - 1))
            for lr, last in zip(start, end, strict=True)
        ]
        np.testing.assert_allclose(table[k], expected, rtol=1e-9)
    assert (np.diff(table, axis=0) > 0).all()


@pytest.mark.parametrize("step_mode", FORMULAS)
def test_a_single_point_is_at_start_lr(step_mode: str) -> None:
    """A sweep of one point tests `start_lr`."""
    assert lr_table([0.1, 0.2], [1.0, 2.0], 1, step_mode).tolist() == [[0.1, 0.2]]


@pytest.mark.parametrize("step_mode", FORMULAS)
def test_a_group_at_zero_stays_at_zero(step_mode: str) -> None:
    """A group from 0 to 0 is 0 throughout, and the others are unaffected."""
    table = lr_table([0.0, 0.1], [0.0, 1.0], 5, step_mode)
    assert table[:, 0].tolist() == [0.0] * 5
    assert table[:, 1].tolist() == lr_table([0.1], [1.0], 5, step_mode)[:, 0].tolist()


def lrs_of(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return the current learning rates of an optimizer."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def test_a_call_moves_on_to_the_next_point() -> None:
    """`write` sets the first row, and each call the next one."""
    table = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    optimizer = make_optimizer(0.1, 0.2)
    sweep = LRSweep(optimizer, np.array(table))
    assert lrs_of(optimizer) == [0.1, 0.2]
    sweep.write()
    seen = [lrs_of(optimizer)]
    for _ in range(2):
        sweep(None)
        seen.append(lrs_of(optimizer))
    assert seen == table


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_tensor_lr_stays_the_same_tensor(dtype: torch.dtype) -> None:
    """A tensor is written in place, and the table holds the values rounded to its dtype."""
    optimizer = make_optimizer(0.1, dtype=dtype)
    tensor = optimizer.param_groups[0]["lr"]
    sweep = LRSweep(optimizer, np.array([[0.1], [0.3]]))
    for k, lr in enumerate([0.1, 0.3]):
        sweep.event_index = k
        sweep.write()
        assert optimizer.param_groups[0]["lr"] is tensor
        assert tensor.dtype == dtype
        assert tensor.item() == sweep.table[k, 0] == torch.tensor(lr, dtype=dtype).item()


def test_the_given_table_is_not_changed() -> None:
    """Rounding to a tensor's dtype happens in a copy."""
    table = np.array([[0.1], [0.3]])
    LRSweep(make_optimizer(0.1, dtype=torch.float32), table)
    assert table.tolist() == [[0.1], [0.3]]


@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["float", "tensor"])
def test_a_write_by_others_is_detected(dtype: torch.dtype | None) -> None:
    """A learning rate written in place or replaced is detected, until the next `write`."""
    optimizer = make_optimizer(0.1, 0.2, dtype=dtype)
    sweep = LRSweep(optimizer, np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert not sweep.is_overwritten()
    sweep.write()
    assert not sweep.is_overwritten()
    for value in (9.0, torch.tensor(9.0)):
        optimizer.param_groups[1]["lr"] = value
        assert sweep.is_overwritten()
        sweep.write()
        assert not sweep.is_overwritten()
    if dtype is not None:
        # As large, but no longer the tensor that a captured step reads.
        tensor = optimizer.param_groups[1]["lr"]
        optimizer.param_groups[1]["lr"] = 2.0
        assert sweep.is_overwritten()
        optimizer.param_groups[1]["lr"] = tensor
        optimizer.param_groups[0]["lr"].fill_(7.0)
        assert sweep.is_overwritten()
