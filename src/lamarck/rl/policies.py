"""What an agent's outputs mean: distributions over moves, as functions of stacked tensors."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import final

import torch

from lamarck.envs import Box, Discrete

__all__ = ["Categorical", "Gaussian", "Policy", "policy_for"]


class Policy(abc.ABC):
    """A family of distributions over moves. Its members are named by parameters ``[..., k]``, from which everything follows row by row."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def draws(self) -> int:
        """Uniform numbers that one move takes."""

    @abc.abstractmethod
    def choose(self, parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Makes moves of uniform numbers ``[..., draws]``, in the form that `lamarck.envs.Env.actions` has."""

    @abc.abstractmethod
    def log_prob(self, parameters: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Returns the logarithms of the moves' probabilities or densities, ``[...]``."""

    @abc.abstractmethod
    def entropy(self, parameters: torch.Tensor) -> torch.Tensor:
        """Returns the entropies, ``[...]``, in nats."""


@final
@dataclass(frozen=True, slots=True)
class Categorical(Policy):
    """One of a list of moves; the parameters are their log-probabilities.

    Example:
        >>> import torch
        >>> policy, even = Categorical(), torch.full((3, 2), 0.5).log()
        >>> policy.choose(even, torch.tensor([[0.1], [0.4], [0.9]])).tolist(), round(float(policy.entropy(even)[0]), 3)
        ([0, 0, 1], 0.693)
    """

    @property
    def draws(self) -> int:
        """One number."""
        return 1

    def choose(self, parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Inverts the distribution function; rounding cannot lead beyond the last move."""
        return (parameters[..., :-1].exp().cumsum(-1) < noise).sum(-1)

    def log_prob(self, parameters: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Looks them up."""
        return parameters.gather(-1, action[..., None])[..., 0]

    def entropy(self, parameters: torch.Tensor) -> torch.Tensor:
        """Minus the sum of p log p."""
        return -(parameters.exp() * parameters).sum(-1)


@final
@dataclass(frozen=True, slots=True)
class Gaussian(Policy):
    """Real numbers, independent and normal; the parameters are their means, and after these the logarithms of their standard deviations.

    Args:
        size: How many numbers make a move.

    Example:
        >>> import torch
        >>> policy, parameters = Gaussian(1), torch.tensor([3.0, 0.0])
        >>> policy.choose(parameters, torch.tensor([0.5])).tolist(), round(float(policy.log_prob(parameters, torch.tensor([3.0]))), 3)
        ([3.0], -0.919)
    """

    size: int

    @property
    def draws(self) -> int:
        """One number for each."""
        return self.size

    def choose(self, parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Takes quantiles."""
        mean, spread = parameters.chunk(2, -1)
        quantiles: torch.Tensor = torch.special.ndtri(noise)
        return mean + spread.exp() * quantiles

    def log_prob(self, parameters: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Adds up the logarithms of the normal densities."""
        mean, spread = parameters.chunk(2, -1)
        return (-0.5 * ((action - mean) * (-spread).exp()).square() - spread - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, parameters: torch.Tensor) -> torch.Tensor:
        """Depends on the standard deviations alone."""
        return (parameters[..., self.size :] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


def policy_for(actions: Discrete | Box) -> Policy:
    """Returns the family that fits an environment's moves.

    Example:
        >>> from lamarck.envs import Box, Discrete
        >>> policy_for(Discrete(2)), policy_for(Box(3, -1.0, 1.0))
        (Categorical(), Gaussian(size=3))
    """
    return Categorical() if isinstance(actions, Discrete) else Gaussian(actions.size)
