"""Find one learning rate with two processes of DistributedDataParallel, over gloo on the CPU.

The script starts its two processes itself, or runs in the processes that torchrun starts:

    python examples/distributed.py
    torchrun --standalone --nproc-per-node 2 examples/distributed.py

It requires scikit-learn.
"""

import gc
import os

import ignite.distributed as idist
import torch
from ignite.engine import create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset, random_split

from ignite_lrfinder import FastaiLRFinder

GUESSED_LR = 1e-3
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # or Ignite would choose a GPU for each process


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same initial weights; return the learning rate and the test accuracy."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels))
    train_set, test_set = random_split(dataset, [0.8, 0.2])
    # `batch_size` is the total over all processes.
    train_loader = idist.auto_dataloader(train_set, batch_size=64, shuffle=True)
    test_loader = idist.auto_dataloader(test_set, batch_size=64)
    model = idist.auto_model(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
    optimizer = idist.auto_optim(torch.optim.SGD(model.parameters(), lr=GUESSED_LR))
    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())

    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        to_save = {"model": model, "optimizer": optimizer}
        with lr_finder.attach(trainer, to_save, num_iter=100, end_lr=100) as t:
            t.run(train_loader)
        # One write including the line break, because the processes share a terminal.
        print(
            f"rank {idist.get_rank()} suggests {lr_finder.lr_suggestion()!r}\n", end="", flush=True
        )
        lr_finder.apply_suggested_lr(optimizer)

    trainer.run(train_loader, max_epochs=5)
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy()})
    accuracy = evaluator.run(test_loader).metrics["accuracy"]
    return optimizer.param_groups[0]["lr"], accuracy


def compare(local_rank: int) -> None:
    """Train at both learning rates; rank 0 prints the accuracies."""
    for name, with_lr_finder in {"guessed": False, "suggested": True}.items():
        lr, accuracy = train(with_lr_finder=with_lr_finder)
        if idist.get_rank() == 0:
            print(f"{name:>9} learning rate {lr:.1e}: test accuracy {accuracy:.1%}", flush=True)
    gc.collect()  # a DDP model must be freed before its process group is destroyed


def main() -> None:
    """Start two processes, or join the ones that torchrun started."""
    is_started = "WORLD_SIZE" in os.environ
    parallel = idist.Parallel(  # pyright: ignore[reportPrivateImportUsage]  # it is documented
        backend="gloo", nproc_per_node=None if is_started else 2
    )
    with parallel:
        parallel.run(compare)


if __name__ == "__main__":
    main()
