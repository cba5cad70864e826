"""The figures against pictures of them that somebody has looked at.

``python tests/test_plots_reference.py`` writes the pictures anew; look at them before you commit them.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn import made
from lamarck import plots
from lamarck.space import Categorical, Float, Int, Space

FOLDER = Path(__file__).parent / "figures"
DPI = 48
TOLERANCE = 5.0
"""Greatest root mean square difference, of 255, once both are halved in size: letters may look a little different, lines may not."""

SPACE = Space(lr=Float(1e-4, 1.0, log=True), layers=Int(1, 3), opt=Categorical(["sgd", "adam"]), drop=Float(0.0, 0.5))
CASES = [(name, 16, "light") for name in [*plots.FIGURES, "overview"]] + [
    ("lineage", 2, "dark"),
    ("values", 64, "dark"),
    ("lineage", 256, "light"),
]
IDS = [f"{name}-{size}-{style}" for name, size, style in CASES]


def drawn(name, size, style, seed=0):
    file = io.BytesIO()
    figure = getattr(plots, name)(made(size, 10, space=SPACE, seed=seed), style=style)
    figure.savefig(file, dpi=DPI)
    return Image.open(file).convert("RGB")


def difference(one, other):
    """Root mean square difference of two pictures of one size, halved in size first."""
    small = [np.asarray(picture.reduce(2), dtype=np.float64) for picture in (one, other)]
    return float(np.sqrt(((small[0] - small[1]) ** 2).mean()))


@pytest.mark.parametrize(("name", "size", "style"), CASES, ids=IDS)
def test_figures_look_as_they_did(name, size, style):
    now, then = drawn(name, size, style), Image.open(FOLDER / f"{name}-{size}-{style}.png").convert("RGB")
    assert now.size == then.size
    assert difference(now, then) < TOLERANCE


@pytest.mark.parametrize("name", plots.FIGURES)
def test_the_figure_of_another_run_would_be_noticed(name):
    then = Image.open(FOLDER / f"{name}-16-light.png").convert("RGB")
    now = drawn(name, 16, "light", seed=1)
    assert now.size == then.size
    assert difference(now, then) > TOLERANCE


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case, identifier in zip(CASES, IDS, strict=True):
        drawn(*case).quantize(64).save(FOLDER / f"{identifier}.png", optimize=True)
