"""Find the discriminator's learning rate in a small GAN, whose train step uses two optimizers.

Run it with `python examples/gan.py`.
"""

import math

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.nn.functional import softplus

from ignite_lrfinder import FastaiLRFinder

GENERATOR_LR = 1e-3
GUESSED_LR = 1e-4
NUM_EPOCHS = 5


def sample_ring(num_points: int) -> Tensor:
    """Return noisy points on the unit circle, which the generator learns to imitate."""
    angles = 2 * math.pi * torch.rand(num_points)
    return torch.stack([angles.cos(), angles.sin()], 1) + 0.05 * torch.randn(num_points, 2)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Return the distance between two samples; about 0 if they have the same distribution."""
    return (
        2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
    ).item()


def create_network(num_outputs: int) -> nn.Module:
    """Return a network with 2 inputs: a generator with 2 outputs, a discriminator with 1."""
    hidden = [nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)]
    return nn.Sequential(*hidden, nn.Linear(64, num_outputs))


def train(*, with_lr_finder: bool) -> tuple[float, float]:
    """Train from the same weights; return the discriminator's rate and the energy distance."""
    torch.manual_seed(0)
    generator, discriminator = create_network(2), create_network(1)
    g_optimizer = torch.optim.Adam(generator.parameters(), GENERATOR_LR, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), GUESSED_LR, betas=(0.5, 0.999))

    def train_step(engine: Engine, real: Tensor) -> dict[str, Tensor]:
        fake = generator(torch.randn(len(real), 2))
        d_loss = (softplus(-discriminator(real)) + softplus(discriminator(fake.detach()))).mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        g_loss = softplus(-discriminator(fake)).mean()
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        return {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}

    trainer = Engine(train_step)
    batches = sample_ring(6400).split(64)
    if with_lr_finder:
        lr_finder = FastaiLRFinder()
        to_save = {
            "optimizer": d_optimizer,
            "discriminator": discriminator,
            "generator": generator,
            "g_optimizer": g_optimizer,
        }
        with lr_finder.attach(
            trainer,
            to_save,
            output_transform=lambda output: output["d_loss"],
            num_iter=100,
            start_lr=1e-5,
            end_lr=1.0,
            verify="auto",
        ) as t:
            t.run(batches)
        lr_finder.apply_suggested_lr(d_optimizer)

    trainer.run(batches, max_epochs=NUM_EPOCHS)
    with torch.no_grad():
        distance = energy_distance(generator(torch.randn(1000, 2)), sample_ring(1000))
    return d_optimizer.param_groups[0]["lr"], distance


def main() -> None:
    """Print the distance at the guessed and at the suggested learning rate."""
    for name, with_lr_finder in {"guessed": False, "suggested": True}.items():
        lr, distance = train(with_lr_finder=with_lr_finder)
        print(f"{name:>9} learning rate {lr:.1e}: energy distance {distance:.4f}")


if __name__ == "__main__":
    main()
