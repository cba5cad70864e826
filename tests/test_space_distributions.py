"""How `Float` and `Int` are drawn and how noise is added to them, against SciPy."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lamarck import SpaceError
from lamarck.space import Float, Int

nan, inf = math.nan, math.inf


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- drawing ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "initial", "distribution"),
    [
        (Float(-2.0, 3.0), False, stats.uniform(-2.0, 5.0)),
        (Float(-2.0, 3.0), True, stats.uniform(-2.0, 5.0)),
        (Float(1e-5, 0.1, log=True), False, stats.loguniform(1e-5, 0.1)),
        (Float(0.0, 1.0, init=(0.2, 0.3)), True, stats.uniform(0.2, 0.1)),
        (Float(0.0, 1.0, init=(0.2, 0.3)), False, stats.uniform(0.0, 1.0)),
        (Float(1e-5, 0.1, log=True, init=(1e-3, 1e-2)), True, stats.loguniform(1e-3, 1e-2)),
    ],
)
def test_floats_are_uniform_on_their_scale(param, initial, distribution):
    generator = rng(1)
    values = [param.sample(generator, initial) for _ in range(4000)]
    assert stats.kstest(values, distribution.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("param", "initial", "expected"),
    [
        (Int(1, 5), False, dict.fromkeys(range(1, 6), 1)),
        (Int(-2, 1), True, dict.fromkeys(range(-2, 2), 1)),
        (Int(1, 9, init=(3, 5)), True, dict.fromkeys((3, 4, 5), 1)),
        (Int(1, 4, log=True), False, {k: math.log((k + 0.5) / (k - 0.5)) for k in range(1, 5)}),
        (Int(1, 64, log=True, init=(2, 4)), True, {k: math.log((k + 0.5) / (k - 0.5)) for k in range(2, 5)}),
    ],
)
def test_ints_have_the_probability_of_their_cells(param, initial, expected):
    generator, size = rng(2), 6000
    counts = Counter(param.sample(generator, initial) for _ in range(size))
    assert counts.keys() == expected.keys()
    total = sum(expected.values())
    assert stats.chisquare([counts[k] for k in expected], [size * p / total for p in expected.values()]).pvalue > 0.01


def test_an_initial_range_may_be_one_value():
    assert {Float(0.0, 1.0, init=(0.3, 0.3)).sample(rng(seed), True) for seed in range(5)} == {0.3}
    assert {Int(1, 8, init=(3, 3)).sample(rng(seed), True) for seed in range(5)} == {3}
    assert Float(1e-5, 0.1, log=True, init=(1e-2, 1e-2)).from_unit(1.0, initial=True) == 1e-2


# ---- noise -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "value", "sd", "transform", "distribution"),
    [
        (Float(-10.0, 10.0), 1.0, 0.5, lambda x: x, stats.norm(1.0, 0.5)),
        (Float(1e-9, 1e3, log=True), 1e-3, 0.7, np.log, stats.norm(math.log(1e-3), 0.7)),
        (Float(0.0, 100.0), 0.0, 1.0, lambda x: x, stats.halfnorm()),  # mirrored at 0
    ],
)
def test_noise_on_floats_is_normal(param, value, sd, transform, distribution):
    generator = rng(4)
    values = transform(np.array([param.noise(value, sd, generator) for _ in range(3000)]))
    assert stats.kstest(values, distribution.cdf).pvalue > 0.01


def test_noise_on_ints_is_normal_and_rounded():
    generator, size = rng(5), 6000
    counts = Counter(Int(-100, 100).noise(0, 1.0, generator) for _ in range(size))
    cells = range(-2, 3)
    expected = [stats.norm.cdf(k + 0.5) - stats.norm.cdf(k - 0.5) for k in cells]
    rest = 1 - sum(expected)
    observed = [counts[k] for k in cells]
    assert stats.chisquare([*observed, size - sum(observed)], [size * p for p in (*expected, rest)]).pvalue > 0.01


def test_noise_on_a_logarithmic_int_is_in_log_units():
    generator = rng(6)
    values = [math.log(Int(1, 2**40, log=True).noise(2**20, 0.5, generator)) for _ in range(3000)]
    assert stats.kstest(values, stats.norm(20 * math.log(2), 0.5).cdf).pvalue > 0.01


@pytest.mark.parametrize("param", [Float(0.5, 1.0), Float(0.5, 1.0, log=True), Int(1, 8), Int(1, 8, log=True, bounds="clip")])
def test_noise_without_width_changes_nothing_and_with_any_stays_inside(param):
    generator = rng(7)
    values = [param.sample(generator) for _ in range(20)]
    assert [param.noise(value, 0.0, generator) for value in values] == values
    assert all(param.contains(param.noise(param.high, 1e6, generator)) for _ in range(200))
    assert all(param.contains(param.noise(param.high, 1.7e308, generator)) for _ in range(20))


@pytest.mark.parametrize("sd", [-0.1, nan, inf])
@pytest.mark.parametrize("param", [Float(0.5, 1.0), Int(1, 8)])
def test_widths_that_are_not_are_refused(param, sd):
    with pytest.raises(SpaceError, match=r"sd: got .* at least 0"):
        param.noise(param.low, sd, rng())
