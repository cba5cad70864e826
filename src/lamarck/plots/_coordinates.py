"""Draws the final population in parallel coordinates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck.plots._lines import strong
from lamarck.plots._style import LIGHT, Look, legend, line_width, short
from lamarck.plots.data import Coordinates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_coordinates", "name_ranks"]

_NAME = 18
"""Characters of a name that fit between two axes."""


def draw_coordinates(axes: Axes, shown: Coordinates, look: Look = LIGHT) -> None:
    """Draws one line for each member across upright axes, the stronger the better; the best on top, in a colour of its own.

    Args:
        axes: Where to.
        shown: What to draw.
        look: Colours.
    """
    size, across = len(shown.member), np.arange(len(shown.scales), dtype=np.float64)
    collection = require("matplotlib.collections", "plot", "Drawing a figure").LineCollection
    for rank in reversed(range(1, size)):  # the better lie above
        lines = _pieces(across, shown.place[rank])
        shade = _shade(1 - rank / max(1, size - 1), look)
        axes.add_collection(collection(lines, colors=[shade], linewidths=1.3 * line_width(size), zorder=2), autolim=False)
    if size:
        strong(axes, across, shown.place[0], colour=look.families[1], paper=look.paper, width=3.2)
        axes.scatter(across, shown.place[0], s=30, color=look.families[1], edgecolors=look.paper, linewidths=0.7, zorder=6)
    _axes(axes, shown, look)


def name_ranks(figure: Figure, shown: Coordinates, look: Look = LIGHT) -> None:
    """Puts the legend below a figure: the best member, and what the shades of the others mean."""
    if not len(shown.member) or math.isnan(shown.place[0, -1]):  # nobody has a value, so nobody is the best
        return
    entries = [(look.families[1], f"member {shown.member[0]}, the best", 3.2, "-")]
    if len(shown.member) > 2:
        entries += [(_shade(part, look), f"{word} value", 1.6, "-") for part, word in ((1.0, "better"), (0.0, "worse"))]
    elif len(shown.member) == 2:
        entries += [(_shade(0.0, look), f"member {shown.member[1]}", 1.6, "-")]
    legend(figure, entries, look)


def _shade(part: float, look: Look) -> str:
    """The colour of a rank: 1 for the best, 0 for the worst."""
    colormaps = require("matplotlib", "plot", "Drawing a figure").colormaps
    return str(require("matplotlib.colors", "plot", "Drawing a figure").to_hex(colormaps[look.shades](0.15 + 0.85 * part)))


def _pieces(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[list[tuple[float, float]]]:
    """A line without the places where it is not defined."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for at, height in zip(x.tolist(), y.tolist(), strict=True):
        if np.isnan(height):
            pieces.append([])
        else:
            pieces[-1].append((at, height))
    return [piece for piece in pieces if len(piece) > 1]


def _axes(axes: Axes, shown: Coordinates, look: Look) -> None:
    axes.set_facecolor(look.paper)
    axes.set_axis_off()
    axes.set_xlim(-0.45, len(shown.scales) - 0.75)
    axes.set_ylim(-0.05, 1.12)
    box = {"facecolor": look.paper, "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
    for at, scale in enumerate(shown.scales):
        axes.plot([at, at], [0, 1], color=look.edge, linewidth=1.0, zorder=1)
        axes.text(at, 1.06, short(scale.name, _NAME), ha="center", va="bottom", fontsize=9, fontweight="bold", color=look.ink)
        for place, label in scale.marks:
            axes.plot([at - 0.02, at], [place, place], color=look.edge, linewidth=1.0, zorder=1)
            axes.text(at - 0.04, place, short(label, _NAME), ha="right", va="center", fontsize=8, color=look.quiet, zorder=7, bbox=box)
