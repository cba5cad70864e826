"""What holds for every space: whatever is drawn, moved or brought in stays inside and satisfies what was asked."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamarck import SpaceError
from lamarck.space import Categorical, Constant, Float, Int, Parameter, Space

seeds = st.integers(0, 2**32 - 1)
factors = st.floats(0.01, 100.0)
finite = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.sampled_from(["reflect", "clip"])
few = settings(max_examples=40)
"""A random space takes a while to make."""


@st.composite
def floats(draw) -> Float:
    log = draw(st.booleans())
    ends = st.floats(1e-12, 1e12) if log else st.floats(-1e6, 1e6)
    low, high = sorted((draw(ends), draw(ends)))
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    init = None
    if draw(st.booleans()):
        init = tuple(sorted((draw(st.floats(low, high)), draw(st.floats(low, high)))))
    return Float(low, high, log=log, init=init, bounds=draw(bounds))


@st.composite
def ints(draw) -> Int:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -1000, 1000))
    high = low + draw(st.integers(1, 1000))
    init = None
    if draw(st.booleans()):
        init = tuple(sorted((draw(st.integers(low, high)), draw(st.integers(low, high)))))
    return Int(low, high, log=log, init=init, bounds=draw(bounds))


@st.composite
def categoricals(draw) -> Categorical:
    scalars = st.one_of(st.text(max_size=3), st.integers(2, 9), st.booleans(), st.none())
    choices = draw(st.lists(scalars, min_size=1, max_size=5, unique=True))
    init = draw(st.one_of(st.none(), st.lists(st.sampled_from(choices), min_size=1, unique=True)))
    return Categorical(choices, ordered=draw(st.booleans()), init=init)


parameters = st.one_of(floats(), ints(), categoricals(), st.builds(Constant, st.sampled_from(["x", 3, 0.5, True, None])))


@st.composite
def spaces(draw) -> Space:
    """Spaces with conditions that chain, and a constraint between two numbers that can be met."""
    params: dict[str, Parameter] = {"switch": Categorical(["on", "off"]), "lo": Float(0.0, 1.0), "hi": Float(0.0, 2.0)}
    parents = {"switch": ["on", "off"]}
    for i in range(draw(st.integers(0, 4))):
        param = draw(parameters)
        if draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(parents)))
            values = draw(st.lists(st.sampled_from(parents[parent]), min_size=1, unique=True))
            param = dataclasses.replace(param, when={parent: values})
        params[f"p{i}"] = param
        if isinstance(param, Categorical):
            parents[f"p{i}"] = list(param.choices)
    order = draw(st.permutations(sorted(params)))
    space = Space({name: params[name] for name in order})
    return space.where("lo <= hi") if draw(st.booleans()) else space


# ---- single hyperparameters ------------------------------------------------------------------------------------------------------------------


@given(param=parameters, seed=seeds, initial=st.booleans())
def test_draws_are_allowed(param, seed, initial):
    value = param.sample(np.random.default_rng(seed), initial)
    assert param.contains(value)
    init = getattr(param, "init", None)
    if initial and isinstance(param, (Float, Int)) and init is not None:
        assert init[0] <= value <= init[1]
    if initial and isinstance(param, Categorical) and init is not None:
        assert value in init


@given(param=parameters, seed=seeds, factor=factors)
def test_moves_stay_inside(param, seed, factor):
    rng = np.random.default_rng(seed)
    value = param.sample(rng)
    for _ in range(5):
        value = param.perturb(value, factor, rng)
        assert param.contains(value)
        assert type(value) in (int, float, str, bool, type(None))


@given(param=parameters, seed=seeds, sd=st.floats(0.0, 1e6))
def test_noise_stays_inside(param, seed, sd):
    rng = np.random.default_rng(seed)
    value = param.sample(rng)
    for _ in range(5):
        value = param.noise(value, sd, rng)
        assert param.contains(value)


@given(param=st.one_of(floats(), ints()), value=st.one_of(finite, st.integers(), st.just(math.inf), st.just(-math.inf)))
def test_every_number_can_be_brought_in_and_then_stays(param, value):
    try:
        brought = param.clip(value)
    except SpaceError:
        assert abs(value) > 1e308  # a whole number that double precision does not have
        return
    assert param.contains(brought)
    assert param.clip(brought) == brought
    if param.contains(value):
        assert brought == value
    if param.bounds == "clip" and not param.contains(value) and abs(value) != math.inf and isinstance(param, Float):
        assert brought == (param.low if value < param.low else param.high)


@given(param=ints(), seed=seeds, factor=factors)
def test_a_whole_number_never_sticks(param, seed, factor):
    value = param.sample(np.random.default_rng(seed))
    moved = param.perturb(value, factor, np.random.default_rng(0))
    assert (moved != value) is (factor != 1)


@given(
    low=st.integers(-5, 5),
    width=st.integers(1, 6),
    log=st.booleans(),
    bound=bounds,
    factor=st.sampled_from([0.5, 0.8, 0.99, 1.01, 1.25, 2.0]),
)
def test_no_value_of_a_small_range_sticks(low, width, log, bound, factor):
    low = abs(low) + 1 if log else low
    param = Int(low, low + width, log=log, bounds=bound)
    for value in range(low, low + width + 1):
        moved = param.perturb(value, factor, np.random.default_rng(0))
        assert moved != value
        assert param.contains(moved)


@given(size=st.integers(2, 9), place=st.integers(0, 8), factor=factors)
def test_an_ordered_choice_moves_by_exactly_one(size, place, factor):
    assume(place < size)
    assume(factor != 1)
    param = Categorical(list(range(size)), ordered=True)
    assert abs(param.perturb(place, factor, np.random.default_rng(0)) - place) == 1


@given(param=categoricals(), seed=seeds)
def test_an_unordered_choice_changes(param, seed):
    rng = np.random.default_rng(seed)
    value = param.sample(rng)
    changed = param.perturb(value, 1.25, rng)
    assert (changed != value) is (len(param.choices) > 1)


@given(value=st.floats(1e-6, 1.0), factor=st.floats(0.5, 2.0))
def test_on_a_log_scale_a_factor_is_addition(value, factor):
    param = Float(1e-9, 1e3, log=True)
    moved = param.perturb(value, factor, np.random.default_rng(0))
    assert math.log(moved) == pytest.approx(math.log(value) + math.log(factor), abs=1e-12)


@given(param=parameters, u=st.floats(0.0, 1.0))
def test_values_go_to_the_unit_interval_and_back(param, u):
    value = param.from_unit(u)
    assert param.contains(value)
    place = param.to_unit(value)
    assert 0 <= place <= 1
    if isinstance(param, Float):
        assert place == pytest.approx(u, abs=1e-6)
        assert param.from_unit(place) == pytest.approx(value, rel=1e-9, abs=1e-9 * (param.high - param.low))
    else:
        assert param.from_unit(place) == value  # the centre of a cell belongs to the cell


@given(param=parameters, places=st.lists(st.floats(0.0, 1.0), max_size=5))
def test_columns_are_single_values(param, places):
    values = param.from_units(np.array(places))
    singles = [param.from_unit(u) for u in places]
    if isinstance(param, Float):
        assert values == pytest.approx(singles, rel=1e-12, abs=1e-12 * (param.high - param.low))
    elif not (isinstance(param, Int) and param.log):  # on the edge of a cell the last bit decides
        assert values == singles
    assert all(param.contains(value) for value in values)
    assert param.to_units(singles).tolist() == pytest.approx([param.to_unit(value) for value in singles], rel=1e-12, abs=1e-12)


@given(param=st.one_of(floats(), ints()), a=st.floats(0.0, 1.0), b=st.floats(0.0, 1.0))
def test_the_scale_keeps_order(param, a, b):
    a, b = sorted((a, b))
    assert param.from_unit(a) <= param.from_unit(b)


@given(param=parameters)
def test_every_parameter_can_be_written_and_read(param):
    plain = json.loads(json.dumps(param.to_dict(), allow_nan=False))
    assert Space.from_dict({"x": plain})["x"] == param
    assert eval(repr(param)) == param


# ---- spaces ----------------------------------------------------------------------------------------------------------------------------------


@given(space=spaces(), seed=seeds, size=st.integers(1, 12), stratified=st.booleans(), initial=st.booleans())
@few
def test_every_configuration_drawn_is_allowed(space, seed, size, stratified, initial):
    rng = np.random.default_rng(seed)
    for config in (*space.sample_population(size, rng, stratified=stratified, initial=initial), space.sample(rng, initial)):
        assert space.contains(config)
        assert space.satisfied(config)
        space.validate(config)
        assert tuple(config) == space.active(config)
        assert space.clip(config) == config  # to the last bit
        assert space.activate(config, rng) == config


@given(space=spaces(), seed=seeds, factor=factors, sd=st.floats(0.0, 10.0))
@few
def test_a_configuration_that_was_moved_and_activated_is_allowed(space, seed, factor, sd):
    free = Space(dict(space.items()))  # constraints are for the machine to look at
    rng = np.random.default_rng(seed)
    config = space.sample(rng)
    perturbed = {name: space[name].perturb(value, factor, rng) for name, value in config.items()}
    noisy = {name: space[name].noise(value, sd, rng) for name, value in config.items()}
    assert free.contains(free.activate(perturbed, rng))
    assert free.contains(free.activate(noisy, rng))


@given(space=spaces(), seed=seeds)
@few
def test_a_stratum_is_used_once(space, seed):
    """Of what is always there, with constraints aside: conditions and constraints may spoil strata, nothing else does."""
    size = 8
    free = Space({name: param for name, param in space.items() if param.when is None and isinstance(param, Float)})
    unit = free.to_unit(free.sample_population(size, np.random.default_rng(seed), initial=False))
    edge = np.abs(unit * size - np.round(unit * size)) < 1e-6
    strata = np.floor(unit * size)
    for column, near in zip(strata.T, edge.T, strict=True):
        assert near.any() or sorted(column) == list(range(size))


@given(space=spaces(), seed=seeds, size=st.integers(0, 5))
@few
def test_configurations_go_to_the_cube_and_back(space, seed, size):
    rng = np.random.default_rng(seed)
    configs = [space.sample(rng) for _ in range(size)]
    unit = space.to_unit(configs)
    assert unit.shape == (size, len(space))
    assert np.array_equal(np.isnan(unit), np.array([[name not in config for name in space] for config in configs]).reshape(unit.shape))
    again = space.from_unit(unit)
    assert [list(config) for config in again] == [list(config) for config in configs]
    for before, after in zip(configs, again, strict=True):
        for name, param in space.items():
            if name in before and isinstance(param, Float):
                assert after[name] == pytest.approx(before[name], rel=1e-9, abs=1e-9 * (param.high - param.low))
            elif name in before:
                assert after[name] == before[name]


@given(space=spaces(), seed=seeds)
@few
def test_every_place_in_the_cube_is_a_configuration(space, seed):
    rng = np.random.default_rng(seed)
    free = Space(dict(space.items()))
    assert all(free.contains(config) for config in free.from_unit(rng.random((4, len(space)))))


@given(space=spaces())
@few
def test_every_space_can_be_written_and_read(space):
    text = json.dumps(space.to_dict(), allow_nan=False)
    again = Space.from_text(text, "json")
    assert again == space
    assert again.names == space.names
    assert again.resolved
    assert json.dumps(again.to_dict()) == text


@given(
    space=spaces(),
    seed=seeds,
    name=st.sampled_from(["lo", "hi"]),
    value=st.sampled_from([math.nan, math.inf, "0.5", None, True, [1.0], -1.0, 2.5]),
)
@few
def test_a_configuration_with_something_wrong_is_refused_and_unchanged(space, seed, name, value):
    config = space.sample(np.random.default_rng(seed)) | {name: value}
    before = dict(config)
    assert not space.contains(config)
    with pytest.raises(SpaceError, match=f"hyperparameter '{name}': got .*; allowed is a number from"):
        space.validate(config)
    with pytest.raises(SpaceError, match=f"hyperparameter '{name}': got"):
        space.to_unit([config])
    assert config.keys() == before.keys()
    assert all(config[key] is before[key] for key in config)
