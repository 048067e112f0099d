"""Find a learning rate with gradient accumulation and automatic mixed precision.

On a GPU it trains in float16 with a gradient scaler, on a CPU in bfloat16, which does not need one.
Run it with `python examples/accumulation_amp.py`; it requires scikit-learn.
"""

import torch
from ignite.engine import create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from ignite_lrfinder import FastaiLRFinder

GUESSED_LR = 1e-5
NUM_MICRO_BATCHES = 4
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def create_loaders() -> tuple[DataLoader, DataLoader]:
    """Return a loader of training micro-batches and a loader of test digits."""
    pixels, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels))
    train_set, test_set = random_split(dataset, [0.8, 0.2])
    return DataLoader(train_set, batch_size=16, shuffle=True), DataLoader(test_set, batch_size=256)


def forward_in_bfloat16(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the model's logits, computed in bfloat16 where autocast allows it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model(x)


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same initial weights; return the learning rate and the test accuracy."""
    torch.manual_seed(0)
    train_loader, test_loader = create_loaders()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=GUESSED_LR)
    scaler = torch.amp.GradScaler(DEVICE, enabled=DEVICE == "cuda")
    precision: dict = (
        {"amp_mode": "amp", "scaler": scaler}
        if scaler.is_enabled()
        else {"model_fn": forward_in_bfloat16}
    )
    trainer = create_supervised_trainer(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        device=DEVICE,
        gradient_accumulation_steps=NUM_MICRO_BATCHES,
        **precision,
    )
    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        to_save = {"model": model, "optimizer": optimizer, "scaler": scaler}
        with lr_finder.attach(trainer, to_save, num_iter=100) as t:
            t.run(train_loader)
        num_points = len(lr_finder.result)
        print(f"The sweep took {num_points} optimizer steps of {NUM_MICRO_BATCHES} batches each.")
        lr_finder.apply_suggested_lr(optimizer)

    trainer.run(train_loader, max_epochs=5)
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy()}, device=DEVICE)
    accuracy = evaluator.run(test_loader).metrics["accuracy"]
    return optimizer.param_groups[0]["lr"], accuracy


def main() -> None:
    """Print the accuracy at the guessed and at the suggested learning rate."""
    for name, with_lr_finder in {"guessed": False, "suggested": True}.items():
        lr, accuracy = train(with_lr_finder=with_lr_finder)
        print(f"{name:>9} learning rate {lr:.1e}: test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
