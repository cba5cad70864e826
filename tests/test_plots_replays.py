"""The figure of a replay: what it shows, as numbers, and that it can be drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lamarck as lk
from lamarck import Piece, Schedule
from lamarck._student import confidence
from lamarck.plots.replays import curves, draw
from lamarck.testing.engine import SPACE, train


@pytest.fixture(scope="module")
def result():
    history = lk.run(train, SPACE, population_size=6, interval=3, generations=10, seed=12)
    return lk.replay(train, history, seeds=4, own=False)


@pytest.fixture(scope="module")
def shown(result):
    return curves([one.history for one in result.fresh], result.original, found=result.found)


def test_replays_are_rows_over_the_steps_that_they_reported_at(result, shown):
    assert shown.steps.tolist() == list(range(3, 31, 3))
    assert shown.fresh.tolist() == [[record.value for record in one.history.records] for one in result.fresh]
    assert shown.ends.tolist() == result.values.tolist()


def test_the_population_is_its_best_so_far_and_the_median_of_each_generation(result, shown):
    history = result.original
    assert shown.best[-1].tolist() == [30, history.best.value]
    expected = [[3 * (g + 1), np.median([record.value for record in history.generation(g)])] for g in range(10)]
    assert shown.median.tolist() == expected
    assert (shown.found, shown.middle) == (history.best.value, expected[-1][1])
    assert shown.middle == result.median


def test_everything_that_is_replayed_is_in_the_window(shown):
    assert shown.window[0] < shown.fresh.min()
    assert shown.fresh.max() < shown.window[1]


def test_values_that_are_not_finite_count_as_the_worst_in_the_median(result):
    history = result.original
    bad = {history.generation(4)[0].key, history.generation(4)[1].key, history.generation(4)[2].key, history.generation(4)[3].key}
    records = tuple(replace(r, value=np.nan, fitness=-np.inf) if r.key in bad else r for r in history.records)
    median = curves([result.fresh[0].history], replace(history, records=records)).median
    assert 15 not in median[:, 0]  # four of six are infinitely bad, and so is their median
    assert len(median) == 9


def test_a_training_that_diverged_ends_where_it_did():
    def diverges(worker):
        x = np.array([0.0])
        worker.track(x=x)
        for interval in worker:
            x += 1
            interval.report(np.nan if x[0] > 1 and interval.seed % 4 == 0 else x[0])

    result = lk.replay(diverges, Schedule((Piece(0, 4, {"h": 1.0}),)), seeds=6, interval=1)
    shown = curves([one.history for one in result.fresh])
    np.testing.assert_array_equal(np.isnan(shown.ends), np.isnan(result.values))
    assert 0 < np.isnan(shown.ends).sum() < 6
    assert len(shown.best) == len(shown.median) == 0
    assert (shown.found, shown.middle) == (None, None)
    figure = draw(shown)
    (crosses,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert "diverged after this" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(crosses.get_ydata()) <= {1.0, 2.0, 3.0}


def test_the_figure_says_what_it_shows(shown):
    figure = draw(shown, title="a title")
    figure.savefig("replay.png")
    time, end = figure.axes
    assert (time.get_xlabel(), time.get_ylabel()) == ("Steps", "Value")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "population: best so far",
        "population: median",
        "replays: range",
        "replays: mean of 4",
        "replays: each seed",
    ]
    assert figure.get_suptitle() == "a title"
    (bar,) = end.containers
    assert bar.lines[0].get_ydata() == pytest.approx([confidence(shown.ends)[0]])
    assert {line.get_ydata()[0] for line in end.lines[:2]} == {shown.found, shown.middle}


def test_one_replay_has_no_mean_and_nothing_to_show_is_no_error(result, shown):
    figure = draw(replace(shown, fresh=shown.fresh[:1], ends=shown.ends[:1]))
    assert not figure.axes[1].containers
    draw(replace(shown, fresh=np.full_like(shown.fresh, np.nan), ends=np.full(4, np.nan))).savefig("empty.png")
