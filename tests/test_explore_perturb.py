from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lamarck import Categorical, Constant, Float, Int, SettingsError, Space
from lamarck._rng import generator
from lamarck.explore import Keep, Perturb
from lamarck.testing.explore import SPACES, check_explore
from lamarck.testing.populations import population

ONE = population([[0.5]])


def draws(strategy, space, hparams, count=2000):
    return [strategy(hparams, 0, ONE, space, generator(i, 0, 1, "decide")) for i in range(count)]


def test_each_factor_half_of_the_time():
    space = Space(lr=Float(1e-5, 1.0, log=True), dropout=Float(0.0, 1.0))
    found = [(h["lr"], h["dropout"]) for h in draws(Perturb(), space, {"lr": 0.1, "dropout": 0.4})]
    pairs = [(0.1 * f, 0.4 * g) for f in (0.8, 1.25) for g in (0.8, 1.25)]
    counts = [found.count(pair) for pair in pairs]
    assert sum(counts) == 2000
    assert stats.chisquare(counts).pvalue > 0.001  # each pair a quarter: the two move independently


def test_any_number_of_factors():
    space = Space(x=Float(0.0, 1.0))
    found = [h["x"] for h in draws(Perturb(factors=(0.5, 1.0, 1.5)), space, {"x": 0.5})]
    assert stats.chisquare([found.count(x) for x in (0.25, 0.5, 0.75)]).pvalue > 0.001
    assert {h["x"] for h in draws(Perturb(factors=[1.5]), space, {"x": 0.5}, 20)} == {0.75}


def test_the_default_factors_do_not_drift():
    """On average the logarithm stays; with 0.8 and 1.2 it loses (log 0.8 + log 1.2) / 2 = -0.0204 each time."""
    space = Space(lr=Float(1e-9, 1e9, log=True))
    logs = np.log([h["lr"] for h in draws(Perturb(), space, {"lr": 1.0})])
    assert set(np.abs(logs).round(12)) == {round(math.log(1.25), 12)}
    assert math.log(Perturb().factors[0]) + math.log(Perturb().factors[1]) == pytest.approx(0.0, abs=1e-15)
    downward = np.log([h["lr"] for h in draws(Perturb(factors=(0.8, 1.2)), space, {"lr": 1.0})])
    assert (downward.min() + downward.max()) / 2 == pytest.approx(-0.0204, abs=5e-5)


def test_probability_of_a_change():
    space = Space(x=Float(0.0, 1.0), batch=Categorical([32, 64, 128], ordered=True), layers=Int(1, 8))
    found = draws(Perturb(probability=0.3), space, {"x": 0.5, "batch": 64, "layers": 4})
    for name, start in (("x", 0.5), ("batch", 64), ("layers", 4)):
        changed = sum(h[name] != start for h in found)
        assert stats.binomtest(changed, 2000, 0.3).pvalue > 0.001


def test_types_by_hand():
    space = Space(layers=Int(1, 8), batch=Categorical([32, 64, 128], ordered=True), depth=Constant("deep"))
    found = draws(Perturb(), space, {"layers": 2, "batch": 64, "depth": "deep"}, 200)
    assert {h["layers"] for h in found} == {1, 3}  # 1.6 and 2.5, moved by at least 1
    assert {h["batch"] for h in found} == {32, 128}
    assert {h["depth"] for h in found} == {"deep"}
    assert {h["layers"] for h in draws(Perturb(), space, {"layers": 1, "batch": 32, "depth": "deep"}, 200)} == {2}


def test_direction_is_the_factor_s():
    space = Space(layers=Int(1, 8), batch=Categorical([32, 64, 128], ordered=True))
    for factor, expected in ((2.0, {"layers": 4, "batch": 128}), (0.5, {"layers": 1, "batch": 32})):
        assert draws(Perturb(factors=(factor,)), space, {"layers": 2, "batch": 64}, 20) == [expected] * 20


def test_unordered_choices_have_a_probability_of_their_own():
    """Each other one alike: a quarter of the time a change, to either of two."""
    space = Space(activation=Categorical(["relu", "tanh", "gelu"]))
    for probability in (0.0, 0.5, 1.0):
        found = [h["activation"] for h in draws(Perturb(probability=probability), space, {"activation": "tanh"}, 4000)]
        counts = [found.count(choice) for choice in ("relu", "tanh", "gelu")]
        assert stats.chisquare(counts, [500, 3000, 500]).pvalue > 0.001
    assert {h["activation"] for h in draws(Perturb(categorical=1.0), space, {"activation": "tanh"}, 100)} == {"relu", "gelu"}


def test_never_changing_is_keeping():
    still = Perturb(probability=0.0, categorical=0.0)
    for space in SPACES:
        for i in range(20):
            hparams = space.sample(generator(i, 0, 0, "sample"))
            assert still(hparams, 0, ONE, space, generator(i, 0, 1, "decide")) == Keep()(hparams, 0, ONE, space, generator(i, 0, 1, "decide"))


def test_within_bounds():
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0, bounds="clip"))
    found = draws(Perturb(factors=(1.5,)), space, {"x": 0.9, "y": 0.9}, 1)[0]
    assert found == {"x": pytest.approx(0.65), "y": 1.0}  # 1.35 mirrored at 1, or moved there


def test_only_what_is_there():
    space = SPACES[2]
    found = draws(Perturb(categorical=1.0), space, {"optimizer": "sgd", "momentum": 0.5}, 50)
    assert all(h.keys() == {"optimizer", "momentum"} for h in found)
    assert {h["optimizer"] for h in found} == {"adam"}


@pytest.mark.parametrize("bad", [(), 0.8, "fast", (0.8, 0.0), (0.8, -1.0), (0.8, math.inf), (0.8, math.nan), (0.8, "1.2"), (True,), None])
def test_illegal_factors(bad):
    with pytest.raises(SettingsError, match=r"perturb: factors: got .*; it must be a sequence of positive .*numbers, e.g. \(0.8, 1.25\)"):
        Perturb(factors=bad)


@pytest.mark.parametrize("field", ["probability", "categorical"])
@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, True, "0.5"])
def test_illegal_probabilities(field, bad):
    with pytest.raises(SettingsError, match=f"perturb: {field}: got .*; it must be a probability from 0 to 1"):
        Perturb(**{field: bad})


def test_factors_are_plain_numbers():
    """Whatever they came from, so that what they are multiplied with stays plain."""
    strategy = Perturb(factors=[np.float64(0.5), 2])
    assert strategy.factors == (0.5, 2.0)
    assert [type(f) for f in strategy.factors] == [float, float]


@pytest.mark.parametrize("strategy", [Perturb(probability=0.5), Perturb(factors=(0.1, 10.0)), Perturb(categorical=1.0)])
def test_laws(strategy):
    check_explore(strategy)
