from __future__ import annotations

import math

import pytest
from scipy import stats

from lamarck import Categorical, Constant, Float, SettingsError, Space
from lamarck._rng import generator
from lamarck.explore import Gaussian, Keep
from lamarck.testing.explore import SPACES, check_explore
from lamarck.testing.populations import population

ONE = population([[0.5]])


def draws(strategy, space, hparams, count=3000):
    return [strategy(hparams, 0, ONE, space, generator(i, 0, 1, "decide")) for i in range(count)]


def test_normal_in_own_units_and_in_logarithms():
    space = Space(x=Float(-100.0, 100.0), lr=Float(1e-9, 1e9, log=True))
    found = draws(Gaussian(0.1), space, {"x": 2.0, "lr": 0.5})
    x, lr = [h["x"] for h in found], [math.log(h["lr"]) for h in found]
    assert stats.kstest(x, stats.norm(2.0, 0.1).cdf).pvalue > 0.001
    assert stats.kstest(lr, stats.norm(math.log(0.5), 0.1).cdf).pvalue > 0.001
    assert stats.pearsonr(x, lr).pvalue > 0.001


def test_the_toy_s_noise_leaves_zero():
    """Half-normal at a bound of 0 that reflects, half of it exactly at 0 if it clips."""
    space = Space(h0=Float(0.0, 10.0), h1=Float(0.0, 10.0, bounds="clip"))
    found = draws(Gaussian(), space, {"h0": 0.0, "h1": 0.0})
    assert stats.kstest([h["h0"] for h in found], stats.halfnorm(0.0, 0.1).cdf).pvalue > 0.001
    assert stats.binomtest(sum(h["h1"] == 0.0 for h in found), 3000, 0.5).pvalue > 0.001


def test_by_name():
    space = Space(a=Float(-9.0, 9.0), b=Float(-9.0, 9.0), c=Float(-9.0, 9.0))
    found = draws(Gaussian({"a": 0.1, "b": 0.5}), space, {"a": 0.0, "b": 0.0, "c": 0.0})
    assert stats.kstest([h["a"] for h in found], stats.norm(0.0, 0.1).cdf).pvalue > 0.001
    assert stats.kstest([h["b"] for h in found], stats.norm(0.0, 0.5).cdf).pvalue > 0.001
    assert {h["c"] for h in found} == {0.0}


def test_a_name_may_be_inactive_but_not_unknown():
    space = SPACES[2]
    assert draws(Gaussian({"momentum": 0.1}), space, {"optimizer": "adam", "beta": 0.9}, 1) == [{"optimizer": "adam", "beta": 0.9}]
    with pytest.raises(
        SettingsError,
        match=r"gaussian: got 'momentun', which is not a hyperparameter; the space has beta, momentum, optimizer\. Did you mean 'momentum'\?",
    ):
        draws(Gaussian({"momentun": 0.1}), space, {"optimizer": "adam", "beta": 0.9}, 1)
    with pytest.raises(SettingsError, match=r"the space has beta, momentum, optimizer$"):
        draws(Gaussian({"zzz": 0.1}), space, {"optimizer": "adam", "beta": 0.9}, 1)


def test_what_has_no_order_stays():
    space = Space(c=Categorical(["a", "b"]), k=Constant(3), batch=Categorical([1, 2, 3], ordered=True))
    found = draws(Gaussian(5.0), space, {"c": "a", "k": 3, "batch": 2}, 100)
    assert {(h["c"], h["k"]) for h in found} == {("a", 3)}
    assert {h["batch"] for h in found} == {1, 2, 3}


def test_without_noise_nothing_moves():
    space = Space(x=Float(0.0, 1.0), b=Categorical([1, 2, 3], ordered=True))
    for i in range(20):
        hparams = space.sample(generator(i, 0, 0, "sample"))
        assert draws(Gaussian(0), space, hparams, 1) == draws(Keep(), space, hparams, 1)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, True, "wide", None, {"lr": -1.0}, {"lr": "wide"}])
def test_illegal_widths(bad):
    with pytest.raises(SettingsError, match=r"gaussian: sd: got .*; it must be a finite number of at least 0, or a mapping"):
        Gaussian(bad)


def test_it_is_a_value():
    """The mapping given is not the mapping kept, and does not stand in the way of hashing."""
    widths = {"lr": 0.1}
    strategy = Gaussian(widths)
    widths["lr"] = 9.0
    assert strategy == Gaussian({"lr": 0.1})
    assert hash(strategy) == hash(Gaussian({"lr": 0.1}))


def test_laws():
    check_explore(Gaussian(3.0))
    check_explore(Gaussian({"lr": 1.0}), spaces=SPACES[:2])
