"""Schedules: what holds at a step, and other schedules made from them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamarck as lk
from lamarck import Piece, Schedule

SPACE = lk.Space(
    lr=lk.Float(1e-4, 1.0, log=True),
    drop=lk.Float(0.0, 0.8),
    batch=lk.Categorical([16, 32, 64, 128], ordered=True),
    layers=lk.Int(1, 9, log=True),
    opt=["sgd", "adam"],
)


def schedules(most=6):
    """Schedules of the space, with values from a coarse grid so that pieces are often near each other."""
    hparams = st.fixed_dictionaries(
        {
            "lr": st.integers(0, 16).map(lambda i: SPACE["lr"].from_unit(i / 16)),
            "drop": st.integers(0, 16).map(lambda i: SPACE["drop"].from_unit(i / 16)),
            "batch": st.sampled_from([16, 32, 64, 128]),
            "layers": st.integers(1, 9),
            "opt": st.sampled_from(["sgd", "sgd", "sgd", "adam"]),
        }
    )
    lengths = st.integers(1, 50)
    return st.lists(st.tuples(lengths, hparams), min_size=1, max_size=most).map(joined)


def joined(parts):
    ends = list(itertools.accumulate(length for length, _ in parts))
    return Schedule(tuple(Piece(start, end, h) for start, end, (_, h) in zip([0, *ends], ends, parts, strict=False)))


def line(*values, every=10):
    return joined([(every, {"drop": value}) for value in values])


def distance(one, other):
    """Largest distance between two schedules on the scales of the space, over all steps: step by step, which needs no cleverness."""
    apart = 0.0
    for step in range(one.until):
        a, b = one(step), other(step)
        assert a.keys() == b.keys()
        apart = max(apart, *(abs(SPACE[name].to_unit(a[name]) - SPACE[name].to_unit(b[name])) for name in a))
        assert a.get("opt") == b.get("opt")
    return apart


# ---- by the step -------------------------------------------------------------------------------------------------------------------------


def test_a_piece_holds_from_its_start_to_its_end_and_the_last_for_ever():
    schedule = Schedule((Piece(0, 3, {"lr": 1.0}), Piece(3, 5, {"lr": 2.0})))
    assert [schedule(step)["lr"] for step in range(7)] == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert (schedule.until, len(schedule), schedule.names) == (5, 2, ("lr",))
    with pytest.raises(lk.SettingsError, match="got step -1"):
        schedule(-1)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ((), "without pieces"),
        ((Piece(1, 2, {}),), "must begin at step 0"),
        ((Piece(0, 2, {}), Piece(3, 4, {})), "must begin at step 2"),
        ((Piece(0, 2, {}), Piece(1, 4, {})), "must begin at step 2"),
        ((Piece(0, 0, {}),), "and end after it"),
    ],
)
def test_gaps_and_overlaps_are_refused(pieces, message):
    with pytest.raises(lk.SettingsError, match=message):
        Schedule(pieces)


# ---- simplified --------------------------------------------------------------------------------------------------------------------------


@given(schedules(), st.sampled_from([0.0, 1 / 32, 1 / 16, 0.1, 0.25, 0.5, 1.0]))
def test_simplifying_stays_within_the_tolerance_and_no_fewer_pieces_would_do(schedule, tolerance):
    simple = schedule.simplified(tolerance, SPACE)
    assert simple.until == schedule.until
    assert {piece.start for piece in simple} <= {piece.start for piece in schedule}
    for piece in simple:
        SPACE.validate(piece.hparams)
    assert distance(schedule, simple) <= tolerance + 1e-9
    assert len(simple) == fewest(schedule, tolerance)


def fewest(schedule, tolerance):
    """By brute force: all ways of cutting, and for whole numbers and choices all values."""
    pieces = list(schedule)
    for count in range(1, len(pieces) + 1):
        for cuts in itertools.combinations(range(1, len(pieces)), count - 1):
            edges = [0, *cuts, len(pieces)]
            if all(one_would_do(pieces[a:b], tolerance) for a, b in itertools.pairwise(edges)):
                return count
    raise AssertionError("the schedule itself would do")


def one_would_do(pieces, tolerance):
    for name in ("lr", "drop", "batch", "layers"):
        units = [SPACE[name].to_unit(piece.hparams[name]) for piece in pieces]
        allowed = {"batch": [16, 32, 64, 128], "layers": range(1, 10)}.get(name)
        if allowed is None:
            near = max(units) - min(units) <= 2 * tolerance + 1e-12
        else:
            near = any(max(abs(SPACE[name].to_unit(value) - u) for u in units) <= tolerance + 1e-12 for value in allowed)
        if not near:
            return False
    return len({piece.hparams["opt"] for piece in pieces}) == 1


def test_without_tolerance_only_equal_neighbours_are_joined_and_values_stay_exactly():
    schedule = line(0.1, 0.1, 0.3000000001, 0.3, 0.3)
    assert schedule.simplified(0.0, SPACE).pieces == (
        Piece(0, 20, {"drop": 0.1}),
        Piece(20, 30, {"drop": 0.3000000001}),
        Piece(30, 50, {"drop": 0.3}),
    )


def test_the_level_is_the_mean_over_time_where_the_tolerance_lets_it():
    # on a range of 0.8 a tolerance of 0.5 is 0.4
    pieces = (Piece(0, 90, {"drop": 0.1}), Piece(90, 100, {"drop": 0.5}))
    (wide,) = Schedule(pieces).simplified(0.5, SPACE)
    assert wide.hparams["drop"] == pytest.approx(0.9 * 0.1 + 0.1 * 0.5)
    (tight,) = Schedule(pieces).simplified(0.3, SPACE)
    assert tight.hparams["drop"] == pytest.approx(0.5 - 0.24)


def test_of_equally_few_pieces_the_nearest_are_taken():
    # two pieces are needed; the middle one could join either side, and is nearer to the right
    simple = line(0.0, 0.25, 0.4).simplified(0.16, SPACE)
    assert [piece.start for piece in simple] == [0, 10]


def test_learning_rates_are_joined_on_their_logarithmic_scale():
    schedule = joined([(10, {"lr": 0.001}), (10, {"lr": 0.01})])
    (only,) = schedule.simplified(0.125, SPACE)  # half a decade of four
    assert only.hparams["lr"] == pytest.approx(10**-2.5)
    assert len(schedule.simplified(0.12, SPACE)) == 2


def test_a_constraint_that_the_middle_would_break_keeps_pieces_apart():
    space = lk.Space(a=lk.Float(0.0, 1.0), b=lk.Float(0.0, 1.0)).where("a * b <= 0.2")
    schedule = joined([(10, {"a": 1.0, "b": 0.0}), (10, {"a": 0.0, "b": 1.0})])
    assert len(schedule.simplified(1.0, space)) == 2
    assert len(schedule.simplified(1.0, lk.Space(a=lk.Float(0.0, 1.0), b=lk.Float(0.0, 1.0)))) == 1


def test_pieces_with_other_hyperparameters_are_never_joined():
    schedule = Schedule((Piece(0, 5, {"drop": 0.1}), Piece(5, 9, {"drop": 0.1, "lr": 0.1})))
    assert schedule.simplified(1.0, SPACE) == schedule


@pytest.mark.parametrize("tolerance", [-0.1, 1.1, float("nan"), "5 %", True])
def test_impossible_tolerances_are_refused(tolerance):
    with pytest.raises(lk.SettingsError, match="tolerance: got"):
        line(0.1).simplified(tolerance, SPACE)


def test_a_space_that_does_not_fit_is_refused():
    with pytest.raises(lk.SettingsError, match="width: the schedule sets it and the space does not have it; it has lr, drop"):
        joined([(5, {"width": 3})]).simplified(0.1, SPACE)
    with pytest.raises(lk.SpaceError, match=r"drop: the schedule sets 0\.9 at step 0; allowed is .*; give a space"):
        line(0.9).simplified(0.1, SPACE)


# ---- smoothed ----------------------------------------------------------------------------------------------------------------------------


@given(schedules(), st.integers(1, 60), st.integers(1, 20))
def test_smoothing_gives_averages_over_a_window_on_the_scale(schedule, width, every):
    smooth = schedule.smoothed(width, SPACE, every=every)
    assert smooth.until == schedule.until
    for start in range(0, schedule.until, every):
        middle = (start + min(start + every, schedule.until)) / 2
        # the mean over a fine grid, which is the average by its definition
        grid = middle - width / 2 + (np.arange(400) + 0.5) * width / 400
        at = [schedule(int(step)) for step in grid if 0 <= step < schedule.until]
        for name in ("lr", "drop"):
            mean = np.mean([SPACE[name].to_unit(hparams[name]) for hparams in at])
            assert SPACE[name].to_unit(smooth(start)[name]) == pytest.approx(mean, abs=0.02)
        SPACE.validate(smooth(start))


def test_a_constant_schedule_is_left_alone():
    assert line(0.3, 0.3).smoothed(7, SPACE).pieces == (Piece(0, 20, {"drop": 0.3}),)


def test_of_choices_the_longest_is_taken():
    schedule = joined([(10, {"opt": "sgd"}), (30, {"opt": "adam"})])
    assert [(p.start, p.hparams["opt"]) for p in schedule.smoothed(10, SPACE, every=4)] == [(0, "sgd"), (12, "adam")]


@pytest.mark.parametrize(("width", "every"), [(0, None), (10, 0), (1.5, None)])
def test_impossible_widths_are_refused(width, every):
    with pytest.raises(lk.SettingsError, match="whole number of steps"):
        line(0.1).smoothed(width, SPACE, every=every)


# ---- scaled ------------------------------------------------------------------------------------------------------------------------------


@given(schedules(), st.integers(1, 400))
def test_scaling_keeps_the_order_and_the_shape(schedule, until):
    scaled = schedule.scaled(until)
    assert scaled.until == until
    for step in range(until):
        # what holds in the middle of a step is what held at that part of the time, to within the rounding of an edge by half a step
        place = (step + 0.5) / until * schedule.until
        near = {repr(dict(schedule(int(max(0, min(place + shift, schedule.until - 1)))))) for shift in edges(schedule, until)}
        assert repr(dict(scaled(step))) in near


def edges(schedule, until):
    reach = schedule.until / until
    return np.linspace(-reach, reach, 2 * int(np.ceil(reach)) * 4 + 1)


def test_scaling_to_the_same_length_changes_nothing():
    schedule = line(0.1, 0.2, 0.3)
    assert schedule.scaled(30) == schedule
    assert schedule.scaled(3000).scaled(30) == schedule
    with pytest.raises(lk.SettingsError, match="until: got 0"):
        schedule.scaled(0)


def test_a_whole_number_or_ordered_choice_takes_the_value_that_deviates_least_over_time():
    for name, one, other in (("layers", 4, 5), ("batch", 32, 64)):
        for lengths in ((100, 1), (1, 100)):
            (only,) = joined([(lengths[0], {name: one}), (lengths[1], {name: other})]).simplified(0.5, SPACE)
            assert only.hparams[name] == (one if lengths[0] == 100 else other)


@given(schedules(4), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_of_equally_few_pieces_with_any_allowed_values_none_deviates_less(schedule, tolerance):
    for name in ("layers", "batch"):
        alone = Schedule.merged(Piece(piece.start, piece.until, {name: piece.hparams[name]}) for piece in schedule)
        simple, pieces = alone.simplified(tolerance, SPACE), list(alone)
        values = [16, 32, 64, 128] if name == "batch" else range(1, 10)
        best = min(
            sum(min(costs(name, pieces[a:b], values, tolerance), default=np.inf) for a, b in itertools.pairwise([0, *cuts, len(pieces)]))
            for cuts in itertools.combinations(range(1, len(pieces)), len(simple) - 1)
        )
        got = sum((SPACE[name].to_unit(simple(step)[name]) - SPACE[name].to_unit(alone(step)[name])) ** 2 for step in range(alone.until))
        assert got == pytest.approx(best, abs=1e-9)


def costs(name, pieces, values, tolerance):
    """Squared deviations over time of all values that are near enough."""
    for value in values:
        gaps = [(abs(SPACE[name].to_unit(value) - SPACE[name].to_unit(piece.hparams[name])), piece.until - piece.start) for piece in pieces]
        if max(gap for gap, _ in gaps) <= tolerance + 1e-12:
            yield sum(length * gap**2 for gap, length in gaps)


DEPENDENT = lk.Space(
    opt=["sgd", "adam"], momentum=lk.Float(0.0, 1.0, when={"opt": "sgd"}), depth=lk.Int(1, 5), width=lk.Int(1, 9, when={"depth": (1, 5)})
).where("momentum <= 0.9")


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2**32)), min_size=1, max_size=6), st.integers(1, 60), st.integers(1, 20))
def test_what_is_smoothed_is_allowed_whatever_depends_on_what(parts, width, every):
    schedule = joined([(length, DEPENDENT.sample(np.random.default_rng(seed))) for length, seed in parts])
    for piece in schedule.smoothed(width, DEPENDENT, every=every):
        DEPENDENT.validate(piece.hparams)


def test_the_choice_that_held_longest_comes_with_what_exists_beside_it():
    schedule = joined([(30, {"opt": "sgd", "momentum": 0.5}), (10, {"opt": "adam"}), (30, {"opt": "sgd", "momentum": 0.7})])
    space = lk.Space(opt=["sgd", "adam"], momentum=lk.Float(0.0, 1.0, when={"opt": "sgd"}))
    assert schedule.smoothed(40, space, every=10)(35) == {"opt": "sgd", "momentum": pytest.approx(0.6)}


def test_averages_that_would_violate_a_constraint_leave_values_as_they_are():
    space = lk.Space(a=lk.Float(0.0, 1.0), b=lk.Float(0.0, 1.0)).where("a * b <= 0.2")
    schedule = joined([(10, {"a": 1.0, "b": 0.0}), (10, {"a": 0.0, "b": 1.0})])
    assert schedule.smoothed(10, space, every=2)(10) == {"a": 0.0, "b": 1.0}
