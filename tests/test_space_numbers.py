"""`Float` and `Int`, against numbers computed by hand and distributions from SciPy."""

from __future__ import annotations

import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest

from lamarck import SpaceError
from lamarck.space import Float, Int

nan, inf = math.nan, math.inf


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- building --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(1.0, 1.0), r"low=1.0 and high=1.0; low must be below high; use Constant"),
        (lambda: Float(2.0, 1.0), r"low must be below high"),
        (lambda: Int(3, 3), r"low must be below high"),
        (lambda: Int(4, 3), r"low must be below high"),
        (lambda: Float(0.0, 1.0, log=True), r"log=True with low=0.0; a logarithmic scale needs low above 0; raise low"),
        (lambda: Float(-1.0, 1.0, log=True), r"needs low above 0"),
        (lambda: Float(math.nextafter(1e300, 0), 1e300, log=True), r"which have the same logarithm; use a wider range or drop log"),
        (lambda: Int(0, 8, log=True), r"needs low above 0"),
        (lambda: Float(nan, 1.0), r"low: got nan"),
        (lambda: Float(0.0, nan), r"high: got nan"),
        (lambda: Float(0.0, inf), r"high: got inf; it must be a number of at most 1e\+300 in size"),
        (lambda: Float(-1e301, 0.0), r"low: got -1e\+301"),
        (lambda: Float(0.0, 10**400), r"high: got 1000"),
        (lambda: Float("0", 1.0), r"low: got '0'; it must be a number"),
        (lambda: Float(False, 1.0), r"low: got False"),
        (lambda: Float(None, 1.0), r"low: got None"),
        (lambda: Int(1.0, 8), r"low: got 1.0; it must be a whole number .* use Float"),
        (lambda: Int(1, 2**40 + 1), r"high: got 1099511627777; it must be a whole number of at most 2\*\*40"),
        (lambda: Int(True, 8), r"low: got True"),
        (lambda: Float(0.0, 1.0, log=1), r"log: got 1; it must be True or False"),
        (lambda: Int(1, 8, bounds="wrap"), r"bounds: got 'wrap'; it must be 'reflect' or 'clip'"),
        (lambda: Float(0.0, 1.0, init=0.5), r"init: got 0.5; it must be the pair"),
        (lambda: Float(0.0, 1.0, init=(0.1, 0.2, 0.3)), r"it must be the pair"),
        (lambda: Float(0.0, 1.0, init=(0.5, 1.5)), r"init: got \(0.5, 1.5\); it must lie within the bounds 0.0 to 1.0"),
        (lambda: Float(0.0, 1.0, init=(-0.5, 0.5)), r"must lie within the bounds"),
        (lambda: Float(0.0, 1.0, init=(0.7, 0.5)), r"lower end first"),
        (lambda: Float(0.0, 1.0, init=("a", 0.5)), r"init: got 'a'; it must be a number"),
        (lambda: Int(1, 8, init=(0, 4)), r"must lie within the bounds 1 to 8"),
        (lambda: Int(1, 8, init=(1.0, 4)), r"init: got 1.0; it must be a whole number"),
        (lambda: Float(0.0, 1.0, when="sgd"), r"when: got 'sgd'; it must name other hyperparameters"),
        (lambda: Float(0.0, 1.0, when={}), r"when: got {}"),
        (lambda: Int(1, 8, when={"optimizer": ()}), r"when: got 'optimizer': \(\)"),
        (lambda: Int(1, 8, when={"optimizer": [["sgd"]]}), r"when: got 'optimizer'"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_bounds_become_plain_python_numbers():
    lr, layers = Float(np.float32(0.5), 2), Int(np.int64(1), np.int32(8))
    assert (type(lr.low), type(lr.high), type(layers.low), type(layers.high)) == (float, float, int, int)
    assert Float(Fraction(1, 4), 1).low == 0.25


def test_they_are_frozen_values():
    lr = Float(1e-5, 0.1, log=True, when={"optimizer": "sgd"})
    assert lr == Float(1e-5, 0.1, log=True, when={"optimizer": ["sgd"]})
    assert lr != Float(1e-5, 0.1, when={"optimizer": "sgd"})
    assert hash(lr) == hash(Float(1e-5, 0.1, log=True, when={"optimizer": ("sgd",)}))
    assert Float(1.0, 2.0) != Int(1, 2)
    assert pickle.loads(pickle.dumps(lr)) == lr
    with pytest.raises(dataclasses.FrozenInstanceError):
        lr.low = 0.0


def test_the_representation_is_the_call_that_makes_it():
    for param in (Float(1e-5, 0.1, log=True), Int(1, 8, init=(2, 4), bounds="clip", when={"a": "b"}), Float(-1, 1)):
        assert eval(repr(param)) == param
    assert repr(Float(0, 1)) == "Float(low=0.0, high=1.0)"


# ---- contains and clip -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "inside", "outside"),
    [
        (Float(0.5, 2.0), [0.5, 1, 2.0, np.float64(1.5)], [0.49, 2.1, nan, inf, True, "1", None, [1], np.ones(2)]),
        (Int(1, 8), [1, 5, 8], [0, 9, 1.0, True, "1", None, nan, np.ones(2)]),
    ],
)
def test_contains(param, inside, outside):
    assert all(map(param.contains, inside))
    assert not any(map(param.contains, outside))


@pytest.mark.parametrize(
    ("param", "value", "expected"),
    [
        (Float(0.0, 1.0), 0.3, 0.3),
        (Float(0.0, 1.0), 1.25, 0.75),
        (Float(0.0, 1.0), -0.25, 0.25),
        (Float(0.0, 1.0), 2.25, 0.25),  # mirrored at 1, then at 0
        (Float(0.0, 1.0), -1.75, 0.25),  # mirrored at 0, then at 1
        (Float(0.0, 1.0), 1e6 + 0.5, 0.5),
        (Float(0.0, 1.0), inf, 1.0),
        (Float(0.0, 1.0), -inf, 0.0),
        (Float(0.0, 1.0, bounds="clip"), 1.25, 1.0),
        (Float(0.0, 1.0, bounds="clip"), -7, 0.0),
        (Float(-3.0, -1.0), -0.5, -1.5),
        (Float(1.0, 100.0, log=True), 200.0, 50.0),  # 100 / 2
        (Float(1.0, 100.0, log=True), 0.5, 2.0),
        (Float(1.0, 100.0, log=True), 1e5, 10.0),  # ln 10 times 5: mirrored at 2, back to -1, mirrored at 0: 1
        (Float(1.0, 100.0, log=True), 0.0, 1.0),  # has no logarithm
        (Float(1.0, 100.0, log=True), -3.0, 1.0),
        (Float(1.0, 100.0, log=True, bounds="clip"), 200.0, 100.0),
        (Float(1.0, 100.0, log=True), inf, 100.0),
        (Int(1, 8), 3.4, 3),
        (Int(1, 8), 2.5, 3),
        (Int(1, 8), 8.4, 8),
        (Int(1, 8), 9, 8),  # mirrored at 8.5
        (Int(1, 8), 10, 7),
        (Int(1, 8), 0, 1),
        (Int(1, 8), -1, 2),
        (Int(-8, -1), 0, -1),
        (Int(1, 8, bounds="clip"), 10, 8),
        (Int(1, 8, bounds="clip"), -10.2, 1),
        (Int(1, 8, log=True), 0, 1),
        (Int(1, 8, log=True), 17, 4),  # 8.5² / 17 = 4.25
        (Int(1, 8, log=True), inf, 8),
        (Float(0.0, 1.0), Fraction(5, 4), 0.75),
        (Float(0.0, 1.0), np.float32(0.25), 0.25),
        (Int(1, 8), np.int64(3), 3),
    ],
)
def test_clip_by_hand(param, value, expected):
    clipped = param.clip(value)
    assert clipped == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert type(clipped) is type(param.low)
    assert param.contains(clipped)


@pytest.mark.parametrize("param", [Float(0.5, 2.0), Int(1, 8)])
@pytest.mark.parametrize("value", [nan, True, "1", None, [1.0], 1j, np.float64(nan), 10**400])
def test_what_cannot_be_brought_in_is_refused(param, value):
    with pytest.raises(SpaceError, match=r"got .*; allowed is a (whole )?number from"):
        param.clip(value)


# ---- the unit interval -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "value", "place"),
    [
        (Float(0.0, 4.0), 1.0, 0.25),
        (Float(-1.0, 1.0), 0, 0.5),
        (Float(1e-4, 1.0, log=True), 1e-3, 0.25),
        (Float(1e-4, 1.0, log=True), 1e-4, 0.0),
        (Float(1e-4, 1.0, log=True), 1.0, 1.0),
        (Int(1, 4), 1, 0.125),
        (Int(1, 4), 4, 0.875),
        (Int(-1, 1), 0, 0.5),
        (Int(1, 4, log=True), 1, math.log(3) / 2 / math.log(9)),  # cells end at 1/2, 3/2, 5/2, 7/2, 9/2
        (Int(1, 4, log=True), 4, 1 - math.log(9 / 7) / 2 / math.log(9)),
    ],
)
def test_places_by_hand(param, value, place):
    assert param.to_unit(value) == pytest.approx(place, rel=1e-12)
    assert param.from_unit(place) == pytest.approx(value, rel=1e-12)
    assert param.to_units([value]).tolist() == pytest.approx([place], rel=1e-12)
    assert param.from_units(np.array([place])) == pytest.approx([value], rel=1e-12)


@pytest.mark.parametrize(
    "param", [Float(0.1, 0.7), Float(1e-5, 0.1, log=True), Float(3.3e-9, 7.7e-3, log=True), Int(1, 8), Int(3, 2**40, log=True)]
)
def test_the_ends_are_exact(param):
    assert (param.from_unit(0.0), param.from_unit(1.0)) == (param.low, param.high)
    assert param.from_units(np.array([0.0, 1.0])) == [param.low, param.high]


@pytest.mark.parametrize("param", [Float(0.0, 1.0), Int(1, 8, log=True)])
@pytest.mark.parametrize("place", [-0.1, 1.1, nan, inf])
def test_places_outside_are_refused(param, place):
    with pytest.raises(SpaceError, match="must lie between 0 and 1"):
        param.from_unit(place)
    with pytest.raises(SpaceError, match="must lie between 0 and 1"):
        param.from_units(np.array([0.5, place]))


@pytest.mark.parametrize(
    ("param", "values", "first"),
    [
        (Float(0.0, 1.0), [0.5, 1.5, 2.5], "1.5"),
        (Float(0.0, 1.0), [0.5, nan], "nan"),
        (Float(0.0, 1.0), [0.5, "0.5"], "'0.5'"),
        (Float(0.0, 1.0), [None], "None"),
        (Float(0.0, 1.0), [True], "True"),
        (Int(1, 8), [1, 0], "0"),
        (Int(1, 8), [1, 2.0], "2.0"),
        (Int(1, 8), [2**70], "1180591620717411303424"),
        (Int(1, 8), [1, [2]], r"\[2\]"),
        (Float(0.0, 1.0), [False, 0.5], "False"),
    ],
)
def test_values_that_are_not_allowed_have_no_place(param, values, first):
    with pytest.raises(SpaceError, match=rf"got {first}; allowed is"):
        param.to_units(values)
    wrong = [value for value in values if not param.contains(value)]
    for value in wrong:
        with pytest.raises(SpaceError, match="allowed is"):
            param.to_unit(value)


def test_columns_of_unusual_numbers():
    assert Float(0.0, 1e30).to_units([10**29, 5 * 10**29]).tolist() == pytest.approx([0.1, 0.5])  # beyond 64 bits
    assert Float(0.0, 1.0).to_units([]).shape == Int(0, 1).to_units([]).shape == (0,)
    assert Float(0.0, 1.0).from_units(np.empty(0)) == []


def test_large_whole_numbers_survive_the_unit_interval():
    for param in (Int(1, 2**40), Int(1, 2**40, log=True), Int(-(2**40), 2**40)):
        values = [param.low, param.low + 1, 2**20, 2**30 + 7, 2**39 + 1, 2**40 - 1, 2**40]
        assert [param.from_unit(param.to_unit(value)) for value in values] == values
        assert param.from_units(param.to_units(values)) == values


def test_values_are_plain_python_values():
    for param, kind in ((Float(0.0, 1.0), float), (Float(0.1, 1.0, log=True), float), (Int(1, 8), int), (Int(1, 8, log=True), int)):
        values = [param.sample(rng()), param.from_unit(0.3), param.perturb(param.low, 1.2, rng()), param.noise(param.low, 0.5, rng())]
        values += param.from_units(np.array([0.2, 1.0]))
        assert {type(value) for value in values} == {kind}


# ---- perturb ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "value", "factor", "expected"),
    [
        (Float(1e-5, 0.1, log=True), 0.01, 1.25, 0.0125),
        (Float(1e-5, 0.1, log=True), 0.01, 0.8, 0.008),
        (Float(1e-5, 0.1, log=True), 0.1, 1.25, 0.08),  # mirrored: 0.1 / 1.25
        (Float(1e-5, 0.1, log=True), 0.09, 1.25, 0.1**2 / 0.1125),
        (Float(1e-5, 0.1, log=True), 1e-5, 0.8, 1.25e-5),
        (Float(1e5, 1e10, log=True), 1e6, 1e308, 1e10),  # infinite: to the bound
        (Float(1e-5, 0.1, log=True, bounds="clip"), 0.09, 1.25, 0.1),
        (Float(0.0, 1.0), 0.5, 1.2, 0.6),
        (Float(0.0, 1.0), 0.9, 1.2, 0.92),  # 1.08, mirrored
        (Float(0.0, 1.0), 0.0, 1.2, 0.1),  # + 0.2 * 1 / 2
        (Float(0.0, 1.0), 0.0, 0.8, 0.1),  # - 0.1, mirrored
        (Float(0.0, 1.0, bounds="clip"), 0.0, 0.8, 0.0),
        (Float(-1.0, 1.0), 0.0, 1.2, 0.2),
        (Float(-1.0, 1.0), 0.5, 0.8, 0.3),
        (Float(-1.0, 1.0), -0.5, 1.2, -0.3),  # up, although multiplying would go down
        (Float(-1.0, 3.0), 2.9, 1.2, 2.7),  # 3.3, mirrored
        (Float(-4.0, -1.0), -2.0, 1.5, -3.0),
        (Float(0.0, 1.0), 0.5, 1.0, 0.5),
        (Int(1, 100), 10, 1.2, 12),
        (Int(1, 100), 10, 0.8, 8),
        (Int(1, 100), 2, 1.2, 3),  # 2.4 would round to 2
        (Int(1, 100), 2, 0.8, 1),
        (Int(1, 100), 1, 1.2, 2),
        (Int(1, 100), 1, 0.8, 2),  # turned inward
        (Int(1, 100), 100, 1.2, 81),  # 120, mirrored at 100.5
        (Int(1, 100, bounds="clip"), 100, 1.2, 99),  # turned inward
        (Int(1, 100, bounds="clip"), 99, 1.2, 100),
        (Int(1, 10), 10, 1.1, 9),  # 11, mirrored at 10.5 to 10, so turned inward
        (Int(0, 100), 0, 1.2, 1),
        (Int(-5, 5), 0, 0.8, -1),
        (Int(-5, 5), -1, 1.2, -2),
        (Int(-5, 5), -1, 0.8, 0),
        (Int(-5, 5), -4, 1.25, -5),
        (Int(-5, 5, bounds="clip"), -5, 1.25, -4),
        (Int(1, 64, log=True), 16, 2.0, 32),
        (Int(1, 64, log=True), 64, 2.0, 33),  # 64.5² / 128 = 32.502
        (Int(1, 100), 7, 1.0, 7),
        (Int(1, 2), 1, 1e308, 2),
    ],
)
def test_perturb_by_hand(param, value, factor, expected):
    moved = param.perturb(value, factor, rng())
    assert moved == pytest.approx(expected, rel=1e-9) if isinstance(param, Float) else moved == expected
    assert param.contains(moved)


@pytest.mark.parametrize("factor", [0.0, -1.0, nan, inf])
@pytest.mark.parametrize("param", [Float(0.5, 1.0), Int(1, 8)])
def test_factors_that_are_not_are_refused(param, factor):
    with pytest.raises(SpaceError, match=r"factor: got .* it must be a finite number above 0"):
        param.perturb(param.low, factor, rng())


def test_nan_cannot_be_moved():
    with pytest.raises(SpaceError, match="got nan"):
        Float(0.5, 1.0).perturb(nan, 1.2, rng())
    with pytest.raises(SpaceError, match="got nan"):
        Float(0.5, 1.0).noise(nan, 0.1, rng())


def test_up_and_down_cancel_in_log_space():
    param = Float(1e-5, 0.1, log=True)
    assert param.perturb(param.perturb(0.003, 1.25, rng()), 0.8, rng()) == pytest.approx(0.003)


def test_a_reflected_walk_stays_uniform_where_a_clipped_one_piles_up():
    def walk(param):
        generator, value, values = rng(3), 0.01, []
        for _ in range(20000):
            value = param.perturb(value, 1.9 if generator.random() < 0.5 else 1 / 1.9, generator)
            values.append(value)
        return np.array(values[1000::20])

    reflected = walk(Float(1e-3, 1e-1, log=True))
    clipped = walk(Float(1e-3, 1e-1, log=True, bounds="clip"))
    assert np.mean((reflected == 1e-3) | (reflected == 1e-1)) == 0
    assert np.mean((clipped == 1e-3) | (clipped == 1e-1)) > 0.1


# ---- plain values ----------------------------------------------------------------------------------------------------------------------------


def test_only_what_differs_from_the_defaults_is_written():
    assert Float(0.0, 1.0).to_dict() == {"type": "float", "low": 0.0, "high": 1.0}
    assert Int(1, 8, log=True, init=(2, 4), bounds="clip", when={"optimizer": "sgd"}).to_dict() == {
        "type": "int",
        "low": 1,
        "high": 8,
        "log": True,
        "init": [2, 4],
        "bounds": "clip",
        "when": {"optimizer": ["sgd"]},
    }
