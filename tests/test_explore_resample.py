"""`Resample` and `PerturbOrResample`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lamarck import Categorical, Float, Int, SettingsError, Space
from lamarck._rng import generator
from lamarck.explore import Keep, Perturb, PerturbOrResample, Resample
from lamarck.testing.explore import SPACES, check_explore
from lamarck.testing.populations import population

ONE = population([[0.5]])


def draws(strategy, space, hparams, count=3000):
    return [strategy(hparams, 0, ONE, space, generator(i, 0, 1, "decide")) for i in range(count)]


def test_how_often():
    space = Space(a=Float(0.0, 1.0), b=Float(0.0, 1.0))
    found = draws(Resample(), space, {"a": 0.5, "b": 0.5})
    kinds = [(h["a"] != 0.5, h["b"] != 0.5) for h in found]
    counts = [kinds.count(kind) for kind in ((False, False), (False, True), (True, False), (True, True))]
    assert stats.chisquare(counts, [3000 * p for p in (9 / 16, 3 / 16, 3 / 16, 1 / 16)]).pvalue > 0.001


def test_from_the_whole_range_on_its_scale():
    space = Space(lr=Float(1e-5, 1e-1, log=True, init=(1e-3, 1e-2)), x=Float(-1.0, 3.0), n=Int(1, 4), c=Categorical(["a", "b"]))
    found = draws(Resample(probability=1.0), space, {"lr": 1e-3, "x": 0.0, "n": 1, "c": "a"})
    assert stats.kstest([math.log10(h["lr"]) for h in found], stats.uniform(-5, 4).cdf).pvalue > 0.001
    assert stats.kstest([h["x"] for h in found], stats.uniform(-1, 4).cdf).pvalue > 0.001
    assert stats.chisquare([sum(h["n"] == n for h in found) for n in (1, 2, 3, 4)]).pvalue > 0.001
    assert stats.chisquare([sum(h["c"] == c for h in found) for c in ("a", "b")]).pvalue > 0.001
    assert abs(np.corrcoef([math.log(h["lr"]) for h in found], [h["x"] for h in found])[0, 1]) < 0.05


def test_either_or():
    """A quarter drawn anew from the whole range, the rest halved between the two factors."""
    space = Space(x=Float(0.0, 1.0))
    found = [h["x"] for h in draws(PerturbOrResample(), space, {"x": 0.4})]
    down, up = found.count(0.4 * 0.8), found.count(0.4 * 1.25)
    anew = [x for x in found if x not in (0.4 * 0.8, 0.4 * 1.25)]
    assert stats.chisquare([down, up, len(anew)], [1125, 1125, 750]).pvalue > 0.001
    assert stats.kstest(anew, "uniform").pvalue > 0.001


def test_unordered_choices():
    """1/4 drawn anew (2/3 of these another one), else 1/4 changed: 1/4 * 2/3 + 3/4 * 1/4 = 17/48 end elsewhere."""
    space = Space(c=Categorical(["a", "b", "c"]))
    changed = sum(h["c"] != "a" for h in draws(PerturbOrResample(), space, {"c": "a"}))
    assert stats.binomtest(changed, 3000, 17 / 48).pvalue > 0.001


@pytest.mark.parametrize(
    ("extreme", "simple"),
    [
        (PerturbOrResample(resample=0.0), Perturb()),
        (PerturbOrResample(resample=0.0, factors=(0.5, 3.0), categorical=0.9), Perturb(factors=(0.5, 3.0), categorical=0.9)),
        (PerturbOrResample(resample=1.0), Resample(probability=1.0)),
        (Resample(probability=0.0), Keep()),
    ],
)
def test_with_the_knob_at_its_end_it_is_the_simple_strategy(extreme, simple):
    for space in SPACES:
        for i in range(20):
            hparams = space.sample(generator(i, 0, 0, "sample"))
            answers = [strategy(hparams, 0, ONE, space, generator(i, 0, 1, "decide")) for strategy in (extreme, simple)]
            assert answers[0] == answers[1]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, True, "0.5"])
def test_illegal_probabilities(bad):
    with pytest.raises(SettingsError, match=r"resample: probability: got .*; it must be a probability from 0 to 1"):
        Resample(probability=bad)
    for field in ("resample", "categorical"):
        with pytest.raises(SettingsError, match=f"perturb_or_resample: {field}: got .*; it must be a probability from 0 to 1"):
            PerturbOrResample(**{field: bad})


def test_illegal_factors():
    with pytest.raises(SettingsError, match=r"perturb_or_resample: factors: got -1.0; it must be a sequence of positive"):
        PerturbOrResample(factors=(0.8, -1.0))


@pytest.mark.parametrize("strategy", [Resample(probability=0.5), PerturbOrResample(resample=0.5, factors=(0.01, 100.0))])
def test_laws(strategy):
    check_explore(strategy)
