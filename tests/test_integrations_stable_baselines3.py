"""An agent of Stable-Baselines3, interval by interval, against one call of ``learn``."""

import copy
import random
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecNormalize

import lamarck as lk
from frameworks import agent, at_step, stable_baselines3, stable_baselines3_killed, still_life
from lamarck._errors import SettingsError, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.engines.processes import Processes
from lamarck.integrations.stable_baselines3 import TunedAgent

SPACE = lk.Space(learning_rate=lk.Float(1e-3, 1e-1, log=True), clip_range=lk.Float(0.05, 0.4), ent_coef=lk.Float(0.0, 0.1))
RUN = {"population_size": 4, "interval": 16, "generations": 4, "mode": "max", "seed": 1}


class Unbroken(BaseCallback):
    """Draws as the intervals of a member do, and changes its hyperparameters as a schedule says, in one call of ``learn``."""

    def __init__(self, interval, schedule=None):
        super().__init__()
        self.interval, self.schedule = interval, schedule

    def _on_rollout_start(self):
        if self.num_timesteps % self.interval == 0:
            at_step(self.num_timesteps)
            self.model.action_space.seed(random.getrandbits(31))
            if self.schedule is not None:
                hparams = self.schedule(self.num_timesteps)
                self.model.lr_schedule = FloatSchedule(hparams["learning_rate"])
                self.model.clip_range = FloatSchedule(hparams["clip_range"])
                self.model.ent_coef = hparams["ent_coef"]

    def _on_step(self):
        return True


def parameters(model):
    return model.get_parameters()


def same(one, other):
    """Whether two nested states are equal to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other))


# ---- the same as without ---------------------------------------------------------------------------------------------------------------------


def halving(progress):
    return 0.01 * progress


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("PPO", {"learning_rate": halving, "clip_range": halving}),
        ("A2C", {}),
        ("DQN", {"train_freq": 4, "exploration_fraction": 0.8, "buffer_size": 20, "target_update_interval": 8}),
        ("SAC", {"train_freq": 8, "ent_coef": "auto", "learning_rate": halving, "buffer_size": 100}),
        ("SAC", {"train_freq": 8, "ent_coef": 0.2, "buffer_size": 100}),
        ("TD3", {"train_freq": 8, "buffer_size": 100}),
    ],
    ids=lambda given: "" if isinstance(given, dict) else given,
)
def test_intervals_are_one_call_of_learn(kind, given):
    """And so they are if another member has trained on the same objects in between."""
    without, model = agent(kind, **given), agent(kind, **given)
    without.learn(64, callback=Unbroken(16))
    tuned = TunedAgent(model, total_timesteps=64)
    begun = copy.deepcopy(tuned.state_dict())
    for start, until in pairwise(range(0, 65, 16)):
        at_step(start)
        tuned.train(range(start, until))
        state = copy.deepcopy(tuned.state_dict())
        tuned.load_state_dict(copy.deepcopy(begun))
        tuned.train(range(16))
        assert not same(tuned.state_dict(), state)
        tuned.load_state_dict(copy.deepcopy(state))
        assert same(tuned.state_dict(), state)
    assert same(parameters(model), parameters(without))
    assert model.num_timesteps == without.num_timesteps == 64
    assert model._n_updates == without._n_updates
    assert getattr(model, "exploration_rate", None) == getattr(without, "exploration_rate", None)


def test_the_same_seed_gives_the_same_episodes_wherever_a_member_goes_on():
    """In an environment that has a state, and statistics that run along."""

    def learnt(*, moved):
        env = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=5))
        tuned = TunedAgent(agent(env=env), total_timesteps=96)
        at_step(0)
        tuned.train(range(48))
        if moved:
            state = copy.deepcopy(tuned.state_dict())
            other = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=6))
            tuned = TunedAgent(agent(env=other), total_timesteps=96)
            tuned.load_state_dict(state)
        at_step(48)
        tuned.train(range(48, 96))
        return tuned.state_dict()

    stayed = learnt(moved=False)
    assert same(stayed, learnt(moved=True))
    assert stayed["normalisation"][0]["count"] > 96
    assert stayed["episodes"]


def test_arguments_are_where_the_algorithm_reads_them():
    ppo = TunedAgent(agent(), total_timesteps=64)
    ppo.train(range(16), learning_rate=0.02, clip_range=0.1, gamma=0.8, gae_lambda=0.7, ent_coef=0.05, n_epochs=2, batch_size=4)
    model = ppo.model
    assert (model.rollout_buffer.gamma, model.rollout_buffer.gae_lambda, model.gamma, model.ent_coef) == (0.8, 0.7, 0.8, 0.05)
    assert (model.clip_range(1.0), model.policy.optimizer.param_groups[0]["lr"]) == (0.1, 0.02)
    assert model._n_updates == 4, "two rollouts of two epochs"
    sac = TunedAgent(agent("SAC", ent_coef=0.2, buffer_size=100), total_timesteps=64)
    sac.train(range(16), ent_coef=0.5, tau=0.1)
    assert (sac.model.ent_coef_tensor.item(), sac.model.tau) == (0.5, 0.1)


def test_a_limit_that_is_none_is_none():
    model = agent()
    TunedAgent(model, total_timesteps=64).train(range(16), clip_range_vf=None, target_kl=None)
    assert (model.clip_range_vf, model.target_kl) == (None, None)


# ---- a population ----------------------------------------------------------------------------------------------------------------------------


def test_whoever_copies_goes_on_as_the_donor_with_hyperparameters_of_its_own():
    """The whole ancestry of any agent is one call of ``learn`` in which hyperparameters are changed as the schedule says."""
    store = MemoryCheckpoints()
    history = lk.run(stable_baselines3, SPACE, checkpoints=store, **RUN)
    assert history.copies
    for record in history.generation(3):
        without = agent()
        without.learn(64, callback=Unbroken(16, history.schedule(record.member)))
        assert same(store.get(record.checkpoint)["agent"]["parameters"], parameters(without))


@pytest.mark.slow
def test_processes_one_of_which_is_killed_train_the_same():
    inline = lk.run(stable_baselines3, SPACE, **RUN)
    history = lk.run(stable_baselines3_killed, SPACE, engine=Processes(workers=2), **RUN)
    assert [failure.kind for failure in history.failures] == ["lost"]
    assert {(record.key, record.value) for record in history.records} == {(record.key, record.value) for record in inline.records}


# ---- mistakes --------------------------------------------------------------------------------------------------------------------------------


def test_what_is_not_read_while_learning_is_refused():
    tuned = TunedAgent(agent(), total_timesteps=64)
    with pytest.raises(SettingsError, match="^tau: PPO does not read this while it learns; it reads .*clip_range.*vf_coef"):
        tuned.train(range(16), tau=0.1)
    auto = TunedAgent(agent("SAC", buffer_size=100), total_timesteps=64)
    with pytest.raises(SettingsError, match="^ent_coef: this agent learns it"):
        auto.train(range(16), ent_coef=0.1)


def test_intervals_are_whole_rollouts():
    tuned = TunedAgent(agent(), total_timesteps=64)
    with pytest.raises(SettingsError, match="^interval: got 20 steps; PPO with 1 environments learns after 8 steps each time"):
        tuned.train(range(20))
    whole = TunedAgent(agent("DQN", train_freq=(1, "episode"), buffer_size=20), total_timesteps=64)
    with pytest.raises(SettingsError, match="^train_freq: got episodes"):
        whole.train(range(20))


def test_a_member_that_stands_elsewhere_is_refused():
    tuned = TunedAgent(agent(), total_timesteps=64)
    with pytest.raises(TrainingError, match="begins at step 16, and what is to be trained stands at 0: track it"):
        tuned.train(range(16, 32))


@pytest.mark.parametrize("total", [0, 1.5, True])
def test_a_run_has_a_number_of_steps(total):
    with pytest.raises(SettingsError, match="total_timesteps"):
        TunedAgent(agent(), total_timesteps=total)


def test_a_buffer_that_nobody_could_take_over_is_refused():
    class Goal(gymnasium.Env):
        action_space = gymnasium.spaces.Discrete(2)
        observation_space = gymnasium.spaces.Dict(
            dict.fromkeys(("observation", "achieved_goal", "desired_goal"), still_life().observation_space)
        )

        def reset(self, *, seed=None, options=None):
            return dict.fromkeys(self.observation_space, np.zeros(2, dtype=np.float32)), {}

        def compute_reward(self, achieved, desired, info):
            return 0.0

    hindsight = DQN("MultiInputPolicy", Goal(), replay_buffer_class=HerReplayBuffer, buffer_size=100, device="cpu")
    for model in (
        hindsight,
        agent("DQN", optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}, buffer_size=100),
    ):
        with pytest.raises(SettingsError, match="^replay_buffer: .*cannot be taken over"):
            TunedAgent(model, total_timesteps=64)
