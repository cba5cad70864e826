"""A population of PPO agents and all their environments as one program, and its winner in Gymnasium's CartPole.

64 agents, each with 8 poles, train in the time that a few take one after the other. A step is one update, from 8 environments x 64 moves;
members are judged by 16 other episodes. CartPole counts as solved at a mean return of 475. Needs lamarck[torch] and gymnasium.

    python examples/ppo_vectorised.py
    lamarck run examples/ppo_vectorised.py:train --interval 5 --generations 15 --engine vectorised
"""

from __future__ import annotations

import gymnasium
import torch
from _command import settings, tell

import lamarck as lk
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.envs import CartPole
from lamarck.rl import PPO, ActorCritic

space = lk.Space(
    lr=lk.Float(1e-5, 1e-1, log=True),
    entropy_cost=lk.Float(1e-4, 0.1, log=True),
    clip=lk.Float(0.05, 0.5, log=True),
    one_minus_gae_lambda=lk.Float(0.005, 0.5, log=True),  # a factor on lambda itself would hardly move it
    one_minus_discount=lk.Float(0.002, 0.1, log=True),
)

train = PPO(env=CartPole(), copies=8, moves=64, hidden=(64, 64), episodes=16)


@torch.no_grad()
def played(agent: ActorCritic, episodes: int) -> list[float]:
    """Returns of an ordinary module in ordinary environments, without chance: it does what it holds most likely to be best."""
    env, returns = gymnasium.make("CartPole-v1"), []
    for seed in range(episodes):
        seen, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            log_probs, _ = agent(torch.from_numpy(seen))
            seen, reward, terminated, truncated, _ = env.step(int(log_probs.argmax()))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def main() -> None:
    """Trains a population, and lets its winner play."""
    weights = MemoryCheckpoints()
    given = settings(__doc__, population_size=64, generations=15, vectorised=True)
    history = lk.run(train, space, interval=5, checkpoints=weights, **given)
    tell(history)
    assert history.best.checkpoint is not None
    winner = ActorCritic(train.env, train.hidden)
    winner.load_state_dict(weights.get(history.best.checkpoint)["state"]["agent"])
    returns = played(winner, 20)
    print(f"\nthe winner in Gymnasium's CartPole: mean return {sum(returns) / len(returns):g}, least {min(returns):g}, of 20 episodes")


if __name__ == "__main__":
    main()
