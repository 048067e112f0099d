"""One call from a trainer or a plain train step to a result."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import Net, Training, data, seed_all
from torch import nn
from torch.utils.data import DataLoader

from ignite_lrfinder import FastaiLRFinder, find_lr

pytestmark = pytest.mark.filterwarnings("ignore:Run completed without loss diverging")


def loop(*, has_finder: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Train a network in a plain loop, with or without a sweep before it."""
    seed_all(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(data(), 8, shuffle=True)

    def train_step(batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    if has_finder:
        result = find_lr(train_step, optimizer, loader, num_iter=30, start_lr=1e-6)
        assert len(result) == 30
        assert result.lr[0] == 1e-6
    losses = [train_step(batch) for _ in range(2) for batch in loader]
    state = dict(model.state_dict())
    state["calls"] = model.get_buffer("calls")
    return state, losses


def test_a_plain_loop_trains_as_without_the_finder() -> None:
    """With the optimizer alone, the model's buffers and the data order are restored, too."""
    (without, losses), (found, found_losses) = loop(has_finder=False), loop(has_finder=True)
    assert losses == found_losses
    assert all(torch.equal(found[name], value) for name, value in without.items())


def test_a_trainer_gives_the_result_of_the_block(make_training: Callable[..., Training]) -> None:
    """One call records what the context manager records."""
    training, other, lr_finder = make_training(), make_training(), FastaiLRFinder()
    result = find_lr(training.trainer, training.to_save, training.loader, num_iter=30, end_lr=1)
    seed_all(0)
    other = make_training()
    with lr_finder.attach(other.trainer, other.to_save, num_iter=30, end_lr=1) as trainer:
        trainer.run(other.loader)
    seed_all(0)
    training = make_training()
    result = find_lr(training.trainer, training.optimizer, training.loader, num_iter=30, end_lr=1)
    np.testing.assert_array_equal(result.lr, lr_finder.result.lr)
    np.testing.assert_array_equal(result.losses, lr_finder.result.losses)


def test_arguments_of_attach_are_passed_on(make_training: Callable[..., Training]) -> None:
    """All arguments of `attach` are accepted; an unknown argument is refused."""
    training = make_training("sgd-momentum")
    result = find_lr(
        training.trainer, training.optimizer, training.loader, start_lr=1e-5, verify=True
    )
    assert result.trials
    with pytest.raises(TypeError, match="no_such"):
        find_lr(training.trainer, training.optimizer, training.loader, no_such=1)


def test_data_of_unknown_length_has_the_given_length() -> None:
    """Data without a length is run in epochs of `epoch_length` iterations."""
    parameter = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def train_step(batch: float) -> float:
        parameter.grad = torch.ones(())
        optimizer.step()
        return batch

    class Forever:
        def __iter__(self):
            return iter([3.0] * 5)

    result = find_lr(train_step, optimizer, Forever(), num_iter=None, epoch_length=5)
    assert result.losses.tolist() == [3.0] * 5


def test_anything_but_a_trainer_or_a_function_is_refused() -> None:
    """A model, and a function that takes more than the batch, are refused too."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(()))], lr=1e-3)
    requirement = "trainer must be an ignite Engine or a function of a batch, got"
    for wrong in (3, nn.Linear(1, 1), lambda x, y: 0.0):
        with pytest.raises(TypeError, match=requirement):
            find_lr(wrong, optimizer, [1])  # type: ignore[arg-type]  # it is refused


def test_a_decorator_may_pass_further_arguments() -> None:
    """The outermost function is the one that takes the batch."""
    parameter = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)

    def with_parameter(function: Callable[..., float]) -> Callable[[object], float]:
        @functools.wraps(function)
        def wrapped(batch: object) -> float:
            return function(parameter, batch)

        return wrapped

    @with_parameter
    def train_step(parameter: nn.Parameter, batch: object) -> float:
        parameter.square().backward()
        optimizer.step()
        return 1.0

    assert len(find_lr(train_step, optimizer, [0] * 5, num_iter=5, verify=False)) == 5
