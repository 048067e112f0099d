"""Actor and critic: an iteration is a time step, and the optimizer steps as an episode ends."""

from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.distributions import Categorical

from programs import Program, log


class Balance:
    """An environment in which a stick falls unless it is pushed to the other side."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.angle = self.speed = 0.0

    def reset(self) -> list[float]:
        """Begin an episode."""
        self.angle, self.speed = self.rng.uniform(-0.2, 0.2, 2).tolist()
        return [self.angle, self.speed]

    def step(self, action: int) -> tuple[list[float], float, bool]:
        """Push, and return what is observed, the reward, and whether the stick has fallen."""
        self.speed += 0.3 * self.angle + 0.1 * (2 * action - 1)
        self.angle += self.speed
        return [self.angle, self.speed], 1.0, abs(self.angle) > 1.0


class Policy(nn.Module):
    """The probabilities of the actions, and the value of what is observed."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 8)
        self.actor, self.critic = nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, observed: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(torch.tensor(observed)))
        return torch.softmax(self.actor(hidden), -1), self.critic(hidden)


def build(directory: Path) -> Program:
    """Keep the handler that takes the step, and read the loss that it leaves."""
    env, policy = Balance(), Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    saved: list[tuple[torch.Tensor, torch.Tensor]] = []
    rewards: list[float] = []

    def time_step(engine: Engine, batch: int) -> float:
        probabilities, value = policy(engine.state.observed)  # type: ignore[attr-defined]
        choice = Categorical(probabilities)
        action = choice.sample()
        saved.append((choice.log_prob(action), value))
        engine.state.observed, reward, is_done = env.step(int(action))  # type: ignore[attr-defined]
        rewards.append(reward)
        if is_done:
            engine.terminate_epoch()
        return engine.state.loss  # type: ignore[attr-defined]

    trainer = Engine(time_step)

    @trainer.on(Events.STARTED)
    def initialize() -> None:
        trainer.state.running_length = 10.0  # type: ignore[attr-defined]
        trainer.state.loss = 0.0  # type: ignore[attr-defined]

    @trainer.on(Events.EPOCH_STARTED)
    def reset() -> None:
        trainer.state.observed = env.reset()  # type: ignore[attr-defined]

    @trainer.on(Events.EPOCH_COMPLETED)
    def finish_episode() -> None:
        returns, total = [], 0.0
        for reward in reversed(rewards):
            total = reward + 0.99 * total
            returns.insert(0, total)
        losses = [
            nn.functional.smooth_l1_loss(value, torch.tensor([target]))
            - log_prob * (target - value.item())
            for (log_prob, value), target in zip(saved, returns, strict=True)
        ]
        loss = torch.stack([loss.sum() for loss in losses]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trainer.state.loss = loss.item()  # type: ignore[attr-defined]
        saved.clear()
        rewards.clear()

    @trainer.on(Events.EPOCH_COMPLETED(every=5))
    def report() -> None:
        log.info("episode %d: %d steps", trainer.state.epoch, trainer.state.iteration)

    to_save = {"model": policy, "optimizer": optimizer}
    state = {**to_save, "env": vars(env), "rewards": rewards, "saved": saved}
    run = lambda: trainer.run(range(50), max_epochs=15)  # noqa: E731  # as users write it
    return Program(trainer, to_save, run, state, {"keep_handlers": [finish_episode]})
