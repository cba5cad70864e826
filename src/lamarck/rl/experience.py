"""What agents live through, and what they make of it: moves of a whole population, and how much better each was than expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch

from lamarck.envs import Env, Episodes, begin, keys, step, uniform
from lamarck.rl.agents import Leaves, forward
from lamarck.rl.policies import Policy
from lamarck.rl.stage import Stage

__all__ = ["Experience", "advantages", "play", "returns"]

_PATIENCE = 32
"""Moves between two looks at whether all episodes are over, at most; each look waits for the device."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Moves of n members, each in some copies of an environment.

    Args:
        seen: Observations, ``[n, moves, copies, observation_size]``.
        action: What was done, ``[n, moves, copies]`` or ``[n, moves, copies, size]``.
        log_prob: Logarithm of how probable that was, ``[n, moves, copies]``.
        reward: What it earned, likewise.
        terminated: Whether the episode came to an end of its own with this move, likewise.
        value: What was expected before each move, and at the end, ``[n, moves + 1, copies]``.
        over: Whether the episode had ended before, so that the move only began a new one, and at the end, likewise.
    """

    seen: torch.Tensor
    action: torch.Tensor
    log_prob: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor
    value: torch.Tensor
    over: torch.Tensor


@torch.no_grad()
def play(env: Env, policy: Policy, agents: Leaves, episodes: Episodes, moves: int, key: torch.Tensor) -> tuple[Experience, Episodes]:
    """Lets every member make moves in every copy of its environment, going on from where the episodes stand.

    Args:
        env: The environment.
        policy: What the agents' outputs mean.
        agents: A stack of n agents.
        episodes: Of shape ``[n, copies]``.
        moves: How many.
        key: ``int64[n]``, from which all chance comes.
    """
    noise = uniform(key, moves, episodes.over.shape[1], policy.draws + env.state_size, dtype=episodes.state.dtype)
    lived: list[tuple[torch.Tensor, ...]] = []
    values, over = [], []
    for draw in noise.unbind(1):
        seen = env.observe(episodes.state)
        parameters, value = forward(agents, seen)
        action = policy.choose(parameters, draw[..., : policy.draws])
        move = step(env, episodes, action, draw[..., policy.draws :])
        lived.append((seen, action, policy.log_prob(parameters, action), move.reward, move.terminated))
        values.append(value)
        over.append(episodes.over)
        episodes = move.after
    values.append(forward(agents, env.observe(episodes.state))[1])
    over.append(episodes.over)
    columns = [torch.stack([*column], 1) for column in (*zip(*lived, strict=True), values, over)]
    return Experience(**dict(zip(Experience.__dataclass_fields__, columns, strict=True))), episodes


def advantages(experience: Experience, discount: torch.Tensor, gae_lambda: torch.Tensor) -> torch.Tensor:
    """Says how much better each move was than expected (Schulman et al. 2016, arXiv 1506.02438, equation 16).

    Nothing is expected after a termination. After a truncation, what was expected there is; no sum goes on beyond either.

    Args:
        experience: The moves.
        discount: ``[n]``; what a reward one move later is worth, 0 to 1.
        gae_lambda: ``[n]``; 0 trusts the values, 1 the rewards.

    Returns:
        ``[n, moves, copies]``; without meaning where a move only began an episode.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 2, 1)
        >>> never, values = torch.zeros(1, 3, 1, dtype=torch.bool), torch.zeros(1, 3, 1)
        >>> lived = Experience(seen=one, action=one, log_prob=one, reward=one, terminated=never[:, 1:], value=values, over=never)
        >>> advantages(lived, torch.tensor([0.5]), torch.tensor([1.0])).flatten().tolist()
        [1.5, 1.0]
    """
    discount, decay = discount[:, None], (discount * gae_lambda)[:, None]
    ahead = experience.value[:, 1:] * ~experience.terminated
    errors = experience.reward + discount[..., None] * ahead - experience.value[:, :-1]
    fading = decay[..., None] * ~experience.over[:, 1:]
    sums, last = [], torch.zeros_like(errors[:, 0])
    for error, fade in zip(reversed(errors.unbind(1)), reversed(fading.unbind(1)), strict=True):
        last = error + fade * last
        sums.append(last)
    return torch.stack(sums[::-1], 1)


@torch.no_grad()
def returns(env: Env, policy: Policy, agents: Leaves, count: int, key: torch.Tensor, stage: Stage | None = None) -> torch.Tensor:
    """Plays new episodes to their end and returns what each earned, ``[n, count]``.

    Args:
        env: The environment.
        policy: What the agents' outputs mean.
        agents: A stack of n agents.
        count: Episodes for each.
        key: ``int64[n]``, from which all chance comes.
        stage: Where; always of the same environment, policy and count.
    """
    stage = stage or Stage(key.device.type, recorded=False)
    begun = begin(env, uniform(keys(key, 0), count, env.state_size, dtype=next(iter(agents.values())).dtype))
    state, steps, over, total, alive = stage.hold(
        begun.state, begun.steps, begun.over, torch.zeros_like(begun.state[..., 0]), torch.ones_like(begun.over)
    )
    looks = -(-env.time_limit // _PATIENCE)
    moves = -(-env.time_limit // looks)  # beyond the limit nobody is alive

    def play_on(told: Mapping[str, Any]) -> None:
        episodes, again = Episodes(state, steps, over), torch.zeros_like(state)
        for number in range(moves):
            parameters, _ = forward(told["agents"], env.observe(episodes.state))
            noise = uniform(keys(told["key"], told["first"] + number), count, policy.draws, dtype=state.dtype)
            move = step(env, episodes, policy.choose(parameters, noise), again)
            total.add_(move.reward * alive)
            episodes = move.after
            alive.logical_and_(~episodes.over)
        for held, now in zip((state, steps, over), (episodes.state, episodes.steps, episodes.over), strict=True):
            held.copy_(now)

    for first in torch.arange(1, 1 + looks * moves, moves, device=key.device).unbind():
        stage(play_on, (state, steps, over, total, alive), {"agents": agents, "key": key, "first": first})
        if not alive.any():
            break
    return total.clone()
