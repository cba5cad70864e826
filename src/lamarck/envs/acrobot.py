"""Two links on a bar, to be swung up by a motor at the joint between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from lamarck.envs.env import Box, Discrete, Env

__all__ = ["Acrobot"]

_GRAVITY, _SECONDS, _FASTEST = 9.8, 0.2, (4 * math.pi, 9 * math.pi)
_CENTRE, _INERTIA = 0.5, 1.0  # of links of 1 m and 1 kg


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Acrobot(Env):
    """Gymnasium's ``Acrobot-v1``, with the equations of Sutton and Barto ("Reinforcement Learning", 2018, §11.3).

    The state is the angle of the upper link, 0 when hanging, the angle of the lower against it, and both speeds; seen are cosine and sine of
    both angles, and the speeds. A move is a torque of -1, 0 or 1. Each earns -1 but the last, with which the lower end is 1 m above the bar.

    Args:
        time_limit: Moves after which an episode is cut off.

    Example:
        >>> import torch
        >>> env = Acrobot()
        >>> state, reward, terminated = env.advance(torch.zeros(4), torch.tensor(1))  # hangs, and is left alone
        >>> float(reward), bool(terminated), bool(state.abs().max() < 1e-5)
        (-1.0, False, True)
    """

    state_size: ClassVar[int] = 4
    observation_size: ClassVar[int] = 6
    actions: ClassVar[Discrete | Box] = Discrete(3)

    time_limit: int = 500

    def initial(self, noise: torch.Tensor) -> torch.Tensor:
        """Returns states with all four numbers between -0.1 and 0.1."""
        return 0.2 * noise - 0.1

    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """Returns cosine and sine of the first angle, of the second, and both speeds."""
        first, second, *speeds = state.unbind(-1)
        return torch.stack((first.cos(), first.sin(), second.cos(), second.sin(), *speeds), -1)

    def advance(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Moves by one step of 0.2 s of the classical Runge-Kutta method."""
        torque = action.to(state.dtype) - 1
        k1 = _rates(state, torque)
        k2 = _rates(state + _SECONDS / 2 * k1, torque)
        k3 = _rates(state + _SECONDS / 2 * k2, torque)
        k4 = _rates(state + _SECONDS * k3, torque)
        first, second, speed, turn = (state + _SECONDS / 6 * (k1 + 2 * k2 + 2 * k3 + k4)).unbind(-1)
        first, second = _wrapped(first), _wrapped(second)
        new = torch.stack((first, second, speed.clamp(-_FASTEST[0], _FASTEST[0]), turn.clamp(-_FASTEST[1], _FASTEST[1])), -1)
        terminated = -first.cos() - (first + second).cos() > 1
        return new, terminated.to(state.dtype) - 1, terminated


def _rates(state: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
    """The derivative of a state with respect to time."""
    first, second, speed, turn = state.unbind(-1)
    sin, cos = second.sin(), second.cos()
    own = _CENTRE**2 + _INERTIA  # of a link about its end
    both, lower = 2 * own + 1 + 2 * _CENTRE * cos, own + _CENTRE * cos
    pull = _CENTRE * _GRAVITY * (first + second).sin()
    pulls = pull + (_CENTRE + 1) * _GRAVITY * first.sin() - _CENTRE * turn * (turn + 2 * speed) * sin
    bend = (torque + lower / both * pulls - _CENTRE * speed.square() * sin - pull) / (own - lower.square() / both)
    return torch.stack((speed, turn, -(lower * bend + pulls) / both, bend), -1)


def _wrapped(angle: torch.Tensor) -> torch.Tensor:
    """Brings an angle between minus and plus pi."""
    return angle - 2 * math.pi * ((angle - math.pi) / (2 * math.pi)).ceil()
