"""Many lines at once: a hundred thousand of them in a fraction of a second."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["bundle", "curves", "strong"]

_PART = 500
"""Lines in one path. A path for each line costs five times as much; a path for all of them needs a rasteriser without limits."""

_VECTOR = 20_000
"""Lines up to which an SVG or a PDF gets them as lines; more are put in as a picture, or no viewer would open the file."""

_ARC = -0.6
"""How far the handles of an arc are lifted; it reaches three quarters of that, not quite half a row up where rows count downwards."""

_MOVE, _LINE, _CURVE = 1, 2, 4
"""Codes of a path: go there, a line there, a cubic Bézier there."""


def bundle(
    axes: Axes, lines: NDArray[np.float64], colour: NDArray[np.str_], width: float, z: float, *, cap: str = "butt", pixels: bool = False
) -> list[Artist]:
    """Draws straight lines, those of one colour together.

    Args:
        axes: Where to.
        lines: ``float64[L, 2, 2]``: two ends, each x and y.
        colour: ``str[L]``.
        width: In points.
        z: What lies above what.
        cap: How lines end.
        pixels: Whether ``lines`` are in pixels.

    Returns:
        What has been added to the axes.
    """
    return _draw(axes, lines, (_MOVE, _LINE), colour, width, z, cap, pixels=pixels)


def curves(axes: Axes, ends: NDArray[np.float64], colour: NDArray[np.str_], width: float, z: float) -> None:
    """Draws curves that leave and arrive level, as branches do; between two ends at one height they are arcs.

    Args:
        axes: Where to.
        ends: ``float64[L, 2, 2]``: two ends, each x and y.
        colour: ``str[L]``.
        width: In points.
        z: What lies above what.
    """
    middle = ends[:, :, 0].mean(axis=1)
    lift = np.where(ends[:, 0, 1] == ends[:, 1, 1], _ARC, 0.0)
    first, last = np.stack([middle, ends[:, 0, 1] + lift], axis=1), np.stack([middle, ends[:, 1, 1] + lift], axis=1)
    bent = np.stack([ends[:, 0], first, last, ends[:, 1]], axis=1)
    _draw(axes, bent, (_MOVE, _CURVE, _CURVE, _CURVE), colour, width, z, "butt")


def _draw(
    axes: Axes,
    points: NDArray[np.float64],
    codes: tuple[int, ...],
    colour: NDArray[np.str_],
    width: float,
    z: float,
    cap: str,
    *,
    pixels: bool = False,
) -> list[Artist]:
    path = require("matplotlib.path", "plot", "Drawing a figure").Path
    collection: Any = require("matplotlib.collections", "plot", "Drawing a figure").PathCollection
    where = {"transform": require("matplotlib.transforms", "plot", "Drawing a figure").IdentityTransform()} if pixels else {}
    made: list[Artist] = []
    for shade in np.unique(colour):
        mine = points[colour == shade]
        parts = (mine[i : i + _PART].reshape(-1, 2) for i in range(0, len(mine), _PART))
        paths = [path(part, np.tile(np.array(codes, dtype=np.uint8), len(part) // len(codes))) for part in parts]
        drawn = collection(
            paths, facecolors="none", edgecolors=str(shade), linewidths=width, zorder=z, capstyle=cap, rasterized=len(points) > _VECTOR, **where
        )
        made.append(axes.add_collection(drawn, autolim=False))
    return made


def strong(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], *, colour: str, paper: str, width: float = 2.8) -> list[Artist]:
    """Draws a line with an edge of the paper's colour, which lifts it off the crowd.

    Returns:
        What has been added to the axes.
    """
    layers = ((paper, width + 1.6, 4), (colour, width, 5))
    return [
        *itertools.chain.from_iterable(
            axes.plot(x, y, color=ink, linewidth=points, solid_capstyle="round", solid_joinstyle="round", zorder=z) for ink, points, z in layers
        )
    ]
