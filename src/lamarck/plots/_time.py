"""Draws values and hyperparameters over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamarck.plots import data
from lamarck.plots._lines import bundle, strong
from lamarck.plots._style import LIGHT, Look, colours, dress, line_width, short, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_band", "draw_panel", "draw_values", "scale_panel", "scale_values"]

_ROUND = 2_000
"""Lines up to which ends are rounded, which takes time and is not seen on more."""


def draw_values(axes: Axes, shown: data.Values, size: int, look: Look = LIGHT) -> None:
    """Draws values over time.

    Args:
        axes: Where to.
        shown: What to draw.
        size: Population size, which decides how thin the lines are.
        look: Colours.
    """
    strands, colour, (low, high) = shown.strands, colours(shown.strands, look), shown.window
    begun = shown.shown & (strands.before >= low) & (strands.before <= high)
    _crowd(axes, strands, (strands.before, strands.value), begun, size, look)
    alone = shown.shown & ~begun
    axes.scatter(strands.until[alone], strands.value[alone], s=7, c=colour[alone], zorder=2.5, linewidths=0)
    line = strands.winning
    strong(axes, strands.until[line], strands.value[line], colour=look.families[0], paper=look.paper)
    scale_values(axes, shown, look)
    _note_hidden(axes, shown, look)


def scale_values(axes: Axes, shown: data.Values, look: Look = LIGHT) -> None:
    """Sets and labels the axes of values over time."""
    low, high = shown.window
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    _steps(axes, shown.strands)
    dress(axes, x="steps", y=f"value ({'higher' if shown.mode == 'max' else 'lower'} is better)", look=look)


def draw_band(axes: Axes, shown: data.Values, look: Look = LIGHT) -> None:
    """Draws what the middle of the population reports, and the best so far, over the crowd."""
    band, (low, high) = shown.band, shown.window
    below, above = np.clip(band.low, low, high), np.clip(band.high, low, high)
    axes.fill_between(band.step, below, above, color=look.ink, alpha=0.16, linewidth=0, zorder=3)
    for edge in (below, above):
        axes.plot(band.step, edge, color=look.ink, linewidth=0.5, alpha=0.55, zorder=3.2)
    axes.plot(band.step, np.clip(band.middle, low, high), color=look.ink, linewidth=1.0, linestyle=(0, (4, 2)), zorder=3.5)
    axes.plot(shown.best[:, 0], shown.best[:, 1], drawstyle="steps-post", color=look.ink, linewidth=0.9, zorder=6)


def draw_panel(axes: Axes, panel: data.Panel, strands: data.Strands, size: int, look: Look = LIGHT) -> None:
    """Draws one hyperparameter over time.

    Args:
        axes: Where to.
        panel: What to draw.
        strands: The run's strands.
        size: Population size, which decides how thin the lines are.
        look: Colours.
    """
    _crowd(axes, strands, (panel.place, panel.place), ~np.isnan(panel.place), size, look)
    line = strands.winning
    corners = np.repeat(np.append(strands.start[line], strands.until[line][-1:]), 2)[1:-1]
    place = np.round(panel.place[line]) if panel.choices else panel.place[line]
    strong(axes, corners, np.repeat(place, 2), colour=look.families[0], paper=look.paper)
    scale_panel(axes, panel, strands, look)


def scale_panel(axes: Axes, panel: data.Panel, strands: data.Strands, look: Look = LIGHT) -> None:
    """Sets and labels the axes of a hyperparameter over time: all that the space allows."""
    _steps(axes, strands)
    dress(axes, y=short(panel.name), x="steps", look=look)
    if panel.choices:
        axes.set_ylim(panel.low, panel.high)
        axes.set_yticks(range(len(panel.choices)), [short(choice, 18) for choice in panel.choices])
    elif panel.log:
        axes.set_yscale("log")
        margin = (panel.high / panel.low) ** 0.04
        axes.set_ylim(panel.low / margin, panel.high * margin)
    else:
        margin = 0.04 * (panel.high - panel.low)
        axes.set_ylim(panel.low - margin, panel.high + margin)
        axes.locator_params(axis="y", integer=panel.whole)


def _steps(axes: Axes, strands: data.Strands) -> None:
    axes.set_xlim(0, 1.01 * float(strands.until.max(initial=1.0)))
    thousands(axes)


def _crowd(
    axes: Axes,
    strands: data.Strands,
    height: tuple[NDArray[np.float64], NDArray[np.float64]],
    where: NDArray[np.bool_],
    size: int,
    look: Look,
) -> None:
    """The whole population, from one height to the other, what has died out below what lives."""
    lines = np.stack([strands.start, height[0], strands.until, height[1]], axis=1).reshape(-1, 2, 2)
    colour, cap = colours(strands, look), "round" if len(strands) <= _ROUND else "butt"
    for some, z in ((where & ~strands.living, 1.0), (where & strands.living, 2.0)):
        bundle(axes, lines[some], colour[some], line_width(size), z, cap=cap)


def _note_hidden(axes: Axes, shown: data.Values, look: Look) -> None:
    """Crosses at the edge for values that the axis does not reach; what is not finite counts as the worst."""
    hidden = ~shown.shown
    if not hidden.any():
        return
    above = shown.strands.value[hidden] > shown.window[1] if shown.mode == "max" else ~(shown.strands.value[hidden] < shown.window[0])
    axes.scatter(
        shown.strands.until[hidden], above.astype(float), marker="x", s=16, color=look.quiet, linewidths=0.9, zorder=6, clip_on=False,
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    axes.set_title(f"× {hidden.sum()} outside the axis or not finite", loc="right", fontsize=8, color=look.quiet)
