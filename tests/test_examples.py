"""The examples: each learns, is set up as a population needs it, runs as a script and from the command line, and is short."""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import scipy.stats
import torch

import lamarck as lk
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.cli import main as lamarck

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))

SMALL = {
    "cartpole_sb3": {"interval": 6, "mode": "max", "initial": {"learning_rate": 5e-3, "ent_coef": 1e-3, "clip_range": 0.2}},
    "char_transformer": {"interval": 40, "mode": "min", "initial": {"lr": 0.01, "warmup": 20.0, "dropout": 0.05, "weight_decay": 0.01}},
    "digits_cnn": {"interval": 20, "mode": "min", "initial": {"lr": 0.01, "weight_decay": 0.01, "turn": 10.0, "shift": 0.3, "noise": 0.1}},
    "digits_gan": {"interval": 120, "mode": "max", "initial": {"lr_generator": 2e-3, "lr_discriminator": 2e-3}},
    "digits_lightning": {"interval": 40, "mode": "min", "initial": {"lr": 0.01, "weight_decay": 0.01, "noise": 0.1, "smoothing": 0.05}},
    "jax_vectorised": {
        "interval": 40,
        "mode": "min",
        "initial": {"lr": 0.01, "weight_decay": 0.001, "one_minus_beta1": 0.1, "smoothing": 0.0, "noise": 0.2},
    },
    "ppo_vectorised": {
        "interval": 8,
        "mode": "max",
        "initial": {"lr": 5e-3, "entropy_cost": 1e-3, "clip": 0.2, "one_minus_gae_lambda": 0.05, "one_minus_discount": 0.01},
    },
    "digits_vectorised": {"interval": 60, "mode": "min", "initial": {"lr": 0.01, "weight_decay": 1e-4, "dropout": 0.1, "smoothing": 0.0}},
    "ppo_cartpole": {"interval": 5, "mode": "max", "initial": {"lr": 5e-3, "entropy_cost": 1e-3, "clip": 0.2, "one_minus_lambda": 0.05}},
    "sgd_sklearn": {"interval": 20, "mode": "min", "initial": {"eta0": 1.0, "alpha": 1e-5, "l1_ratio": 0.2}},
}
"""A run of seconds, from hyperparameters that are known to be good."""

RATES = {
    "char_transformer": {"optimizer": "lr"},
    "digits_cnn": {"optimizer": "lr"},
    "digits_gan": {"generator_optimizer": "lr_generator", "discriminator_optimizer": "lr_discriminator"},
    "ppo_cartpole": {"optimizer": "lr"},
}
"""Hyperparameters that a restored optimizer would bring along from its donor."""


@pytest.fixture(autouse=True)
def _as_a_script_sees_it(monkeypatch):
    """A script's own folder is the first on the path; what it sets in PyTorch is put back."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def small_run(name, **settings):
    example, small = importlib.import_module(name), SMALL[name]
    weights = MemoryCheckpoints()
    given = {"interval": small["interval"], "mode": small["mode"], "initial": [small["initial"]] * 2} | settings
    return lk.run(example.train, example.space, population_size=2, checkpoints=weights, **given), weights


# ---- what chance gives -----------------------------------------------------------------------------------------------------------------------


def letters():
    """Bits per character of somebody who knows how often each letter comes, and nothing else."""
    counts = torch.bincount(importlib.import_module("char_transformer").text()["validation"])
    return float(scipy.stats.entropy(counts, base=2))


def falling():
    """Mean return of moves made by chance."""
    envs, dice = gymnasium.make_vec("CartPole-v1", num_envs=64, vectorization_mode="vector_entry_point"), np.random.default_rng(0)
    envs.reset(seed=0)
    alive, total = np.ones(64, dtype=bool), 0
    while alive.any():
        total += alive.sum()
        _, _, failed, timeout, _ = envs.step(dice.integers(0, 2, 64))
        alive &= ~(failed | timeout)
    return total / 64


def uniform():
    """Cross-entropy of somebody who gives each of ten digits the same probability."""
    return math.log(10)


CHANCE = {
    "char_transformer": (letters, 0.95),
    "digits_cnn": (uniform, 0.5),
    "cartpole_sb3": (falling, 3.0),
    "digits_lightning": (uniform, 0.5),
    "digits_gan": (lambda: 1.0, 2.0),  # all images alike, or a classifier that cannot tell them apart
    "jax_vectorised": (uniform, 0.5),
    "digits_vectorised": (uniform, 0.5),
    "ppo_cartpole": (falling, 3.0),
    "ppo_vectorised": (falling, 3.0),
    "sgd_sklearn": (uniform, 0.5),
}
"""What chance gives, and how many times that a few seconds of training must reach."""


# ---- each example ----------------------------------------------------------------------------------------------------------------------------


def test_these_are_all_the_examples():
    assert sorted(SMALL) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_learns_and_trains_with_what_was_assigned(name):
    history, weights = small_run(name, generations=2)
    chance, times = CHANCE[name]
    value, bound = history.best.value, times * chance()
    assert value < bound if history.settings.mode == "min" else value > bound
    assert len(history.copies) == 1
    copy = history[history.copies[0].member, 1]
    assert copy.hparams != history[copy.parent].hparams
    state = weights.get(copy.checkpoint)
    for optimizer, rate in RATES.get(name, {}).items():
        assert state[optimizer]["param_groups"][0]["lr"] == copy.hparams[rate]


@pytest.mark.parametrize("name", EXAMPLES)
def test_members_begin_with_weights_of_their_own(name):
    slow = {key: parameter.from_unit(0.0) for key, parameter in importlib.import_module(name).space.items()}
    _, weights = small_run(name, interval=1, generations=1, initial=[slow] * 2)
    first, second = (leaf(weights.get(f"{member}-0")) for member in range(2))
    assert np.abs(first - second).max() > 0.01, "a step at the lowest learning rate explains no such difference"


def leaf(state):
    """The first matrix of a state."""
    if isinstance(state, dict):
        return next((found for value in state.values() if (found := leaf(value)) is not None), None)
    return np.asarray(state) if getattr(state, "ndim", 0) >= 2 else None


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs_as_a_script(name, monkeypatch, capsys):
    options = ["--population-size", "2", "--generations", "1", "--workers", "0", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
    monkeypatch.setattr(lk, "run", lambda *args, **given: REAL_RUN(*args, **given | {"interval": 2}))
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "population of 2, 2 of 2 intervals" in told
    assert "schedule of the winner" in told


REAL_RUN = lk.run


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_in_its_docstring_runs(name, capsys):
    example = importlib.import_module(name)
    (line,) = (line for line in example.__doc__.splitlines() if line.strip().startswith("lamarck run"))
    _, *words = shlex.split(line)
    assert words[1] == f"examples/{name}.py:train"
    assert ("--mode" in words) == (SMALL[name]["mode"] == "min")
    words[1] = f"{FOLDER / name}.py:train"
    words[words.index("--interval") + 1] = words[words.index("--generations") + 1] = "1"
    assert lamarck([*words, "--population", "2"]) == 0
    assert "2 of 2 intervals" in capsys.readouterr().out
    assert set(lk.open_run("train.db").best.hparams) == set(example.space.names)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_says_how_it_is_run(name):
    assert f"python examples/{name}.py" in importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_table_names_it_and_its_hyperparameters(name):
    (row,) = (line for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith(f"| [{name}.py]({name}.py)"))
    cells = row.strip("| ").split(" | ")
    assert set(re.findall(r"`(\w+)`", cells[3])) == set(importlib.import_module(name).space.names)
    assert ("lower is better" in cells[2]) == (SMALL[name]["mode"] == "min") != ("higher is better" in cells[2])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 120


def test_worker_processes_train_the_same(capsys):
    """With the one that needs no PyTorch, which takes seconds to import in each process; what is tested is the same for all."""
    command = [sys.executable, str(FOLDER / "sgd_sklearn.py"), "--population-size", "4", "--generations", "2", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    example = importlib.import_module("sgd_sklearn")
    importlib.import_module("_command").tell(lk.run(example.train, example.space, population_size=4, interval=20, generations=2, mode="min"))
    assert done.stdout == capsys.readouterr().out


# ---- what is particular ----------------------------------------------------------------------------------------------------------------------


def test_the_text_is_the_same_with_every_python():
    example = importlib.import_module("char_transformer")
    names = [name for part in example.text().values() for name in "".join(example.LETTERS[i] for i in part).splitlines()]
    assert hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() == NAMES


NAMES = "c237ea1ddb7edb90375cb5f1207fc5b6027360a1de6f1af1b1d1d1d2ea13d2db"
"""Computed apart from the example, and equal with Python 3.8, 3.10, 3.11, 3.12 and 3.13."""


def test_the_digits_that_train_and_those_that_judge_are_different():
    cnn, gan, sgd = map(importlib.import_module, ("digits_cnn", "digits_gan", "sgd_sklearn"))
    for parts in (cnn.digits().values(), gan.digits(), sgd.digits().values()):
        seen = [{image.tobytes() for image in np.asarray(images)} for images, _ in parts]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 1797


def test_the_score_of_the_gan_against_its_definition():
    example = importlib.import_module("digits_gan")
    images = example.digits()[0][0][:50]
    p = torch.softmax(example.classifier()(images).double(), dim=1).numpy()
    divergences = [scipy.stats.entropy(row, p.mean(axis=0)) for row in p]
    assert example.score(images) == pytest.approx(math.exp(np.mean(divergences)), rel=1e-4)
    assert example.score(images[:1].expand(20, -1)) == pytest.approx(1.0, abs=1e-4), "images that are all alike"


def test_advantages_against_their_definition():
    """Sums of discounted errors, cut where an episode ends (Schulman et al. 2016, eq. 16), written out for each move."""
    example = importlib.import_module("ppo_cartpole")
    torch.manual_seed(0)
    agent, lam = example.Agent(), 0.9
    episodes, states = Recorder(example.environments(num_envs=2)), []
    player = example.Player(agent, episodes, 3)
    x, a, log_p, advantages, targets = player.play(lam)
    states = torch.stack([torch.from_numpy(state) for state in episodes.states])
    with torch.no_grad():
        values = agent(states)[1].numpy()
    expected = {}
    for env in range(2):
        for t in range(example.MOVES):
            if t and episodes.over[t - 1][env]:
                continue
            total, weight, u = 0.0, 1.0, t
            while u < example.MOVES:
                ahead = 0.0 if episodes.failed[u][env] else values[u + 1, env]
                total += weight * (episodes.rewards[u][env] + example.GAMMA * ahead - values[u, env])
                if episodes.over[u][env]:
                    break
                weight, u = weight * example.GAMMA * lam, u + 1
            expected[t, env] = total
    order = sorted(expected)
    assert any(over.any() for over in episodes.over)
    np.testing.assert_allclose(advantages, [expected[key] for key in order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(targets, [expected[key] + values[key] for key in order], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(x, torch.stack([states[key] for key in order]))
    with torch.no_grad():
        np.testing.assert_allclose(log_p, agent(x)[0].gather(1, a), rtol=1e-5)


class Recorder:
    """Environments that remember what happened."""

    def __init__(self, envs):
        self.envs, self.num_envs = envs, envs.num_envs
        self.states, self.rewards, self.failed, self.over = [], [], [], []

    def reset(self, **settings):
        state, info = self.envs.reset(**settings)
        self.states.append(state)
        return state, info

    def step(self, action):
        state, reward, failed, timeout, info = self.envs.step(action)
        self.states.append(state)
        self.rewards.append(reward)
        self.failed.append(failed.copy())
        self.over.append(failed | timeout)
        return state, reward, failed, timeout, info


def test_augmentation_of_strength_zero_changes_nothing():
    example = importlib.import_module("digits_cnn")
    images, dice = example.digits()["train"][0], torch.Generator().manual_seed(0)
    np.testing.assert_allclose(example.augmented(images, 0.0, 0.0, 0.0, dice), images, atol=1e-5)
    turned = example.augmented(images, 45.0, 0.0, 0.0, dice)
    assert not np.allclose(turned, images, atol=0.1)


def test_random_search_copies_nobody(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x.py", "--random-search", "--population-size", "3", "--workers", "0"])
    settings = importlib.import_module("_command").settings("x", population_size=8, generations=4)
    example = importlib.import_module("sgd_sklearn")
    history = lk.run(example.train, example.space, interval=1, mode="min", **settings)
    assert history.settings.population_size == 3
    assert not history.copies
    assert all(len({str(record.hparams) for record in history.member(member)}) == 1 for member in range(3))
