"""Takeover, parallel coordinates and paths as data, against runs small enough to work out by hand and against the other way to compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drawn import made
from lamarck import diversity
from lamarck._errors import SettingsError
from lamarck.history import History
from lamarck.plots import data
from lamarck.plots._lines import curves
from lamarck.plots._tree import _runs
from lamarck.space import Categorical, Float, Int, Space
from lamarck.types import Assigned, Interval, Report, Reported, Retired, Settings, Started

SPACE = Space(lr=Float(1e-4, 1.0, log=True), layers=Int(1, 9), opt=Categorical(["sgd", "adam"]), m=Float(0.0, 1.0, when={"opt": "sgd"}))
SGD = {"lr": 0.01, "layers": 5, "opt": "sgd", "m": 0.25}
ADAM = {"lr": 1.0, "layers": 1, "opt": "adam"}


def run_of(size, rows, *, mode="max", retired=()):
    """The history of rows (member, generation, parent, value, hparams, metrics); every interval has 10 steps."""
    settings = Settings(population_size=size, interval=10, generations=99, mode=mode)
    events = [Started(settings=settings, space=SPACE.to_dict(), strategies={}, initial=(SGD,) * size)]
    steps = {}
    for member, generation, parent, value, hparams, metrics in rows:
        start = 0 if parent is None else steps[parent]
        steps[member, generation] = start + 10
        events.append(
            Assigned(
                interval=Interval(
                    member=member, generation=generation, hparams=hparams, start=start, until=start + 10, restore=None, parent=parent, seed=0
                )
            )
        )
        report = Report(member=member, generation=generation, step=start + 10, value=value, checkpoint="c", metrics=metrics)
        events.append(Reported(report=report))
    return History.of([*events, *(Retired(member=member, reason="failed") for member in retired)])


def at(a, b):
    return {"a": a, "b": b}


TWO = [
    (0, 0, None, 0.3, SGD, at(1.0, 2.0)),
    (1, 0, None, 0.1, ADAM, at(3.0, 4.0)),
    (0, 1, (0, 0), 0.5, SGD, at(1.5, 2.5)),
    (1, 1, (0, 0), 0.2, ADAM, at(1.25, math.nan)),
]


# ---- the band ------------------------------------------------------------------------------------------------------------------------------


def test_the_band_is_numpys_quantiles_of_each_generation():
    history = made(16, 7, bad=0.1)
    band = data.values(history).band
    for i in range(7):
        finite = [record.value for record in history.generation(i) if record.finite]
        assert [band.low[i], band.middle[i], band.high[i]] == pytest.approx(np.quantile(finite, [0.1, 0.5, 0.9]))
        assert band.step[i] == 10 * (i + 1)


def test_a_generation_without_a_finite_value_has_no_band():
    history = run_of(1, [(0, 0, None, math.nan, SGD, {}), (0, 1, (0, 0), 0.5, SGD, {})])
    assert data.values(history).band.step.tolist() == [20]


def test_a_long_plateau_does_not_cut_off_how_it_was_reached():
    rows = [(0, i, (0, i - 1) if i else None, v, SGD, {}) for i, v in enumerate([0.0, 0.5, *(1.0 + 0.001 * (i % 7) for i in range(200))])]
    assert data.values(run_of(1, rows)).window[0] == 0.0


# ---- takeover ------------------------------------------------------------------------------------------------------------------------------


def test_shares_by_hand():
    shown = data.takeover(run_of(2, TWO))
    assert shown.generation.tolist() == [0, 1]
    assert shown.share.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert shown.effective.tolist() == [2.0, 1.0]
    assert shown.taken == 1


@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 0.4, 0.3)])
def test_takeover_agrees_with_the_measures_of_one_generation(speeds):
    history = made(12, 9, speeds=speeds, max_lead=0 if speeds == (1.0,) else None)
    shown = data.takeover(history)
    assert shown.taken == diversity.takeover(history)
    for row, generation in enumerate(shown.generation.tolist()):
        measured = diversity.diversity(history, generation)
        assert shown.effective[row] == pytest.approx(measured.effective_founders)
        assert np.count_nonzero(shown.share[row]) == measured.founders
        for name, spread in shown.spread.items():
            assert spread[row] == pytest.approx(measured.spread[name])
    assert list(shown.spread) == ["lr", "layers"]


def test_the_spread_of_what_one_member_has_is_not_known():
    shown = data.takeover(run_of(2, TWO))
    assert np.isnan(shown.spread["m"]).all()
    assert not np.isnan(shown.spread["lr"]).any()


def test_nothing_has_been_taken_over_before_the_first_report():
    shown = data.takeover(run_of(2, []))
    assert (len(shown.generation), shown.share.shape, shown.taken) == (0, (0, 0), None)


# ---- parallel coordinates ------------------------------------------------------------------------------------------------------------------


def test_coordinates_are_places_in_the_unit_cube_best_first():
    shown = data.coordinates(run_of(2, TWO))
    assert [scale.name for scale in shown.scales] == ["lr", "layers", "opt", "m", "value"]
    assert shown.member.tolist() == [0, 1]
    unit = SPACE.to_unit([SGD, ADAM])
    assert np.array_equal(shown.place[:, :4], unit, equal_nan=True)
    assert shown.place[:, 4].tolist() == [1.0, 0.0]
    assert shown.scales[2].marks == ((0.25, "sgd"), (0.75, "adam"))
    assert shown.scales[0].marks[0] == (0.0, "0.0001")
    assert [label for _, label in shown.scales[0].marks] == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert [label for _, label in shown.scales[1].marks] == ["1", "5", "9"]


def test_the_lowest_is_first_when_lower_is_better_and_what_is_not_finite_last():
    rows = [(0, 0, None, 0.3, SGD, {}), (1, 0, None, math.nan, SGD, {}), (2, 0, None, 0.1, SGD, {})]
    shown = data.coordinates(run_of(3, rows, mode="min"))
    assert shown.member.tolist() == [2, 0, 1]
    assert math.isnan(shown.place[2, 4])


def test_values_that_differ_in_late_digits_have_marks_that_differ():
    shown = data.coordinates(run_of(2, [(0, 0, None, 1.2, SGD, {}), (1, 0, None, 1.2000001, SGD, {})]))
    assert [label for _, label in shown.scales[-1].marks] == ["1.2", "1.2000001"]


def test_retired_members_are_not_in_the_final_population():
    assert data.coordinates(run_of(2, TWO, retired=[0])).member.tolist() == [1]


# ---- paths ---------------------------------------------------------------------------------------------------------------------------------


def test_paths_go_from_the_parents_point_and_copies_leave_ones_own():
    shown = data.paths(run_of(2, TWO))
    assert shown.names == ("a", "b")
    assert shown.log == (False, False)
    assert shown.point[:3].tolist() == [[1.0, 2.0], [3.0, 4.0], [1.5, 2.5]]
    assert np.isnan(shown.point[3]).all()
    assert np.isnan(shown.before[:2]).all()
    assert shown.before[2:].tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert shown.copies.tolist() == [3]
    assert shown.left.tolist() == [[3.0, 4.0]]


def test_paths_through_a_hyperparameter_keep_its_scale():
    shown = data.paths(run_of(2, TWO), "lr", "value")
    assert shown.log == (True, False)
    assert shown.point.tolist() == [[0.01, 0.3], [1.0, 0.1], [0.01, 0.5], [1.0, 0.2]]


def test_without_metrics_the_first_number_and_the_value_are_taken():
    assert data.default_names(run_of(1, [(0, 0, None, 0.3, SGD, {})])) == ("lr", "value")


def test_an_unknown_axis_is_refused_and_the_known_are_named():
    with pytest.raises(SettingsError, match="got 'theta'; a path can be drawn through 'value', 'a', 'b', 'lr', 'layers', 'm'"):
        data.paths(run_of(2, TWO), "theta", "value")


# ---- a run that goes back to older weights -------------------------------------------------------------------------------------------------


# Both collapse in generation 2. Member 0 goes back to what it was itself, member 1 to member 0, and both end with 40 steps and not with 50.
BACK = [
    *TWO,
    (0, 2, (0, 1), 0.0, SGD, {}),
    (1, 2, (1, 1), 0.0, ADAM, {}),
    (0, 3, (0, 1), 0.6, SGD, {}),
    (1, 3, (0, 1), 0.7, SGD, {}),
    (0, 4, (0, 3), 0.8, SGD, {}),
    (1, 4, (1, 3), 0.9, SGD, {}),
]


def test_a_return_is_drawn_like_a_copy_whosever_the_weights_were():
    tree = data.lineage(run_of(2, BACK))
    assert [(int(tree.strands.member[row]), int(tree.strands.generation[row])) for row in tree.copies] == [(1, 1), (0, 3), (1, 3)]


def test_what_was_given_up_is_not_bridged():
    """The stretches of one layer hold no strand that is not in it, though a member's line goes on after the gap."""
    strands = data.lineage(run_of(2, BACK)).strands
    first, last = _runs(strands, strands.living)
    spans = [(int(strands.member[a]), int(strands.generation[a]), int(strands.generation[b])) for a, b in zip(first, last, strict=True)]
    assert spans == [(0, 0, 1), (0, 3, 4), (1, 3, 4)]
    assert _runs(strands, np.ones(len(strands), dtype=bool))[0].tolist() == [0, 6, 1, 3, 7]


def test_the_band_and_the_best_go_forward_in_steps_alone():
    shown = data.values(run_of(2, BACK))
    assert shown.band.step.tolist() == [10, 20, 30, 40]
    assert shown.band.middle.tolist() == pytest.approx([0.2, 0.35, 0.65, 0.85])  # of generations 0, 1, 3 and 4
    assert shown.best.tolist() == [[10, 0.3], [20, 0.5], [30, 0.7], [40, 0.9]]
    assert run_of(2, BACK).schedule().until == 40


def test_a_curve_between_ends_at_one_height_is_an_arc():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    curves(axes, np.array([[[1.0, 3.0], [2.0, 3.0]], [[1.0, 0.0], [2.0, 4.0]]]), np.array(["red", "red"]), 1.0, 1.0)
    (path,) = axes.collections[0].get_paths()
    pyplot.close(figure)
    assert path.vertices.reshape(2, 4, 2)[:, :, 1].tolist() == [[3.0, 2.4, 2.4, 3.0], [0.0, 0.0, 4.0, 4.0]]
