"""Configurations to the unit cube and back."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lamarck import SpaceError
from lamarck.space import Categorical, Float, Int, Space

nan = math.nan
PLAIN = Space(lr=Float(1e-5, 1e-1, log=True), dropout=Float(0.0, 0.6), layers=Int(1, 8))
NESTED = Space(
    nesterov=Categorical([False, True], when={"momentum_on": True}),
    momentum_on=Categorical([False, True], when={"optimizer": ("sgd", "rmsprop")}),
    lr=Float(1e-5, 1e-1, log=True),
    optimizer=["sgd", "adam", "rmsprop"],
    beta=Float(0.0, 1.0, when={"optimizer": "adam"}),
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_columns_agree_with_single_values():
    configs = NESTED.sample_population(50, rng())
    unit = NESTED.to_unit(configs)
    assert unit.shape == (50, 5)
    assert unit.dtype == np.float64
    for config, row in zip(configs, unit, strict=True):
        for (name, param), place in zip(NESTED.items(), row, strict=True):
            assert place == pytest.approx(param.to_unit(config[name]), rel=1e-12) if name in config else np.isnan(place)


def test_there_and_back_again():
    configs = NESTED.sample_population(50, rng())
    for before, after in zip(configs, NESTED.from_unit(NESTED.to_unit(configs)), strict=True):
        close = {name: pytest.approx(before[name], rel=1e-12) for name in ("lr", "beta") if name in before}
        assert after == before | close


def test_what_is_inactive_or_nan_is_left_out():
    row = np.array([0.9, 0.9, 0.5, 0.5, 0.25])  # adam
    assert NESTED.from_unit(row[None]) == [{"lr": pytest.approx(1e-3), "optimizer": "adam", "beta": 0.25}]
    row[4] = nan
    assert NESTED.from_unit(row[None]) == [{"lr": pytest.approx(1e-3), "optimizer": "adam"}]
    row[3] = nan
    assert NESTED.from_unit(np.array([row, row])) == [{"lr": pytest.approx(1e-3)}] * 2


def test_uniform_places_are_draws_from_the_prior():
    configs = PLAIN.from_unit(rng(1).random((4000, 3)))
    assert stats.kstest([config["lr"] for config in configs], stats.loguniform(1e-5, 1e-1).cdf).pvalue > 0.01
    assert stats.chisquare(list(Counter(config["layers"] for config in configs).values())).pvalue > 0.01
    assert {type(value) for config in configs for value in config.values()} == {float, int}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4)), r"got an array of shape \(2, 4\); it must be \(N, 3\)"),
        (np.zeros(3), r"got an array of shape \(3,\)"),
        (np.array([[0.5, 1.5, 0.5]]), r"hyperparameter 'dropout': unit value: got 1.5; it must lie between 0 and 1"),
        (np.array([[0.5, 0.5, -np.inf]]), r"hyperparameter 'layers': unit value: got -inf"),
    ],
)
def test_arrays_that_are_not_places_are_refused(array, message):
    with pytest.raises(SpaceError, match=message):
        PLAIN.from_unit(array)


def test_configurations_without_a_place_are_refused():
    good = {"lr": 0.01, "dropout": 0.5, "layers": 3}
    with pytest.raises(SpaceError, match=r"hyperparameter 'layers': got 3.5; allowed is a whole number from 1 to 8"):
        PLAIN.to_unit([good, good | {"layers": 3.5}])
    with pytest.raises(SpaceError, match=r"'lrr' is not a hyperparameter; did you mean 'lr'"):
        PLAIN.to_unit([good, good | {"lrr": 3}])
    assert PLAIN.to_unit([]).shape == (0, 3)
    assert PLAIN.from_unit(np.empty((0, 3))) == []
