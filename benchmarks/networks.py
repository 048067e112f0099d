"""Networks for the tasks: small, and of many kinds."""

import itertools

import torch
from torch import Tensor, nn


def mlp(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return a perceptron with the given layer sizes, including input and output."""
    layers: list[nn.Module] = []
    for num_in, num_out in itertools.pairwise(sizes):
        layers += [nn.Linear(num_in, num_out), activation()]
    return nn.Sequential(*layers[:-1])


def cnn(num_channels: int = 16, num_classes: int = 10) -> nn.Sequential:
    """Return a convolutional network with batch norm, for flat images of 64 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, num_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(num_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(num_channels),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * num_channels, num_classes),
    )


class CharGRU(nn.Module):
    """A recurrent network that predicts the next character at every position."""

    def __init__(self, num_chars: int, width: int = 40) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_chars, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, num_chars)

    def forward(self, chars: Tensor) -> Tensor:
        """Return scores of shape (N, num_chars, T) for characters of shape (N, T)."""
        hidden, _ = self.gru(self.embedding(chars))
        return self.head(hidden).transpose(1, 2)


class CharTransformer(nn.Module):
    """A causal transformer that predicts the next character at every position."""

    mask: Tensor

    def __init__(self, num_chars: int, length: int, width: int = 32, num_layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_chars, width)
        self.position = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(
            width, 2, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, num_chars)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, chars: Tensor) -> Tensor:
        """Return scores of shape (N, num_chars, T) for characters of shape (N, T)."""
        hidden = self.embedding(chars) + self.position
        return self.head(self.layers(hidden, mask=self.mask, is_causal=True)).transpose(1, 2)
