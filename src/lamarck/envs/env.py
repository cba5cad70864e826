"""What an environment is, and how episodes are played one after the other."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from lamarck._errors import SettingsError

__all__ = ["Box", "Discrete", "Env", "Episodes", "Move", "begin", "step"]


@final
@dataclass(frozen=True, slots=True)
class Discrete:
    """Moves that are chosen from a list: whole numbers from 0, ``int64[...]``.

    Args:
        n: How many there are to choose from.
    """

    n: int


@final
@dataclass(frozen=True, slots=True)
class Box:
    """Moves that are real numbers, ``float[..., size]``; what lies outside the bounds counts as the bound.

    Args:
        size: How many numbers make a move.
        low: Lower bound of each.
        high: Upper bound of each.
    """

    size: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(abc.ABC):
    """An environment: three pure functions of tensors with any number of leading axes, which are alike and know nothing of each other.

    Args:
        time_limit: Moves after which an episode is cut off, at least 1.

    Raises:
        SettingsError: If the limit is not one.
    """

    state_size: ClassVar[int]
    """Numbers that make a state; as many random ones begin an episode."""

    observation_size: ClassVar[int]
    """Numbers that are seen of it."""

    actions: ClassVar[Discrete | Box]
    """What may be done."""

    time_limit: int

    def __post_init__(self) -> None:
        if isinstance(self.time_limit, bool) or not isinstance(self.time_limit, int) or self.time_limit < 1:
            raise SettingsError(f"time_limit: got {self.time_limit!r}; it must be a whole number of at least 1")

    @abc.abstractmethod
    def initial(self, noise: torch.Tensor) -> torch.Tensor:
        """Returns states in which episodes begin, ``[..., state_size]``.

        Args:
            noise: Uniform numbers between 0 and 1, ``[..., state_size]``; precision and device of the states follow from it.
        """

    @abc.abstractmethod
    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """Returns what an agent sees of states, ``[..., observation_size]``."""

    @abc.abstractmethod
    def advance(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the states after a move, the rewards ``[...]``, and whether the episodes have come to an end of their own, ``bool[...]``."""


@final
@dataclass(frozen=True, slots=True)
class Episodes:
    """Where some episodes stand.

    Args:
        state: States, ``[..., state_size]``.
        steps: Moves made so far, ``int64[...]``.
        over: Whether the episode has ended, so that the next move only begins a new one, ``bool[...]``.
    """

    state: torch.Tensor
    steps: torch.Tensor
    over: torch.Tensor


@final
@dataclass(frozen=True, slots=True)
class Move:
    """What came of a move.

    Args:
        after: Where the episodes stand now.
        reward: Rewards, ``[...]``.
        terminated: Whether the episode came to an end of its own, ``bool[...]``: nothing can be earned after it.
        truncated: Whether it was cut off by the time limit, ``bool[...]``: it would have gone on.
    """

    after: Episodes
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor


def begin(env: Env, noise: torch.Tensor) -> Episodes:
    """Begins episodes.

    Args:
        env: The environment.
        noise: Uniform numbers between 0 and 1, ``[..., state_size]``.

    Example:
        >>> import torch
        >>> from lamarck.envs import CartPole
        >>> begin(CartPole(), torch.full((2, 8, 4), 0.5)).state.shape
        torch.Size([2, 8, 4])
    """
    flat = noise[..., 0]
    return Episodes(env.initial(noise), torch.zeros_like(flat, dtype=torch.int64), torch.zeros_like(flat, dtype=torch.bool))


def step(env: Env, episodes: Episodes, action: torch.Tensor, noise: torch.Tensor) -> Move:
    """Makes a move in every episode; where one was over, the move has no effect but to begin the next, for no reward.

    That is how Gymnasium's vector environments do it unless told otherwise (``AutoresetMode.NEXT_STEP``): the last observation of an episode is
    seen, and what is expected after a truncation can be read off it. Nothing waits for the device.

    Args:
        env: The environment.
        episodes: Where they stand.
        action: What is done, as `Env.actions` says.
        noise: Uniform numbers for the episodes that begin, ``[..., state_size]``.

    Example:
        >>> import torch
        >>> from lamarck.envs import CartPole
        >>> env, middle = CartPole(), torch.full((3, 4), 0.5)
        >>> move = step(env, begin(env, middle), torch.tensor([0, 1, 1]), middle)
        >>> move.reward.tolist(), move.after.steps.tolist(), bool(move.terminated.any())
        ([1.0, 1.0, 1.0], [1, 1, 1], False)
    """
    state, reward, terminated = env.advance(episodes.state, action)
    going = ~episodes.over
    steps = (episodes.steps + 1) * going
    terminated, truncated = terminated & going, (steps >= env.time_limit) & going
    after = Episodes(torch.where(going[..., None], state, env.initial(noise)), steps, terminated | truncated)
    return Move(after, reward * going, terminated, truncated)
