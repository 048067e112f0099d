"""Find a learning rate for a train step written with Hugging Face Accelerate.

Run it with `python examples/accelerate_trainer.py`; it requires accelerate and scikit-learn.
"""
# accelerate may be missing when types are checked.
# pyright: reportMissingImports=false

import torch
from accelerate import Accelerator
from ignite.engine import Engine, create_supervised_evaluator
from ignite.metrics import Accuracy
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from ignite_lrfinder import FastaiLRFinder

GUESSED_LR = 1e-5


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same initial weights; return the learning rate and the test accuracy."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels))
    train_set, test_set = random_split(dataset, [0.8, 0.2])

    accelerator = Accelerator()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=GUESSED_LR)
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)

    def train_step(engine: Engine, batch: list[torch.Tensor]) -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        accelerator.backward(loss)
        optimizer.step()
        return loss.detach()

    trainer = Engine(train_step)
    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        to_save = {"model": model, "optimizer": optimizer}
        with lr_finder.attach(trainer, to_save, num_iter=100, end_lr=100) as t:
            t.run(train_loader)
        lr_finder.apply_suggested_lr(optimizer)

    trainer.run(train_loader, max_epochs=5)
    evaluator = create_supervised_evaluator(
        model, {"accuracy": Accuracy()}, device=accelerator.device
    )
    accuracy = evaluator.run(DataLoader(test_set, batch_size=256)).metrics["accuracy"]
    return optimizer.param_groups[0]["lr"], accuracy


def main() -> None:
    """Print the accuracy at the guessed and at the suggested learning rate."""
    for name, with_lr_finder in {"guessed": False, "suggested": True}.items():
        lr, accuracy = train(with_lr_finder=with_lr_finder)
        print(f"{name:>9} learning rate {lr:.1e}: test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
