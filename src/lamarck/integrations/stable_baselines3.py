"""Stable-Baselines3: an agent that learns interval by interval.

model = PPO("MlpPolicy", "CartPole-v1")
tuned = TunedAgent(model, total_timesteps=200_000)
worker.track(agent=tuned)
for interval in worker:
    tuned.train(interval.steps, **interval.hparams)
    interval.report(evaluate_policy(model, judged_in)[0])
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, final

from lamarck._checks import check_whole
from lamarck._errors import SettingsError, TrainingError, require
from lamarck.integrations._intervals import check_start

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

__all__ = ["TunedAgent"]

_TUNABLE = (
    "batch_size",
    "clip_range",
    "clip_range_vf",
    "ent_coef",
    "gae_lambda",
    "gamma",
    "gradient_steps",
    "learning_rate",
    "max_grad_norm",
    "n_epochs",
    "target_kl",
    "target_update_interval",
    "tau",
    "vf_coef",
)
"""What an algorithm reads while it learns, and not only when it is made."""

_COUNTS = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num", "exploration_rate", "_current_progress_remaining")
"""What an algorithm counts while it learns."""

_TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@final
class TunedAgent:
    """An algorithm that learns so many steps at a time, and whose state can be tracked.

    Each interval is a call of ``model.learn(..., reset_num_timesteps=False)``. Environments belong to no member: they begin anew with each
    interval, from seeds that follow from the interval's, so that whoever goes on with a member, in whatever process, sees the same. Episodes
    that are not over when an interval ends are cut off; let intervals be many episodes long.

    Saved are networks, optimizers, a learned entropy coefficient, counters, the replay buffer as far as it is filled, and the running
    statistics of a ``VecNormalize``. A replay buffer may be most of it: choose ``buffer_size`` with that in mind.

    Args:
        model: PPO, A2C, DQN, SAC, TD3, DDPG, or one of the same construction, with its environments.
        total_timesteps: Of the whole run, as ``learn`` would be given: schedules, and the exploration of DQN, run over it.

    Raises:
        SettingsError: If the number is none, or the replay buffer is one whose transitions need more than their numbers (hindsight), or saves
            memory by keeping only what comes first.

    Example:
        >>> from stable_baselines3 import PPO
        >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, device="cpu")
        >>> tuned = TunedAgent(model, total_timesteps=128)
        >>> tuned.train(range(0, 64), learning_rate=1e-3, gamma=0.9)
        >>> tuned.train(range(64, 128), learning_rate=1e-4, gamma=0.99)
        >>> tuned.step, model.policy.optimizer.param_groups[0]["lr"]
        (128, 0.0001)
    """

    def __init__(self, model: BaseAlgorithm, *, total_timesteps: int) -> None:
        check_whole("total_timesteps", total_timesteps, 1)
        buffers = require("stable_baselines3.common.buffers", "sb3", "lamarck.integrations.stable_baselines3")
        self._buffer: Any = getattr(model, "replay_buffer", None)
        known = (buffers.ReplayBuffer, buffers.DictReplayBuffer, getattr(buffers, "NStepReplayBuffer", None))
        if self._buffer is not None and (type(self._buffer) not in known or self._buffer.optimize_memory_usage):
            raise SettingsError(
                f"replay_buffer: got a {type(self._buffer).__name__} with optimize_memory_usage={self._buffer.optimize_memory_usage}; its "
                "transitions cannot be taken over by another member. Use the ordinary one, without optimize_memory_usage"
            )
        self.model, self.total_timesteps = model, total_timesteps

    @property
    def step(self) -> int:
        """Steps made in all environments together."""
        return int(self.model.num_timesteps)

    def train(self, steps: range, **hparams: Any) -> None:
        """Learns for some steps of the environments, all of them together.

        Args:
            steps: Which, as ``interval.steps`` says: whole rollouts, of ``n_steps`` (or ``train_freq``) times the number of environments.
            **hparams: Arguments of the algorithm by their names, such as ``learning_rate``, ``gamma``, ``ent_coef``, ``clip_range``.

        Raises:
            SettingsError: If the algorithm reads no such argument while it learns, or an interval is not whole rollouts.
            TrainingError: If it stands at another step than the first.
        """
        model: Any = self.model
        if strange := [name for name in hparams if name not in _TUNABLE or not hasattr(model, name)]:
            known = ", ".join(name for name in _TUNABLE if hasattr(model, name))
            raise SettingsError(f"{strange[0]}: {type(model).__name__} does not read this while it learns; it reads {known}")
        if len(steps) % (rollout := _rollout(model)):
            raise SettingsError(
                f"interval: got {len(steps)} steps; {type(model).__name__} with {model.n_envs} environments learns after {rollout} steps each "
                "time, so an interval must be a multiple of that"
            )
        check_start(steps, self.step)
        for name, value in hparams.items():
            _set(model, name, value)
        seed = random.getrandbits(31)  # follows from the interval's, as all that is drawn from now on
        model.action_space.seed(seed)
        model.env.seed(seed)
        model._last_obs = None  # so that learn() resets the environments
        with _progress_of(model, self.total_timesteps):
            model.learn(len(steps), reset_num_timesteps=False)
        if self.step != steps.stop:
            raise TrainingError(f"{type(model).__name__} stopped at step {self.step} of {steps.stop}")

    def state_dict(self) -> dict[str, Any]:
        """Returns all that learning has come to."""
        model: Any = self.model
        return {
            "parameters": model.get_parameters(),
            "variables": {name: attrgetter(name)(model) for name in model._get_torch_save_params()[1]},
            "counts": {name: vars(model)[name] for name in _COUNTS if name in vars(model)},
            "episodes": [{"r": float(episode["r"]), "l": int(episode["l"])} for episode in model.ep_info_buffer or ()],
            "replay": None if self._buffer is None else self._replay(),
            "normalisation": [_moments(kept) for kept in self._running()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a state back.

        Args:
            state: What `state_dict` returned.
        """
        model: Any = self.model
        model.set_parameters(state["parameters"], exact_match=True, device=model.device)
        for name, value in state["variables"].items():
            attrgetter(name)(model).data.copy_(value)
        vars(model).update(state["counts"])
        model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        if self._buffer is not None:
            self._buffer.pos, self._buffer.full = state["replay"]["pos"], state["replay"]["full"]
            for mine, theirs in zip(self._replay()["transitions"], state["replay"]["transitions"], strict=True):
                mine[:] = theirs
        for kept, moments in zip(self._running(), state["normalisation"], strict=True):
            kept.mean, kept.var, kept.count = moments["mean"], moments["var"], moments["count"]

    def _replay(self) -> dict[str, Any]:
        """The part of the replay buffer that is filled, not copied."""
        buffer = self._buffer
        kept = [vars(buffer)[name] for name in _TRANSITIONS if name in vars(buffer)]
        arrays = [array for one in kept for array in (one.values() if isinstance(one, dict) else (one,))]
        return {"pos": buffer.pos, "full": buffer.full, "transitions": [array[: buffer.size()] for array in arrays]}

    def _running(self) -> list[Any]:
        """The running statistics of the environments' observations and returns."""
        env: Any = self.model.get_vec_normalize_env()
        if env is None:
            return []
        seen = getattr(env, "obs_rms", None)
        return [*(seen.values() if isinstance(seen, dict) else [] if seen is None else [seen]), env.ret_rms]


def _moments(kept: Any) -> dict[str, Any]:
    return {"mean": kept.mean, "var": kept.var, "count": float(kept.count)}


def _rollout(model: Any) -> int:
    """Steps after which an algorithm looks at what it has seen."""
    if not hasattr(model, "train_freq"):
        return int(model.n_steps * model.n_envs)
    if model.train_freq.unit.value != "step":
        raise SettingsError("train_freq: got episodes, whose length nobody knows before; give it in steps, so that intervals can be exact")
    return int(model.train_freq.frequency * model.n_envs)


def _set(model: Any, name: str, value: Any) -> None:
    """Sets an argument wherever the algorithm keeps it."""
    if name == "learning_rate":
        model.learning_rate = value
        model._setup_lr_schedule()
    elif name in ("clip_range", "clip_range_vf") and value is not None:
        setattr(model, name, require("stable_baselines3.common.utils", "sb3", "lamarck.integrations").FloatSchedule(value))
    elif name == "ent_coef" and getattr(model, "ent_coef_optimizer", None) is not None:
        raise SettingsError("ent_coef: this agent learns it (ent_coef='auto'); give the model a number to begin with, or do not tune it")
    else:
        setattr(model, name, value)
        if name == "ent_coef" and hasattr(model, "ent_coef_tensor"):
            model.ent_coef_tensor.fill_(value)
        for buffer in (getattr(model, "rollout_buffer", None), getattr(model, "replay_buffer", None)):
            if name in ("gamma", "gae_lambda") and hasattr(buffer, name):
                setattr(buffer, name, value)


@contextmanager
def _progress_of(model: Any, total: int) -> Iterator[None]:
    """Lets schedules run over the whole run, where each call of ``learn`` would begin and end one."""
    update: Callable[[int, int], None] = model._update_current_progress_remaining
    vars(model)["_update_current_progress_remaining"] = partial(_over, update, total)  # in the method's place
    try:
        yield
    finally:
        del vars(model)["_update_current_progress_remaining"]


def _over(update: Callable[[int, int], None], total: int, done: int, _: int) -> None:
    update(done, total)
