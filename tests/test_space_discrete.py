"""`Categorical` and `Constant`."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lamarck import SpaceError
from lamarck.space import Categorical, Constant

nan, inf = math.nan, math.inf
OPTIMIZERS = Categorical(["sgd", "adam", "rmsprop"])
BATCHES = Categorical((32, 64, 128, 256), ordered=True)
MIXED = Categorical([None, False, 0.5, 3, "x"])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical([]), r"choices: got \[\]; it must be a list or tuple of at least one value"),
        (lambda: Categorical("sgd"), r"choices: got 'sgd'"),
        (lambda: Categorical({"sgd", "adam"}), r"must be a list or tuple"),
        (lambda: Categorical(["a", "b", "a"]), r"choices: got 'a' more than once"),
        (lambda: Categorical([1, True]), r"got True more than once \(1, 1.0 and True are equal\)"),
        (lambda: Categorical([0.5, nan]), r"choices: got nan; a choice must be a string, a finite number"),
        (lambda: Categorical([inf]), r"choices: got inf"),
        (lambda: Categorical([[1, 2], [3]]), r"choices: got \[1, 2\]"),
        (lambda: Categorical([b"x"]), r"choices: got b'x'"),
        (lambda: Categorical(["a", "b"], init=["c"]), r"init: got 'c', which is not among the choices; allowed are 'a', 'b'"),
        (lambda: Categorical(["a", "b"], init=[]), r"init: got \[\]"),
        (lambda: Categorical(["a", "b"], init=["a", "a"]), r"init: got 'a' more than once"),
        (lambda: Categorical(["a", "b"], init="a"), r"init: got 'a'; it must be a list"),
        (lambda: Categorical(["a", "b"], ordered="yes"), r"ordered: got 'yes'; it must be True or False"),
        (lambda: Categorical(["a"], when=["b"]), r"when: got \['b'\]"),
        (lambda: Constant([1, 2]), r"got the value \[1, 2\]; it must be a string, a finite number, a boolean or None"),
        (lambda: Constant(nan), r"got the value nan"),
        (lambda: Constant(1j), r"got the value 1j"),
        (lambda: Constant(1, when={"a": nan}), r"when: got 'a': nan"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_they_are_frozen_values():
    assert Categorical(["a", "b"]) == Categorical(("a", "b"))
    assert Categorical(["a", "b"]) != Categorical(["b", "a"])
    assert Categorical(["a", "b"]) != Categorical(["a", "b"], ordered=True)
    assert hash(Categorical(["a", "b"], init=["a"])) == hash(Categorical(("a", "b"), init=("a",)))
    assert Constant(3) == Constant(3)
    assert hash(Constant(3, when={"a": 1})) == hash(Constant(3))
    for param in (OPTIMIZERS, BATCHES, MIXED, Constant("x", when={"a": (1, 2)})):
        assert pickle.loads(pickle.dumps(param)) == param
        assert eval(repr(param)) == param
    with pytest.raises(dataclasses.FrozenInstanceError):
        OPTIMIZERS.choices = ("sgd",)


@pytest.mark.parametrize(
    ("param", "inside", "outside"),
    [
        (OPTIMIZERS, ["sgd", np.str_("adam")], ["SGD", None, 0, ["sgd"], np.ones(2), nan]),
        (BATCHES, [32, 256, 64.0], [33, "32", True]),
        (MIXED, [None, False, 0.5, 3, "x"], [0, 0.0, True, nan, ""]),  # 0 is not False
        (Categorical([0, 1]), [0, 1], [False, True]),
        (Constant(1), [1, 1.0], [True, 2, None, [1], np.ones(2)]),
        (Constant(True), [True], [1, 1.0, False]),
        (Constant(None), [None], [0, False, ""]),
        (Constant("x"), ["x"], ["y", 1]),
    ],
)
def test_contains(param, inside, outside):
    assert all(param.contains(value) for value in inside)
    assert not any(param.contains(value) for value in outside)
    for value in outside:
        with pytest.raises(SpaceError, match=r"got .*; allowed is"):
            param.to_unit(value)
        with pytest.raises(SpaceError, match=r"got .*; allowed is"):
            param.to_units([inside[0], value])


def test_clip_gives_the_choice_itself_or_refuses():
    assert [OPTIMIZERS.clip("adam"), MIXED.clip(False), MIXED.clip(None)] == ["adam", False, None]
    batch = BATCHES.clip(np.float64(64.0))
    assert (batch, type(batch)) == (64, int)
    with pytest.raises(SpaceError, match=r"got 65; allowed is one of 32, 64, 128, 256"):
        BATCHES.clip(65)
    with pytest.raises(SpaceError, match=r"got 0; allowed is one of None, False, 0.5, 3, 'x'"):
        MIXED.clip(0)


def test_a_constant_number_brings_every_number_back():
    assert Constant(3).clip(3.6) == 3
    assert Constant(0.5).clip(7) == 0.5
    assert Constant("x").clip("x") == "x"
    for constant, value in ((Constant(3), "3"), (Constant(3), True), (Constant("x"), "y"), (Constant("x"), 3), (Constant(True), 1)):
        with pytest.raises(SpaceError, match=r"allowed is only .* because it is a constant"):
            constant.clip(value)


def test_the_unit_interval_is_cut_into_equal_cells():
    assert [OPTIMIZERS.to_unit(choice) for choice in OPTIMIZERS.choices] == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    places = np.array([0.0, 0.33, 0.34, 0.66, 0.67, 1.0])
    expected = ["sgd", "sgd", "adam", "adam", "rmsprop", "rmsprop"]
    assert [OPTIMIZERS.from_unit(u) for u in places] == expected
    assert OPTIMIZERS.from_units(places) == expected
    assert OPTIMIZERS.to_units(expected).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 2, 1 / 2, 5 / 6, 5 / 6])
    assert MIXED.from_units(MIXED.to_units(MIXED.choices)) == list(MIXED.choices)


def test_a_constant_owns_the_unit_interval():
    param = Constant("x")
    assert param.to_unit("x") == 0.5
    assert param.to_units(["x", "x"]).tolist() == [0.5, 0.5]
    assert param.from_unit(0.9) == "x"
    assert param.from_units(np.array([0.0, 1.0])) == ["x", "x"]


@pytest.mark.parametrize("param", [OPTIMIZERS, BATCHES, Constant(1)])
@pytest.mark.parametrize("place", [-0.01, 1.01, nan])
def test_places_outside_are_refused(param, place):
    with pytest.raises(SpaceError, match="must lie between 0 and 1"):
        param.from_unit(place)
    with pytest.raises(SpaceError, match="must lie between 0 and 1"):
        param.from_units(np.array([place]))


@pytest.mark.parametrize(
    ("param", "initial", "expected"),
    [
        (OPTIMIZERS, False, ["sgd", "adam", "rmsprop"]),
        (Categorical(list("abcde"), init=["b", "d"]), True, ["b", "d"]),
        (Categorical(list("abcde"), init=["b", "d"]), False, list("abcde")),
        (Categorical(list("abc")), True, list("abc")),
    ],
)
def test_choices_are_equally_likely(param, initial, expected):
    generator = rng(1)
    counts = Counter(param.sample(generator, initial) for _ in range(3000))
    assert counts.keys() == set(expected)
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_a_constant_takes_no_random_number():
    generator = rng()
    assert Constant(3).sample(generator) == 3
    assert Constant(3).noise(3, 1.0, generator) == 3
    assert Constant(3).perturb(3, 1.2, generator) == 3
    assert generator.random() == rng().random()


@pytest.mark.parametrize(
    ("value", "factor", "expected"),
    [(32, 1.2, 64), (64, 1.2, 128), (64, 0.8, 32), (256, 0.8, 128), (256, 5.0, 128), (32, 0.1, 64), (128, 1.0, 128)],
)
def test_ordered_choices_move_to_the_neighbour_and_turn_inward(value, factor, expected):
    assert BATCHES.perturb(value, factor, rng()) == expected


def test_unordered_choices_change_to_any_other():
    generator = rng(2)
    counts = Counter(OPTIMIZERS.perturb("adam", factor, generator) for factor in (0.8, 1.25, 1.0) for _ in range(1000))
    assert counts.keys() == {"sgd", "rmsprop"}
    assert stats.chisquare(list(counts.values())).pvalue > 0.01
    assert {OPTIMIZERS.perturb("sgd", 1.2, generator) for _ in range(50)} == {"adam", "rmsprop"}
    assert {OPTIMIZERS.perturb("rmsprop", 1.2, generator) for _ in range(50)} == {"sgd", "adam"}


@pytest.mark.parametrize("ordered", [True, False])
def test_a_single_choice_stays(ordered):
    param = Categorical(["only"], ordered=ordered)
    assert param.perturb("only", 1.25, rng()) == "only"
    assert param.noise("only", 3.0, rng()) == "only"


def test_noise_on_ordered_choices_is_rounded_in_positions_and_mirrored():
    param, generator, size = Categorical(list(range(10)), ordered=True), rng(3), 6000
    counts = Counter(param.noise(1, 1.0, generator) for _ in range(size))

    def mass(k: int) -> float:
        """The normal law around the middle of cell 1, and its mirror image below the edge of cell 0."""
        normal = stats.norm(1.5, 1.0)
        return normal.cdf(k + 1) - normal.cdf(k) + normal.cdf(-k) - normal.cdf(-k - 1)

    cells = range(5)
    rest = 1 - sum(map(mass, cells))
    observed = [counts[k] for k in cells]
    assert stats.chisquare([*observed, size - sum(observed)], [size * p for p in (*map(mass, cells), rest)]).pvalue > 0.01


def test_noise_leaves_unordered_choices():
    assert {OPTIMIZERS.noise("adam", 10.0, rng(seed)) for seed in range(20)} == {"adam"}
    assert all(BATCHES.contains(BATCHES.noise(64, 1e9, rng(seed))) for seed in range(20))


@pytest.mark.parametrize("param", [OPTIMIZERS, BATCHES, Constant(1)])
def test_steps_that_are_not_are_refused(param):
    value = param.from_unit(0.0)
    for factor in (0.0, -1.0, nan, inf):
        with pytest.raises(SpaceError, match="factor: got"):
            param.perturb(value, factor, rng())
    for sd in (-1.0, nan, inf):
        with pytest.raises(SpaceError, match="sd: got"):
            param.noise(value, sd, rng())


@pytest.mark.parametrize("param", [OPTIMIZERS, BATCHES])
def test_what_is_not_a_choice_cannot_be_moved(param):
    with pytest.raises(SpaceError, match="got 'lion'; allowed is one of"):
        param.perturb("lion", 1.2, rng())
    with pytest.raises(SpaceError, match="got 'lion'; allowed is one of"):
        param.noise("lion", 1.0, rng())


def test_only_what_differs_from_the_defaults_is_written():
    assert Categorical(("a", "b")).to_dict() == {"type": "categorical", "choices": ["a", "b"]}
    assert Categorical([1, 2, 3], ordered=True, init=(1, 2), when={"x": True}).to_dict() == {
        "type": "categorical",
        "choices": [1, 2, 3],
        "ordered": True,
        "init": [1, 2],
        "when": {"x": [True]},
    }
    assert Constant(None).to_dict() == {"type": "constant", "value": None}
    assert Constant(1, when={"x": ["a", "b"]}).to_dict() == {"type": "constant", "value": 1, "when": {"x": ["a", "b"]}}


def test_scalars_of_numpy_become_plain_values():
    for made in (Categorical(list(np.array([32, 64]))), Categorical([np.int32(32), 64], init=[np.int8(64)]), Constant(np.float32(0.5))):
        values = getattr(made, "choices", None) or [made.value]
        assert {type(value) for value in values} <= {int, float}
    assert Constant(np.bool_(True)) == Constant(True)
    assert Constant(3, when={"n": np.int64(2), "opt": [np.str_("a"), "b"]}) == Constant(3, when={"n": 2, "opt": ["a", "b"]})
    assert Categorical([np.str_("a"), np.bool_(False)]) == Categorical(["a", False])
