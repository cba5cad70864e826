"""A pendulum, to be swung up and held there by a motor that is too weak to lift it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from lamarck.envs.env import Box, Discrete, Env

__all__ = ["Pendulum"]

_GRAVITY, _SECONDS, _FASTEST, _STRONGEST = 10.0, 0.05, 8.0, 2.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pendulum(Env):
    """Gymnasium's ``Pendulum-v1``: a rod of 1 m and 1 kg.

    The state is the angle, 0 when upright, and the angular speed; seen are cosine, sine and speed. A move is a torque from -2 to 2. It earns
    minus ``angle² + 0.1 speed² + 0.001 torque²``, -16.3 at worst. Episodes end by the time limit alone.

    Args:
        time_limit: Moves after which an episode is cut off.

    Example:
        >>> import math
        >>> import torch
        >>> env = Pendulum()
        >>> state, reward, terminated = env.advance(torch.tensor([math.pi, 0.0]), torch.tensor([0.0]))
        >>> round(float(reward), 3), bool(terminated)
        (-9.87, False)
    """

    state_size: ClassVar[int] = 2
    observation_size: ClassVar[int] = 3
    actions: ClassVar[Discrete | Box] = Box(1, -_STRONGEST, _STRONGEST)

    time_limit: int = 200

    def initial(self, noise: torch.Tensor) -> torch.Tensor:
        """Returns states of any angle, with a speed between -1 and 1."""
        angle, speed = (2 * noise - 1).unbind(-1)
        return torch.stack((angle * math.pi, speed), -1)

    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """Returns cosine, sine and angular speed."""
        angle, speed = state.unbind(-1)
        return torch.stack((angle.cos(), angle.sin(), speed), -1)

    def advance(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Moves by one semi-implicit Euler step of 0.05 s."""
        angle, speed = state.unbind(-1)
        torque = action[..., 0].clamp(-_STRONGEST, _STRONGEST)
        off = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        reward = -(off.square() + 0.1 * speed.square() + 0.001 * torque.square())
        speed = (speed + (1.5 * _GRAVITY * angle.sin() + 3 * torque) * _SECONDS).clamp(-_FASTEST, _FASTEST)
        return torch.stack((angle + speed * _SECONDS, speed), -1), reward, torch.zeros_like(angle, dtype=torch.bool)
