"""Training runs on real data, with networks of the usual kinds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, RMSprop

from benchmarks.networks import (
    AutoEncoder,
    RowLSTM,
    VisionTransformer,
    embedder,
    mlp,
    residual_network,
    segmenter,
)
from benchmarks.real_data import (
    diabetes,
    fuel_consumption,
    house_prices,
    mnist,
    pairs,
    pixels,
    strokes,
    tumors,
    wines,
)
from benchmarks.tasks import Task, momentum

_TEMPERATURE = 0.2


def variational_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the negative evidence lower bound: a sum over pixels, a mean over images.

    Args:
        output: the scores of the pixels, then means and logarithms of variances of the code.
        target: pixels in [0, 1].
    """
    scores, code = output.split([target.shape[1], output.shape[1] - target.shape[1]], dim=1)
    mean, log_variance = code.chunk(2, dim=1)
    divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1)
    reconstruction = F.binary_cross_entropy_with_logits(scores, target, reduction="sum")
    return (reconstruction + divergence.sum()) / len(target)


def contrastive_loss(output: Tensor, _: Tensor) -> Tensor:
    """Return the normalized cross entropy of finding the other view of the same image.

    Args:
        output: the embeddings of two views of each image; shape (N, 2, d).

    References:
        Chen et al., A simple framework for contrastive learning (SimCLR), 2020.
    """
    z = F.normalize(output, dim=2).transpose(0, 1).flatten(0, 1)
    scores = (z @ z.T / _TEMPERATURE).fill_diagonal_(float("-inf"))
    num = len(output)
    partner = torch.arange(2 * num).roll(num)
    return F.cross_entropy(scores, partner)


def dice_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return one minus the soft Dice coefficient of scores and masks, averaged over images."""
    mask = output.sigmoid()
    overlap = 2 * (mask * target).sum(1) + 1
    return 1 - (overlap / (mask.sum(1) + target.sum(1) + 1)).mean()


REAL_TASKS: tuple[Task, ...] = (
    Task(
        name="MNIST, residual network, RMSprop",
        data=mnist,
        model=residual_network,
        loss=F.cross_entropy,
        optimizer=RMSprop,
        batch_size=64,
        num_iter=300,
    ),
    Task(
        name="MNIST, vision transformer, AdamW",
        data=mnist,
        model=VisionTransformer,
        loss=F.cross_entropy,
        optimizer=AdamW,
        batch_size=32,
        num_iter=500,
    ),
    Task(
        name="MNIST, LSTM over rows, Adam",
        data=mnist,
        model=RowLSTM,
        loss=F.cross_entropy,
        optimizer=Adam,
        batch_size=32,
        num_iter=400,
    ),
    Task(
        name="MNIST, perceptron, SGD",
        data=mnist,
        model=lambda: mlp(784, 20, 10),
        loss=F.cross_entropy,
        optimizer=SGD,
        batch_size=64,
        num_iter=1000,
    ),
    Task(
        name="MNIST, variational autoencoder, Adam",
        data=pixels,
        model=AutoEncoder,
        loss=variational_loss,
        optimizer=Adam,
        batch_size=64,
        num_iter=600,
    ),
    Task(
        name="MNIST, contrastive, momentum",
        data=pairs,
        model=embedder,
        loss=contrastive_loss,
        optimizer=momentum,
        batch_size=32,
        num_iter=400,
    ),
    Task(
        name="MNIST, segmentation with Dice, Adam",
        data=strokes,
        model=segmenter,
        loss=dice_loss,
        optimizer=Adam,
        batch_size=16,
        num_iter=400,
    ),
    Task(
        name="fuel consumption, MLP, AdamW",
        data=fuel_consumption,
        model=lambda: mlp(7, 64, 64, 1),
        loss=F.mse_loss,
        optimizer=AdamW,
        batch_size=32,
        num_iter=1500,
    ),
    Task(
        name="house prices, batches of 16, momentum",
        data=house_prices,
        model=lambda: mlp(13, 64, 64, 1),
        loss=F.mse_loss,
        optimizer=momentum,
        batch_size=16,
        num_iter=1500,
    ),
    Task(
        name="diabetes, absolute error, RMSprop",
        data=diabetes,
        model=lambda: mlp(10, 48, 1),
        loss=F.l1_loss,
        optimizer=RMSprop,
        batch_size=32,
        num_iter=1000,
    ),
    Task(
        name="wines, softmax regression, SGD",
        data=wines,
        model=lambda: nn.Linear(13, 3),
        loss=F.cross_entropy,
        optimizer=SGD,
        batch_size=4,
        num_iter=1000,
    ),
    Task(
        name="tumors, batch norm, momentum",
        data=tumors,
        model=lambda: nn.Sequential(
            nn.Linear(30, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2)
        ),
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=16,
        num_iter=600,
    ),
)
