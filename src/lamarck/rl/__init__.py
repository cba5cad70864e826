"""Reinforcement learning for a whole population at once: agents and environments are one program on one device."""

from __future__ import annotations

from lamarck._errors import require

require("torch", "torch", "lamarck.rl")

from lamarck.rl.agents import ActorCritic  # noqa: E402 - the error for those without PyTorch comes first
from lamarck.rl.experience import Experience, advantages  # noqa: E402
from lamarck.rl.ppo import PPO  # noqa: E402

__all__ = ["PPO", "ActorCritic", "Experience", "advantages"]
