"""Populations of PPO agents against a plain implementation of one agent, PyTorch's own distributions, and definitions written out."""

from __future__ import annotations

import itertools

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import lamarck as lk
from lamarck import envs
from lamarck._rng import derive_seed
from lamarck.engines.vectorised import Intervals
from lamarck.rl import PPO, ActorCritic, Experience, advantages
from lamarck.rl.agents import agents, forward, packed, unpacked
from lamarck.rl.experience import returns
from lamarck.rl.policies import Categorical, Gaussian, policy_for
from lamarck.types import Interval

TUNED = {
    "lr": [1e-3, 5e-3, 2e-4],
    "clip": [0.2, 0.05, 0.4],
    "entropy_cost": [0.01, 0.0, 0.1],
    "gae_lambda": [0.95, 0.5, 1.0],
    "discount": [0.99, 0.9, 1.0],
}
SMALL = {"copies": 3, "moves": 20, "epochs": 2, "batches": 3, "hidden": (16, 8), "episodes": 3, "dtype": torch.float64}


def intervals(members, steps=3, generation=0, hparams=TUNED):
    return Intervals.of(
        [
            Interval(
                member=m,
                generation=generation,
                hparams={name: column[m] for name, column in hparams.items()},
                start=generation * steps,
                until=(generation + 1) * steps,
                restore=None,
                parent=None,
                seed=1000 * generation + m,
            )
            for m in members
        ]
    )


def task_for(env, **changes):
    return PPO(env=env, **{**SMALL, **changes})


def trained(task, members, generations=2, **settings):
    state = task.init(np.array(members))
    for generation in range(generations):
        state = task.fit(state, intervals(members, generation=generation, **settings))
    return state


# ---- one plain agent ----------------------------------------------------------------------------------------------------------------


def plain_advantages(reward, value, terminated, over, discount, lam):
    """The definition: a discounted sum of temporal differences, until the episode's last move. Lists of one environment's moves."""
    count = len(reward)
    errors = [reward[t] + discount * value[t + 1] * (not terminated[t]) - value[t] for t in range(count)]
    gains = []
    for t in range(count):
        total = 0.0
        for k in range(t, count):
            total += (discount * lam) ** (k - t) * errors[k]
            if over[k + 1]:
                break
        gains.append(total)
    return gains


def plain_ppo(task, member, generations, steps=3):
    """One agent the ordinary way: an nn.Module, torch.optim.Adam, clip_grad_norm_, a loop over environments. Chance is the task's."""
    env, h = task.env, {name: column[member] for name, column in TUNED.items()}
    agent = ActorCritic(env, task.hidden).double()
    start = task.save(task.init(np.array([member])))
    agent.load_state_dict({name: leaf[0].clone() for name, leaf in start["agent"].items()})
    optimizer = torch.optim.Adam(agent.parameters(), lr=h["lr"], eps=1e-5)
    playing = [envs.Episodes(start["env_state"][0, e], start["env_steps"][0, e], start["env_over"][0, e]) for e in range(task.copies)]
    discrete = isinstance(env.actions, envs.Discrete)
    draws = 1 if discrete else env.actions.size

    def distribution(parameters):
        if discrete:
            return torch.distributions.Categorical(logits=parameters)
        mean, spread = parameters.chunk(2, -1)
        return torch.distributions.Independent(torch.distributions.Normal(mean, spread.exp()), 1)

    for generation, number in itertools.product(range(generations), range(steps)):
        key = torch.tensor(1000 * generation + member)
        noise = envs.uniform(envs.keys(key, 1, number), task.moves, task.copies, draws + env.state_size, dtype=torch.float64)
        moves = []
        for e in range(task.copies):
            lived = []
            with torch.no_grad():
                for t in range(task.moves):
                    seen = env.observe(playing[e].state)
                    parameters, value = agent(seen)
                    if discrete:
                        action = torch.tensor(int(np.searchsorted(parameters.exp().numpy().cumsum(), float(noise[t, e, 0]))))
                    else:
                        mean, spread = parameters.chunk(2, -1)
                        action = torch.distributions.Normal(mean, spread.exp()).icdf(noise[t, e, :draws])
                    move = envs.step(env, playing[e], action, noise[t, e, draws:])
                    lived.append(
                        (seen, action, distribution(parameters).log_prob(action), value, playing[e].over, move.reward, move.terminated)
                    )
                    playing[e] = move.after
                last = agent(env.observe(playing[e].state))[1]
            seen, action, log_prob, value, over, reward, terminated = (list(column) for column in zip(*lived, strict=True))
            gains = plain_advantages(reward, [*value, last], terminated, [*over, playing[e].over], h["discount"], h["gae_lambda"])
            moves.append(list(zip(seen, action, log_prob, gains, value, over, strict=True)))
        rows = [moves[e][t] for t in range(task.moves) for e in range(task.copies)]
        real = torch.stack([~row[5] for row in rows])
        gain = torch.stack([row[3] for row in rows])
        standard = (gain - gain[real].mean()) / (gain[real].std(correction=0) + 1e-8)
        for epoch in range(task.epochs):
            order = torch.argsort(envs.uniform(envs.keys(key, 2, number, epoch), len(rows)), stable=True)
            for part in order.chunk(task.batches):
                batch = part[real[part]]
                seen, action, old = (torch.stack([rows[i][column] for i in batch]) for column in (0, 1, 2))
                target = torch.stack([rows[i][3] + rows[i][4] for i in batch])
                parameters, value = agent(seen)
                chosen = distribution(parameters)
                ratio = (chosen.log_prob(action) - old).exp()
                clipped = torch.min(ratio * standard[batch], ratio.clamp(1 - h["clip"], 1 + h["clip"]) * standard[batch]).mean()
                loss = task.value_cost * nn.functional.mse_loss(value, target) - clipped - h["entropy_cost"] * chosen.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), task.max_grad_norm)
                optimizer.step()
    return agent.state_dict()


@pytest.mark.parametrize(
    "env", [envs.CartPole(time_limit=25), envs.Acrobot(time_limit=15), envs.Pendulum(time_limit=15)], ids=lambda env: type(env).__name__
)
def test_members_are_what_a_plain_loop_makes_of_one_agent(env):
    task = task_for(env)
    together = task.save(trained(task, [0, 1, 2]))["agent"]
    start = task.save(task.init(np.arange(3)))["agent"]
    for member in range(3):
        alone = plain_ppo(task, member, generations=2)
        assert alone.keys() == together.keys()
        for name, leaf in alone.items():
            np.testing.assert_allclose(together[name][member], leaf, rtol=1e-7, atol=1e-9, err_msg=f"{name} of member {member}")
            assert not torch.equal(start[name][member], leaf), f"{name} has not learnt"


@pytest.mark.parametrize("env", [envs.CartPole(time_limit=25), envs.Pendulum(time_limit=15)], ids=lambda env: type(env).__name__)
def test_many_members_are_as_many_single_ones(env):
    """To rounding; seeds and hyperparameters go with the member, whoever else is in the stack."""
    task = task_for(env)
    together = trained(task, [0, 1, 2])
    pair, single = trained(task, [2, 0]), trained(task, [1])
    for name, column in together.items():
        np.testing.assert_allclose(column, torch.stack([pair[name][1], single[name][0], pair[name][0]]), rtol=1e-9, atol=1e-11, err_msg=name)


def test_a_member_that_is_lost_leaves_the_others_as_they_are():
    task = task_for(envs.CartPole(time_limit=25), dtype=torch.float32)
    healthy, sick = task.init(np.arange(3)), task.init(np.arange(3))
    sick["agent"][1] = float("nan")
    healthy, sick = (task.fit(state, intervals([0, 1, 2])) for state in (healthy, sick))
    for name, column in healthy.items():
        assert torch.equal(column[[0, 2]], sick[name][[0, 2]]), name
    assert torch.isnan(sick["agent"][1]).all()
    scores = task.evaluate(sick, intervals([0, 1, 2]))
    assert scores.values[[0, 2]].min() >= 1


# ---- the parts ----------------------------------------------------------------------------------------------------------------------


def test_advantages_are_as_defined():
    rng, shape = np.random.default_rng(0), (3, 40, 5)
    reward, value = torch.from_numpy(rng.normal(size=shape)), torch.from_numpy(rng.normal(size=(3, 41, 5)))
    over = torch.from_numpy(rng.random((3, 41, 5)) < 0.15)
    over[:, 1:] &= ~over[:, :-1]  # a new episode has at least one move
    terminated = over[:, 1:] & torch.from_numpy(rng.random(shape) < 0.5)
    discount, lam = torch.tensor([0.99, 0.5, 1.0]).double(), torch.tensor([0.95, 0.0, 1.0]).double()
    lived = Experience(seen=reward, action=reward, log_prob=reward, reward=reward, terminated=terminated, value=value, over=over)
    got = advantages(lived, discount, lam)
    for n, e in itertools.product(range(3), range(5)):
        row = (reward[n, :, e], value[n, :, e], terminated[n, :, e], over[n, :, e])
        expected = plain_advantages(*row, discount[n], lam[n])
        np.testing.assert_allclose(got[n, :, e], torch.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("env", [envs.CartPole(), envs.Pendulum()], ids=lambda env: type(env).__name__)
def test_stacks_are_ordinary_modules_side_by_side(env):
    stack = agents(env, (16, 8), torch.arange(4), torch.float64)
    seen = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 7, env.observation_size)))
    parameters, value = forward(stack, seen)
    for member in range(4):
        module = ActorCritic(env, (16, 8)).double()
        module.load_state_dict({name: leaf[member] for name, leaf in stack.items()})
        expected = module(seen[member])
        np.testing.assert_allclose(parameters[member].numpy(), expected[0].detach(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(value[member].numpy(), expected[1].detach(), rtol=1e-12, atol=1e-14)
    again = unpacked(packed(stack), {name: tuple(leaf.shape[1:]) for name, leaf in stack.items()})
    assert all(torch.equal(again[name], leaf) for name, leaf in stack.items())


def test_first_weights_are_orthogonal_and_each_members_own():
    stack = agents(envs.CartPole(), (16, 8), torch.tensor([5, 6]), torch.float64)
    for name, gain in {"policy.0": 2, "policy.2": 2, "policy.4": 1e-4, "value.4": 1}.items():
        weight = stack[f"{name}.weight"]
        small = weight @ weight.mT if weight.shape[1] <= weight.shape[2] else weight.mT @ weight
        np.testing.assert_allclose(small, gain * torch.eye(small.shape[-1]).expand_as(small), atol=1e-9)
        assert not torch.allclose(weight[0], weight[1])
        assert not stack[f"{name}.bias"].any()
    alone = agents(envs.CartPole(), (16, 8), torch.tensor([6]), torch.float64)
    assert all(torch.equal(leaf[0], stack[name][1]) for name, leaf in alone.items())


def test_directions_of_first_weights_have_no_preference():
    """Without the signs of R, the QR decomposition would prefer some: each entry's mean must be zero within chance."""
    weights = agents(envs.CartPole(), (4,), torch.arange(4000), torch.float64)["policy.0.weight"]
    assert weights.mean(0).abs().max() < 5 * float(weights.std()) / 4000**0.5


def test_discrete_moves_have_their_probabilities():
    policy, logits = policy_for(envs.Discrete(3)), torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
    theirs, parameters = torch.distributions.Categorical(logits=logits), logits.log_softmax(-1)
    moves = policy.choose(parameters.expand(30_000, 3), envs.uniform(torch.arange(30_000), 1, dtype=torch.float64))
    share = torch.bincount(moves, minlength=3) / 30_000
    assert (share - theirs.probs).abs().max() < 0.012
    np.testing.assert_allclose(policy.log_prob(parameters.expand(3, 3), torch.arange(3)), theirs.log_prob(torch.arange(3)))
    np.testing.assert_allclose(policy.entropy(parameters), theirs.entropy())
    edge = policy.choose(torch.tensor([[0.0, -torch.inf, -torch.inf], [-torch.inf, -torch.inf, 0.0]]), torch.tensor([[1 - 2.0**-24]] * 2))
    assert edge.tolist() == [0, 2]


def test_real_moves_have_their_density():
    policy, parameters = policy_for(envs.Box(2, -1.0, 1.0)), torch.tensor([0.5, -1.0, 0.3, -0.7], dtype=torch.float64)
    theirs = torch.distributions.Independent(torch.distributions.Normal(parameters[:2], parameters[2:].exp()), 1)
    moves = policy.choose(parameters.expand(20_000, 4), envs.uniform(torch.arange(20_000), 2, dtype=torch.float64))
    np.testing.assert_allclose(moves.mean(0), parameters[:2], atol=0.05)
    np.testing.assert_allclose(moves.std(0), parameters[2:].exp(), rtol=0.03)
    np.testing.assert_allclose(policy.log_prob(parameters.expand(50, 4), moves[:50]), theirs.log_prob(moves[:50]), rtol=1e-12)
    np.testing.assert_allclose(policy.entropy(parameters), theirs.entropy(), rtol=1e-12)
    assert (Categorical().draws, Gaussian(2).draws) == (1, 2)


def test_returns_are_those_of_gymnasium():
    """An indifferent policy earns in our episodes what it earns in Gymnasium's, within four standard errors."""
    env = envs.CartPole()
    indifferent = {name: torch.zeros_like(leaf) for name, leaf in agents(env, (4,), torch.arange(2), torch.float32).items()}
    ours = returns(env, policy_for(env.actions), indifferent, 600, torch.arange(2)).flatten().numpy()
    theirs, rng, total = [], np.random.default_rng(0), 0
    other = gymnasium.make("CartPole-v1", disable_env_checker=True)
    other.reset(seed=0)
    while len(theirs) < 1200:
        _, reward, terminated, truncated, _ = other.step(int(rng.integers(2)))
        total += reward
        if terminated or truncated:
            theirs.append(total)
            total = 0
            other.reset()
    assert abs(ours.mean() - np.mean(theirs)) < 4 * np.hypot(ours.std(), np.std(theirs)) / 1200**0.5
    assert abs(ours.std() / np.std(theirs) - 1) < 0.2


def test_returns_count_until_the_time_limit_and_no_further():
    env = envs.Pendulum(time_limit=7)
    stack = agents(env, (4,), torch.arange(3), torch.float64)
    key = torch.arange(3)
    got = returns(env, policy_for(env.actions), stack, 2, key)
    for member, copy in itertools.product(range(3), range(2)):
        module = ActorCritic(env, (4,)).double()
        module.load_state_dict({name: leaf[member] for name, leaf in stack.items()})
        state, total = env.initial(envs.uniform(envs.keys(key, 0), 2, 2, dtype=torch.float64)[member, copy]), 0.0
        for number in range(7):
            mean, spread = module(env.observe(state))[0].detach().chunk(2, -1)
            noise = envs.uniform(envs.keys(key, 1 + number), 2, 1, dtype=torch.float64)[member, copy]
            state, reward, _ = env.advance(state, torch.distributions.Normal(mean, spread.exp()).icdf(noise))
            total += float(reward)
        assert float(got[member, copy]) == pytest.approx(total, rel=1e-9)


# ---- as a task ----------------------------------------------------------------------------------------------------------------------


def test_rows_move_with_everything_that_belongs_to_a_member():
    task = task_for(envs.CartPole(time_limit=25))
    state = trained(task, [0, 1, 2])
    moved = task.gather(state, np.array([2, 2, 0]))
    part = task.gather(state, np.array([1]))
    for name, column in state.items():
        assert torch.equal(moved[name], column[[2, 2, 0]])
    back = task.scatter(moved, np.array([1]), part)
    for name, column in state.items():
        assert torch.equal(back[name], column[[2, 1, 0]])


def test_a_stack_that_was_saved_goes_on_as_if_nothing_had_been():
    task = task_for(envs.CartPole(time_limit=25))
    state = trained(task, [0, 1, 2], generations=1)
    copy = task.load(
        {key: {n: t.clone() for n, t in it.items()} if isinstance(it, dict) else it.clone() for key, it in task.save(state).items()}
    )
    state, copy = (task.fit(it, intervals([0, 1, 2], generation=1)) for it in (state, copy))
    assert all(torch.equal(column, copy[name]) for name, column in state.items())


def test_complements_and_inactive_ones():
    """1 - x may be given for what is close to 1, and a conditional hyperparameter that is not active keeps the task's own."""
    task = task_for(envs.CartPole(time_limit=25), gae_lambda=0.9, discount=0.97)
    plain = trained(task, [0, 1], hparams={"gae_lambda": [0.75, 0.9], "discount": [0.97, 0.5]})
    other = trained(task, [0, 1], hparams={"one_minus_gae_lambda": [0.25, None], "one_minus_discount": [None, 0.5]})
    assert torch.allclose(plain["agent"], other["agent"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["learning_rate", "copies", "beta1"])
def test_a_name_that_nobody_knows_is_refused(name):
    with pytest.raises(lk.SettingsError, match=f"{name}: PPO takes numbers, of the names lr, discount, .*one_minus_gae_lambda"):
        trained(task_for(envs.CartPole()), [0], hparams={name: [0.1]})


def test_a_hyperparameter_that_is_no_number_is_refused():
    with pytest.raises(lk.SettingsError, match="lr: PPO takes numbers"):
        trained(task_for(envs.CartPole()), [0], hparams={"lr": ["fast"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"copies": 0}, "copies: got 0"),
        ({"moves": 2.5}, "moves: got 2.5"),
        ({"epochs": True}, "epochs: got True"),
        ({"hidden": (64, 0)}, r"hidden\[1\]: got 0"),
        ({"batches": 61}, "batches: got 61; there are only 3 x 20 moves"),
        ({"discount": 5}, "discount: got 5; it must be a number from 0 to 1"),
        ({"gae_lambda": -0.1}, "gae_lambda: got -0.1; it must be a number from 0 to 1"),
        ({"lr": -1.0}, "lr: got -1.0; it must be a finite number of at least 0"),
        ({"clip": -3}, "clip: got -3"),
        ({"entropy_cost": float("nan")}, "entropy_cost: got nan"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm: got inf"),
        ({"value_cost": "0.5"}, "value_cost: got '0.5'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(lk.SettingsError, match=message):
        task_for(envs.CartPole(), **changes)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"discount": [0.9, 1.2]}, "discount: got 0.9 to 1.2 as hyperparameters; it must be a number from 0 to 1"),
        ({"one_minus_discount": [0.1, None, -0.1]}, "one_minus_discount: got -0.1 to 0.1"),
        ({"lr": [1, -1]}, "lr: got -1 to 1"),
        ({"one_minus_discount": [0.1], "discount": [0.9]}, "one_minus_discount and discount say the same"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(hparams, message):
    with pytest.raises(lk.SettingsError, match=message):
        trained(task_for(envs.CartPole()), list(range(len(next(iter(hparams.values()))))), hparams=hparams)


@pytest.mark.parametrize("env", [envs.CartPole(), envs.Acrobot(), envs.Pendulum()], ids=lambda env: type(env).__name__)
def test_training_never_waits_for_the_device(env):
    """On a device whose tensors have shapes and no numbers, whatever asks for a number raises."""
    task = task_for(env, device="meta")
    state = task.fit(task.init(np.arange(3)), intervals([0, 1, 2]))
    assert {column.device.type for column in state.values()} == {"meta"}
    assert state["agent"].shape == trained(task_for(env), [0, 1, 2], generations=0)["agent"].shape


RUN = {"population_size": 4, "interval": 2, "generations": 3, "seed": 1, "exploit": lk.exploit.Truncation(bottom=0.5, top=0.5)}
SPACE = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True), one_minus_gae_lambda=lk.Float(0.01, 0.5, log=True))


def test_whole_runs_are_the_same_on_every_engine(tmp_path):
    """Stacked here, in two processes, in chunks, and one after the other: same decisions; and the winner comes out as an ordinary module."""
    task = task_for(envs.CartPole(time_limit=25))
    engines = [lk.Vectorised(processes=1), lk.Vectorised(), lk.Vectorised(processes=1, members_per_chunk=3), "inline"]
    histories = [lk.run(task, SPACE, engine=engine, journal=tmp_path / f"{number}.db", **RUN) for number, engine in enumerate(engines)]
    first, *others = ([(r.key, dict(r.hparams), r.parent, r.value) for r in sorted(it.records, key=lambda r: r.key)] for it in histories)
    assert all(other == first for other in others)
    assert histories[0].copies
    assert all(len(record.samples) == 3 for record in histories[0].records)
    agent = ActorCritic(task.env, task.hidden).double()
    for number, history in enumerate(histories):
        agent.load_state_dict(lk.load(tmp_path / f"{number}.db")["state"]["agent"])
        stack = {name: leaf[None] for name, leaf in agent.state_dict().items()}
        seed = torch.tensor([derive_seed(RUN["seed"], *history.best.key)])
        assert returns(task.env, task.policy, stack, 3, envs.keys(seed, 3)).flatten().tolist() == list(history.best.samples)


def test_a_resumed_run_is_the_unbroken_one(tmp_path):
    task, engine = task_for(envs.CartPole(time_limit=25)), lk.Vectorised(processes=1)

    def stopping(event, population):
        if population.generations.min() >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.run(task, SPACE, journal=tmp_path / "cut.db", observers=[stopping], engine=engine, **RUN)
    resumed = lk.resume(task, tmp_path / "cut.db", engine=engine)
    unbroken = lk.run(task, SPACE, engine=engine, **RUN)
    assert [(r.key, r.value, r.samples) for r in resumed.records] == [(r.key, r.value, r.samples) for r in unbroken.records]


def test_agents_learn():
    """Six members, 15,360 moves each: the worst of them earns more than the best did before, by far."""
    task = PPO(hidden=(32,), lr=5e-3, episodes=32)
    state = task.init(np.arange(6))
    before = task.evaluate(state, intervals(range(6), hparams={})).values
    for generation in range(3):
        state = task.fit(state, intervals(range(6), steps=10, generation=generation, hparams={}))
    after = task.evaluate(state, intervals(range(6), generation=3, hparams={})).values
    assert before.max() < 40
    assert after.min() > 60
    assert np.median(after) > 120


SWINGING = {
    "Acrobot": (PPO(env=envs.Acrobot(), lr=2e-3, moves=128, episodes=8), 20, -450, -200),
    "Pendulum": (PPO(env=envs.Pendulum(), lr=2e-3, discount=0.9, moves=200, epochs=8, entropy_cost=0.0, value_cost=0.01), 30, -900, -600),
}
"""A task, updates, what none of three members earns before them, and what all of them earn afterwards."""


@pytest.mark.slow
@pytest.mark.parametrize(("task", "updates", "before", "after"), SWINGING.values(), ids=SWINGING)
def test_agents_swing_up(task, updates, before, after):
    state = task.init(np.arange(3))
    assert task.evaluate(state, intervals(range(3), hparams={})).values.max() < before
    state = task.fit(state, intervals(range(3), steps=updates, hparams={}))
    assert task.evaluate(state, intervals(range(3), generation=1, hparams={})).values.min() > after
