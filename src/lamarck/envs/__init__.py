"""Environments in tensors: thousands of episodes advance in one call, on the device where the agents are.

An environment is a frozen value and three pure functions: where an episode begins, what is seen, and what a move does. Dynamics, observations,
rewards, ends and time limits are Gymnasium's (Towers et al. 2024, arXiv 2407.17032). `begin` and `step` play, in any batch shape, e.g.
``[members, copies]``.
"""

from __future__ import annotations

from lamarck._errors import require

require("torch", "torch", "lamarck.envs")

from lamarck.envs.acrobot import Acrobot  # noqa: E402 - the error for those without PyTorch comes first
from lamarck.envs.cartpole import CartPole  # noqa: E402
from lamarck.envs.env import Box, Discrete, Env, Episodes, Move, begin, step  # noqa: E402
from lamarck.envs.noise import keys, normal, uniform  # noqa: E402
from lamarck.envs.pendulum import Pendulum  # noqa: E402

__all__ = ["Acrobot", "Box", "CartPole", "Discrete", "Env", "Episodes", "Move", "Pendulum", "begin", "keys", "normal", "step", "uniform"]
