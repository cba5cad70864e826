"""Environments in tensors against Gymnasium itself, step by step, and their random numbers against SciPy."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from scipy import stats

from lamarck import envs
from lamarck._errors import SettingsError

NAMES = {envs.CartPole: "CartPole-v1", envs.Pendulum: "Pendulum-v1", envs.Acrobot: "Acrobot-v1"}
ALL = pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)


def actions_for(env, rng, *shape):
    if isinstance(env.actions, envs.Discrete):
        return torch.from_numpy(rng.integers(env.actions.n, size=shape))
    return torch.from_numpy(rng.uniform(1.5 * env.actions.low, 1.5 * env.actions.high, (*shape, env.actions.size)))


def theirs(name, **settings):
    return gymnasium.make(name, disable_env_checker=True, **settings)


class Dice:
    """Gives Gymnasium the uniform numbers that our environments are given."""

    def __init__(self):
        self.noise = None

    def uniform(self, low, high, size=None):
        return low + (np.asarray(high) - low) * self.noise


def started(kind, name, noise, dice):
    env = theirs(name)
    env.unwrapped._np_random = dice
    dice.noise = noise
    env.reset()
    return env


def state_of(env):
    return np.asarray(env.unwrapped.state, dtype=np.float64)


@ALL
def test_each_step_is_gymnasiums(kind):
    """One step from the same state, thousands of times, over many episodes: state, observation, reward and both ends."""
    ours, rng, dice = kind(), np.random.default_rng(0), Dice()
    env, ended = started(kind, NAMES[kind], rng.random(ours.state_size), dice), 0
    steps = torch.tensor(0)
    for _ in range(4000):
        action = actions_for(ours, rng)
        move = envs.step(ours, envs.Episodes(torch.from_numpy(state_of(env)), steps, torch.tensor(False)), action, torch.zeros(ours.state_size))
        seen, reward, terminated, truncated, _ = env.step(action.numpy() if action.ndim else int(action))
        np.testing.assert_allclose(move.after.state, state_of(env), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ours.observe(move.after.state).float(), seen, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(move.reward, reward, rtol=1e-12, atol=1e-12)
        assert (bool(move.terminated), bool(move.truncated)) == (terminated, truncated)
        assert bool(move.after.over) == (terminated or truncated)
        steps = move.after.steps
        if terminated or truncated:
            ended += 1
            dice.noise = rng.random(ours.state_size)
            env.reset()
            steps = torch.tensor(0)
    assert ended > 5


@ALL
def test_single_precision_stays_close(kind):
    """A step in float32 from thousands of states that are met, against Gymnasium's arithmetic in float64."""
    ours, rng = kind(), np.random.default_rng(1)
    episodes = envs.begin(ours, torch.from_numpy(rng.random((64, ours.state_size))))
    for _ in range(100):
        action = actions_for(ours, rng, 64)
        exact, reward, over = ours.advance(episodes.state, action)
        near, reward32, over32 = ours.advance(episodes.state.float(), action.float() if action.is_floating_point() else action)
        assert near.dtype == torch.float32
        assert ours.observe(near).dtype == torch.float32
        np.testing.assert_allclose(ours.observe(near), ours.observe(exact), rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(reward32, reward, rtol=1e-4, atol=2e-4)
        assert (over == over32).all()
        episodes = envs.step(ours, episodes, action, torch.from_numpy(rng.random((64, ours.state_size)))).after


@pytest.mark.parametrize("kind", [envs.CartPole, envs.Pendulum], ids=lambda kind: kind.__name__)
def test_whole_trajectories_with_autoreset_are_gymnasiums(kind):
    """Free running in a batch beside Gymnasium's vector environment, new episodes included. (Acrobot is chaotic: no two roundings agree.)"""
    ours, rng, dice = kind(), np.random.default_rng(2), [Dice() for _ in range(5)]
    vector = gymnasium.vector.SyncVectorEnv([lambda: theirs(NAMES[kind]) for _ in dice])
    first = rng.random((5, ours.state_size))
    for env, die, noise in zip(vector.envs, dice, first, strict=True):
        env.unwrapped._np_random, die.noise = die, noise
    vector.reset()
    episodes, ended = envs.begin(ours, torch.from_numpy(first)), 0
    for _ in range(1100):
        action, noise = actions_for(ours, rng, 5), rng.random((5, ours.state_size))
        for die, numbers in zip(dice, noise, strict=True):
            die.noise = numbers
        move = envs.step(ours, episodes, action, torch.from_numpy(noise))
        seen, reward, terminated, truncated, _ = vector.step(action.numpy())
        np.testing.assert_allclose(ours.observe(move.after.state), seen, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(move.reward, reward, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(move.terminated, terminated)
        np.testing.assert_array_equal(move.truncated, truncated)
        episodes, ended = move.after, ended + int(terminated.sum() + truncated.sum())
    assert ended > 20
    vector.close()


def test_cartpole_is_its_vector_environment_too():
    """Gymnasium's own vectorised CartPole, whose time limit and autoreset are written anew there."""
    ours, rng, noise = envs.CartPole(time_limit=30), np.random.default_rng(3), np.random.default_rng(4)
    vector = gymnasium.make_vec("CartPole-v1", num_envs=16, vectorization_mode="vector_entry_point", max_episode_steps=30)

    class Both:
        def uniform(self, low, high, size):
            return low + (high - low) * self.noise[..., self.which]

    dice = vector._np_random = Both()
    dice.noise, dice.which = noise.random((4, 16)), slice(None)
    vector.reset()
    episodes, truncations = envs.begin(ours, torch.from_numpy(dice.noise.T)), 0
    for _ in range(500):
        action = torch.from_numpy(rng.integers(2, size=16))
        dice.noise, dice.which = noise.random((4, 16)), episodes.over.numpy()
        move = envs.step(ours, episodes, action, torch.from_numpy(dice.noise.T))
        seen, reward, terminated, truncated, _ = vector.step(action.numpy())
        np.testing.assert_allclose(move.after.state, vector.state.T, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(move.after.state.float(), seen, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(move.reward, reward)
        np.testing.assert_array_equal(move.terminated, terminated)
        np.testing.assert_array_equal(move.truncated, truncated)
        episodes, truncations = move.after, truncations + int(truncated.sum())
    assert truncations > 3


@ALL
def test_episodes_begin_as_gymnasiums_do(kind):
    """The distribution of first states: Kolmogorov and Smirnov's two-sample test for each number."""
    ours, env = kind(), theirs(NAMES[kind])
    drawn = envs.begin(ours, envs.uniform(torch.arange(2000), ours.state_size)).state
    samples = np.array([(env.reset(seed=seed), state_of(env))[1] for seed in range(2000)])
    for column in range(ours.state_size):
        assert stats.ks_2samp(drawn[:, column].numpy(), samples[:, column]).pvalue > 1e-3
    assert np.abs(np.corrcoef(drawn.T.numpy()) - np.eye(ours.state_size)).max() < 0.1


@ALL
def test_spaces_and_limits_are_gymnasiums(kind):
    env, ours = theirs(NAMES[kind]), kind()
    assert env.observation_space.shape == (ours.observation_size,)
    assert env.spec.max_episode_steps == ours.time_limit
    if isinstance(ours.actions, envs.Discrete):
        assert env.action_space.n == ours.actions.n
    else:
        assert env.action_space.shape == (ours.actions.size,)
        assert (env.action_space.low, env.action_space.high) == (ours.actions.low, ours.actions.high)


@ALL
def test_batches_of_any_shape_play_alike(kind):
    """A member's trajectory is the same to the bit alone, in a batch, and in chunks."""
    ours, seeds = kind(), torch.arange(6)

    def played(seeds):
        key = envs.keys(seeds, 5)
        episodes = envs.begin(ours, envs.uniform(envs.keys(key, 0), 3, ours.state_size))
        states = []
        for i in range(60):
            noise = envs.uniform(envs.keys(key, 1 + i), 3, ours.state_size + 1)
            action = (noise[..., 0] * 2).long() if isinstance(ours.actions, envs.Discrete) else 4 * noise[..., :1] - 2
            episodes = envs.step(ours, episodes, action, noise[..., 1:]).after
            states.append(episodes.state)
        return torch.stack(states, -1)

    together = played(seeds)
    assert torch.equal(together, torch.cat([played(chunk) for chunk in seeds.split(4)]))
    assert torch.equal(together[3], played(seeds[3]))


@ALL
def test_a_step_asks_nothing_of_the_device(kind):
    """Nothing in a step waits for the device or branches on what a tensor holds."""
    ours = kind()
    noise = torch.rand(2, 3, ours.state_size, generator=torch.Generator().manual_seed(0))
    action = torch.zeros(2, 3, dtype=torch.int64) if isinstance(ours.actions, envs.Discrete) else torch.zeros(2, 3, 1)
    with torch.device("meta"):  # has shapes and no numbers: whatever asks for one raises
        on_meta = envs.begin(ours, noise.to("meta"))
        move = envs.step(ours, on_meta, action.to("meta"), noise.to("meta"))
    assert move.after.state.shape == (2, 3, ours.state_size)
    assert move.reward.device.type == "meta"


@pytest.mark.parametrize("limit", [0, -3, 2.5, True, "500"])
def test_a_time_limit_has_to_be_one(limit):
    with pytest.raises(SettingsError, match="time_limit: got"):
        envs.CartPole(time_limit=limit)


# ---- random numbers -----------------------------------------------------------------------------------------------------------------


def splitmix64(seed, count):
    """The published generator, in Python's whole numbers."""
    mask, state, out = (1 << 64) - 1, seed & ((1 << 64) - 1), []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(z ^ (z >> 31))
    return out


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63), 1234567890123456789])
def test_numbers_are_splitmix64s(seed):
    expected = [((word >> 12) + 0.5) * 2.0**-52 for word in splitmix64(seed, 50)]
    assert envs.uniform(torch.tensor(seed), 50, dtype=torch.float64).tolist() == expected
    single = [np.float32((word >> 41) + 0.5) * np.float32(2.0**-23) for word in splitmix64(seed, 50)]
    assert envs.uniform(torch.tensor(seed), 5, 10).flatten().tolist() == single


def test_the_known_first_number_of_the_published_generator():
    assert splitmix64(1234567, 1) == [6457827717110365317]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_have_their_distributions(dtype):
    key = envs.keys(torch.arange(100), 3)
    flat = envs.uniform(key, 1000, dtype=dtype).double().flatten().numpy()
    assert stats.kstest(flat, "uniform").pvalue > 1e-3
    assert 0 < flat.min() < flat.max() < 1
    gauss = envs.normal(key, 1000, dtype=dtype)
    assert gauss.dtype == dtype
    assert torch.isfinite(gauss).all()
    assert stats.kstest(gauss.double().flatten().numpy(), "norm").pvalue > 1e-3


def test_neighbouring_keys_and_purposes_are_independent():
    rows = envs.uniform(envs.keys(torch.arange(30), 0), 4000, dtype=torch.float64)
    others = envs.uniform(envs.keys(torch.arange(30), 1), 4000, dtype=torch.float64)
    correlations = np.corrcoef(torch.cat([rows, others]).numpy()) - np.eye(60)
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_words_may_be_given_one_after_the_other_and_none_is_a_seed():
    seeds = torch.tensor([0, 1, -5, 2**40])
    assert torch.equal(envs.keys(seeds, 3, 9), envs.keys(envs.keys(seeds, 3), 9))
    grid = torch.cat([envs.keys(seeds, *words) for words in [(), (0,), (1,), (0, 0), (0, 1), (1, 0)]])
    assert len(grid.unique()) == len(grid)
    assert torch.equal(envs.keys(seeds, seeds), torch.stack([envs.keys(seed, int(seed)) for seed in seeds]))


def test_extreme_words_give_finite_normals():
    extremes = torch.special.ndtri(torch.tensor([0.5 * 2.0**-23, 1 - 0.5 * 2.0**-23]))
    assert torch.isfinite(extremes).all()
