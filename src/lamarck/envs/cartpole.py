"""A pole on a cart, to be kept upright by pushing the cart to the left or to the right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from lamarck.envs.env import Box, Discrete, Env

__all__ = ["CartPole"]

_GRAVITY, _POLE, _CART, _HALF_LENGTH, _FORCE, _SECONDS = 9.8, 0.1, 1.0, 0.5, 10.0, 0.02
_MASS, _MOMENT = _CART + _POLE, _POLE * _HALF_LENGTH
_FARTHEST, _STEEPEST = 2.4, 12 * 2 * math.pi / 360


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CartPole(Env):
    """Gymnasium's ``CartPole-v1``.

    The state is seen as it is: position and speed of the cart, angle and angular speed of the pole. Each move earns 1 until the cart is
    2.4 m from the middle or the pole 12 degrees from upright. It counts as solved at a mean return of 475. From Barto, Sutton and
    Anderson (1983), "Neuronlike adaptive elements that can solve difficult learning control problems".

    Args:
        time_limit: Moves after which an episode is cut off.

    Example:
        >>> import torch
        >>> env = CartPole()
        >>> state, reward, terminated = env.advance(torch.tensor([0.0, 0.0, 0.3, 0.0]), torch.tensor(1))
        >>> float(reward), bool(terminated)
        (1.0, True)
    """

    state_size: ClassVar[int] = 4
    observation_size: ClassVar[int] = 4
    actions: ClassVar[Discrete | Box] = Discrete(2)

    time_limit: int = 500

    def initial(self, noise: torch.Tensor) -> torch.Tensor:
        """Returns states with all four numbers between -0.05 and 0.05."""
        return 0.1 * noise - 0.05

    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """Returns the states."""
        return state

    def advance(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Moves by one explicit Euler step of 0.02 s; action 1 pushes to the right."""
        x, speed, angle, turn = state.unbind(-1)
        sin, cos = angle.sin(), angle.cos()
        push = ((2 * _FORCE) * action - _FORCE + _MOMENT * turn.square() * sin) / _MASS
        turning = (_GRAVITY * sin - cos * push) / (_HALF_LENGTH * (4 / 3 - _POLE * cos.square() / _MASS))
        rates = torch.stack((speed, push - _MOMENT * turning * cos / _MASS, turn, turning), -1)
        new = torch.add(state, rates, alpha=_SECONDS)
        return new, torch.ones_like(x), (new[..., 0].abs() > _FARTHEST) | (new[..., 2].abs() > _STEEPEST)
