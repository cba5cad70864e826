"""The demo of Figure 2 against closed forms and an independent simulation."""

from __future__ import annotations

import csv
import io
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from lamarck._errors import MissingExtra, SettingsError
from lamarck._student import confidence
from lamarck.demos.figure2 import GRIDS, figure2, settings, variant
from lamarck.demos.figure2_plot import draw_settings, draw_variant
from lamarck.demos.panel import contours, panel
from lamarck.demos.table import Block, to_csv, to_text
from lamarck.demos.toy import START, Toy, tracks
from lamarck.demos.trials import Outcome, measure

EXPLOIT_ONLY = 1.2 - 1.62 * 0.98**200  # 1.1715: each weight is trained half of the time
GRID = 1.2 - 0.81 - 0.81 * 0.98**400  # 0.3897: one weight each


def simulated(interval, *, exploit, explore, copy="weights", surrogate="linear", runs=20_000):
    """Mean and standard deviation of the better member's score after 200 steps: the same game in plain array arithmetic.

    Args:
        interval: Steps between decisions.
        exploit: Whether the worse member copies.
        explore: Who gets noise: ``"nobody"``, ``"copies"`` or ``"everybody"``.
        copy: What is copied.
        surrogate: What is climbed.
        runs: How many.
    """
    rng, run = np.random.default_rng(2024), np.arange(runs)
    theta, h = np.full((runs, 2, 2), 0.9), np.tile(np.eye(2), (runs, 1, 1))
    for decision in range(200 // interval):
        if decision:
            score = 1.2 - (theta**2).sum(axis=2)
            first = np.where(score[:, 0] == score[:, 1], rng.random(runs) < 0.5, score[:, 0] > score[:, 1])
            best, worst = np.where(first, 0, 1), np.where(first, 1, 0)
            if exploit:
                theta[run, worst] = theta[run, best]
                if copy == "both":
                    h[run, worst] = h[run, best]
            noisy = np.clip(h + 0.1 * rng.standard_normal(h.shape), 0.0, None)
            if explore == "everybody":
                h = noisy
            elif explore == "copies":
                h[run, worst] = noisy[run, worst]
        theta = theta * (1 - 0.02 * (h if surrogate == "linear" else h**2)) ** interval
    best = (1.2 - (theta**2).sum(axis=2)).max(axis=1)
    return best.mean(), best.std()


@pytest.fixture(scope="module")
def ten():
    """Every setting of Figure 2 with a decision every 10 steps, on 100 seeds; on 20 where all seeds end alike."""
    return {case.name: measure(case, 20 if case.name == "exploit only" else 100) for case in settings(10)}


@pytest.fixture(scope="module")
def five():
    """PBT with a decision every 5 steps, on 25 seeds, and what is the same for every seed on 5."""
    cases = {case.name: case for case in settings(5)}
    return {name: measure(cases[name], 25 if name == "PBT" else 5) for name in ("PBT", "exploit only", "grid search")}


def agrees(outcome, **rules):
    mean, sd = simulated(outcome.case.interval, **rules)
    return abs(outcome.best.mean() - mean) < 4 * sd / math.sqrt(len(outcome.best))


# ---- known answers ---------------------------------------------------------------------------------------------------------------------------


def test_grid_search_ends_at_its_closed_form(ten, five):
    for outcome in (ten["grid search"], five["grid search"]):
        assert outcome.best == pytest.approx(GRID, abs=1e-12)
        assert not outcome.copies.any()


def test_exploit_only_ends_at_its_closed_form_and_ties_are_copied(ten, five):
    # Both members are exactly tied at every other decision, the first among them.
    for outcome, decisions in ((ten["exploit only"], 19), (five["exploit only"], 39)):
        assert outcome.best == pytest.approx(EXPLOIT_ONLY, abs=1e-12)
        assert (outcome.copies == decisions).all()


def test_exact_ties_go_both_ways(ten):
    first = [settings(10)[3].run(seed).copies[0].member for seed in range(20)]
    assert set(first) == {0, 1}


def test_pbt_is_what_it_is_known_to_be(ten, five):
    assert ten["PBT"].best.mean() >= 1.15
    assert agrees(ten["PBT"], exploit=True, explore="copies")
    assert agrees(five["PBT"], exploit=True, explore="copies")
    assert agrees(ten["PBT, everybody explores"], exploit=True, explore="everybody")


def test_simulation_knows_the_published_targets():
    # 1000 seeds gave these to three and two digits: the independent simulation must be right itself.
    assert simulated(10, exploit=True, explore="copies")[0] == pytest.approx(1.179, abs=0.0015)
    assert simulated(10, exploit=False, explore="everybody")[0] == pytest.approx(1.03, abs=0.005)
    assert simulated(10, exploit=True, explore="nobody")[0] == pytest.approx(EXPLOIT_ONLY, abs=1e-9)


def test_explore_only_is_what_it_is_known_to_be(ten):
    assert ten["explore only"].best.mean() == pytest.approx(1.03, abs=0.05)
    assert agrees(ten["explore only"], exploit=False, explore="everybody")
    assert not ten["explore only"].copies.any()


@pytest.mark.parametrize("name", ["PBT", "PBT, everybody explores"])
def test_pbt_is_better_than_exploit_alone_seed_by_seed(ten, name):
    gain, low, _ = confidence(ten[name].best - EXPLOIT_ONLY)  # where exploit alone ends with every seed
    assert gain > low > 0


def test_copying_both_leaves_exploit_alone_with_the_grid():
    cases = {case.name: case for case in settings(10, copy="both")}
    assert measure(cases["exploit only"], 3).best == pytest.approx(GRID, abs=1e-12)
    assert agrees(measure(cases["PBT"], 25), exploit=True, explore="copies", copy="both")


def test_squared_surrogate_makes_exploring_near_zero_slower():
    cases = {case.name: case for case in settings(10, surrogate="squared")}
    outcome = measure(cases["PBT"], 25)
    assert agrees(outcome, exploit=True, explore="copies", surrogate="squared")
    assert outcome.best.mean() < EXPLOIT_ONLY  # here the paper's rule does not beat exploit alone, and the demo does not hide it
    assert measure(cases["exploit only"], 2).best == pytest.approx(EXPLOIT_ONLY, abs=1e-12)


def test_noise_stays_within_bounds_and_reaches_only_who_is_meant(ten):
    for name in ("PBT", "PBT, everybody explores", "explore only"):
        h = np.array([[record.hparams["h0"], record.hparams["h1"]] for record in ten[name].shown.records])
        assert (h >= 0).all()
        assert h.max() < 5
    changed = {"PBT": 19, "PBT, everybody explores": 38, "explore only": 38, "exploit only": 0, "grid search": 0}
    for name, times in changed.items():
        shown = ten[name].shown
        moves = sum(shown[(m, g)].hparams != shown[(m, g - 1)].hparams for m in range(2) for g in range(1, 20))
        assert moves == times


# ---- the variant -----------------------------------------------------------------------------------------------------------------------------


def test_grid_of_the_variant_ends_at_its_closed_form():
    def ends(h):
        rate = 2 * h["lr"] * np.array([0.75 * h["h0"], h["h1"]])
        return 1.2 - 0.75 * (0.9 * (1 - rate[0]) ** 100) ** 2 - (0.9 * (1 - rate[1]) ** 100) ** 2

    for size, grid in GRIDS.items():
        assert len(grid) == size
        assert measure(variant(grid)[1], 2).best == pytest.approx(max(map(ends, grid)), abs=1e-9)


@pytest.mark.parametrize(("size", "copies"), [(2, 24), (16, 8 * 24)])
def test_pbt_solves_the_variant(size, copies):
    outcome = measure(variant(GRIDS[size])[0], 3)
    assert (outcome.best > 1.19).all()
    assert (outcome.copies == copies).all()  # half of the population at each of 24 decisions
    lr = [record.hparams["lr"] for record in outcome.shown.records]
    assert min(lr) >= 0.005
    assert max(lr) <= 0.1


# ---- toy and tracks --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surrogate", ["linear", "squared"])
def test_ascent_is_geometric(surrogate):
    toy = Toy(curvature=(0.75, 1.0), surrogate=surrogate)
    theta = np.array(START)
    toy.ascend(theta, {"h0": 0.5, "h1": 2.0, "lr": 0.03}, steps=7)
    weights = (0.5, 2.0) if surrogate == "linear" else (0.25, 4.0)
    assert theta == pytest.approx([0.9 * (1 - 0.06 * 0.75 * weights[0]) ** 7, 0.9 * (1 - 0.06 * weights[1]) ** 7])
    assert toy.value(theta) == pytest.approx(1.2 - 0.75 * theta[0] ** 2 - theta[1] ** 2)


def test_ascent_follows_the_gradient_of_the_surrogate():
    toy, h, step = Toy(curvature=(0.75, 1.0), surrogate="squared", lr=1e-6), np.array([0.7, 1.3]), 1e-6

    def surrogate(theta):
        return 1.2 - (np.array([0.75, 1.0]) * (h * theta) ** 2).sum()

    theta = np.array([0.4, -0.6])
    gradient = [(surrogate(theta + step * e) - surrogate(theta - step * e)) / (2 * step) for e in np.eye(2)]
    moved = theta.copy()
    toy.ascend(moved, {"h0": h[0], "h1": h[1]}, steps=1)
    assert (moved - theta) / 1e-6 == pytest.approx(gradient, rel=1e-5)


def test_unknown_surrogate_is_refused():
    with pytest.raises(SettingsError, match="surrogate: got 'cubic'"):
        Toy(surrogate="cubic")


@pytest.mark.parametrize("name", ["PBT", "exploit only", "grid search"])
def test_tracks_follow_what_was_reported(ten, name):
    outcome = ten[name]
    made = tracks(outcome.case.toy, outcome.shown)
    by_key = {record.key: track for record, track in zip(outcome.shown.records, made, strict=True)}
    for record, track in zip(outcome.shown.records, made, strict=True):
        assert track.value[-1] == record.value  # to the last bit: the history says all there is
        assert track.theta.shape == (11, 2)
        assert track.start == 10 * record.generation
        assert track.member == record.member
        assert track.copied == (record.parent is not None and record.parent[0] != record.member)
        begins = START if record.parent is None else by_key[record.parent].theta[-1]
        assert (track.theta[0] == begins).all()


# ---- statistics and tables -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 10, 25, 100])
def test_confidence_interval_is_that_of_student(size):
    sample = np.random.default_rng(size).normal(3.0, 2.0, size)
    mean, low, high = confidence(sample)
    expected = scipy.stats.t.interval(0.95, size - 1, loc=sample.mean(), scale=scipy.stats.sem(sample))
    assert mean == pytest.approx(sample.mean())
    assert (high - mean) / (expected[1] - mean) == pytest.approx(1, abs=0.003)
    assert mean - low == pytest.approx(high - mean)


def test_confidence_of_equal_numbers_has_no_width():
    assert confidence(np.full(7, 0.1)) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("seeds", [1, 0, -3])
def test_one_seed_is_refused(seeds):
    with pytest.raises(SettingsError, match=f"seeds: got {seeds}"):
        measure(settings(10)[0], seeds)


def made_up(name, values, copies):
    case = replace(settings(10)[0], name=name)
    return Outcome(case=case, values=np.array(values), copies=np.array(copies), shown=None)


@pytest.fixture
def block():
    return Block(
        name="made up",
        title="A title",
        outcomes=[made_up("one", [[0.0, 0.2, 0.5], [0.0, 0.4, 0.9]], [3, 4]), made_up("two", [[0.0, 0.1, 0.2], [0.0, 0.1, 0.4]], [0, 0])],
        reference="two",
    )


def test_rows_compare_seed_by_seed(block):
    one, two = block.rows()
    assert (one["mean"], one["min"], one["max"], one["copies"], one["seeds"]) == (0.7, 0.5, 0.9, 3.5, 2)
    assert one["halfway"] == 0.0
    # Gains are 0.3 and 0.5.
    assert (one["gain"], one["gain_high"] - one["gain"]) == pytest.approx((0.4, confidence(np.array([0.3, 0.5]))[2] - 0.4))
    assert (two["gain"], two["gain_low"], two["gain_high"]) == (0.0, 0.0, 0.0)


def test_csv_holds_the_rows_in_full_precision(block):
    read = list(csv.DictReader(io.StringIO(to_csv([block, block]))))
    assert [row["setting"] for row in read] == ["one", "two", "one", "two"]
    for row, written in zip(read, block.rows() * 2, strict=True):
        assert float(row["high"]) == written["high"]
        assert row["experiment"] == "made up"


def test_text_is_a_table_for_a_terminal(block):
    text = to_text([block])
    title, header, one, two = text.splitlines()
    assert title == "A title"
    assert header.endswith("minus two [95 %]")
    assert one.split()[:3] == ["one", "0.0000", "0.7000"]
    assert "+0.4000" in one
    assert two.split()[:3] == ["two", "0.0000", "0.3000"]
    assert "+" not in two  # the reference is not compared with itself
    assert max(map(len, text.splitlines())) <= 120


# ---- pictures --------------------------------------------------------------------------------------------------------------------------------


def test_panel_of_pbt(ten):
    outcome = ten["PBT"]
    data = panel(outcome)
    assert [track.start for track in data.ancestry] == list(range(0, 200, 10))
    for before, after in zip(data.ancestry, data.ancestry[1:], strict=False):
        assert (before.theta[-1] == after.theta[0]).all()  # one unbroken line of descent
    assert data.ancestry[-1].value[-1] == outcome.best[0]
    assert list(data.ready) == list(range(0, 201, 10))
    assert data.low[0] == data.high[0] == pytest.approx(1.2 - 1.62)
    assert (data.low[-1], data.high[-1]) == pytest.approx(np.quantile(outcome.best, [0.05, 0.95]))
    assert (data.low <= data.high).all()
    assert data.ending[0] == pytest.approx(outcome.best.mean())
    assert (data.changes[0], data.changes[-1]) == (0, 200)
    assert (np.diff(data.changes) > 0).all()
    for start, rate in zip(data.changes, data.rates, strict=False):
        hparams = outcome.shown.schedule(outcome.shown.best.member)(int(start))
        assert rate == pytest.approx([0.01 * hparams["h0"], 0.01 * hparams["h1"]])


def test_contours_are_the_score():
    axis, score = contours(Toy(curvature=(0.5, 2.0)), size=5)
    assert score.shape == (5, 5)
    assert score[3, 1] == pytest.approx(1.2 - 0.5 * axis[1] ** 2 - 2.0 * axis[3] ** 2)


def test_figure_has_eight_labelled_panels(ten):
    names = ("PBT", "explore only", "exploit only", "grid search")
    figure = draw_settings([panel(ten[name]) for name in names], title="A title", note="a note")
    upper, lower = figure.axes[:4], figure.axes[4:]
    assert len(lower) == 4
    for name, axes in zip(names, upper, strict=True):
        assert axes.get_title().strip() == name
        assert axes.get_xlabel() == "steps"
        assert any((np.asarray(line.get_ydata()) == 1.2).all() for line in axes.lines)
        curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
        assert [np.max(line.get_xdata()) for line in curves] == [200, 200]
        assert max(line.get_ydata()[-1] for line in curves) == ten[name].best[0]
    assert "score" in upper[0].get_ylabel()
    assert all(axes.get_xlabel() == r"$\theta_0$" for axes in lower)
    assert lower[0].get_ylabel() == r"$\theta_1$"
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert "a note" in labels
    assert any("optimum" in label for label in labels)
    assert figure.get_suptitle() == "A title"


def test_figure_of_the_variant(ten):
    pair = [panel(measure(case, 2)) for case in variant(GRIDS[2])]
    figure = draw_variant([(pair[0], pair[1])], title="A title", note="a note")
    weights, _, score, schedule = figure.axes
    assert weights.get_ylabel().startswith("2 members")
    assert score.get_ylabel() == "score Q"
    assert [text.get_text() for text in schedule.get_legend().get_texts()] == [r"$\mathrm{lr}\cdot h_0$", r"$\mathrm{lr}\cdot h_1$"]
    assert any(line.get_ydata()[-1] == pair[0].ancestry[-1].value[-1] for line in score.lines if len(line.get_xdata()) > 2)


# ---- the whole -------------------------------------------------------------------------------------------------------------------------------


def test_figure2_writes_pictures_and_table(tmp_path):
    seen, tables = [], []
    files = figure2(tmp_path / "new" / "folder", 2, on_progress=lambda done, total: seen.append((done, total)), on_table=tables.append)
    assert [file.name for file in files] == ["figure2.png", "figure2-variant.png", "figure2.csv"]
    for picture in files[:2]:
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG\r\n")
        assert int.from_bytes(content[16:20]) > 1600  # width in pixels
    rows = list(csv.DictReader(io.StringIO(files[2].read_text())))
    assert [(row["interval"], row["setting"]) for row in rows][::5] == [("5", "PBT"), ("10", "PBT"), ("4", "PBT")]
    assert len(rows) == 2 * 5 + 2 * 2
    assert [done for done, _ in seen] == list(range(1, 29))
    assert {total for _, total in seen} == {28}
    (text,) = tables
    for row in rows:
        assert row["setting"] in text


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"interval": 7}, "interval: got 7"),
        ({"copy": "all"}, "copy: got 'all'"),
        ({"surrogate": "cubic"}, "surrogate: got 'cubic'"),
        ({"seeds": 1}, "seeds: got 1"),
    ],
)
def test_figure2_refuses_before_it_writes(tmp_path, choice, message):
    with pytest.raises(SettingsError, match=message):
        figure2(tmp_path / "out", **choice)
    assert not (tmp_path / "out").exists()


def test_figure2_says_what_is_missing_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    runs = []
    with pytest.raises(MissingExtra, match=r"lamarck\[plot\]"):
        figure2(tmp_path, on_progress=lambda *numbers: runs.append(numbers))
    assert not runs
