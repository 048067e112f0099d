"""Data for the tasks: generated endlessly, or real and augmented, so that it can't be memorized.

A `Draw` creates a batch of `n` samples from a generator. Nothing is downloaded: the digits ship
with scikit-learn, and the text is the source code of the standard library.
"""

import dataclasses
import functools
import sysconfig
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor

Batch = tuple[Tensor, Tensor]
Draw = Callable[[Generator, int], Batch]

NUM_CHARS = 96
TEXT_LENGTH = 24
_NUM_TRAIN_DIGITS = 1300


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """The sources of training and validation batches."""

    train: Draw
    val: Draw


@functools.cache
def digits(noisy_labels: float = 0.0, *, transposed: bool = False) -> Data:
    """Return handwritten digits, shifted by up to a pixel with fresh noise, as 64 flat pixels.

    Args:
        noisy_labels: the share of labels replaced by random ones, in training and validation.
        transposed: whether to swap rows and columns.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 8, 8)
    images = (images - images.mean()) / images.std()
    if transposed:
        images = images.transpose(1, 2)
    order = torch.randperm(len(images), generator=Generator().manual_seed(8))
    images, classes = images[order], torch.tensor(labels)[order]

    def drawer(x: Tensor, y: Tensor) -> Draw:
        def draw(generator: Generator, n: int) -> Batch:
            chosen = torch.randint(len(x), (n,), generator=generator)
            down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
            image = torch.roll(x[chosen], (down, right), (1, 2))
            image = image + 0.5 * torch.randn(image.shape, generator=generator)
            return image.flatten(1), with_noisy_labels(y[chosen], noisy_labels, 10, generator)

        return draw

    train, val = slice(None, _NUM_TRAIN_DIGITS), slice(_NUM_TRAIN_DIGITS, None)
    return Data(drawer(images[train], classes[train]), drawer(images[val], classes[val]))


def images_only(data: Data) -> Data:
    """Return data whose targets are its inputs, for an autoencoder."""

    def without_labels(draw: Draw) -> Draw:
        def draw_images(generator: Generator, n: int) -> Batch:
            x, _ = draw(generator, n)
            return x, x

        return draw_images

    return Data(without_labels(data.train), without_labels(data.val))


def regression(
    num_inputs: int,
    *,
    noise: float,
    input_scale: float = 1.0,
    target_scale: float = 1.0,
    seed: int = 0,
) -> Data:
    """Return endless samples of a random smooth function.

    Args:
        num_inputs: the number of inputs, each normal with standard deviation `input_scale`.
        noise: the standard deviation of the noise, relative to that of the function.
        input_scale: the scale of the inputs.
        target_scale: the standard deviation of the function.
        seed: selects the function.
    """
    function = _random_function(num_inputs, 1, seed)

    def draw(generator: Generator, n: int) -> Batch:
        x = torch.randn(n, num_inputs, generator=generator)
        y = function(x) + noise * torch.randn(n, 1, generator=generator)
        return input_scale * x, target_scale * y

    return Data(draw, draw)


def classification(
    num_inputs: int,
    num_classes: int,
    *,
    noisy_labels: float,
    seed: int = 0,
) -> Data:
    """Return endless samples, labeled by the largest of several random smooth functions."""
    function = _random_function(num_inputs, num_classes, seed)

    def draw(generator: Generator, n: int) -> Batch:
        x = torch.randn(n, num_inputs, generator=generator)
        return x, with_noisy_labels(function(x).argmax(1), noisy_labels, num_classes, generator)

    return Data(draw, draw)


@functools.cache
def source_code() -> Data:
    """Return crops of the standard library's source; targets are the inputs shifted by one."""
    train = _encoded("difflib.py", "pickle.py", "zipfile/__init__.py", "zipfile.py", "datetime.py")
    return Data(_cropper(train), _cropper(_encoded("smtplib.py", "calendar.py")))


@functools.cache
def which_file() -> Data:
    """Return crops of five files of the standard library, and the file that each is from.

    Validation uses the last fifth of each file.
    """
    names = ("difflib.py", "datetime.py", "calendar.py", "turtle.py", "statistics.py")
    texts = [_encoded(name) for name in names]

    def drawer(parts: list[Tensor]) -> Draw:
        croppers = [_cropper(part) for part in parts]

        def draw(generator: Generator, n: int) -> Batch:
            label = torch.randint(len(parts), (n,), generator=generator)
            crops = torch.stack([cropper(generator, n)[0] for cropper in croppers])
            return crops[label, torch.arange(n)], label

        return draw

    ends = [len(text) * 4 // 5 for text in texts]
    train = [text[:end] for text, end in zip(texts, ends, strict=True)]
    return Data(drawer(train), drawer([t[end:] for t, end in zip(texts, ends, strict=True)]))


def _encoded(*names: str) -> Tensor:
    """Return the characters of the files that this Python version has; 0 is the line feed."""
    library = Path(sysconfig.get_paths()["stdlib"])
    text = b"".join((library / name).read_bytes() for name in names if (library / name).exists())
    return torch.tensor([max(c - 31, 0) for c in text if c == ord("\n") or 32 <= c < 127])


def _cropper(text: Tensor) -> Draw:
    """Return a function that draws crops of a text."""

    def draw(generator: Generator, n: int) -> Batch:
        start = torch.randint(len(text) - TEXT_LENGTH, (n, 1), generator=generator)
        crop = text[start + torch.arange(TEXT_LENGTH + 1)]
        return crop[:, :-1], crop[:, 1:]

    return draw


def _random_function(num_inputs: int, num_outputs: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Return a random sum of waves, whose outputs have mean 0 and standard deviation about 1."""
    generator = Generator().manual_seed(seed)
    directions = torch.randn(num_inputs, 24, generator=generator) / num_inputs**0.5
    phases = 6.283 * torch.rand(24, generator=generator)
    weights = torch.randn(24, num_outputs, generator=generator) / 12**0.5
    return lambda x: torch.sin(0.7 * x @ directions + phases) @ weights


def with_noisy_labels(labels: Tensor, share: float, num: int, generator: Generator) -> Tensor:
    """Replace a share of the labels with random ones."""
    is_noisy = torch.rand(labels.shape, generator=generator) < share
    random = torch.randint(num, labels.shape, generator=generator)
    return torch.where(is_noisy, random, labels)
