"""Agents: a policy and an estimate of what it will earn, as one ordinary module for each member, and as stacks of them.

A stack is the modules' ``state_dict`` with the members along a new first axis. Its forward pass is written out as batched matrix products. That
is 1.2 to 1.6 times as fast on a CPU as `torch.func.vmap` of the module, most with few members, and gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import final

import torch
from torch import nn

from lamarck.envs import Discrete, Env, keys, normal

__all__ = ["ActorCritic", "Leaves", "agents", "forward", "packed", "shapes", "unpacked"]

Leaves = dict[str, torch.Tensor]
"""Tensors by name, members first."""


@final
class ActorCritic(nn.Module):
    """One agent: two perceptrons with tanh, the policy's and the value's. Load the winner of a run into it.

    Args:
        env: The environment: it says how many numbers go in and come out.
        hidden: Widths of the hidden layers.

    Example:
        >>> import torch
        >>> from lamarck.envs import CartPole
        >>> log_probs, value = ActorCritic(CartPole(), (64, 64))(torch.zeros(10, 4))
        >>> log_probs.shape, value.shape
        (torch.Size([10, 2]), torch.Size([10]))
    """

    def __init__(self, env: Env, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.discrete = isinstance(env.actions, Discrete)
        moves = env.actions.n if isinstance(env.actions, Discrete) else env.actions.size
        self.policy = _perceptron((env.observation_size, *hidden, moves))
        self.value = _perceptron((env.observation_size, *hidden, 1))
        if not self.discrete:
            self.log_std = nn.Parameter(torch.zeros(moves))

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the parameters of the policy, and what it is expected to earn from here on.

        Args:
            seen: Observations, ``[..., observation_size]``.

        Returns:
            Log-probabilities ``[..., n]`` of discrete moves, or means and logarithms of standard deviations ``[..., 2 * size]``; values
            ``[...]``.
        """
        out = self.policy(seen)
        if self.discrete:
            return out.log_softmax(-1), self.value(seen)[..., 0]
        return torch.cat((out, self.log_std.expand_as(out)), -1), self.value(seen)[..., 0]


def agents(env: Env, hidden: Sequence[int], seeds: torch.Tensor, dtype: torch.dtype) -> Leaves:
    """Makes a stack of new agents, each from its own seed.

    Weights are orthogonal, biases zero, and the policy begins almost indifferent (gains: 2 ** 0.5, 0.01 for the policy's last layer, 1 for the
    value's), which Andrychowicz et al. (2021, "What matters for on-policy deep actor-critic methods?", §3.2) found to matter.

    Args:
        env: The environment.
        hidden: Widths of the hidden layers.
        seeds: ``int64[n]``; where they are, the agents will be.
        dtype: Precision.

    Example:
        >>> import torch
        >>> from lamarck.envs import CartPole
        >>> stack = agents(CartPole(), (8,), torch.arange(5), torch.float32)
        >>> {name: tuple(leaf.shape) for name, leaf in stack.items() if name.startswith("policy")}
        {'policy.0.weight': (5, 8, 4), 'policy.0.bias': (5, 8), 'policy.2.weight': (5, 2, 8), 'policy.2.bias': (5, 2)}
    """
    last = f"{2 * len(hidden)}.weight"
    gains = {f"policy.{last}": 0.01, f"value.{last}": 1.0}
    return {
        name: gains.get(name, math.sqrt(2)) * _orthogonal(keys(seeds, index), shape, dtype)
        if name.endswith("weight")
        else torch.zeros(len(seeds), *shape, dtype=dtype, device=seeds.device)
        for index, (name, shape) in enumerate(shapes(env, tuple(hidden)).items())
    }


@lru_cache(maxsize=64)
def shapes(env: Env, hidden: tuple[int, ...]) -> Mapping[str, tuple[int, ...]]:
    """Returns the names and shapes of what one agent has learnt.

    Args:
        env: The environment.
        hidden: Widths of the hidden layers.
    """
    with torch.device("meta"):  # names and shapes are wanted, not numbers
        return {name: tuple(leaf.shape) for name, leaf in ActorCritic(env, hidden).state_dict().items()}


def packed(leaves: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Puts the numbers of each agent into one row, ``[n, numbers]``, so that an optimizer touches all of them in one call."""
    return torch.cat([leaf.flatten(1) for leaf in leaves.values()], 1)


def unpacked(rows: torch.Tensor, shapes: Mapping[str, tuple[int, ...]]) -> Leaves:
    """Returns the leaves that `packed` put into rows: views, not copies."""
    pieces = rows.split_with_sizes([math.prod(shape) for shape in shapes.values()], 1)
    return {name: piece.view(-1, *shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def forward(leaves: Mapping[str, torch.Tensor], seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs every agent of a stack on observations of its own: `ActorCritic.forward` for all of them.

    Args:
        leaves: The stack.
        seen: ``[n, rows, observation_size]``.

    Returns:
        Parameters of the policies ``[n, rows, k]``, and values ``[n, rows]``.
    """
    out, value = _stacked(leaves, "policy", seen), _stacked(leaves, "value", seen)[..., 0]
    if (spread := leaves.get("log_std")) is None:
        return out.log_softmax(-1), value
    return torch.cat((out, spread[:, None].expand_as(out)), -1), value


def _stacked(leaves: Mapping[str, torch.Tensor], part: str, x: torch.Tensor) -> torch.Tensor:
    depth = sum(name.startswith(part) for name in leaves) // 2
    for layer in range(depth):
        weight, bias = (leaves[f"{part}.{2 * layer}.{kind}"] for kind in ("weight", "bias"))
        x = torch.baddbmm(bias[:, None], x, weight.mT)
        if layer < depth - 1:
            x = x.tanh_()
    return x


def _orthogonal(key: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Orthonormal rows or columns, whichever are fewer, without a preferred direction (Mezzadri 2007, arXiv math-ph/0609050, §5)."""
    rows, columns = shape
    q: torch.Tensor
    q, r = torch.linalg.qr(normal(key, max(rows, columns), min(rows, columns), dtype=dtype))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return (q if rows >= columns else q.mT).contiguous()


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    def layers() -> Iterator[nn.Module]:
        for number, (inward, outward) in enumerate(pairwise(widths)):
            if number:
                yield nn.Tanh()
            yield nn.Linear(inward, outward)

    return nn.Sequential(*layers())
