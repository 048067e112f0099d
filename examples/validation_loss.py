"""Find a learning rate by the loss on held-out digits instead of the loss on training batches.

Run it with `python examples/validation_loss.py`; it requires scikit-learn.
"""

import torch
from ignite.engine import create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from ignite_lrfinder import FastaiLRFinder

GUESSED_LR = 1e-5


def create_loaders() -> tuple[DataLoader, DataLoader, DataLoader]:
    """Return loaders of digits for training, for validation and for testing."""
    pixels, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels))
    train_set, val_set, test_set = random_split(dataset, [0.7, 0.1, 0.2])
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    return train_loader, DataLoader(val_set, batch_size=256), DataLoader(test_set, batch_size=256)


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same initial weights; return the learning rate and the test accuracy."""
    torch.manual_seed(0)
    train_loader, val_loader, test_loader = create_loaders()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=GUESSED_LR)
    loss_fn = nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optimizer, loss_fn)
    evaluator = create_supervised_evaluator(model, {"loss": Loss(loss_fn), "acc": Accuracy()})

    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        with lr_finder.attach(
            trainer,
            {"model": model, "optimizer": optimizer},
            num_iter=100,
            end_lr=100,
            val_loss=lambda: evaluator.run(val_loader).metrics["loss"],
        ) as trainer_with_lr_finder:
            trainer_with_lr_finder.run(train_loader)
        print(lr_finder)
        lr_finder.apply_suggested_lr(optimizer)

    trainer.run(train_loader, max_epochs=5)
    accuracy = evaluator.run(test_loader).metrics["acc"]
    return optimizer.param_groups[0]["lr"], accuracy


def main() -> None:
    """Print the accuracy at the guessed and at the suggested learning rate."""
    for name, with_lr_finder in {"guessed": False, "suggested": True}.items():
        lr, accuracy = train(with_lr_finder=with_lr_finder)
        print(f"{name:>9} learning rate {lr:.1e}: test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
