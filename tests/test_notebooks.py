"""A run in a notebook, and the notebooks among the examples: they run, and hold what they print and figures that can be seen as they are."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from drawn import made
from lamarck import plots
from lamarck.history import History

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


# ---- History as a figure and a table ---------------------------------------------------------------------------------------------------------


class Table(HTMLParser):
    """The cells of a table, row by row, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_run_shows_itself_as_figure_and_table():
    run = made(12, 5)
    text = run._repr_html_()
    assert text == plots.html(run)
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    assert image.width < 1000
    assert len(text) < 150_000
    head, *rows = Table(text).rows
    assert head == ["member", "generation", "step", "value", "from", "lr", "layers", "opt"]
    newest = sorted(run.generation(4), key=lambda record: -record.fitness)
    assert [row[0] for row in rows] == [str(record.member) for record in newest[:8]]
    assert rows[0][3] == f"{newest[0].value:.5g}"
    assert "and 4 more members" in text


def test_without_matplotlib_there_is_the_table_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = made(3, 2)._repr_html_()
    assert "<img" not in text
    assert len(Table(text).rows) == 4


def test_names_cannot_become_html():
    run = made(2, 2)
    record = dataclasses.replace(run.records[-1], hparams={**run.records[-1].hparams, "opt": "<script>alert(1)</script>"})
    text = plots.notebook._table(dataclasses.replace(run, records=(*run.records[:-1], record)))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_run_that_has_only_begun_is_a_sentence():
    run = History(started=made(2, 1).started, records=())
    assert run._repr_html_() == f"<div><p>{run}</p></div>"


# ---- the notebooks ---------------------------------------------------------------------------------------------------------------------------


def outputs(notebook):
    """For each cell of code what it prints, and the kinds of what it shows."""
    told = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
            told.append((printed, [sorted(output.data) for output in cell.outputs if output.output_type != "stream"]))
    return told


EXECUTE = """
import sys
import nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_give_what_they_hold(path, tmp_path):
    (tmp_path / "folder").mkdir()
    command = [sys.executable, "-c", EXECUTE, str(path), str(tmp_path / "folder"), str(tmp_path / "fresh.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert outputs(nbformat.read(tmp_path / "fresh.ipynb", as_version=4)) == outputs(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_figures_that_can_be_seen_and_stay_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    shown = [kind for _, kinds in outputs(notebook) for each in kinds for kind in each]
    assert shown.count("image/png") >= 4
    assert path.stat().st_size < 1_000_000
    assert "/home/" not in path.read_text()
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == list(range(1, 1 + len(outputs(notebook))))


def test_the_notebooks_are_there():
    assert [path.name for path in NOTEBOOKS] == ["figure2.ipynb", "visualise_population.ipynb"]
