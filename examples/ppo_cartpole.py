"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) in plain PyTorch on Gymnasium's CartPole.

A step is one update, from 8 environments x 64 moves. Members are judged by the mean return of other episodes, which nobody trains on.
Environments are not part of a member: each interval begins with new ones. Needs lamarck[torch] and gymnasium.

    python examples/ppo_cartpole.py
    lamarck run examples/ppo_cartpole.py:train --interval 4 --generations 15
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import torch
from _command import settings, tell
from torch import nn

import lamarck as lk
from lamarck.integrations.torch import set_hparams

MOVES, EPOCHS, BATCH, GAMMA = 64, 4, 128, 0.99
environments = partial(gymnasium.make_vec, "CartPole-v1", vectorization_mode="vector_entry_point")  # many at once

space = lk.Space(
    lr=lk.Float(1e-5, 1e-1, log=True),
    entropy_cost=lk.Float(1e-4, 0.1, log=True),
    clip=lk.Float(0.05, 0.5, log=True),
    one_minus_lambda=lk.Float(0.005, 0.5, log=True),  # a factor on lambda itself would hardly move it
)


class Agent(nn.Module):
    """States of CartPole, ``float32[..., 4]``, to log-probabilities of the two actions, and to the return that is expected."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.value = (nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, n)) for n in (2, 1))

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(states).log_softmax(-1), self.value(states)[..., 0]


class Player:
    """Plays in environments, and goes on where it stopped. After an episode has ended, one move has no effect but to begin the next."""

    def __init__(self, agent: Agent, envs: Any, seed: int) -> None:
        self.agent, self.envs, self.dice = agent, envs, torch.Generator().manual_seed(seed)
        self.state, self.over = torch.from_numpy(envs.reset(seed=seed)[0]), torch.zeros(envs.num_envs, dtype=torch.bool)

    @torch.no_grad()
    def play(self, lam: float) -> tuple[torch.Tensor, ...]:
        """Returns states, actions, their log-probabilities, advantages and returns, a row for each move."""
        moves = []
        for _ in range(MOVES):
            log_p, value = self.agent(self.state)
            action = torch.multinomial(log_p.exp(), 1, generator=self.dice)
            state, reward, failed, timeout, _ = self.envs.step(action[:, 0].numpy())
            moves.append((self.state, action, log_p.gather(1, action), value, self.over, torch.from_numpy(reward), torch.from_numpy(failed)))
            self.state, self.over = torch.from_numpy(state), torch.from_numpy(failed | timeout)
        states, actions, log_ps, values, over, rewards, failures = (torch.stack(column) for column in zip(*moves, strict=True))
        ahead, ends = torch.cat([values[1:], self.agent(self.state)[1][None]]), torch.cat([over[1:], self.over[None]])
        errors = rewards + GAMMA * ahead * ~failures - values  # a timeout is no failure, but ends the sum below
        advantages, last = torch.zeros_like(values), torch.zeros(self.envs.num_envs)
        for i in reversed(range(MOVES)):  # Schulman et al. 2016, arXiv 1506.02438, eq. 16
            advantages[i] = last = errors[i] + GAMMA * lam * ~ends[i] * last
        real = ~over  # moves without effect teach nothing
        return states[real], actions[real], log_ps[real], advantages[real], (advantages + values)[real]


@torch.no_grad()
def returns(agent: Agent, envs: Any) -> list[float]:
    """Returns of one episode in each environment; chance is the same every time."""
    state, dice = envs.reset(seed=0)[0], torch.Generator().manual_seed(0)
    total, alive = torch.zeros(envs.num_envs), torch.ones(envs.num_envs, dtype=torch.bool)
    while alive.any():
        action = torch.multinomial(agent(torch.from_numpy(state))[0].exp(), 1, generator=dice)
        state, reward, failed, timeout, _ = envs.step(action[:, 0].numpy())
        total += torch.from_numpy(reward) * alive
        alive &= ~torch.from_numpy(failed | timeout)
    return total.tolist()


def train(worker: lk.Worker) -> None:
    """Trains members with Adam, and reports the mean return of 32 episodes, 500 at most."""
    torch.set_num_threads(1)
    agent, envs, arena = Agent(), environments(num_envs=8), environments(num_envs=32)
    optimizer = torch.optim.Adam(agent.parameters())
    worker.track(agent=agent, optimizer=optimizer)
    worker.on_fresh(lambda _: agent.load_state_dict(Agent().state_dict()))  # the global generator starts from the interval's seed
    for interval in worker:
        h = interval.hparams
        set_hparams(optimizer, lr=h["lr"])
        player = Player(agent, envs, interval.seed)
        for _ in interval.steps:
            x, a, old, advantage, target = player.play(1 - h["one_minus_lambda"])
            advantage = ((advantage - advantage.mean()) / (advantage.std() + 1e-8))[:, None]
            for rows in torch.cat([torch.randperm(len(x), generator=player.dice) for _ in range(EPOCHS)]).chunk(EPOCHS * len(x) // BATCH):
                log_p, value = agent(x[rows])
                ratio, gain = (log_p.gather(1, a[rows]) - old[rows]).exp(), advantage[rows]
                clipped = torch.min(ratio * gain, ratio.clamp(1 - h["clip"], 1 + h["clip"]) * gain).mean()  # eq. 7
                entropy = -(log_p.exp() * log_p).sum(1).mean()
                optimizer.zero_grad()
                (0.5 * nn.functional.mse_loss(value, target[rows]) - clipped - h["entropy_cost"] * entropy).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        samples = returns(agent, arena)
        interval.report(sum(samples) / len(samples), samples=samples)


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=4, **settings(__doc__, population_size=8, generations=15)))


if __name__ == "__main__":
    main()
