"""Training runs that were held out while the rules of the finder were chosen.

Twelve are short and on real data. Four run for 15,000 iterations or more, one of them on generated
data. `docs/benchmarks.md` names what was changed after their first results.
"""

import copy
import functools
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RMSprop

from benchmarks.data import NUM_CHARS, regression, source_code, which_file
from benchmarks.networks import (
    CharClassifier,
    CharConvolution,
    CharLSTM,
    CoordinateNetwork,
    Forecaster,
    digit_cnn,
    mlp,
    patch_denoiser,
)
from benchmarks.real_data import house_prices, mirrored_mnist, mnist, moved_mnist, noisy_mnist
from benchmarks.real_signals import brain_waves, elevation, noisy_patches, patches
from benchmarks.tasks import Task, momentum, train_step

_QUANTILE = 0.8
_MAX_NORM = 1.0


def clipped_momentum(params: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """Return SGD with momentum, whose gradient is clipped to a norm of 1 before each step."""
    params = list(params)
    optimizer = SGD(params, lr=lr, momentum=0.9)

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_(params, _MAX_NORM)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def summed_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the squared error, summed over pixels and averaged over images."""
    return F.mse_loss(output, target, reduction="sum") / len(target)


def pinball_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the loss whose minimum is the 0.8 quantile of the target."""
    error = target - output
    return torch.maximum(_QUANTILE * error, (_QUANTILE - 1) * error).mean()


def pretrained_on_mirror() -> nn.Module:
    """Return a network pretrained on mirrored images."""
    return copy.deepcopy(_pretrained_on_mirror(torch.initial_seed()))


@functools.cache
def _pretrained_on_mirror(seed: int) -> nn.Module:
    """Train on mirrored images."""
    torch.manual_seed(seed)
    model = digit_cnn()
    optimizer = Adam(model.parameters(), lr=2e-3)
    draw, generator = mirrored_mnist().train, torch.Generator().manual_seed(seed)
    for _ in range(300):
        train_step(model, optimizer, F.cross_entropy, draw(generator, 32))
    return model


HELD_OUT_TASKS: tuple[Task, ...] = (
    Task(
        name="MNIST, convolutions and dropout, NAdam",
        data=mnist,
        model=lambda: digit_cnn(dropout=0.3),
        loss=F.cross_entropy,
        optimizer=NAdam,
        batch_size=32,
        num_iter=400,
    ),
    Task(
        name="MNIST, noisy labels, momentum",
        data=noisy_mnist,
        model=digit_cnn,
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=8,
        num_iter=600,
    ),
    Task(
        name="MNIST, fine-tuned from mirrored, momentum",
        data=mnist,
        model=pretrained_on_mirror,
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=32,
        num_iter=400,
    ),
    Task(
        name="MNIST, how far moved, Huber, AdamW",
        data=moved_mnist,
        model=lambda: digit_cnn(num_outputs=2),
        loss=F.smooth_l1_loss,
        optimizer=AdamW,
        batch_size=32,
        num_iter=500,
    ),
    Task(
        name="photographs, denoised, AdamW",
        data=noisy_patches,
        model=patch_denoiser,
        loss=F.mse_loss,
        optimizer=AdamW,
        batch_size=32,
        num_iter=400,
    ),
    Task(
        name="photographs, autoencoder, summed, momentum",
        data=patches,
        model=lambda: mlp(144, 64, 16, 64, 144),
        loss=summed_error,
        optimizer=momentum,
        batch_size=32,
        num_iter=1000,
    ),
    Task(
        name="elevation map, coordinates, Adam",
        data=elevation,
        model=CoordinateNetwork,
        loss=F.mse_loss,
        optimizer=Adam,
        batch_size=64,
        num_iter=1000,
    ),
    Task(
        name="brain waves, forecast by GRU, RMSprop",
        data=brain_waves,
        model=Forecaster,
        loss=F.mse_loss,
        optimizer=RMSprop,
        batch_size=16,
        num_iter=500,
    ),
    Task(
        name="house prices, quantile, SGD",
        data=house_prices,
        model=lambda: mlp(13, 32, 1),
        loss=pinball_loss,
        optimizer=SGD,
        batch_size=16,
        num_iter=1000,
    ),
    Task(
        name="source code, LSTM, clipped momentum",
        data=source_code,
        model=lambda: CharLSTM(NUM_CHARS),
        loss=F.cross_entropy,
        optimizer=clipped_momentum,
        batch_size=12,
        num_iter=500,
    ),
    Task(
        name="source code, causal convolutions, AdamW",
        data=source_code,
        model=lambda: CharConvolution(NUM_CHARS),
        loss=F.cross_entropy,
        optimizer=AdamW,
        batch_size=12,
        num_iter=500,
    ),
    Task(
        name="source code, which file, Adam",
        data=which_file,
        model=lambda: CharClassifier(NUM_CHARS, 5),
        loss=F.cross_entropy,
        optimizer=Adam,
        batch_size=32,
        num_iter=800,
    ),
)

LONG_TASKS: tuple[Task, ...] = (
    Task(
        name="MNIST, perceptron, momentum, long",
        data=mnist,
        model=lambda: mlp(784, 32, 10),
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=32,
        num_iter=15_000,
    ),
    Task(
        name="elevation map, coordinates, Adam, long",
        data=elevation,
        model=CoordinateNetwork,
        loss=F.mse_loss,
        optimizer=Adam,
        batch_size=32,
        num_iter=15_000,
    ),
    Task(
        name="photographs, autoencoder, SGD, long",
        data=patches,
        model=lambda: mlp(144, 48, 12, 48, 144),
        loss=summed_error,
        optimizer=SGD,
        batch_size=32,
        num_iter=15_000,
    ),
    Task(
        name="regression, AdamW, 39,000 iterations",
        data=lambda: regression(12, noise=0.3, seed=6),
        model=lambda: mlp(12, 48, 48, 1),
        loss=F.mse_loss,
        optimizer=AdamW,
        batch_size=32,
        num_iter=39_000,
    ),
)

MEMORIZED = ("brain waves, forecast by GRU, RMSprop", "source code, which file, Adam")
"""The tasks that memorize their few samples, at rates that harm the validation loss."""
