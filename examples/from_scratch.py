"""Sweep a network with hand-written gradients and a hand-written optimizer.

Run it with `python examples/from_scratch.py`; it requires scikit-learn.
"""

import torch
from ignite.engine import Engine
from sklearn.datasets import load_digits

from ignite_lrfinder import FastaiLRFinder


class HandWrittenSGD:
    """Gradient descent in a plain object, with the four attributes that the finder requires."""

    def __init__(self, params: list[torch.Tensor], lr: float) -> None:
        self.param_groups: list[dict] = [{"params": params, "lr": lr}]

    def step(self, grads: list[torch.Tensor]) -> None:
        """Move each parameter against its gradient."""
        for param, grad in zip(self.param_groups[0]["params"], grads, strict=True):
            param -= self.param_groups[0]["lr"] * grad

    def state_dict(self) -> dict:
        """Return the learning rate, which is the whole state."""
        return {"lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state: dict) -> None:
        """Load the learning rate."""
        self.param_groups[0]["lr"] = state["lr"]


def train(*, with_lr_finder: bool) -> None:
    """Train from the same initial weights and print the accuracy on unseen digits."""
    torch.manual_seed(0)
    x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
    x = x.float() / 16
    w, v = torch.randn(64, 64) / 8, torch.randn(64, 10) / 8
    optimizer = HandWrittenSGD([w, v], lr=1e-3)

    def train_step(engine: Engine, rows: torch.Tensor) -> torch.Tensor:
        hidden = (x[rows] @ w).clamp(min=0)
        log_p = (hidden @ v).log_softmax(1)
        d_scores = (log_p.exp() - torch.eye(10)[y[rows]]) / len(rows)
        optimizer.step([x[rows].T @ (d_scores @ v.T * (hidden > 0)), hidden.T @ d_scores])
        return -log_p.gather(1, y[rows, None]).mean()

    trainer, batches = Engine(train_step), torch.randperm(1440).split(32)
    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        with lr_finder.attach(trainer, {"optimizer": optimizer}, num_iter=100, end_lr=1000) as t:
            t.run(batches)
        lr_finder.apply_suggested_lr(optimizer)
    trainer.run(batches, max_epochs=5)
    is_right = ((x[1440:] @ w).clamp(min=0) @ v).argmax(1) == y[1440:]
    lr, name = optimizer.param_groups[0]["lr"], "suggested" if with_lr_finder else "guessed"
    print(f"{name:>9} learning rate {lr:.1e}: test accuracy {is_right.float().mean():.1%}")


if __name__ == "__main__":
    train(with_lr_finder=False)
    train(with_lr_finder=True)
