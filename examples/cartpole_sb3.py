"""Stable-Baselines3: its PPO on Gymnasium's CartPole, interval by interval.

A step is one update, from 8 environments x 64 moves. Members are judged by the mean return of other episodes, which nobody trains on.

    python examples/cartpole_sb3.py
    lamarck run examples/cartpole_sb3.py:train --interval 4 --generations 15

Needs lamarck[sb3].
"""

from __future__ import annotations

import torch
from _command import settings, tell
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import lamarck as lk
from lamarck.integrations.stable_baselines3 import TunedAgent

ENVIRONMENTS, MOVES = 8, 64
UPDATE = ENVIRONMENTS * MOVES  # what Stable-Baselines3 calls steps

space = lk.Space(
    learning_rate=lk.Float(1e-5, 1e-1, log=True),
    ent_coef=lk.Float(1e-4, 0.1, log=True),
    clip_range=lk.Float(0.05, 0.5, log=True),
)


def agent(seed: int) -> PPO:
    """An agent that knows nothing yet."""
    envs = make_vec_env("CartPole-v1", n_envs=ENVIRONMENTS)
    return PPO("MlpPolicy", envs, n_steps=MOVES, batch_size=128, n_epochs=4, gae_lambda=0.95, seed=seed, device="cpu")


def train(worker: lk.Worker) -> None:
    """Trains members, and reports the mean return of 16 episodes, which are the same every time."""
    torch.set_num_threads(1)
    model, judged = agent(0), make_vec_env("CartPole-v1", n_envs=16)
    tuned = TunedAgent(model, total_timesteps=60 * UPDATE)  # what schedules would run over; here everything is tuned
    worker.track(agent=tuned)
    worker.on_fresh(lambda seed: model.set_parameters(agent(seed).get_parameters()))
    for interval in worker:
        tuned.train(range(interval.start * UPDATE, interval.until * UPDATE), **interval.hparams)
        judged.seed(0)
        returns, _ = evaluate_policy(model, judged, n_eval_episodes=16, return_episode_rewards=True)
        interval.report(sum(returns) / len(returns), samples=returns)


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=4, **settings(__doc__, population_size=8, generations=15)))


if __name__ == "__main__":
    main()
