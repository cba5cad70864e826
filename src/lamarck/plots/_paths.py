"""Draws the way of everybody's weights through a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck.plots._lines import bundle, strong
from lamarck.plots._style import LIGHT, Look, colours, dress, line_width, short
from lamarck.plots.data import Paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_paths", "scale_paths", "sizes"]

_LARGEST, _SMALLEST = 46.0, 5.0
"""Areas of the first and the last point, in square points."""

_APART = 15.0
"""Points (1/72 inch) between a label and what was labelled before."""

_CROWD = 20_000
"""Reports up to which the ways of the extinct are drawn, and an SVG or a PDF gets every point as a shape."""

_JUMPS = 400
"""Copies up to which the jumps are drawn; more would hide the paths."""


def draw_paths(axes: Axes, shown: Paths, size: int, look: Look = LIGHT) -> None:
    """Draws a line and a point for each report, dotted jumps where weights were copied, and the generation at the winner's points.

    Args:
        axes: Where to.
        shown: What to draw.
        size: Population size, which decides how thin the lines are.
        look: Colours.
    """
    strands, colour = shown.strands, colours(shown.strands, look)
    there, begun = ~np.isnan(shown.point[:, 0]), ~np.isnan(shown.point[:, 0] + shown.before[:, 0])
    lines = np.stack([shown.before, shown.point], axis=1)
    for some, z in ((begun & ~strands.living & (len(strands) <= _CROWD), 1.0), (begun & strands.living, 2.0)):
        bundle(axes, lines[some], colour[some], line_width(size), z)
    area = sizes(shown) * min(1.0, 4 * line_width(size) / 3)
    for some, z in ((there & ~strands.living & ~strands.winning, 2.4), (there & strands.living & ~strands.winning, 2.5)):
        _points(axes, shown.point[some], area[some], colour[some], z)
    jumped = ~np.isnan(shown.left[:, 0]) & there[strands.parent[shown.copies]]
    if 0 < jumped.sum() <= _JUMPS:
        ends = np.stack([shown.left, shown.point[strands.parent[shown.copies]]], axis=1)[jumped]
        gap = np.full((len(ends), 1, 2), np.nan)
        axes.plot(*np.concatenate([ends, gap], axis=1).reshape(-1, 2).T, color=look.quiet, linewidth=0.8, linestyle=(0, (1, 1.6)), zorder=1.5)
    line = np.flatnonzero(strands.winning & there)
    x, y = shown.point[line].T
    strong(axes, x, y, colour=look.families[0], paper=look.paper, width=2.2)
    axes.scatter(x, y, s=1.3 * sizes(shown)[line], color=look.families[0], edgecolors=look.paper, linewidths=0.7, zorder=6)
    axes.scatter(x[-1:], y[-1:], marker="*", s=130, color=look.ink, edgecolors=look.paper, linewidths=0.7, zorder=7)
    scale_paths(axes, shown, look)
    _label(axes, shown, line, look)


def _points(axes: Axes, point: NDArray[np.float64], area: NDArray[np.float64], colour: NDArray[np.str_], z: float) -> None:
    """Points of one colour and about one size together, which is what matplotlib draws fast."""
    size = np.round(area**0.5 * 2) / 2
    for width in np.unique(size)[::-1]:
        for shade in np.unique(colour[size == width]):
            x, y = point[(size == width) & (colour == shade)].T
            axes.plot(x, y, "o", markersize=width, color=str(shade), markeredgewidth=0, zorder=z, rasterized=len(point) > _CROWD)


def sizes(shown: Paths) -> NDArray[np.float64]:
    """Returns the area of each report's point in square points: it falls with the step, so that one sees which way time goes."""
    until = shown.strands.until
    return _LARGEST - (_LARGEST - _SMALLEST) * until / max(float(until.max(initial=1.0)), 1.0)


def scale_paths(axes: Axes, shown: Paths, look: Look = LIGHT) -> None:
    """Sets and labels both axes, logarithmic where the space is."""
    dress(axes, x=short(shown.names[0], 40), y=short(shown.names[1], 40), look=look)
    for axis, (log, (low, high)) in enumerate(zip(shown.log, shown.window, strict=True)):
        limits, scale = (axes.set_xlim, axes.set_xscale) if axis == 0 else (axes.set_ylim, axes.set_yscale)
        if log and low > 0:
            scale("log")
            margin = (high / low) ** 0.06 if high > low else 1.2
            limits(low / margin, high * margin)
        else:
            margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
            limits(low - margin, high + margin)


def _label(axes: Axes, shown: Paths, line: NDArray[np.int64], look: Look) -> None:
    """Writes generations at the winner's ready points, where there is room: last first, as the end matters most."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles the layout, and with it how far apart the points lie
    place = axes.transData.transform(shown.point[line]) * 72 / figure.dpi
    halo = require("matplotlib.patheffects", "plot", "Drawing a figure").withStroke(linewidth=2.5, foreground=look.paper)
    written: list[NDArray[np.float64]] = []
    for row, here in zip(line[::-1], place[::-1], strict=True):
        if all(np.abs(here - other).max() >= _APART for other in written):
            written.append(here)
            axes.annotate(
                str(shown.strands.generation[row]),
                (float(shown.point[row, 0]), float(shown.point[row, 1])),
                (6, 5),
                textcoords="offset points",
                fontsize=8,
                color=look.ink,
                zorder=8,
                path_effects=[halo],
            )
