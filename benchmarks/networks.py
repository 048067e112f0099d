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


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, beside a shortcut that halves the image where they do."""

    def __init__(self, num_in: int, num_out: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(num_out),
            nn.ReLU(),
            nn.Conv2d(num_out, num_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(num_out),
        )
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(num_in, num_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of shape (N, num_out, H / stride, W / stride)."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def residual_network(width: int = 8, num_classes: int = 10) -> nn.Sequential:
    """Return a residual network for flat images of 784 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        ResidualBlock(width, width),
        ResidualBlock(width, 2 * width, stride=2),
        ResidualBlock(2 * width, 4 * width, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )


class VisionTransformer(nn.Module):
    """A transformer over the 16 patches of a flat image of 784 pixels."""

    def __init__(self, width: int = 32, num_layers: int = 2, num_classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=7, stride=7)
        self.position = nn.Parameter(0.02 * torch.randn(16, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return scores of shape (N, num_classes)."""
        patches = self.patches(images.unflatten(1, (1, 28, 28))).flatten(2).transpose(1, 2)
        return self.head(self.layers(patches + self.position).mean(1))


class RowLSTM(nn.Module):
    """A recurrent network that reads the rows of a flat image of 784 pixels."""

    def __init__(self, width: int = 40, num_classes: int = 10) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, width, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores of shape (N, num_classes)."""
        hidden, _ = self.lstm(images.unflatten(1, (28, 28)))
        return self.head(hidden[:, -1])


class AutoEncoder(nn.Module):
    """A variational autoencoder for flat images of 784 pixels; it samples only in training."""

    def __init__(self, width: int = 128, num_codes: int = 8) -> None:
        super().__init__()
        self.encoder = mlp(784, width, 2 * num_codes)
        self.decoder = mlp(num_codes, width, 784)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores of the pixels, means and log variances; shape (N, 784 + 2 num_codes)."""
        code = self.encoder(images)
        mean, log_variance = code.chunk(2, dim=1)
        sample = mean
        if self.training:
            sample = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return torch.cat([self.decoder(sample), code], dim=1)


def embedder(num_features: int = 16) -> nn.Sequential:
    """Return a network that embeds each of two flat images of 784 pixels."""
    return nn.Sequential(
        nn.Flatten(0, 1),
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, num_features),
        nn.Unflatten(0, (-1, 2)),
    )


def segmenter(width: int = 8) -> nn.Sequential:
    """Return a convolutional network that scores each of 784 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(width, 1, 3, padding=1),
        nn.Flatten(),
    )


def digit_cnn(num_outputs: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """Return a convolutional network without normalization, for flat images of 784 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256, num_outputs),
    )


def patch_denoiser(width: int = 12) -> nn.Sequential:
    """Return a convolutional network from and to flat patches of 144 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 12, 12)),
        nn.Conv2d(1, width, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(3, width),
        nn.GELU(),
        nn.Conv2d(width, 1, 3, padding=1),
        nn.Flatten(),
    )


class CoordinateNetwork(nn.Module):
    """A perceptron over waves of several frequencies of two coordinates."""

    frequencies: Tensor

    def __init__(self, width: int = 48, num_frequencies: int = 5) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(num_frequencies))
        self.layers = mlp(4 * num_frequencies, width, width, 1)

    def forward(self, at: Tensor) -> Tensor:
        """Return values of shape (N, 1) at coordinates of shape (N, 2)."""
        angles = (at[:, :, None] * self.frequencies).flatten(1)
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))


class Forecaster(nn.Module):
    """A recurrent network that predicts several further values of a few signals."""

    def __init__(self, num_signals: int = 4, num_ahead: int = 4, width: int = 32) -> None:
        super().__init__()
        self.gru = nn.GRU(num_signals, width, batch_first=True)
        self.head = nn.Linear(width, num_signals * num_ahead)

    def forward(self, signals: Tensor) -> Tensor:
        """Return values of shape (N, num_ahead * num_signals) after those of shape (N, T, C)."""
        hidden, _ = self.gru(signals)
        return self.head(hidden[:, -1])


class CharLSTM(nn.Module):
    """Two recurrent layers that predict the next character at every position."""

    def __init__(self, num_chars: int, width: int = 40) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_chars, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, num_chars)

    def forward(self, chars: Tensor) -> Tensor:
        """Return scores of shape (N, num_chars, T) for characters of shape (N, T)."""
        hidden, _ = self.lstm(self.embedding(chars))
        return self.head(hidden).transpose(1, 2)


class CharConvolution(nn.Module):
    """Gated convolutions that predict the next character from those before it."""

    def __init__(self, num_chars: int, width: int = 32, num_layers: int = 3, size: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_chars, width)
        self.before = nn.ConstantPad1d((size - 1, 0), 0.0)
        self.layers = nn.ModuleList(nn.Conv1d(width, 2 * width, size) for _ in range(num_layers))
        self.head = nn.Conv1d(width, num_chars, 1)

    def forward(self, chars: Tensor) -> Tensor:
        """Return scores of shape (N, num_chars, T) for characters of shape (N, T)."""
        x = self.embedding(chars).transpose(1, 2)
        for layer in self.layers:
            x = x + nn.functional.glu(layer(self.before(x)), dim=1)
        return self.head(x)


class CharClassifier(nn.Module):
    """Convolutions that classify texts by their strongest local features."""

    def __init__(self, num_chars: int, num_classes: int, width: int = 48) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_chars, width)
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, 4),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
            nn.Linear(width, num_classes),
        )

    def forward(self, chars: Tensor) -> Tensor:
        """Return scores of shape (N, num_classes) for characters of shape (N, T)."""
        return self.layers(self.embedding(chars).transpose(1, 2))
