"""Draws the lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck.plots._style import INK, colours, dress
from lamarck.plots.data import Lineage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_lineage"]

_BEND = 0.45
"""Part of a generation that a copy's curve takes."""

_LABELLED = 64
"""Members up to which each row is labelled."""


def draw_lineage(axes: Axes, tree: Lineage, *, height: float) -> None:
    """Draws a row for each member, with copies as curves from the donor's row to the copier's.

    Args:
        axes: Where to.
        tree: What to draw.
        height: Height of the axes in inches, which decides how thick the rows can be.
    """
    strands, size = tree.strands, len(tree.row)
    copied = np.zeros(len(strands), dtype=bool)
    copied[tree.copies] = True
    row = tree.row[strands.member].astype(np.float64)
    start, until = strands.generation + np.where(copied, _BEND, 0.0), strands.generation.astype(np.float64) + 1.0
    seam = 0.0015 * float(until.max(initial=1.0))  # neighbours overlap by a hair, or their seam would show
    rows, curves = np.stack([start, row, until + seam, row], axis=1), _curves(tree, row)
    kept, colour = strands.living | strands.winning, colours(strands)
    thick = float(np.clip(0.5 * 72 * height / max(size, 4), 0.9, 6.0))
    core = min(1.4, 0.5 * thick)
    layers = (
        (~kept, colour, 0.55 * thick, 0.27 * thick),
        (kept, colour, thick, max(0.45 * thick, 0.7)),
        (strands.winning, np.full(len(strands), INK), core, core),
    )
    for z, (some, ink, row_width, curve_width) in enumerate(layers, start=1):
        collections = require("matplotlib.collections", "plot", "Drawing a figure")
        lines = list(rows[some].reshape(-1, 2, 2))
        axes.add_collection(collections.LineCollection(lines, colors=list(ink[some]), linewidths=row_width, zorder=z, capstyle="butt"))
        taken = some[tree.copies]
        paths, edges = [curve for curve, there in zip(curves, taken, strict=True) if there], list(ink[tree.copies][taken]) or "none"
        axes.add_collection(collections.PathCollection(paths, facecolors="none", edgecolors=edges, linewidths=curve_width, zorder=z + 0.5))
    winners = np.flatnonzero(strands.winning)[-1:]
    axes.scatter(until[winners], row[winners], marker="*", s=90, color=INK, zorder=4)
    _labels(axes, tree, until, height)


def _curves(tree: Lineage, row: NDArray[np.float64]) -> list[Any]:
    """For each copy the way from the end of the donor's strand to the beginning of the copier's, as in a drawing of branches."""
    path = require("matplotlib.path", "plot", "Drawing a figure").Path
    codes = [path.MOVETO, path.CURVE4, path.CURVE4, path.CURVE4]
    made = []
    for strand in tree.copies:
        donor = tree.strands.parent[strand]
        left, right = tree.strands.generation[donor] + 1.0, tree.strands.generation[strand] + _BEND
        middle = (left + right) / 2
        made.append(path([(left, row[donor]), (middle, row[donor]), (middle, row[strand]), (right, row[strand])], codes))
    return made


def _labels(axes: Axes, tree: Lineage, until: NDArray[np.float64], height: float) -> None:
    size = len(tree.row)
    axes.set_xlim(0, 1.01 * float(until.max(initial=1.0)))
    axes.set_ylim(size - 0.4, -0.6)
    each = size <= _LABELLED
    dress(axes, x="generation", y="member" if each else f"{size} members, relatives together")
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "plot", "Drawing a figure").MaxNLocator(nbins=12, integer=True))
    axes.set_yticks(range(size) if each else [], list(map(str, np.argsort(tree.row))) if each else [])
    axes.tick_params(axis="y", length=0, labelsize=float(np.clip(0.6 * 72 * height / size, 4.5, 8.5)))
