"""How agents learn from what they lived through: the clipped objective, and Adam, for every member of a stack at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from lamarck.envs import keys, uniform
from lamarck.rl.agents import Leaves, forward, unpacked
from lamarck.rl.experience import Experience, advantages
from lamarck.rl.policies import Policy

__all__ = ["Batch", "Learner", "adam", "clipped_loss"]

BETAS, EPS = (0.9, 0.999), 1e-5
"""Of Adam. The last is that of the first implementation of PPO; PyTorch's own default is 1e-8."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Moves to learn from, ``[n, rows, ...]``.

    Args:
        seen: Observations, ``[n, rows, observation_size]``.
        action: What was done, ``[n, rows]`` or ``[n, rows, size]``.
        log_prob: Logarithm of how probable that was then.
        gain: How much better it was than expected.
        target: What the value should have been.
        real: 1, or 0 for a move without effect, which teaches nothing.
    """

    seen: torch.Tensor
    action: torch.Tensor
    log_prob: torch.Tensor
    gain: torch.Tensor
    target: torch.Tensor
    real: torch.Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """Goes through the moves of one update.

    Args:
        policy: What the agents' outputs mean.
        shapes: Names and shapes of an agent's leaves.
        epochs: How often to go through them.
        batches: Parts in which to do so.
    """

    policy: Policy
    shapes: Mapping[str, tuple[int, ...]]
    epochs: int
    batches: int

    def learn(self, stack: Leaves, lived: Experience, hparams: Leaves, key: torch.Tensor) -> None:
        """Changes a stack in place.

        Args:
            stack: ``"agent"``, ``"first"`` and ``"second"`` (Adam's moments), rows as `lamarck.rl.agents.packed` makes them; ``"steps"``.
            lived: What its members lived through.
            hparams: Columns ``[n]``.
            key: ``int64[n]``, from which each member's order of the moves comes.
        """
        rows = _rows(lived, hparams)
        for epoch in range(self.epochs):
            order = uniform(keys(key, epoch), rows.seen.shape[1]).argsort(stable=True, dim=-1)
            for part in order.chunk(self.batches, 1):
                self._step(stack, _picked(rows, part), hparams)

    def _step(self, stack: Leaves, batch: Batch, hparams: Leaves) -> None:
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in unpacked(stack["agent"], self.shapes).items()}
        loss = clipped_loss(self.policy, leaves, batch, hparams)
        # The sum over members keeps their gradients apart: no member's loss depends on another's weights.
        gradient = torch.cat([leaf.flatten(1) for leaf in torch.autograd.grad(loss.sum(), list(leaves.values()))], 1)
        length = gradient.square().sum(1, keepdim=True).sqrt()
        gradient *= (hparams["max_grad_norm"][:, None] / (length + 1e-6)).clamp(max=1)
        adam(stack, gradient, hparams["lr"])


def clipped_loss(policy: Policy, leaves: Mapping[str, torch.Tensor], batch: Batch, hparams: Leaves) -> torch.Tensor:
    """Returns each member's loss, ``[n]``: the clipped objective, with the values' squared error and the entropy (equations 7 and 9).

    Args:
        policy: What the agents' outputs mean.
        leaves: A stack of n agents.
        batch: What they learn from.
        hparams: Columns ``[n]``: ``clip``, ``value_cost``, ``entropy_cost``.
    """
    parameters, value = forward(leaves, batch.seen)
    clip, value_cost, entropy_cost = (hparams[name][:, None] for name in ("clip", "value_cost", "entropy_cost"))
    ratio = (policy.log_prob(parameters, batch.action) - batch.log_prob).exp()
    gain = torch.minimum(ratio * batch.gain, ratio.clamp(1 - clip, 1 + clip) * batch.gain)
    each = value_cost * (value - batch.target).square() - gain - entropy_cost * policy.entropy(parameters)
    return (each * batch.real).sum(1) / batch.real.sum(1).clamp(min=1)


@torch.no_grad()
def adam(stack: Leaves, gradient: torch.Tensor, lr: torch.Tensor) -> None:
    """Makes a step of Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) in place.

    Args:
        stack: ``"agent"``, ``"first"``, ``"second"``, each ``[n, numbers]``; ``"steps"``, ``int64[n]``.
        gradient: ``[n, numbers]``.
        lr: ``[n]``.
    """
    stack["steps"] += 1
    first, second = ((1 - beta ** stack["steps"].to(lr.dtype))[:, None] for beta in BETAS)
    stack["first"].lerp_(gradient, 1 - BETAS[0])
    stack["second"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    scale = stack["second"].sqrt().mul_(second.rsqrt()).add_(EPS)
    stack["agent"].sub_(torch.div(stack["first"], scale, out=scale).mul_(lr[:, None] / first))


def _rows(lived: Experience, hparams: Leaves) -> Batch:
    gain = advantages(lived, hparams["discount"], hparams["gae_lambda"])
    target = gain + lived.value[:, :-1]
    real = (~lived.over[:, :-1]).to(gain.dtype)
    count = real.sum((1, 2), keepdim=True)
    mean = (gain * real).sum((1, 2), keepdim=True) / count
    deviation = (((gain - mean) * real).square().sum((1, 2), keepdim=True) / count).sqrt()
    columns = (lived.seen, lived.action, lived.log_prob, (gain - mean) / (deviation + 1e-8), target, real)
    return Batch(**dict(zip(Batch.__dataclass_fields__, (column.flatten(1, 2) for column in columns), strict=True)))


def _picked(rows: Batch, order: torch.Tensor) -> Batch:
    def picked(column: torch.Tensor) -> torch.Tensor:
        index = order if column.dim() == 2 else order[..., None].expand(-1, -1, column.shape[-1])
        return column.gather(1, index)

    return Batch(**{name: picked(getattr(rows, name)) for name in Batch.__dataclass_fields__})
