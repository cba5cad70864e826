"""The figures: that they show the data, and that people can read them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

import lamarck
from drawn import SPACE, made, overlapping, texts_of
from lamarck import plots
from lamarck._errors import MissingExtra, SettingsError
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.plots import _style, data
from lamarck.space import Categorical, Constant, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Settings


@pytest.fixture(scope="module")
def eight():
    return made(8, 6)


LONG = Space(
    {
        "a_hyperparameter_with_a_long_name": Float(1e-4, 1.0, log=True),
        "another_hyperparameter_with_a_long_name": Int(10_000, 1_000_000, log=True),
        "choice": Categorical(["a rather long choice", "another rather long choice", "short"]),
        **{f"h{i}": Float(0.0, 1.0) for i in range(6)},
    }
)
DRAW = [*plots.FIGURES, "overview"]


@pytest.fixture(scope="module")
def runs():
    troubled = made(16, 8, bad=0.1, speeds=(1, 0.7, 0.3), max_lead=None)
    info = {"train": "a/very/long/path/to/somewhere/train.py:train_the_network"}
    troubled = dataclasses.replace(troubled, started=dataclasses.replace(troubled.started, info=info))
    return {"2": made(2, 12), "16": made(16, 12), "256": made(256, 8), "troubled": troubled, "long names": made(12, 6, space=LONG)}


@pytest.mark.parametrize("which", ["2", "16", "256", "troubled", "long names"])
@pytest.mark.parametrize("name", DRAW)
def test_nothing_written_overlaps_or_leaves_the_figure(runs, name, which):
    figure = getattr(plots, name)(runs[which])
    texts = texts_of(figure)
    assert overlapping(texts) == []
    whole = figure.bbox
    for text in texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0, text.get_text()
        assert box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0, text.get_text()
        assert box.y1 <= whole.y1, text.get_text()


@pytest.mark.parametrize("name", DRAW)
def test_every_axis_says_what_it_shows(runs, name):
    for axes in getattr(plots, name)(runs["16"]).axes:
        if axes.axison:
            labels = [axes.get_ylabel(), *([] if axes.get_shared_x_axes().get_siblings(axes)[1:] else [axes.get_xlabel()])]
            assert all(labels), labels


@pytest.mark.parametrize("name", DRAW)
def test_dark_figures_have_nothing_dark_on_them(eight, name):
    figure = getattr(plots, name)(eight, style="dark")
    paper = to_rgb(_style.DARK.paper)
    assert to_rgb(figure.get_facecolor()) == paper
    for text in texts_of(figure):
        if text.get_text():
            assert contrast(to_rgb(text.get_color()), paper) > 4.5, text.get_text()


def test_an_unknown_style_and_an_unknown_figure_are_refused(eight, tmp_path):
    with pytest.raises(SettingsError, match="it must be 'light' or 'dark'"):
        plots.values(eight, style="sepia")
    with pytest.raises(SettingsError, match="got 'tree'; the figures are values, "):
        plots.save(eight, tmp_path / "new", only=["tree"])
    assert not (tmp_path / "new").exists()


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
    paths = [
        path.vertices
        for bundle in axes.collections
        if isinstance(bundle, PathCollection) and bundle.get_facecolor().size == 0
        for path in bundle.get_paths()
    ]
    lines = {tuple(map(tuple, line)) for path in paths for line in path.reshape(-1, 2, 2).tolist()}
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


def test_of_very_many_hyperparameters_the_first_are_drawn_and_the_rest_is_counted():
    space = Space({f"h{i}": Float(0.0, 1.0) for i in range(40)})
    pbt = PBT(space=space, settings=Settings(population_size=2, interval=1, generations=2))
    history = History.of(simulate(pbt, lambda interval, state: (interval.hparams["h0"], None)))
    for figure, panels in ((plots.overview(history), 24), (plots.hyperparameters(history), 23)):
        assert sum(axes.axison for axes in figure.axes) == panels
        assert "; the first 23 of 40 hyperparameters" in figure.get_suptitle()


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
    assert [path.name for path in files] == [f"{name}.{kind}" for name in plots.FIGURES]
    assert all(path.read_bytes().startswith(magic) for path in files)


def test_a_space_of_constants_has_no_panels(tmp_path):
    history = made(2, 2, space=Space(fixed=Constant(1)))
    with pytest.raises(SettingsError, match="no hyperparameters that vary"):
        plots.hyperparameters(history)
    assert [path.name for path in plots.save(history, tmp_path)] == ["values.png", "lineage.png", "takeover.png"]


def test_six_families_have_colours_and_the_others_share_one():
    rows = made(9, 1)  # nobody has copied yet: nine families
    strands = data.strands(rows)
    assert len(set(_style.colours(strands))) == 7
    labels = [text.get_text() for text in plots.values(rows).legends[0].get_texts()]
    assert "from others: 3 of 9" in labels


# Machado et al. 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.
VISIONS = {
    "common": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


def linear(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Of two colours, as the Web Content Accessibility Guidelines define it: 1 to 21."""
    light, dark = sorted((float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("look", [_style.LIGHT, _style.DARK], ids=["light", "dark"])
def test_the_colour_blind_can_tell_families_apart(look, vision):
    seen = np.clip(linear([to_rgb(colour) for colour in look.families]) @ VISIONS[vision].T, 0, 1) ** (1 / 2.2)
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.1


@pytest.mark.parametrize("look", [_style.LIGHT, _style.DARK], ids=["light", "dark"])
def test_in_grey_print_the_winner_the_living_and_the_dead_differ(look):
    assert contrast(to_rgb(look.ink), to_rgb(look.paper)) > 12
    assert contrast(to_rgb(look.quiet), to_rgb(look.paper)) > 4.5
    assert contrast(to_rgb(look.families[0]), to_rgb(look.paper)) > 4.5
    assert contrast(to_rgb(look.families[0]), to_rgb(look.extinct)) > 2.5
    assert contrast(to_rgb(look.other), to_rgb(look.extinct)) > 2


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, lamarck.plots, lamarck.plots.data; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_drawing_without_matplotlib_says_how_to_install_it(eight, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lamarck\[plot\]'"):
        lamarck.plots.values(eight)


def test_where_nobody_has_a_value_nobody_is_the_best():
    machine = PBT(space=SPACE, settings=Settings(population_size=4, interval=10, generations=3))
    figure = plots.coordinates(History.of(simulate(machine, lambda interval, state: (math.nan, None))))
    assert not any("the best" in text.get_text() for text in texts_of(figure) if text is not None)
