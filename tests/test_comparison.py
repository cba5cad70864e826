"""Statistics of groups of runs, against SciPy and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drawn import made, overlapping, texts_of
from lamarck import plots
from lamarck._errors import SettingsError
from lamarck.comparison import bootstrap, compare, interquartile_mean, probability_of_improvement, progress
from lamarck.history import History
from lamarck.types import Assigned, Interval, Report, Reported, Settings, Started

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def run_of(values, *, mode="max", train="", size=1, interval=10):
    """A run whose members report values[generation][member], or a run of one member."""
    settings = Settings(population_size=size, interval=interval, generations=99, mode=mode)
    events = [Started(settings=settings, space={"hyperparameters": {}}, strategies={}, initial=({},) * size, info={"train": train})]
    for generation, row in enumerate(values):
        for member, value in enumerate(np.atleast_1d(row).tolist()):
            start = generation * interval
            parent = (member, generation - 1) if generation else None
            it = Interval(
                member=member, generation=generation, hparams={}, start=start, until=start + interval, restore=None, parent=parent, seed=0
            )
            report = Report(member=member, generation=generation, step=start + interval, value=value, checkpoint="c")
            events += [Assigned(interval=it), Reported(report=report)]
    return History.of(events)


# ---- the interquartile mean ----------------------------------------------------------------------------------------------------------------


@given(numbers)
def test_the_interquartile_mean_is_scipys(scores):
    assert float(interquartile_mean(np.array(scores))) == pytest.approx(stats.trim_mean(scores, 0.25), rel=1e-9, abs=1e-6)


def test_it_goes_along_the_first_axis():
    scores = np.random.default_rng(0).normal(size=(11, 3, 2))
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=0))


# ---- the bootstrap -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 30])
def test_the_interval_is_scipys(size):
    scores = np.random.default_rng(1).gamma(2.0, size=size)
    low, high = bootstrap([scores], resamples=20_000)
    theirs = stats.bootstrap(
        (scores,), lambda it, axis: stats.trim_mean(it, 0.25, axis=axis), method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.04 * width)
    assert high == pytest.approx(theirs.high, abs=0.04 * width)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        low, high = bootstrap([rng.normal(size=30)], resamples=500)
        inside += bool(low <= 0.0 <= high)
    assert 0.89 <= inside / 300 <= 0.985  # a percentile interval of 30 runs is a little too narrow


def test_runs_are_never_drawn_across_strata():
    # Within each stratum all are equal: there is nothing to resample. Drawn across, the mean would vary.
    low, high = bootstrap([np.full(6, 1.0), np.full(6, 3.0)])
    assert low == high == interquartile_mean(np.array([1.0] * 6 + [3.0] * 6)) == 2.0


def test_the_same_seed_gives_the_same_interval_whatever_the_memory():
    scores = np.random.default_rng(4).normal(size=(20, 3))
    wide = np.repeat(scores, 50_000, axis=1)  # has to be done in parts
    one, other = bootstrap([scores], resamples=50), bootstrap([wide], resamples=50)
    assert np.array_equal(one[0], other[0][::50_000])
    assert np.array_equal(one[1], other[1][::50_000])
    assert not np.array_equal(one[0], bootstrap([scores], resamples=50, seed=1)[0])


# ---- better ----------------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_probability_of_improvement_is_mann_and_whitneys_u(one, other):
    u = stats.mannwhitneyu(one, other).statistic
    assert probability_of_improvement(np.array(one, float), np.array(other, float)) == pytest.approx(u / (len(one) * len(other)))


def test_its_interval_is_that_of_resampling_both_groups():
    rng = np.random.default_rng(5)
    one, other = rng.normal(0.8, size=9), rng.normal(size=7)
    found = compare({"b": [run_of([v]) for v in other], "a": [run_of([v]) for v in one]}, resamples=5000).groups[1].better
    drawn = [probability_of_improvement(rng.choice(one, 9), rng.choice(other, 7)) for _ in range(5000)]
    assert found.value == pytest.approx(probability_of_improvement(one, other))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.03)


# ---- runs ------------------------------------------------------------------------------------------------------------------------------------


def test_progress_counts_the_steps_of_all_members():
    budget, best = progress(run_of([[0.1, 0.3], [0.2, math.nan], [0.5, 0.4]], size=2))
    assert budget.tolist() == [10, 20, 30, 40, 50, 60]
    assert best.tolist() == [0.1, 0.3, 0.3, 0.3, 0.5, 0.5]
    _, best = progress(run_of([[math.nan, 0.3], [0.2, 0.9]], size=2, mode="min"))
    assert math.isnan(best[0])
    assert best[1:].tolist() == [0.3, 0.2, 0.2]


def test_groups_are_compared_at_the_budget_that_all_have_reached():
    long, short = run_of([0.1, 0.2, 0.9]), run_of([0.3, 0.4])
    found = compare({"long": [long], "short": [short]})
    assert found.budget == 20
    assert [group.final.value for group in found.groups] == [0.2, 0.4]
    assert [group.budget[-1] for group in found.groups] == [30, 20]
    assert found.groups[0].curve[-1] == 0.9
    assert found.groups[0].better is None
    assert found.groups[1].better.value == 1.0


def test_one_run_has_no_interval():
    (group,) = compare({"one": [run_of([0.1, 0.2])]}).groups
    assert math.isnan(group.final.low)
    assert np.isnan(group.low).all()


def test_lower_is_better_where_it_is():
    found = compare({"a": [run_of([3.0], mode="min")] * 2, "b": [run_of([1.0], mode="min")] * 2})
    assert found.mode == "min"
    assert found.groups[1].better.value == 1.0


def test_the_curve_is_scipys_trimmed_mean_at_every_budget():
    runs = [made(4, 6, seed=seed) for seed in range(8)]
    (group,) = compare({"runs": runs}).groups
    assert group.curve == pytest.approx(stats.trim_mean(group.best, 0.25, axis=0))
    assert group.best[:, -1] == pytest.approx([run.best.value for run in runs])
    assert (np.diff(group.best, axis=1) >= 0).all()
    assert (group.low <= group.curve + 1e-12).all()
    assert (group.curve <= group.high + 1e-12).all()


def test_runs_that_train_different_functions_are_strata():
    runs = [run_of([value], train=train) for train, value in [("easy", 1.0), ("easy", 1.0), ("hard", 0.0), ("hard", 0.0)]]
    (group,) = compare({"method": runs}).groups
    assert (group.tasks, group.runs) == (2, 4)
    assert group.final.low == group.final.high == 0.5
    better = compare({"first": runs, "second": [run_of([2.0], train="hard"), run_of([2.0], train="other")]}).groups[1].better
    assert better.value == 1.0  # over what they have in common, the hard one
    assert compare({"first": runs, "second": [run_of([2.0], train="other")]}).groups[1].better is None


@pytest.mark.parametrize(
    ("groups", "settings", "said"),
    [
        ({}, {}, "nothing to compare"),
        ({"a": []}, {}, "group 'a' has no runs"),
        ({"a": [run_of([math.nan])]}, {}, "a run of 'a' has not reported a finite value"),
        ({"a": [run_of([1.0])], "b": [run_of([1.0], mode="min")]}, {}, "higher is better in 'a' and lower in 'b'"),
        ({"a": [run_of([1.0])]}, {"confidence": 95.0}, "confidence=95.0; .* between 0 and 1"),
        ({"a": [run_of([1.0])]}, {"resamples": 0}, "resamples=0"),
    ],
)
def test_what_cannot_be_compared_is_refused(groups, settings, said):
    with pytest.raises(SettingsError, match=said):
        compare(groups, **settings)


# ---- the figure ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["light", "dark"])
def test_the_figure_shows_what_was_computed(style):
    groups = {f"method with a rather long name {n}": [made(size, 6, seed=seed) for seed in range(6)] for n, size in enumerate((4, 6, 8))}
    shown = compare(groups)
    figure = plots.compare(shown, style=style)
    (axes,) = figure.axes
    drawn = [line.get_xydata().tolist() for line in axes.get_lines()]
    for group in shown.groups:
        assert np.column_stack([group.budget, group.curve]).tolist() in drawn
        assert sum(line in drawn for line in [np.column_stack([group.budget, best]).tolist() for best in group.best]) == 6
    texts = texts_of(figure)
    assert overlapping(texts) == []
    assert all(figure.bbox.x0 <= text.get_window_extent().x0 and text.get_window_extent().x1 <= figure.bbox.x1 for text in texts)
    assert axes.get_xlabel() == "steps of all members together"


def test_one_run_of_each_of_several_tasks_has_no_interval():
    runs = [run_of([[1.0], [2.0 + task]], train=f"task {task}") for task in range(3)]
    (group,) = compare({"a": runs}).groups
    assert (group.tasks, group.final.value) == (3, 3.0)
    assert math.isnan(group.final.low)
    assert math.isnan(group.final.high)
