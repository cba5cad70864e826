"""`Space`: a mapping, drawing, checking, conditions and the unit cube."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lamarck import SpaceError, types
from lamarck import space as space_package
from lamarck._rng import generator
from lamarck.space import Categorical, Constant, Float, Int, Parameter, Space

nan = math.nan
PLAIN = Space(lr=Float(1e-5, 1e-1, log=True), dropout=Float(0.0, 0.6), layers=Int(1, 8))
NESTED = Space(
    nesterov=Categorical([False, True], when={"momentum_on": True}),
    momentum_on=Categorical([False, True], when={"optimizer": ("sgd", "rmsprop")}),
    lr=Float(1e-5, 1e-1, log=True),
    optimizer=["sgd", "adam", "rmsprop"],
    beta=Float(0.0, 1.0, when={"optimizer": "adam"}),
)
"""Conditions that chain, with children given before their parents."""


GOLDEN_LR = [3.059818608066e-05, 0.0029757845097578735, 0.0006986101751544479, 0.09228545115665823]
GOLDEN_LAYERS = [6, 4, 2, 8]
GOLDEN_OPT = ["adam", "sgd", "sgd", "adam"]
GOLDEN_M = [None, 0.09306215901819465, 0.909015725966979, None]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- building --------------------------------------------------------------------------------------------------------------------------------


def test_bare_values_are_choices_and_constants():
    space = Space(optimizer=["sgd", "adam"], depth=(2, 4, 8), layers=3, name="x", flag=True, nothing=None, rate=0.5)
    assert space["optimizer"] == Categorical(["sgd", "adam"])
    assert space["depth"] == Categorical((2, 4, 8))
    assert [space[name] for name in ("layers", "name", "flag", "nothing", "rate")] == [Constant(v) for v in (3, "x", True, None, 0.5)]


def test_names_that_are_not_identifiers():
    space = Space({"optimizer.lr": Float(0.0, 1.0), "a/b": 1, "self": 2}, plain=3)
    assert space.names == ("optimizer.lr", "a/b", "self", "plain")
    assert Space(self=1, hyperparameters=2).names == ("self", "hyperparameters")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Space({"": 1}), r"got the name ''; a name is a string that is not empty and does not start with '\$'"),
        (lambda: Space({"$x": 1}), r"got the name '\$x'"),
        (lambda: Space({3: 1}), r"got the name 3"),
        (lambda: Space({"x": 1}, x=2), r"hyperparameter 'x' is given twice"),
        (lambda: Space([Float(0.0, 1.0)]), r"give hyperparameters by name, e.g. Space\(lr="),
        (lambda: Space(x={"low": 0, "high": 1}), r"hyperparameter 'x': got {.*; plain dictionaries are for Space.from_dict"),
        (lambda: Space(x=nan), r"hyperparameter 'x': got nan"),
        (lambda: Space(x=object()), r"hyperparameter 'x': got <object"),
        (lambda: Space(x=(0.1, 1)), r"'x': got \(0.1, 1\).*give Float\(0.1, 1\) for the range, or \[0.1, 1\] for two choices"),
        (lambda: Space(x=(2, 4)), r"give Int\(2, 4\) for the range"),
        (lambda: Space(x=[]), r"hyperparameter 'x': choices: got \[\]"),
        (lambda: Space(x=["a", "a"]), r"hyperparameter 'x': choices: got 'a' more than once"),
        (lambda: Space(a=Float(0, 1, when={"oder": 1}), order=[1, 2]), r"'a': when: 'oder' is not a hyperparameter; did you mean 'order'\?"),
        (lambda: Space(a=Float(0, 1, when={"b": 0.5}), b=Float(0, 1)), r"'a': when: 'b' is a Float, which hardly ever has an exact value"),
        (lambda: Space(a=Float(0, 1, when={"b": (1, 9)}), b=Int(1, 8)), r"'a': when: 'b' never is 9; allowed is a whole number from 1 to 8"),
        (lambda: Space(a=Float(0, 1, when={"b": 1}), b=[True, False]), r"'b' never is 1"),
        (lambda: Space(a=Categorical([1, 2], when={"a": 1})), r"conditions run in a circle: 'a' -> 'a'; drop one 'when'"),
        (
            lambda: Space(a=Categorical([1, 2], when={"b": 1}), b=Categorical([1, 2], when={"c": 1}), c=Categorical([1, 2], when={"a": 1})),
            r"conditions run in a circle: '(a|b|c)' -> .*drop one 'when'",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_it_is_a_mapping():
    assert (len(PLAIN), list(PLAIN), PLAIN.names) == (3, ["lr", "dropout", "layers"], ("lr", "dropout", "layers"))
    assert "lr" in PLAIN
    assert "lrr" not in PLAIN
    assert PLAIN["layers"] == Int(1, 8)
    assert dict(PLAIN.items())["dropout"] == Float(0.0, 0.6)
    assert PLAIN.get("lrr") is None
    with pytest.raises(KeyError):
        PLAIN["lrr"]
    assert Space(PLAIN, more=1).names == ("lr", "dropout", "layers", "more")
    limited = PLAIN.where("lr < dropout")
    assert Space(limited) == limited
    assert not Space()


def test_it_is_immutable_and_compares():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN._params = {}
    with pytest.raises(TypeError):
        PLAIN["lr"] = 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(PLAIN)
    same = Space(lr=Float(1e-5, 1e-1, log=True), dropout=Float(0.0, 0.6), layers=Int(1, 8))
    assert same == PLAIN
    assert Space(dropout=Float(0.0, 0.6), lr=Float(1e-5, 1e-1, log=True), layers=Int(1, 8)) != PLAIN  # columns are in another order
    assert PLAIN != 3
    assert (PLAIN == {"lr": 1}) is False
    for space in (PLAIN, NESTED, NESTED.where("lr < 0.01 or optimizer == 'adam'")):
        assert pickle.loads(pickle.dumps(space)) == space
        assert copy.deepcopy(space) == space
        assert eval(repr(space)) == space


def test_what_it_was_made_of_may_change_afterwards():
    given = {"x": Float(0.0, 1.0)}
    choices = ["a", "b"]
    space = Space(given, y=choices)
    given["z"] = 1
    choices.append("c")
    assert space == Space(x=Float(0.0, 1.0), y=["a", "b"])


def test_public_names():
    assert space_package.__all__ == sorted(space_package.__all__)
    classes = [name for name in space_package.__all__ if name not in ("HParams", "Value")]
    assert all(getattr(space_package, name).__module__.startswith("lamarck.space.") for name in classes)
    assert (space_package.HParams, space_package.Value) == (types.HParams, types.Value)


def test_parameters_are_abstract_or_final():
    with pytest.raises(TypeError, match="abstract"):
        Parameter()


# ---- drawing ---------------------------------------------------------------------------------------------------------------------------------


def test_draws_are_independent_and_follow_the_scales():
    draws = rng(1)
    configs = [PLAIN.sample(draws) for _ in range(3000)]
    columns = {name: np.array([config[name] for config in configs]) for name in PLAIN}
    assert stats.kstest(columns["lr"], stats.loguniform(1e-5, 1e-1).cdf).pvalue > 0.01
    assert stats.kstest(columns["dropout"], stats.uniform(0.0, 0.6).cdf).pvalue > 0.01
    assert stats.chisquare(list(Counter(columns["layers"]).values())).pvalue > 0.01
    for a, b in (("lr", "dropout"), ("lr", "layers"), ("dropout", "layers")):
        assert stats.spearmanr(columns[a], columns[b]).pvalue > 0.01


def test_the_same_generator_gives_the_same_draws():
    assert NESTED.sample(rng(5)) == NESTED.sample(rng(5))
    assert NESTED.sample_population(7, rng(5)) == NESTED.sample_population(7, rng(5))
    assert NESTED.sample(rng(5)) != NESTED.sample(rng(6))


def test_a_configuration_is_in_the_order_of_the_space():
    assert list(PLAIN.sample(rng())) == ["lr", "dropout", "layers"]
    for config in NESTED.sample_population(20, rng()):
        assert list(config) == [name for name in NESTED.names if name in config]


def test_first_populations_of_old_runs_are_drawn_again_to_the_same_values():
    """Golden: a change here changes what every seed means."""
    space = Space(lr=Float(1e-5, 1e-1, log=True), layers=Int(1, 8), opt=["sgd", "adam"], m=Float(0.0, 1.0, when={"opt": "sgd"}))
    population = space.sample_population(4, generator(0, -1, 0, "initial"))
    assert [config["layers"] for config in population] == GOLDEN_LAYERS
    assert [config["opt"] for config in population] == GOLDEN_OPT
    assert [config["lr"] for config in population] == pytest.approx(GOLDEN_LR, rel=1e-12)
    assert [config.get("m") for config in population] == [None if m is None else pytest.approx(m, rel=1e-12) for m in GOLDEN_M]


@pytest.mark.parametrize("size", [1, 2, 5, 16, 100])
def test_a_stratified_population_has_one_member_in_each_stratum(size):
    space = Space(
        x=Float(-1.0, 1.0),
        lr=Float(1e-6, 1.0, log=True),
        n=Int(1, 3 * size),
        c=list(range(size)),
        first=Float(0, 1, init=(0.2, 0.6)),
    )
    population = space.sample_population(size, rng(size))
    unit = space.to_unit(population)
    unit[:, -1] = (unit[:, -1] - 0.2) / 0.4
    strata = np.sort(np.floor(unit * size), axis=0)
    assert np.array_equal(strata, np.repeat(np.arange(size)[:, None], 5, axis=1))


def test_strata_are_paired_at_random_and_filled_uniformly():
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
    draws = rng(2)
    unit = np.concatenate([space.to_unit(space.sample_population(4, draws)) for _ in range(1000)])
    inside = (unit * 4) % 1
    assert stats.kstest(inside.ravel(), stats.uniform().cdf).pvalue > 0.01
    pairs = Counter(map(tuple, np.floor(unit * 4).astype(int).tolist()))
    assert len(pairs) == 16
    assert stats.chisquare(list(pairs.values())).pvalue > 0.01


def test_an_independent_population_is_not_stratified():
    space = Space(x=Float(0.0, 1.0))
    draws = rng(3)
    filled = [len({int(config["x"] * 8) for config in space.sample_population(8, draws, stratified=False)}) for _ in range(300)]
    assert np.mean(filled) == pytest.approx(8 * (1 - (7 / 8) ** 8), abs=0.25)  # occupied cells of 8 after 8 throws


def test_a_stratified_mean_varies_less():
    """McKay, Beckman and Conover: for a monotone function the variance of the mean falls; here, of x itself, from 1/(12 N) to 1/(12 N³)."""
    space, size, draws = Space(x=Float(0.0, 1.0)), 8, rng(4)

    def variance(stratified: bool) -> float:
        populations = (space.sample_population(size, draws, stratified=stratified) for _ in range(600))
        return float(np.var([np.mean([config["x"] for config in population]) for population in populations]))

    assert variance(False) == pytest.approx(1 / (12 * size), rel=0.2)
    assert variance(True) == pytest.approx(1 / (12 * size**3), rel=0.2)


def test_the_first_population_is_drawn_from_the_initial_ranges():
    space = Space(x=Float(0.0, 1.0, init=(0.4, 0.5)), n=Int(1, 100, init=(7, 9)), c=Categorical(list("abcd"), init=["b", "c"]))
    for stratified in (True, False):
        first = space.sample_population(30, rng(), stratified=stratified)
        assert all(0.4 <= config["x"] <= 0.5 for config in first)
        assert {config["n"] for config in first} == {7, 8, 9}
        assert {config["c"] for config in first} == {"b", "c"}
        anywhere = space.sample_population(30, rng(), stratified=stratified, initial=False)
        assert max(config["x"] for config in anywhere) > 0.5
    assert 7 <= space.sample(rng(), initial=True)["n"] <= 9
    assert any(not 7 <= space.sample(rng(seed))["n"] <= 9 for seed in range(5))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_sizes_that_are_not_are_refused(size):
    with pytest.raises(SpaceError, match=r"size: got .* whole number of at least 1"):
        PLAIN.sample_population(size, rng())


def test_an_empty_space_has_one_configuration():
    space = Space()
    assert space.sample(rng()) == {}
    assert space.sample_population(2, rng()) == [{}, {}]
    assert space.to_unit([{}, {}]).shape == (2, 0)
    assert space.from_unit(np.empty((2, 0))) == [{}, {}]
    assert space.contains({})


# ---- conditions ------------------------------------------------------------------------------------------------------------------------------


def expected_names(config: dict) -> set[str]:
    """What NESTED asks for, written out."""
    names = {"lr", "optimizer"}
    if config["optimizer"] in ("sgd", "rmsprop"):
        names.add("momentum_on")
        if config["momentum_on"]:
            names.add("nesterov")
    if config["optimizer"] == "adam":
        names.add("beta")
    return names


@pytest.mark.parametrize("stratified", [True, False])
def test_inactive_hyperparameters_are_absent(stratified):
    population = NESTED.sample_population(60, rng(), stratified=stratified)
    for config in population:
        assert set(config) == expected_names(config)
        assert NESTED.active(config) == tuple(config)
        NESTED.validate(config)
    assert len({frozenset(config) for config in population}) == 3


def test_activate_drops_and_draws():
    full = {"nesterov": True, "momentum_on": True, "lr": 0.01, "optimizer": "sgd"}
    assert NESTED.activate(full, rng()) == full
    adam = NESTED.activate(full | {"optimizer": "adam"}, rng())
    assert list(adam) == ["lr", "optimizer", "beta"]
    assert 0 <= adam["beta"] <= 1
    back = NESTED.activate(adam | {"optimizer": "sgd"}, rng())
    assert set(back) == expected_names(back)
    assert NESTED.activate(full | {"momentum_on": False}, rng()) == {"momentum_on": False, "lr": 0.01, "optimizer": "sgd"}
    assert NESTED.contains(NESTED.activate({}, rng()))
    untouched = dict(full)
    NESTED.activate(full, rng())
    assert full == untouched
    with pytest.raises(SpaceError, match=r"'betta' is not a hyperparameter; did you mean 'beta'\?"):
        NESTED.activate(full | {"betta": 1}, rng())


def test_several_conditions_must_all_hold():
    space = Space(a=[1, 2], b=Int(1, 2), c=Constant("c", when={"a": 1, "b": 2}))
    present = {(config["a"], config["b"]) for config in space.sample_population(40, rng()) if "c" in config}
    assert present == {(1, 2)}
    assert space.active({"a": 1, "b": 1}) == ("a", "b")
    assert space.active({"a": 1, "b": 2}) == ("a", "b", "c")
    assert space.active({}) == ("a", "b")


# ---- checking --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lr": 0.01, "optimizer": "adam", "betta": 0.5}, r"'betta' is not a hyperparameter; did you mean 'beta'\?"),
        ({"lr": 0.01, "optimizer": "adam", "zzz": 0.5}, r"'zzz' is not a hyperparameter; known are 'nesterov', 'momentum_on', 'lr'"),
        ({"lr": 0.01, "optimizer": "adam"}, r"hyperparameter 'beta' is missing; allowed is a number from 0.0 to 1.0; give a value"),
        ({"lr": 0.01}, r"hyperparameter 'optimizer' is missing; allowed is one of 'sgd', 'adam', 'rmsprop'"),
        ({"lr": 1.0, "optimizer": "adam", "beta": 0.5}, r"hyperparameter 'lr': got 1.0; allowed is a number from 1e-05 to 0.1; change"),
        ({"lr": nan, "optimizer": "adam", "beta": 0.5}, r"hyperparameter 'lr': got nan"),
        ({"lr": 0.01, "optimizer": "adam", "beta": True}, r"hyperparameter 'beta': got True"),
        ({"lr": 0.01, "optimizer": ["adam"], "beta": 0.5}, r"hyperparameter 'optimizer': got \['adam'\]; allowed is one of"),
        (
            {"lr": 0.01, "optimizer": "sgd", "momentum_on": False, "beta": 0.5},
            r"hyperparameter 'beta': got 0.5, but it exists only when {'optimizer': \('adam',\)}; leave it out",
        ),
        ({"lr": 0.01, "optimizer": "sgd", "momentum_on": False, "nesterov": True}, r"'nesterov': got True, but it exists only when"),
        (None, r"got None; a configuration is a dictionary"),
        ([("lr", 1)], r"a configuration is a dictionary"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(config, message):
    assert not NESTED.contains(config)
    with pytest.raises(SpaceError, match=message):
        NESTED.validate(config)


def test_a_good_configuration_passes():
    config = {"lr": 0.01, "optimizer": "adam", "beta": 0}
    NESTED.validate(config)
    assert NESTED.contains(config)
    assert NESTED.satisfied({"anything": 1})


def test_clip_brings_each_active_value_in():
    assert PLAIN.clip({"lr": 1.0, "dropout": -0.1, "layers": 9.7}) == pytest.approx({"lr": 0.01, "dropout": 0.1, "layers": 7})
    assert PLAIN.clip({"layers": 3.2}) == {"layers": 3}
    given = {"lr": 1.0, "stranger": "x"}
    assert PLAIN.clip(given) == {"lr": pytest.approx(0.01), "stranger": "x"}
    assert given == {"lr": 1.0, "stranger": "x"}
    inactive = {"optimizer": "sgd", "beta": 7.0}
    assert NESTED.clip(inactive) == inactive
    assert NESTED.clip({"optimizer": "adam", "beta": 1.25}) == {"optimizer": "adam", "beta": 0.75}
    with pytest.raises(SpaceError, match="hyperparameter 'lr': got nan; allowed is a number from"):
        PLAIN.clip({"lr": nan})


def test_a_clipped_parent_decides_about_its_child():
    space = Space(n=Int(1, 4), x=Float(0.0, 1.0, when={"n": 4}))
    assert space.clip({"n": 5, "x": 1.25}) == {"n": 4, "x": 0.75}
    assert space.clip({"n": 6, "x": 1.25}) == {"n": 3, "x": 1.25}
