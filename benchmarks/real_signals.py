"""Photographs, a map and brain waves that packages ship, cut into endless small samples.

scikit-learn brings two photographs, matplotlib an elevation map and an electroencephalogram. A part
of each is kept for validation.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Generator, Tensor

from benchmarks.data import Batch, Data, Draw

PATCH_SIZE = 12
_TRAIN_SHARE = 0.75
_PATCH_NOISE = 0.5
_NUM_SIGNALS = 4
_NUM_PAST, _NUM_AHEAD = 24, 4


@functools.cache
def patches() -> Data:
    """Return gray patches of two photographs, of shape (N, 144); they are also the targets."""

    def drawer(image: Tensor) -> Draw:
        def draw(generator: Generator, n: int) -> Batch:
            x = _patches(image, generator, n)
            return x, x

        return draw

    return _photographs(drawer)


@functools.cache
def noisy_patches() -> Data:
    """Return noisy patches of two photographs, of shape (N, 144), and the patches."""

    def drawer(image: Tensor) -> Draw:
        def draw(generator: Generator, n: int) -> Batch:
            x = _patches(image, generator, n)
            return x + _PATCH_NOISE * torch.randn(x.shape, generator=generator), x

        return draw

    return _photographs(drawer)


@functools.cache
def elevation() -> Data:
    """Return coordinates in [-2, 2], and the standardized elevation there.

    Validation is on every other row and column, between the places that are trained on.
    """
    with np.load(_sample("jacksboro_fault_dem.npz")) as file:
        height = torch.tensor(file["elevation"].astype(np.float32))
    height = (height - height.mean()) / height.std()

    size = torch.tensor(height.shape)

    def drawer(offset: int) -> Draw:
        def draw(generator: Generator, n: int) -> Batch:
            cell = 2 * (torch.rand(n, 2, generator=generator) * (size // 2)).long() + offset
            return 4 * cell / size - 2, height[cell[:, 0], cell[:, 1], None]

        return draw

    return Data(drawer(0), drawer(1))


@functools.cache
def brain_waves() -> Data:
    """Return 24 values of four signals, of shape (N, 24, 4), and the next four of each, flat."""
    waves = np.fromfile(_sample("eeg.dat"), dtype=float).reshape(-1, _NUM_SIGNALS)
    signals = torch.tensor(waves, dtype=torch.float32)
    signals = (signals - signals.mean(0)) / signals.std(0)
    num_train = round(_TRAIN_SHARE * len(signals))

    def drawer(part: Tensor) -> Draw:
        def draw(generator: Generator, n: int) -> Batch:
            length = _NUM_PAST + _NUM_AHEAD
            start = torch.randint(len(part) - length + 1, (n, 1), generator=generator)
            crops = part[start + torch.arange(length)]
            return crops[:, :_NUM_PAST], crops[:, _NUM_PAST:].flatten(1)

        return draw

    return Data(drawer(signals[:num_train]), drawer(signals[num_train:]))


def _sample(name: str) -> Path:
    """Return the path of a file that matplotlib ships."""
    return Path(mpl.get_data_path()) / "sample_data" / name


def _photographs(drawer: Callable[[Tensor], Draw]) -> Data:
    """Return data drawn from the top of two photographs, and from their bottom."""
    train, val = _standardized_photographs()
    return Data(drawer(train), drawer(val))


@functools.cache
def _standardized_photographs() -> tuple[Tensor, Tensor]:
    """Return the top and the bottom of two gray photographs; shapes (2, H, W)."""
    photographs = np.stack(load_sample_images().images).mean(axis=3)
    gray = torch.tensor(photographs, dtype=torch.float32)
    gray = (gray - gray.mean()) / gray.std()
    num_train = round(_TRAIN_SHARE * gray.shape[1])
    return gray[:, :num_train], gray[:, num_train:]


def _patches(photographs: Tensor, generator: Generator, n: int) -> Tensor:
    """Cut flat patches from random places."""
    num, height, width = photographs.shape
    which = torch.randint(num, (n, 1, 1), generator=generator)
    top = torch.randint(height - PATCH_SIZE + 1, (n, 1, 1), generator=generator)
    left = torch.randint(width - PATCH_SIZE + 1, (n, 1, 1), generator=generator)
    offset = torch.arange(PATCH_SIZE)
    return photographs[which, top + offset[:, None], left + offset].flatten(1)
