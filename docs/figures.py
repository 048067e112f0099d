"""Draw the curves of the page "Reading the curve", each from a small real training.

Run it with `python docs/figures.py`; it requires scikit-learn. It writes `curve_*.png` to
`docs/images` in a few seconds.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import matplotlib.pyplot as plt
import torch
from ignite.engine import create_supervised_trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ignite_lrfinder import FastaiLRFinder

SEED = 0


def sweep(
    loss_fn: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    *,
    batch_size: int = 64,
    num_iter: int = 100,
    start_lr: float = 1e-6,
    end_lr: float = 100.0,
    verify: bool = False,
) -> FastaiLRFinder:
    """Sweep a small network on scikit-learn's digits data set."""
    torch.manual_seed(SEED)
    pixels, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(pixels).float() / 16, torch.tensor(labels))
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    trainer = create_supervised_trainer(model, optimizer, loss_fn)
    lr_finder = FastaiLRFinder()
    with (
        warnings.catch_warnings(),
        lr_finder.attach(
            trainer,
            {"model": model, "optimizer": optimizer},
            num_iter=num_iter,
            start_lr=start_lr,
            end_lr=end_lr,
            verify=verify,
        ) as swept,
    ):
        # Some of these figures show a loss that does not diverge.
        warnings.filterwarnings("ignore", "Run completed without loss diverging")
        swept.run(loader)
    return lr_finder


def hand_written_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy, or NaN as soon as a probability underflows to 0."""
    one_hot = nn.functional.one_hot(labels, scores.shape[1])
    return -(one_hot * scores.softmax(1).log()).sum(1).mean()


SWEEPS: Mapping[str, Callable[[], FastaiLRFinder]] = MappingProxyType(
    {
        "good": sweep,
        "noisy": lambda: sweep(batch_size=4),
        "noisy_slow": lambda: sweep(batch_size=4, num_iter=400),
        "flat": lambda: sweep(end_lr=1e-3),
        "not_diverging": lambda: sweep(end_lr=0.1),
        "rising": lambda: sweep(start_lr=1.0),
        "nan": lambda: sweep(hand_written_cross_entropy),
        "verified": lambda: sweep(batch_size=4, verify=True),
    }
)
"""The sweeps by figure name."""


def draw(name: str, folder: Path) -> FastaiLRFinder:
    """Run a sweep and save its plot."""
    lr_finder = SWEEPS[name]()
    with warnings.catch_warnings():
        # Some of these figures show a curve without a suggestion.
        warnings.filterwarnings("ignore", "No suggestion is shown")
        if lr_finder.result.trials:
            figure = lr_finder.plot_trials()[0].figure
        else:
            figure, ax = plt.subplots(figsize=(7.0, 4.2), layout="constrained")
            lr_finder.plot(skip_start=0, skip_end=0, ax=ax)
    figure.savefig(folder / f"curve_{name}.png", dpi=110)
    plt.close(figure)
    return lr_finder


def main() -> None:
    """Draw all figures, and print the results that the page quotes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    images = Path(__file__).parent / "images"
    parser.add_argument("--folder", type=Path, default=images, help="the output folder")
    folder = parser.parse_args().folder
    for name in SWEEPS:
        print(f"{name}\n{draw(name, folder).result}\n")


if __name__ == "__main__":
    main()
