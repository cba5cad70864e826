"""What the figures show, against runs small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamarck.history import History
from lamarck.plots import data
from lamarck.space import Categorical, Float, Int, Space
from lamarck.types import Assigned, Interval, Report, Reported, Retired, Settings, Started

SPACE = Space(
    lr=Float(1e-4, 1.0, log=True), layers=Int(1, 8), opt=Categorical(["sgd", "adam"]), m=Float(0.0, 1.0, when={"opt": "sgd"}), fixed=3
)
SGD = {"lr": 0.1, "layers": 2, "opt": "sgd", "m": 0.9, "fixed": 3}
ADAM = {"lr": 0.01, "layers": 4, "opt": "adam", "fixed": 3}


def run_of(size, rows, *, mode="max", retired=()):
    """The history of rows (member, generation, parent, value) or (..., hparams); every interval has 10 steps."""
    settings = Settings(population_size=size, interval=10, generations=99, mode=mode)
    events = [Started(settings=settings, space=SPACE.to_dict(), strategies={}, initial=(SGD,) * size)]
    steps = {}
    for member, generation, parent, value, *rest in rows:
        start = 0 if parent is None else steps[parent]
        steps[member, generation] = start + 10
        hparams = rest[0] if rest else SGD
        interval = Interval(
            member=member, generation=generation, hparams=hparams, start=start, until=start + 10, restore=None, parent=parent, seed=0
        )
        events.append(Assigned(interval=interval))
        events.append(Reported(report=Report(member=member, generation=generation, step=start + 10, value=value, checkpoint="c")))
    events += [Retired(member=member, reason="failed for good") for member in retired]
    return History.of(events)


# Member 2 copies member 0 in generation 1, member 1 copies that in generation 2; member 1's own family dies out there.
THREE = [
    (0, 0, None, 0.3),
    (1, 0, None, 0.1),
    (2, 0, None, 0.2),
    (0, 1, (0, 0), 0.4),
    (1, 1, (1, 0), 0.2),
    (2, 1, (0, 0), 0.5),
    (0, 2, (0, 1), 0.45),
    (1, 2, (2, 1), 0.6),
    (2, 2, (2, 1), 0.55),
]


def test_strands_join_parents_to_children():
    strands = data.strands(run_of(3, THREE))
    assert len(strands) == 9
    assert strands.parent.tolist() == [-1, -1, -1, 0, 1, 0, 3, 5, 5]
    assert strands.start.tolist() == [0, 0, 0, 10, 10, 10, 20, 20, 20]
    assert strands.until.tolist() == [10, 10, 10, 20, 20, 20, 30, 30, 30]
    assert np.isnan(strands.before[:3]).all()
    assert strands.before[3:].tolist() == [0.3, 0.1, 0.3, 0.4, 0.5, 0.5]


def test_only_ancestors_of_the_newest_weights_live():
    strands = data.strands(run_of(3, THREE))
    assert strands.living.tolist() == [True, False, False, True, False, True, True, True, True]


def test_the_winners_ancestry_passes_through_whoever_carried_it():
    strands = data.strands(run_of(3, THREE))
    assert np.flatnonzero(strands.winning).tolist() == [0, 5, 7]


def test_families_are_the_winners_first_then_by_size():
    strands = data.strands(run_of(3, THREE))
    assert strands.families == (data.Family((0, 0), 3), data.Family((1, 0), 0), data.Family((2, 0), 0))
    assert strands.family.tolist() == [0, 1, 2, 0, 1, 0, 0, 0, 0]


def test_the_winners_family_is_first_even_if_it_is_small():
    strands = data.strands(run_of(3, [(0, 0, None, 0.1), (1, 0, None, 0.2), (2, 0, None, 0.9), (1, 1, (0, 0), 0.3)]))
    assert [family.founder for family in strands.families] == [(2, 0), (0, 0), (1, 0)]
    assert [family.members for family in strands.families] == [1, 2, 0]


def test_a_retired_member_carries_nothing_on():
    strands = data.strands(run_of(2, [(0, 0, None, 0.1), (1, 0, None, 0.2)], retired=[1]))
    assert strands.living.tolist() == [True, False]
    assert strands.winning.tolist() == [False, True]


def test_a_fresh_start_founds_a_family():
    strands = data.strands(run_of(1, [(0, 0, None, math.nan), (0, 1, None, 0.5)]))
    assert [family.founder for family in strands.families] == [(0, 1), (0, 0)]
    assert strands.start.tolist() == [0, 0]


def test_a_run_without_reports_is_empty():
    history = run_of(4, [])
    assert len(data.strands(history)) == 0
    assert data.values(history).best.shape == (0, 2)
    assert data.lineage(history).row.tolist() == [0, 1, 2, 3]
    assert [panel.place.tolist() for panel in data.panels(history)] == [[], [], [], []]


# ---- values ----------------------------------------------------------------------------------------------------------------------------------


def test_the_staircase_has_a_corner_for_each_new_best_and_an_end():
    assert data.values(run_of(3, THREE)).best.tolist() == [[10, 0.3], [20, 0.5], [30, 0.6]]
    flat = run_of(1, [(0, 0, None, 0.5), (0, 1, (0, 0), 0.4), (0, 2, (0, 1), 0.3)])
    assert data.values(flat).best.tolist() == [[10, 0.5], [30, 0.5]]


def test_lower_is_better_turns_the_staircase_over():
    best = data.values(run_of(3, THREE, mode="min")).best
    assert best.tolist() == [[10, 0.1], [30, 0.1]]


def test_values_that_are_not_finite_are_not_shown():
    shown = data.values(run_of(1, [(0, 0, None, 0.5), (0, 1, (0, 0), math.nan), (0, 2, (0, 0), -math.inf), (0, 3, (0, 0), 0.75)]))
    assert shown.shown.tolist() == [True, False, False, True]
    assert shown.window == (0.5, 0.75)
    assert shown.best.tolist() == [[10, 0.5], [20, 0.75]]


def test_a_run_without_a_finite_value_has_no_winner():
    shown = data.values(run_of(2, [(0, 0, None, math.nan), (1, 0, None, math.inf)]))
    assert not shown.strands.winning.any()
    assert not shown.shown.any()
    assert shown.window == (0.0, 1.0)


def test_one_runaway_value_does_not_ruin_the_axis():
    normal = np.linspace(0.0, 1.0, 100)
    assert data.window(np.append(normal, -1e6)) == (0.0, 1.0)
    assert data.window(np.append(normal, [1.5, 1e300])) == (0.0, 1.5)
    assert data.window(np.append(normal, 20.0)) == (0.0, 20.0)  # that is less than thirty times 0.7
    assert data.window(np.array([2.0, 2.0])) == (2.0, 2.0)


@given(st.lists(st.floats(-1e9, 1e9) | st.just(math.nan), max_size=60))
def test_the_window_lies_within_the_numbers_and_holds_seven_tenths_of_them(numbers):
    known = np.array([number for number in numbers if not math.isnan(number)])
    low, high = data.window(np.array(numbers, dtype=float))
    if len(known):
        assert known.min() <= low <= high <= known.max()
        assert np.count_nonzero((known >= low) & (known <= high)) >= 0.7 * len(known) - 2
    else:
        assert (low, high) == (0.0, 1.0)


# ---- hyperparameters -------------------------------------------------------------------------------------------------------------------------


def test_panels_follow_the_space():
    lr, layers, opt, momentum = data.panels(run_of(2, [(0, 0, None, 0.1), (1, 0, None, 0.2, ADAM)]))
    assert (lr.name, lr.log, lr.whole, lr.low, lr.high) == ("lr", True, False, 1e-4, 1.0)
    assert lr.place.tolist() == [0.1, 0.01]
    assert (layers.name, layers.log, layers.whole) == ("layers", False, True)
    assert (opt.choices, opt.low, opt.high) == (("sgd", "adam"), -0.5, 1.5)
    assert np.round(opt.place).tolist() == [0, 1]
    assert momentum.place[0] == 0.9
    assert math.isnan(momentum.place[1])


def test_members_with_the_same_choice_lie_side_by_side():
    opt = data.panels(run_of(5, [(i, 0, None, 0.1) for i in range(5)]))[2]
    assert opt.place.tolist() == pytest.approx([-0.3, -0.15, 0.0, 0.15, 0.3])


# ---- lineage ---------------------------------------------------------------------------------------------------------------------------------


def test_copies_are_the_strands_with_another_members_weights():
    assert data.lineage(run_of(3, THREE)).copies.tolist() == [5, 7]


def test_relatives_are_neighbours_and_the_best_is_on_top():
    # Two families of two: 0 and 3 descend from member 0, 1 and 2 from member 1, which has the best.
    rows = [(i, 0, None, 0.1 * i) for i in range(4)]
    rows += [(0, 1, (0, 0), 0.3), (3, 1, (0, 0), 0.2), (1, 1, (1, 0), 0.5), (2, 1, (1, 0), 0.9)]
    assert np.argsort(data.lineage(run_of(4, rows)).row).tolist() == [2, 1, 0, 3]


def test_members_without_a_report_come_last():
    assert np.argsort(data.lineage(run_of(3, [(2, 0, None, 0.1)])).row).tolist() == [2, 0, 1]


@given(st.data())
def test_every_family_has_rows_of_its_own(drawn):
    size = drawn.draw(st.integers(1, 8))
    rows = [(i, 0, None, float(i)) for i in range(size)]
    for generation in range(1, 6):
        parents = drawn.draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))
        values = drawn.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
        rows += [(i, generation, (parents[i], generation - 1), values[i]) for i in range(size)]
    history = run_of(size, rows)
    tree = data.lineage(history)
    assert sorted(tree.row.tolist()) == list(range(size))
    families = [history.founders[history.member(int(member))[-1].key] for member in np.argsort(tree.row)]
    assert len([i for i in range(size) if i == 0 or families[i] != families[i - 1]]) == len(set(families))  # one stretch of rows each
