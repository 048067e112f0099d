"""Deep Q-learning: a replay buffer, a target network, and exploration that decays."""

import random
from collections import deque
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import nn

from programs import Program, log

SIZE = 6
GAMMA = 0.9
Transition = tuple[int, int, float, int]


def build(directory: Path) -> Program:
    """Walk along a corridor whose end has a reward."""
    q_net, target_net = nn.Linear(SIZE, 2), nn.Linear(SIZE, 2)
    target_net.load_state_dict(q_net.state_dict())
    optimizer = torch.optim.Adam(q_net.parameters(), lr=1e-2)
    replay: deque[Transition] = deque(maxlen=60)
    episode = {"place": 0, "num_done": 0, "epsilon": 1.0}
    one_hot = torch.eye(SIZE)

    def act(place: int) -> int:
        if random.random() < episode["epsilon"]:
            return random.randrange(2)
        return int(q_net(one_hot[place]).argmax())

    def explore() -> None:
        place = int(episode["place"])
        action = act(place)
        new = max(0, place + 2 * action - 1)
        is_done = new == SIZE - 1
        replay.append((place, action, float(is_done), new))
        episode["place"] = 0 if is_done else new
        episode["num_done"] += is_done
        episode["epsilon"] = max(0.1, episode["epsilon"] * 0.98)

    def update() -> float:
        place, action, reward, new = zip(*random.sample(replay, 8), strict=True)
        with torch.no_grad():
            best = target_net(one_hot[list(new)]).max(1).values
        target = torch.tensor(reward) + GAMMA * best * (1 - torch.tensor(reward))
        q = q_net(one_hot[list(place)]).gather(1, torch.tensor(action)[:, None])[:, 0]
        loss = nn.functional.mse_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def step(engine: Engine, batch: int) -> float:
        explore()
        while len(replay) < 8:
            explore()
        if engine.state.iteration % 7 == 0:
            target_net.load_state_dict(q_net.state_dict())
        return update()

    trainer = Engine(step)

    @trainer.on(Events.ITERATION_COMPLETED(every=20))
    def report() -> None:
        log.info("%r, %d transitions", episode, len(replay))

    to_save = {"model": q_net, "optimizer": optimizer}
    state = {**to_save, "target": target_net, "replay": list, "episode": episode}
    state["replay"] = lambda: list(replay)
    return Program(trainer, to_save, lambda: trainer.run(range(60), max_epochs=2), state)
