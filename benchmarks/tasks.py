"""Training runs of a second or two on a CPU, short enough to grid-search the best learning rate.

They vary what moves the best rate and what misleads a range test: the scale of inputs and targets,
the optimizer, batch size and noise, and pretrained weights. Their best rates span more than three
decades.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.data import (
    NUM_CHARS,
    TEXT_LENGTH,
    Batch,
    Data,
    classification,
    digits,
    images_only,
    regression,
    source_code,
)
from benchmarks.networks import CharGRU, CharTransformer, cnn, mlp

BATCHES_PER_EPOCH = 100
_NUM_VAL = 1024

Loss = Callable[[Tensor, Tensor], Tensor]
MakeOptimizer = Callable[..., Optimizer]


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A training: data, network, loss, optimizer, and length.

    Attributes:
        name: the name in the tables.
        data: returns the data.
        model: returns the network, initialized from torch's global random state.
        loss: maps the network's output and the target to a scalar.
        optimizer: called with the parameters and `lr`.
        batch_size: the number of samples per training batch.
        num_iter: the number of iterations of the whole training.
    """

    name: str
    data: Callable[[], Data]
    model: Callable[[], nn.Module]
    loss: Loss
    optimizer: MakeOptimizer
    batch_size: int
    num_iter: int

    def initial_model(self, seed: int) -> nn.Module:
        """Return the untrained network, determined by the seed."""
        torch.manual_seed(seed)
        return self.model()

    def batches(self, seed: int, num: int) -> Iterator[Batch]:
        """Return training batches, determined by the seed."""
        generator = torch.Generator().manual_seed(seed)
        draw = self.data().train
        return (draw(generator, self.batch_size) for _ in range(num))

    def loader(self) -> DataLoader[Batch]:
        """Return a loader of `BATCHES_PER_EPOCH` batches, different in every epoch."""
        return DataLoader(_Epoch(self), batch_size=None)

    def validation_loss(self, model: nn.Module) -> float:
        """Return the loss on a fixed held-out batch."""
        inputs, target = self.data().val(torch.Generator().manual_seed(77), _NUM_VAL)
        was_training = model.training
        model.eval()
        with torch.no_grad():
            loss = float(self.loss(model(inputs), target))
        model.train(was_training)
        return loss


class _Epoch(IterableDataset[Batch]):
    """Batches drawn from torch's global random state, like those of a shuffling loader."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __len__(self) -> int:
        return BATCHES_PER_EPOCH

    def __iter__(self) -> Iterator[Batch]:
        return self.task.batches(int(torch.randint(2**31, ())), BATCHES_PER_EPOCH)


def train_step(model: nn.Module, optimizer: Optimizer, loss_fn: Loss, batch: Batch) -> float:
    """Take one optimizer step and return the loss before it."""
    model.train()
    optimizer.zero_grad()
    loss = loss_fn(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.item()


def gaussian_nll(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log likelihood without its constant; it can be negative.

    Args:
        prediction: means and logarithms of standard deviations; shape (N, 2).
        target: shape (N, 1).
    """
    mean, log_std = prediction.split(1, dim=1)
    log_std = log_std.clamp(-8.0, 8.0)
    return (0.5 * ((target - mean) * torch.exp(-log_std)) ** 2 + log_std).mean()


def pretrained_cnn() -> nn.Module:
    """Return a network pretrained on transposed digits."""
    seed = torch.initial_seed()
    return copy.deepcopy(_pretrained_cnn(seed))


@functools.cache
def _pretrained_cnn(seed: int) -> nn.Module:
    """Train on transposed digits."""
    torch.manual_seed(seed)
    model = cnn()
    optimizer = Adam(model.parameters(), lr=3e-3)
    draw, generator = digits(transposed=True).train, torch.Generator().manual_seed(seed)
    for _ in range(300):
        train_step(model, optimizer, F.cross_entropy, draw(generator, 32))
    return model


def momentum(params: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """Return SGD with the usual momentum."""
    return SGD(params, lr=lr, momentum=0.9)


TASKS: tuple[Task, ...] = (
    Task(
        name="digits, SGD",
        data=digits,
        model=lambda: mlp(64, 64, 10),
        loss=F.cross_entropy,
        optimizer=SGD,
        batch_size=64,
        num_iter=800,
    ),
    Task(
        name="digits CNN, Adam",
        data=digits,
        model=cnn,
        loss=F.cross_entropy,
        optimizer=Adam,
        batch_size=32,
        num_iter=400,
    ),
    Task(
        name="noisy labels, batches of 4, momentum",
        data=lambda: digits(noisy_labels=0.4),
        model=lambda: mlp(64, 64, 10),
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=4,
        num_iter=1200,
    ),
    Task(
        name="generated classes, momentum",
        data=lambda: classification(16, 6, noisy_labels=0.1, seed=1),
        model=lambda: mlp(16, 64, 64, 6, activation=nn.Tanh),
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=32,
        num_iter=1000,
    ),
    Task(
        name="target of hundreds, Adam",
        data=lambda: regression(12, noise=0.3, target_scale=300.0, seed=2),
        model=lambda: mlp(12, 64, 64, 1),
        loss=F.mse_loss,
        optimizer=Adam,
        batch_size=32,
        num_iter=1000,
    ),
    Task(
        name="raw inputs and target, SGD",
        data=lambda: regression(10, noise=0.3, input_scale=10.0, target_scale=20.0, seed=3),
        model=lambda: mlp(10, 48, 1),
        loss=F.mse_loss,
        optimizer=SGD,
        batch_size=32,
        num_iter=1000,
    ),
    Task(
        name="noisy regression, batches of 4, SGD",
        data=lambda: regression(10, noise=1.0, seed=4),
        model=lambda: mlp(10, 64, 1, activation=nn.Tanh),
        loss=F.mse_loss,
        optimizer=SGD,
        batch_size=4,
        num_iter=1200,
    ),
    Task(
        name="Gaussian likelihood, Adam",
        data=lambda: regression(6, noise=0.05, seed=5),
        model=lambda: mlp(6, 64, 64, 2),
        loss=gaussian_nll,
        optimizer=Adam,
        batch_size=64,
        num_iter=1000,
    ),
    Task(
        name="autoencoder, RMSprop",
        data=lambda: images_only(digits()),
        model=lambda: mlp(64, 48, 10, 48, 64),
        loss=F.mse_loss,
        optimizer=RMSprop,
        batch_size=32,
        num_iter=800,
    ),
    Task(
        name="source code, transformer, AdamW",
        data=source_code,
        model=lambda: CharTransformer(NUM_CHARS, TEXT_LENGTH),
        loss=F.cross_entropy,
        optimizer=AdamW,
        batch_size=12,
        num_iter=400,
    ),
    Task(
        name="source code, GRU, Adam",
        data=source_code,
        model=lambda: CharGRU(NUM_CHARS),
        loss=F.cross_entropy,
        optimizer=Adam,
        batch_size=12,
        num_iter=400,
    ),
    Task(
        name="fine-tuned CNN, momentum",
        data=digits,
        model=pretrained_cnn,
        loss=F.cross_entropy,
        optimizer=momentum,
        batch_size=32,
        num_iter=400,
    ),
)
