"""The figures: that they show the data, and that people can read them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

import lamarck
from lamarck import plots
from lamarck._errors import MissingExtra, SettingsError
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.plots import _style, data
from lamarck.space import Categorical, Constant, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Settings

SPACE = Space(lr=Float(1e-4, 1.0, log=True), layers=Int(1, 3), opt=Categorical(["sgd", "adam"]), fixed=Constant(3))


def made(size, generations, *, bad=0.0, space=SPACE, speeds=(1.0,), max_lead=0):
    """A run whose values grow at a speed that depends on lr, with a few that are not finite or run away."""
    settings = Settings(population_size=size, interval=10, generations=generations, max_lead=max_lead)
    rng = np.random.default_rng(0)

    def step(interval, state):
        value = (state or 0.0) + math.exp(-abs(math.log(interval.hparams.get("lr", 1.0) / 0.01))) + 0.1 * rng.random()
        trouble = (math.nan, -1e9)[rng.integers(2)] if rng.random() < bad else 0.0
        return value + trouble, value

    return History.of(simulate(PBT(space=space, settings=settings), step, speeds=speeds))


@pytest.fixture(scope="module")
def eight():
    return made(8, 6)


def overlapping(texts):
    """Pairs of visible texts whose boxes overlap by more than a pixel."""
    boxes = [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    shrunk = [(box.x0 + 0.5, box.x1 - 0.5, box.y0 + 0.5, box.y1 - 0.5) for box in boxes]
    return [(a, b) for a, b in itertools.combinations(shrunk, 2) if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]]


def texts_of(figure):
    """Everything written, where it ends up: labels, ticks within the axes, the legend, the caption."""
    figure.draw_without_rendering()
    found = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label, axes.title, axes._right_title]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return found


@pytest.fixture(scope="module")
def runs():
    troubled = made(16, 8, bad=0.1, speeds=(1, 0.7, 0.3), max_lead=None)
    info = {"train": "a/very/long/path/to/somewhere/train.py:train_the_network"}
    troubled = dataclasses.replace(troubled, started=dataclasses.replace(troubled.started, info=info))
    return {"two": made(2, 3), "sixty-four": made(64, 5), "troubled": troubled}


@pytest.mark.parametrize(
    ("draw", "which"),
    [
        (plots.values, "sixty-four"),
        (plots.values, "troubled"),
        (plots.hyperparameters, "two"),
        (plots.hyperparameters, "sixty-four"),
        (plots.lineage, "two"),
        (plots.lineage, "sixty-four"),
        (plots.overview, "troubled"),
    ],
)
def test_nothing_written_overlaps_or_leaves_the_figure(runs, draw, which):
    figure = draw(runs[which])
    texts = texts_of(figure)
    assert overlapping(texts) == []
    whole = figure.bbox
    for text in texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0, text.get_text()
        assert box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0, text.get_text()
        assert box.y1 <= whole.y1, text.get_text()


def test_values_says_what_its_axes_are(eight):
    (axes,) = plots.values(eight).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps", "value (higher is better)")


def test_values_draws_the_staircase_and_the_winner(eight):
    (axes,) = plots.values(eight).axes
    shown = data.values(eight)
    drawn = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert shown.best.tolist() in drawn
    line = eight.lineage()
    assert [[record.step, record.value] for record in line] in drawn


def test_values_draws_a_line_from_each_parent_to_each_child(eight):
    (axes,) = plots.values(eight).axes
    lines = {tuple(map(tuple, segment)) for lines in axes.collections if hasattr(lines, "get_segments") for segment in lines.get_segments()}
    expected = {
        ((float(eight[record.parent].step), eight[record.parent].value), (float(record.step), record.value))
        for record in eight.records
        if record.parent is not None
    }
    assert lines == expected


def test_values_that_cannot_be_shown_are_counted():
    history = made(16, 8, bad=0.1)
    hidden = sum(not math.isfinite(record.value) or record.value < -1e8 for record in history.records)
    assert hidden > 0
    (axes,) = plots.values(history).axes
    assert axes.get_title(loc="right") == f"× {hidden} outside the axis or not finite"


def test_hyperparameters_has_a_panel_for_each_that_varies_on_its_own_scale(eight):
    axes = [axes for axes in plots.hyperparameters(eight).axes if axes.axison]
    assert [a.get_ylabel() for a in axes] == ["lr", "layers", "opt"]
    assert [a.get_yscale() for a in axes] == ["log", "linear", "linear"]
    low, high = axes[0].get_ylim()
    assert low < 1e-4 < 1.0 < high
    assert [label.get_text() for label in axes[2].get_yticklabels()] == ["sgd", "adam"]
    assert all(float(tick).is_integer() for tick in axes[1].get_yticks())


def test_the_winners_schedule_is_drawn_as_it_was(eight):
    axes = plots.hyperparameters(eight).axes[0]
    drawn = axes.get_lines()[-1].get_xydata()
    schedule = eight.schedule()
    for (x0, y0), (x1, y1) in zip(drawn[::2], drawn[1::2], strict=True):
        assert y0 == y1 == schedule(int(x0))["lr"] == schedule(int(x1) - 1)["lr"]
    assert drawn[0][0] == 0
    assert drawn[-1][0] == schedule.until


def test_lineage_labels_rows_and_marks_the_best(eight):
    (axes,) = plots.lineage(eight).axes
    tree = data.lineage(eight)
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(member) for member in np.argsort(tree.row)]
    star, best = axes.collections[-1], eight.best
    assert star.get_offsets().tolist() == [[best.generation + 1, tree.row[best.member]]]


def test_a_large_lineage_is_not_labelled_row_by_row():
    (axes,) = plots.lineage(made(65, 2)).axes
    assert axes.get_yticklabels() == []
    assert axes.get_ylabel() == "65 members, relatives together"


def test_a_run_of_one_member_and_one_that_has_only_begun_can_be_drawn():
    begun = History.of(PBT(space=SPACE, settings=Settings(population_size=3, interval=10, generations=2)).init())
    for history in (made(1, 1), begun, made(2, 1, bad=1.0)):
        for draw in (plots.values, plots.hyperparameters, plots.lineage):
            assert draw(history).axes


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_save_writes_files_of_the_format(tmp_path, kind, magic):
    files = plots.save(made(1, 1), tmp_path / "deep" / "folder", format=kind)
    assert [path.name for path in files] == [f"values.{kind}", f"hyperparameters.{kind}", f"lineage.{kind}"]
    assert all(path.read_bytes().startswith(magic) for path in files)


def test_a_space_of_constants_has_no_panels(tmp_path):
    history = made(2, 2, space=Space(fixed=Constant(1)))
    with pytest.raises(SettingsError, match="no hyperparameters that vary"):
        plots.hyperparameters(history)
    assert [path.name for path in plots.save(history, tmp_path)] == ["values.png", "lineage.png"]


def test_six_families_have_colours_and_the_others_share_one():
    rows = made(9, 1)  # nobody has copied yet: nine families
    strands = data.strands(rows)
    assert len(set(_style.colours(strands))) == 7
    labels = [text.get_text() for text in plots.values(rows).legends[0].get_texts()]
    assert "from others: 3 of 9" in labels


def test_colours_differ_in_grey_and_to_the_colour_blind():
    # Machado et al. 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.
    protan = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
    deutan = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
    rgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in _style.COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in (np.eye(3), protan, deutan):
        seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.1


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, lamarck.plots, lamarck.plots.data; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_drawing_without_matplotlib_says_how_to_install_it(eight, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lamarck\[plot\]'"):
        lamarck.plots.values(eight)
