"""Proximal policy optimisation of a whole population as one program (Schulman et al. 2017, arXiv 1707.06347)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from lamarck._checks import check_whole
from lamarck._errors import SettingsError
from lamarck.engines._machine import cores
from lamarck.engines.vectorised import Intervals, Scores, VectorTask
from lamarck.envs import CartPole, Env, Episodes, begin, keys, uniform
from lamarck.rl.agents import Leaves, agents, packed, shapes, unpacked
from lamarck.rl.experience import play, returns
from lamarck.rl.learning import Learner
from lamarck.rl.policies import Policy, policy_for
from lamarck.rl.stage import Stage

__all__ = ["HPARAMS", "PPO"]

HPARAMS = ("lr", "discount", "gae_lambda", "clip", "entropy_cost", "value_cost", "max_grad_norm")
"""What members may have of their own."""

_RANGES = {name: (0.0, 1.0 if name in ("discount", "gae_lambda") else math.inf) for name in HPARAMS}
"""What is allowed, ends included."""
_COMPLEMENTS = {"one_minus_discount": "discount", "one_minus_gae_lambda": "gae_lambda"}
_BEGIN, _PLAY, _LEARN, _JUDGE = range(4)
"""Purposes of random numbers."""

_RECORDED = 512
"""Moves and steps of an update that is recorded, at most: each is about a hundred launches, and a recording of 50,000 takes memory and time."""
_EPISODES = ("env_state", "env_steps", "env_over")


@final
@dataclass(frozen=True, kw_only=True)
class PPO(VectorTask[Leaves]):
    """A population of agents, each in some copies of an environment. A step is one update: moves, then some epochs of learning from them.

    Seven hyperparameters may be in the search space, by the names below; what is not is the same for all. ``one_minus_discount`` and
    ``one_minus_gae_lambda`` may stand for the two that are close to 1: a factor on these moves something. Members are judged by the mean return
    of episodes that nobody learns from.

    Args:
        env: The environment.
        copies: Copies of it in which each member plays.
        moves: Moves in each between two updates.
        epochs: How often an update goes through them.
        batches: Parts in which it does so; a step of Adam for each.
        hidden: Widths of the hidden layers, of policy and value each.
        episodes: Episodes that judge a member; their returns are the report's samples.
        device: Where everything is.
        dtype: Precision.
        lr: Learning rate of Adam, whose other settings are 0.9, 0.999 and 1e-5.
        discount: What a reward one move later is worth, 0 to 1.
        gae_lambda: How far advantages trust rewards over values, 0 to 1.
        clip: How far the probability of a move may go before it is no use to go on, as a part of it.
        entropy_cost: Weight of the policy's entropy.
        value_cost: Weight of the squared error of the values, in halves.
        max_grad_norm: Length that a gradient is shortened to.

    Raises:
        SettingsError: If a number is out of its range.

    Example:
        >>> from lamarck.envs import CartPole
        >>> import lamarck as lk
        >>> space = lk.Space(lr=lk.Float(1e-4, 1e-2, log=True), one_minus_gae_lambda=lk.Float(0.01, 0.3, log=True))
        >>> task = PPO(env=CartPole(time_limit=50), copies=2, moves=16, hidden=(8,), episodes=2)
        >>> history = lk.run(task, space, population_size=4, interval=1, generations=2, engine=lk.Vectorised())
        >>> len(history.best.samples), history.best.value >= 1
        (2, True)
    """

    env: Env = dataclasses.field(default_factory=CartPole)
    copies: int = 8
    moves: int = 64
    epochs: int = 4
    batches: int = 4
    hidden: Sequence[int] = (64, 64)
    episodes: int = 16
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    lr: float = 1e-3
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_cost: float = 0.01
    value_cost: float = 0.5
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        for name in ("copies", "moves", "epochs", "batches", "episodes", *(f"hidden[{index}]" for index in range(len(self.hidden)))):
            got = self.hidden[int(name[7:-1])] if name.startswith("hidden") else getattr(self, name)
            check_whole(name, got, 1)
        for name in HPARAMS:
            got = getattr(self, name)
            if isinstance(got, bool) or not isinstance(got, int | float) or not _allowed(name, got, got):
                raise SettingsError(f"{name}: got {got!r}; {_rule(name)}")
        if self.batches > self.copies * self.moves:
            raise SettingsError(f"batches: got {self.batches}; there are only {self.copies} x {self.moves} moves to share out")

    @property
    def policy(self) -> Policy:
        """What the agents' outputs mean."""
        return policy_for(self.env.actions)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of what one agent has learnt."""
        return shapes(self.env, tuple(self.hidden))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not isinstance(value, Stage)}  # recordings stay in their process

    @cached_property
    def _training(self) -> Stage:
        return Stage(self.device, recorded=self.moves + self.epochs * self.batches <= _RECORDED)

    @cached_property
    def _judging(self) -> Stage:
        return Stage(self.device)

    def init(self, seeds: NDArray[np.int64]) -> Leaves:
        """Makes new agents, each from its own seed, at the beginning of their first episodes."""
        key = self._seeds(seeds)
        rows = packed(agents(self.env, self.hidden, keys(key, _BEGIN, 0), self.dtype))
        episodes = begin(self.env, uniform(keys(key, _BEGIN, 1), self.copies, self.env.state_size, dtype=self.dtype))
        zeros = {"first": torch.zeros_like(rows), "second": torch.zeros_like(rows), "steps": torch.zeros_like(key)}
        return {"agent": rows, **zeros, **_columns(episodes)}

    def fit(self, state: Leaves, intervals: Intervals) -> Leaves:
        """Makes ``intervals.steps`` updates of every member, in place."""
        hparams, key = self._hparams(intervals.hparams, len(intervals)), self._seeds(intervals.seeds)
        learner = Learner(policy=self.policy, shapes=self.shapes, epochs=self.epochs, batches=self.batches)
        leaves = unpacked(state["agent"], self.shapes)

        def update(told: Mapping[str, Any]) -> None:
            begun = Episodes(*(state[name] for name in _EPISODES))
            lived, episodes = play(self.env, self.policy, leaves, begun, self.moves, keys(told["key"], _PLAY, told["number"]))
            learner.learn(state, lived, told["hparams"], keys(told["key"], _LEARN, told["number"]))
            for name, column in _columns(episodes).items():
                state[name].copy_(column)

        for number in torch.arange(intervals.steps, device=self.device).unbind():
            self._training(update, [*state.values()], {"hparams": hparams, "key": key, "number": number})
        return state

    def evaluate(self, state: Leaves, intervals: Intervals) -> Scores:
        """Plays new episodes with the policies as they are, chance included."""
        leaves, key = unpacked(state["agent"], self.shapes), keys(self._seeds(intervals.seeds), _JUDGE)
        got = returns(self.env, self.policy, leaves, self.episodes, key, self._judging).double().cpu()
        return Scores(values=got.mean(1), samples=got)

    def gather(self, state: Leaves, rows: NDArray[np.int64]) -> Leaves:
        """Copies rows, on the device."""
        index = torch.as_tensor(rows, device=self.device)
        return {name: column.index_select(0, index) for name, column in state.items()}

    def scatter(self, state: Leaves, rows: NDArray[np.int64], part: Leaves) -> Leaves:
        """Puts rows of another stack in, in place."""
        index = torch.as_tensor(rows, device=self.device)
        return {name: column.index_copy_(0, index, part[name]) for name, column in state.items()}

    def save(self, state: Leaves) -> Any:
        """Returns the tensors; ``["agent"]`` of a row is the ``state_dict`` of an `ActorCritic`."""
        return state | {"agent": unpacked(state["agent"], self.shapes)}

    def load(self, saved: Any) -> Leaves:
        """Puts the tensors where the task is."""
        return {name: (packed(it) if name == "agent" else it).to(self.device) for name, it in saved.items()}

    def processes(self, members: int) -> int:
        """On a CPU one for each core, with one thread each: the tensors are too small to be shared out. Otherwise one."""
        if torch.device(self.device).type != "cpu":
            return 1
        return min(cores(), members)

    def _seeds(self, seeds: NDArray[np.int64]) -> torch.Tensor:
        return torch.as_tensor(seeds, device=self.device)

    def _hparams(self, columns: Mapping[str, NDArray[Any]], size: int) -> Leaves:
        found = {name: torch.full((size,), getattr(self, name), dtype=self.dtype, device=self.device) for name in HPARAMS}
        for name, column in columns.items():
            target = _COMPLEMENTS.get(name, name)
            if target not in HPARAMS or column.dtype == object:
                raise SettingsError(f"{name}: PPO takes numbers, of the names {', '.join((*HPARAMS, *_COMPLEMENTS))}")
            if target != name and target in columns:
                raise SettingsError(f"{name} and {target} say the same: have one of them in the space")
            active = column[~np.isnan(column)]
            if active.size and not _allowed(target, active.min(), active.max()):
                raise SettingsError(f"{name}: got {active.min()} to {active.max()} as hyperparameters; {_rule(target)}")
            given = torch.as_tensor(column, dtype=self.dtype, device=self.device)
            given = 1 - given if name in _COMPLEMENTS else given
            found[target] = torch.where(given.isnan(), found[target], given)  # a conditional one that is not active keeps its default
        return found


def _allowed(name: str, least: float, most: float) -> bool:
    low, high = _RANGES[name]
    return low <= least and most <= high and math.isfinite(most)


def _rule(name: str) -> str:
    low, high = _RANGES[name]
    return f"it must be a number from {low:g} to {high:g}" if math.isfinite(high) else f"it must be a finite number of at least {low:g}"


def _columns(episodes: Episodes) -> Leaves:
    return dict(zip(_EPISODES, (episodes.state, episodes.steps, episodes.over), strict=True))
