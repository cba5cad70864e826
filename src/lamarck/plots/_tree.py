"""Draws the lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck.plots._lines import bundle, curves
from lamarck.plots._style import LIGHT, Look, colours, dress
from lamarck.plots.data import Lineage, Strands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_lineage"]

_BEND = 0.45
"""Part of a generation that a copy's curve takes."""

_CLEAR = 250
"""Generations up to which the copies of extinct branches are drawn; of more they would be a grey wall."""

_LABELLED = 64
"""Members up to which each row is labelled."""


def draw_lineage(axes: Axes, tree: Lineage, *, height: float, look: Look = LIGHT) -> None:
    """Draws a row for each member, with copies as curves from the donor's row to the copier's.

    Args:
        axes: Where to.
        tree: What to draw.
        height: Height of the axes in inches, which decides how thick the rows can be.
        look: Colours.
    """
    strands, size = tree.strands, len(tree.row)
    row = tree.row[strands.member].astype(np.float64)
    until = strands.generation.astype(np.float64) + 1.0
    spans, ends = _spans(tree, row), _ends(tree, row)
    kept, colour = strands.living | strands.winning, colours(strands, look)
    thick = float(np.clip(0.5 * 72 * height / max(size, 4), 0.9, 6.0))
    core = min(1.4, 0.5 * thick)
    layers = (
        (~kept, colour, 0.55 * thick, 0.27 * thick),
        (kept, colour, thick, max(0.45 * thick, 0.7)),
        (strands.winning, np.full(len(strands), look.ink), core, core),
    )
    for z, (some, ink, row_width, curve_width) in enumerate(layers, start=1):
        first, last = _runs(strands, some)
        lines = np.stack([spans[first, 0], spans[last, 1]], axis=1)
        bundle(axes, lines, ink[first], row_width, float(z))
        taken = some[tree.copies]
        if z > 1 or until.max(initial=0.0) <= _CLEAR:
            curves(axes, ends[taken], ink[tree.copies][taken], curve_width, z + 0.5)
    winners = np.flatnonzero(strands.winning)[-1:]
    axes.scatter(until[winners], row[winners], marker="*", s=90, color=look.ink, edgecolors=look.paper, linewidths=0.6, zorder=4, clip_on=False)
    _labels(axes, tree, until, height, look)


def _spans(tree: Lineage, row: NDArray[np.float64]) -> NDArray[np.float64]:
    """``float64[R, 2, 2]``: where each strand's row begins and ends; a copy's begins where its curve arrives."""
    strands = tree.strands
    start = strands.generation.astype(np.float64)
    start[tree.copies] += _BEND
    return np.stack([start, row, strands.generation + 1.0, row], axis=1).reshape(-1, 2, 2)


def _ends(tree: Lineage, row: NDArray[np.float64]) -> NDArray[np.float64]:
    """``float64[C, 2, 2]``: for each copy the end of the donor's strand and the beginning of the copier's."""
    strands, donor = tree.strands, tree.strands.parent[tree.copies]
    left, right = strands.generation[donor] + 1.0, strands.generation[tree.copies] + _BEND
    return np.stack([left, row[donor], right, row[tree.copies]], axis=1).reshape(-1, 2, 2)


def _runs(strands: Strands, some: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last strands of stretches in which a member goes on from itself within one layer: each is drawn as one line."""
    order = np.lexsort((strands.generation, strands.member))
    order = order[some[order]]
    fresh = np.ones(len(order), dtype=bool)
    own = strands.member[order][1:] == strands.member[order][:-1]
    fresh[1:] = ~own | (strands.parent[order][1:] != order[:-1]) | (strands.generation[order][1:] > strands.generation[order][:-1] + 1)
    first = np.flatnonzero(fresh)
    return order[first], order[np.append(first[1:], len(order))[: len(first)] - 1]


def _labels(axes: Axes, tree: Lineage, until: NDArray[np.float64], height: float, look: Look) -> None:
    size = len(tree.row)
    axes.set_xlim(0, 1.01 * float(until.max(initial=1.0)))
    axes.set_ylim(size - 0.4, -0.6)
    each = size <= _LABELLED
    dress(axes, x="generation", y="member" if each else f"{size} members, relatives together", look=look)
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "plot", "Drawing a figure").MaxNLocator(nbins=12, integer=True))
    axes.set_yticks(range(size) if each else [], list(map(str, np.argsort(tree.row))) if each else [])
    axes.tick_params(axis="y", length=0, labelsize=float(np.clip(0.6 * 72 * height / size, 4.5, 8.5)))
