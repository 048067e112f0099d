"""Find a learning rate for MONAI's SupervisedTrainer.

Run it with `python examples/monai_trainer.py`; it requires MONAI and scikit-learn.
"""
# MONAI may be missing when types are checked, and it exports less than it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import torch
from ignite.metrics import Accuracy
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import from_engine
from monai.networks.nets import FullyConnectedNet
from sklearn.datasets import load_digits

from ignite_lrfinder import FastaiLRFinder

GUESSED_LR = 1e-5


def create_loaders() -> tuple[DataLoader, DataLoader]:
    """Return a training loader with the first digits and a test loader with the last ones."""
    pixels, labels = load_digits(return_X_y=True)
    images, targets = torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels)
    items = [{"image": x, "label": y} for x, y in zip(images, targets, strict=True)]
    train_loader = DataLoader(Dataset(items[:1440]), batch_size=32, shuffle=True)
    return train_loader, DataLoader(Dataset(items[1440:]), batch_size=256)


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same initial weights; return the learning rate and the test accuracy."""
    torch.manual_seed(0)
    train_loader, test_loader = create_loaders()
    model = FullyConnectedNet(64, 10, hidden_channels=[64])
    optimizer = torch.optim.Adam(model.parameters(), lr=GUESSED_LR)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=5,
        train_data_loader=train_loader,
        network=model,
        optimizer=optimizer,
        loss_function=torch.nn.CrossEntropyLoss(),
    )
    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        with lr_finder.attach(
            trainer,
            {"model": model, "optimizer": optimizer},
            output_transform=from_engine("loss", first=True),
            num_iter=100,
            end_lr=100,
        ) as trainer_with_lr_finder:
            trainer_with_lr_finder.run()
        lr_finder.apply_suggested_lr(optimizer)

    trainer.run()
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=test_loader,
        network=model,
        key_val_metric={"accuracy": Accuracy(from_engine(["pred", "label"]))},
    )
    evaluator.run()
    return optimizer.param_groups[0]["lr"], evaluator.state.metrics["accuracy"]


def main() -> None:
    """Print the accuracy at the guessed and at the suggested learning rate."""
    for name, with_lr_finder in {"guessed": False, "suggested": True}.items():
        lr, accuracy = train(with_lr_finder=with_lr_finder)
        print(f"{name:>9} learning rate {lr:.1e}: test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
