"""Train a small CNN on the digits data set, at a guessed learning rate and at the suggested one.

Run it with `make demo`, or with `python examples/digits.py`; it requires scikit-learn.
"""

import matplotlib.pyplot as plt
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy
from sklearn.datasets import load_digits
from torch import nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, TensorDataset, random_split

from ignite_lrfinder import FastaiLRFinder

SEED = 0
NUM_EPOCHS = 5
# A plausible guess, copied from the fine-tuning of a large pretrained network. The loss falls, so
# nothing looks broken; for training from scratch it is just a thousand times too low.
GUESSED_LR = 1e-5
PLOT_PATH = "lr_finder_digits.png"


def create_loaders() -> tuple[DataLoader, DataLoader]:
    """Return a training loader with four fifths of the digits and a test loader with the rest."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    dataset = TensorDataset(images, torch.tensor(labels))
    train_set, test_set = random_split(dataset, [0.8, 0.2])
    return DataLoader(train_set, batch_size=64, shuffle=True), DataLoader(test_set, batch_size=256)


def create_model() -> nn.Module:
    """Return a CNN with batch norm and dropout, whose state a careless range test would change."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(64 * 4 * 4, 10),
    )


def find_lr(trainer: Engine, model: nn.Module, optimizer: Optimizer, loader: DataLoader) -> None:
    """Run the range test, print its result, save its plot, and apply its suggestion."""
    print("\nSweeping 100 learning rates, then trying a few", flush=True)
    lr_finder = FastaiLRFinder()
    to_save = {"model": model, "optimizer": optimizer}
    with lr_finder.attach(
        trainer, to_save, num_iter=100, start_lr=1e-6, end_lr=10.0, verify="auto"
    ) as trainer_with_lr_finder:
        trainer_with_lr_finder.run(loader)

    print(lr_finder)
    lr_finder.plot(figsize=(8, 5))
    plt.savefig(PLOT_PATH)
    print(f"Saved the plot to {PLOT_PATH}")
    lr_finder.apply_suggested_lr(optimizer)


def print_loss(trainer: Engine) -> None:
    """Print the training loss at the end of an epoch."""
    state = trainer.state
    print(f"  epoch {state.epoch}/{state.max_epochs}: loss {state.output:.3f}", flush=True)


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same initial weights; return the learning rate and the test accuracy."""
    torch.manual_seed(SEED)
    train_loader, test_loader = create_loaders()
    model = create_model()
    optimizer = SGD(model.parameters(), lr=GUESSED_LR, momentum=0.9)
    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())
    evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy()})

    if with_lr_finder:
        find_lr(trainer, model, optimizer, train_loader)

    lr = optimizer.param_groups[0]["lr"]
    print(f"\nTraining for {NUM_EPOCHS} epochs at {lr:.1e}", flush=True)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, print_loss)
    trainer.run(train_loader, max_epochs=NUM_EPOCHS)
    return lr, evaluator.run(test_loader).metrics["accuracy"]


def main() -> None:
    """Print the accuracy at the guessed and at the suggested learning rate."""
    without = train(with_lr_finder=False)
    found = train(with_lr_finder=True)
    print(f"\nAfter {NUM_EPOCHS} epochs from the same initial weights:")
    print(f"  {'':<20}{'learning rate':>15}{'test accuracy':>15}")
    for name, (lr, accuracy) in {"without the finder": without, "with the finder": found}.items():
        print(f"  {name:<20}{lr:>15.1e}{accuracy:>15.1%}")


if __name__ == "__main__":
    main()
