"""A population in JAX: as many single ones, one after the other; moves, checkpoints, errors."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lamarck as lk
from lamarck.engines.vectorised import Intervals
from lamarck.integrations.jax import JaxTask
from lamarck.types import Interval

X = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
Y = (np.sin(X[:, 0]) + X[:, 1] ** 2).astype(np.float32)

SPACE = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True), weight_decay=lk.Float(1e-4, 1e-1, log=True))


def predicted(params, x):
    return (jnp.tanh(x @ params["inner"] + params["bias"]) @ params["outer"])[..., 0]


def loss(params, x, y):
    return jnp.mean((predicted(params, x) - y) ** 2)


def new(key):
    inner, outer = jax.random.split(key)
    params = {"inner": jax.random.normal(inner, (5, 8)) / 5**0.5, "bias": jnp.zeros(8), "outer": jax.random.normal(outer, (8, 1)) / 8**0.5}
    return {"params": params, "optimizer": optax.adamw(0.0).init(params), "key": key}


def step(state, hparams, key):
    rows = jax.random.randint(key, (16,), 0, len(X))
    gradient = jax.grad(loss)(state["params"], jnp.asarray(X)[rows], jnp.asarray(Y)[rows])
    optimizer = optax.adamw(hparams["lr"], weight_decay=hparams["weight_decay"])
    updates, moments = optimizer.update(gradient, state["optimizer"], state["params"])
    return state | {"params": optax.apply_updates(state["params"], updates), "optimizer": moments}


def score(state, key):
    return loss(state["params"], X, Y)


TASK = JaxTask(new=new, step=step, score=score)
RATES = [1e-2, 3e-3, 3e-2, 1e-3]


def intervals(members, steps=20, generation=0, **changes):
    return Intervals.of(
        [
            Interval(
                member=m,
                generation=generation,
                hparams={"lr": RATES[m], "weight_decay": 0.01 * m} | {name: column[m] for name, column in changes.items()},
                start=generation * steps,
                until=(generation + 1) * steps,
                restore=None,
                parent=None,
                seed=4_000_000_000 + 10 * generation + m,
            )
            for m in members
        ]
    )


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def params(state):
    return leaves({"params": state["params"], "optimizer": state["optimizer"]})


def equal(tree, other, **tolerance):
    one, two = params(tree), params(other)
    assert one.keys() == two.keys()
    for name, leaf in one.items():
        np.testing.assert_allclose(leaf, two[name], err_msg=name, **tolerance)


def test_members_are_what_a_plain_loop_makes_of_each():
    """One member without vmap, without a compiled loop, with an optimizer whose rates are plain numbers."""
    gradient = jax.jit(jax.grad(loss))
    state = TASK.fit(TASK.init(np.arange(4)), intervals(range(4), steps=8))
    values = TASK.evaluate(state, intervals(range(4))).values
    for m in range(4):
        alone = new(jax.random.fold_in(jax.random.key(m), 0))
        weights = alone["params"]
        optimizer = optax.adamw(RATES[m], weight_decay=0.01 * m)
        moments, key = optimizer.init(weights), jax.random.fold_in(jax.random.key(np.uint32(4_000_000_000 + m)), 1)
        for number in range(8):
            rows = jax.random.randint(jax.random.fold_in(key, number), (16,), 0, len(X))
            updates, moments = optimizer.update(gradient(weights, X[rows], Y[rows]), moments, weights)
            weights = optax.apply_updates(weights, updates)
        for name, leaf in weights.items():
            np.testing.assert_allclose(state["params"][name][m], leaf, rtol=2e-4, atol=1e-6, err_msg=f"{name} of member {m}")
        assert values[m] == pytest.approx(float(loss(weights, X, Y)), rel=1e-4)


def test_many_members_are_as_many_single_ones():
    together = TASK.fit(TASK.init(np.arange(4)), intervals(range(4)))
    for m in range(4):
        alone = TASK.fit(TASK.init(np.array([m])), intervals([m]))
        equal(alone, jax.tree.map(lambda leaf, m=m: leaf[m : m + 1], together), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("steps_per_call", [1, 7, 20])
def test_calls_of_any_length_train_the_same(steps_per_call):
    task = JaxTask(new=new, step=step, score=score, steps_per_call=steps_per_call)
    parts = task.fit(task.init(np.arange(2)), intervals(range(2)))
    equal(parts, TASK.fit(TASK.init(np.arange(2)), intervals(range(2))), rtol=1e-6, atol=1e-8)


def test_rows_move_by_gather_and_scatter():
    state = TASK.fit(TASK.init(np.arange(4)), intervals(range(4)))
    before = params(state)
    moved = TASK.gather(state, np.array([3, 3, 0]))
    back = TASK.scatter(moved, np.array([1]), TASK.gather(state, np.array([2])))
    for name, leaf in params(back).items():
        np.testing.assert_array_equal(leaf, before[name][[3, 2, 0]], err_msg=name)
    assert bool((jax.random.key_data(back["key"]) == jax.random.key_data(state["key"])[np.array([3, 2, 0])]).all())


def test_a_stack_that_was_saved_goes_on_as_if_nothing_had_been():
    state = TASK.fit(TASK.init(np.arange(3)), intervals(range(3)))
    saved = {name: array.copy() for name, array in TASK.save(state).items()}
    assert all(type(array) is np.ndarray and len(array) == 3 for array in saved.values())
    again = TASK.load(saved)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert again["key"].dtype == state["key"].dtype
    equal(TASK.fit(again, intervals(range(3), generation=1)), TASK.fit(state, intervals(range(3), generation=1)), rtol=0, atol=0)


def test_a_member_that_is_lost_leaves_the_others_as_they_are():
    healthy, sick = TASK.init(np.arange(3)), TASK.init(np.arange(3))
    sick["params"]["outer"] = sick["params"]["outer"].at[1].set(jnp.nan)
    healthy, sick = (TASK.fit(state, intervals(range(3))) for state in (healthy, sick))
    for name, leaf in params(healthy).items():
        np.testing.assert_array_equal(leaf[[0, 2]], params(sick)[name][[0, 2]], err_msg=name)
    assert np.isnan(TASK.evaluate(sick, intervals(range(3))).values[1])


def test_several_evaluations_become_samples():
    task = JaxTask(new=new, step=step, score=lambda state, key: loss(state["params"], X, Y) + jax.random.normal(key, (5,)))
    scores = task.evaluate(task.init(np.arange(3)), intervals(range(3)))
    assert scores.samples.shape == (3, 5)
    np.testing.assert_allclose(scores.values, scores.samples.mean(1))
    assert len(np.unique(scores.samples)) == 15


@pytest.mark.slow
def test_whole_runs_are_the_same_on_every_engine(tmp_path):
    """Stacked here, in two processes, in chunks, and one after the other: same decisions, and the winner comes back as a pytree."""
    settings = {"population_size": 4, "interval": 10, "generations": 3, "mode": "min", "seed": 1}
    engines = [lk.Vectorised(processes=1), lk.Vectorised(processes=2), lk.Vectorised(processes=1, members_per_chunk=3), "inline"]
    histories = [lk.run(TASK, SPACE, engine=engine, journal=tmp_path / f"{number}.db", **settings) for number, engine in enumerate(engines)]
    for other in histories[1:]:
        for one, two in zip(*(sorted(it.records, key=lambda record: record.key) for it in (histories[0], other)), strict=True):
            assert (one.key, one.hparams, one.parent) == (two.key, two.hparams, two.parent)
            assert one.value == pytest.approx(two.value, rel=1e-4)
    assert histories[0].copies
    for number, history in enumerate(histories):
        winner = TASK.tree(lk.load(tmp_path / f"{number}.db")["state"])
        assert float(loss(winner["params"], X, Y)) == pytest.approx(history.best.value, rel=1e-5)
    assert histories[0].best.value < min(record.value for record in histories[0].generation(0))


def test_a_resumed_run_is_the_unbroken_one(tmp_path):
    settings = {"population_size": 3, "interval": 5, "generations": 4, "mode": "min", "engine": lk.Vectorised(processes=1)}

    def stopping(event, population):
        if population.generations.min() >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.run(TASK, SPACE, journal=tmp_path / "cut.db", observers=[stopping], **settings)
    resumed = lk.resume(TASK, tmp_path / "cut.db", engine=settings["engine"])
    assert [(r.key, r.value) for r in resumed.records] == [(r.key, r.value) for r in lk.run(TASK, SPACE, **settings).records]


@pytest.mark.parametrize("got", [0, -1, 2.0, True])
def test_steps_per_call_have_to_be_a_number_of_steps(got):
    with pytest.raises(lk.SettingsError, match="steps_per_call: got"):
        JaxTask(new=new, step=step, score=score, steps_per_call=got)


def test_what_cannot_be_traced_is_refused():
    columns = intervals(range(2), lr=["fast", "slow"])
    with pytest.raises(lk.SettingsError, match="lr: got 'fast', 'slow'; members of one program can differ in numbers alone"):
        TASK.fit(TASK.init(np.arange(2)), columns)
    table = JaxTask(new=new, step=step, score=lambda state, key: state["params"]["inner"])
    with pytest.raises(lk.TrainingError, match=r"score returned the shape \(5, 8\) for one member"):
        table.evaluate(table.init(np.arange(2)), intervals(range(2)))


def test_what_goes_wrong_in_a_step_of_everybody_is_said_at_once():
    calls = []

    def mistyped(state, hparams, key):
        calls.append(1)
        return step(state, {**hparams, "lr": hparams["learning_rate"]}, key)

    wrong = JaxTask(new=new, step=mistyped, score=score)
    with pytest.raises(lk.TrainingError, match="a step of one member cannot be traced: KeyError: 'learning_rate'"):
        lk.run(wrong, SPACE, population_size=16, interval=2, generations=2, engine=lk.Vectorised(processes=1))
    assert len(calls) == 1
    longer = JaxTask(new=lambda key: jnp.zeros(3), step=lambda state, hparams, key: jnp.append(state, 0.0), score=score)
    with pytest.raises(lk.TrainingError, match=r"a step must return a state like the one it got: .*float32\[3\].*float32\[4\]"):
        longer.fit(longer.init(np.arange(2)), intervals(range(2)))


@pytest.mark.parametrize(
    ("way", "unread"),
    [(lambda hparams: hparams["lr"], True), (lambda hparams: dict(**hparams)["lr"], False), (lambda hparams: sum(hparams.values()), False)],
)
def test_a_hyperparameter_that_no_step_reads_is_refused(way, unread):
    task = JaxTask(new=lambda key: jnp.zeros(()), step=lambda state, hparams, key: state + way(hparams), score=lambda state, key: state)
    space = lk.Space(lr=lk.Float(0.1, 1.0), momentum=lk.Float(0.1, 1.0))
    refused = pytest.raises(lk.SettingsError, match="'momentum': tuned, but arrives nowhere") if unread else contextlib.nullcontext()
    with refused:
        lk.run(task, space, population_size=4, interval=2, generations=2, engine=lk.Vectorised(processes=1))


def test_a_constant_may_be_anything():
    def kinds(state, hparams, key):
        assert hparams["kind"] == "fast"
        return state + (hparams["rate"] if hparams["on"] is True else 0.0)

    task = JaxTask(new=lambda key: jnp.zeros(()), step=kinds, score=lambda state, key: state)
    space = lk.Space(rate=lk.Float(0.5, 1.0), kind=lk.Constant("fast"), on=lk.Constant(True))
    history = lk.run(task, space, population_size=4, interval=2, generations=1, engine=lk.Vectorised(processes=1))
    assert all(record.value == pytest.approx(2 * record.hparams["rate"]) for record in history.records)


def test_a_checkpoint_of_another_model_is_refused():
    other = JaxTask(new=lambda key: {"w": jnp.zeros(3)}, step=step, score=score)
    with pytest.raises(lk.TrainingError, match=r"the checkpoint has \[.*'w'.*\], and a new member .*`new` has changed"):
        TASK.load(other.save(other.init(np.arange(2))))


def test_seeds_and_purposes_give_different_luck():
    """Neighbouring seeds, and one seed for weights, training and evaluation."""
    draw = JaxTask(
        new=jax.random.normal,
        step=lambda state, hparams, key: jax.random.normal(key),
        score=lambda state, key: jax.random.normal(key),
    )
    seeds = np.array([7, 8, 2**32 - 1])
    rows = [
        Interval(member=0, generation=0, hparams={}, start=0, until=steps, restore=None, parent=None, seed=int(seed))
        for steps, seed in itertools.product([1, 2], seeds)
    ]
    begun = draw.init(seeds)
    first, second = (draw.fit(draw.init(seeds), Intervals.of(rows[k : k + 3])) for k in (0, 3))
    judged = draw.evaluate(begun, Intervals.of(rows[:3])).values
    assert len(np.unique(np.concatenate([np.asarray(it, dtype=np.float32) for it in (begun, first, second, judged)]))) == 12


@pytest.mark.parametrize(("module", "package"), [("lamarck.integrations.jax", "jax"), ("lamarck.envs", "torch"), ("lamarck.rl", "torch")])
def test_without_the_library_it_says_what_to_install(module, package, monkeypatch):
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        lk.MissingExtra, match=rf"{module} needs the package '{package}', which is not installed: pip install 'lamarck\[{package}\]'"
    ):
        importlib.import_module(module)
