"""The figures of a run: values, hyperparameters and lineage.

Colour is ancestry: all that descends from one founder has one colour, what has died out is grey, and the life of the best weights is drawn
strong across everybody who carried them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError, require
from lamarck.history import History
from lamarck.plots import data
from lamarck.plots._style import COLOURS, INK, canvas, caption, colours, dress, key, line_width, thousands
from lamarck.plots._tree import draw_lineage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_lineage", "draw_panel", "draw_values", "hyperparameters", "lineage", "overview", "save", "values"]


def values(history: History) -> Figure:
    """Draws everybody's value over time, with the best so far.

    Args:
        history: The run, ended or not.

    Returns:
        A figure of 9 by 5 inches that belongs to no window; ``figure.savefig("values.png")`` writes it.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    figure, shown, size = canvas(9, 5), data.values(history), history.settings.population_size
    axes = figure.subplots()
    draw_values(axes, shown, size)
    axes.plot(shown.best[:, 0], shown.best[:, 1], drawstyle="steps-post", color=INK, linewidth=0.9, zorder=6)
    key(figure, shown.strands, size, best=True)
    caption(figure, history)
    return figure


def hyperparameters(history: History) -> Figure:
    """Draws each hyperparameter over time, one panel each: the schedule of the best weights over what everybody else tried.

    Args:
        history: The run, ended or not.

    Returns:
        A figure; the panels' axes cover what the space allows, and are logarithmic where the space is.

    Raises:
        SettingsError: If the space has no hyperparameters that vary.
        MissingExtra: If matplotlib is not installed.
    """
    shown, panels, size = data.strands(history), data.panels(history), history.settings.population_size
    if not panels:
        raise SettingsError("the space of this run has no hyperparameters that vary, so there is nothing to draw")
    figure, axes = _grid(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        draw_panel(axis, panel, shown, size)
    key(figure, shown, size)
    caption(figure, history)
    return figure


def overview(history: History) -> Figure:
    """Draws values and hyperparameters together, each in a panel of one figure.

    Args:
        history: The run, ended or not.

    Returns:
        A figure with one panel more than the space has hyperparameters that vary.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    shown, panels, size = data.values(history), data.panels(history), history.settings.population_size
    figure, axes = _grid(1 + len(panels))
    draw_values(axes[0], shown, size)
    for axis, panel in zip(axes[1:], panels, strict=True):
        draw_panel(axis, panel, shown.strands, size)
    key(figure, shown.strands, size)
    caption(figure, history)
    return figure


def lineage(history: History) -> Figure:
    """Draws who descends from whom: a row for each member, generations across, copies as curves from the donor's row to the copier's.

    Args:
        history: The run, ended or not.

    Returns:
        A figure that is the higher the more members there are.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    tree, size = data.lineage(history), history.settings.population_size
    height = float(np.clip(0.19 * size, 1.4, 12.0))
    figure = canvas(9, height + 1.6)
    draw_lineage(figure.subplots(), tree, height=height)
    key(figure, tree.strands, size, winner=(INK, 1.4))
    caption(figure, history)
    return figure


def save(history: History, folder: str | os.PathLike[str], *, format: Literal["png", "svg", "pdf"] = "png") -> list[Path]:  # noqa: A002
    """Writes the figures of a run into a folder, which is made if it does not exist.

    Args:
        history: The run, ended or not.
        folder: Where to.
        format: Kind of file.

    Returns:
        The files: ``values``, ``hyperparameters`` (unless none vary) and ``lineage``.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    draw = {"values": values, "hyperparameters": hyperparameters, "lineage": lineage}
    if not data.panels(history):
        del draw["hyperparameters"]
    figures = {Path(folder) / f"{name}.{format}": function(history) for name, function in draw.items()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, figure in figures.items():
        figure.savefig(path)
    return list(figures)


def draw_values(axes: Axes, shown: data.Values, size: int) -> None:
    """Draws values over time.

    Args:
        axes: Where to.
        shown: What to draw.
        size: Population size, which decides how thin the lines are.
    """
    strands, colour, (low, high) = shown.strands, colours(shown.strands), shown.window
    begun = shown.shown & (strands.before >= low) & (strands.before <= high)
    _crowd(axes, strands, (strands.before, strands.value), begun, size)
    alone = shown.shown & ~begun
    axes.scatter(strands.until[alone], strands.value[alone], s=7, c=colour[alone], zorder=2.5, linewidths=0)
    line = strands.winning
    _strong(axes, strands.until[line], strands.value[line])
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(left=0)
    thousands(axes)
    dress(axes, x="steps", y=f"value ({'higher' if shown.mode == 'max' else 'lower'} is better)")
    _note_hidden(axes, shown)


def draw_panel(axes: Axes, panel: data.Panel, strands: data.Strands, size: int) -> None:
    """Draws one hyperparameter over time.

    Args:
        axes: Where to.
        panel: What to draw.
        strands: The run's strands.
        size: Population size, which decides how thin the lines are.
    """
    _crowd(axes, strands, (panel.place, panel.place), ~np.isnan(panel.place), size)
    line = strands.winning
    corners = np.repeat(np.append(strands.start[line], strands.until[line][-1:]), 2)[1:-1]
    place = np.round(panel.place[line]) if panel.choices else panel.place[line]
    _strong(axes, corners, np.repeat(place, 2))
    axes.set_xlim(left=0)
    thousands(axes)
    dress(axes, y=panel.name, x="steps")
    if panel.choices:
        axes.set_ylim(panel.low, panel.high)
        axes.set_yticks(range(len(panel.choices)), panel.choices)
    elif panel.log:
        axes.set_yscale("log")
        margin = (panel.high / panel.low) ** 0.04
        axes.set_ylim(panel.low / margin, panel.high * margin)
    else:
        margin = 0.04 * (panel.high - panel.low)
        axes.set_ylim(panel.low - margin, panel.high + margin)
        axes.locator_params(axis="y", integer=panel.whole)


def _crowd(
    axes: Axes, strands: data.Strands, height: tuple[NDArray[np.float64], NDArray[np.float64]], where: NDArray[np.bool_], size: int
) -> None:
    """The whole population, from one height to the other, what has died out below what lives."""
    collection = require("matplotlib.collections", "plot", "Drawing a figure").LineCollection
    lines = np.stack([strands.start, height[0], strands.until, height[1]], axis=1).reshape(-1, 2, 2)
    colour = colours(strands)
    for some, z in ((where & ~strands.living, 1.0), (where & strands.living, 2.0)):
        axes.add_collection(collection(list(lines[some]), colors=list(colour[some]), linewidths=line_width(size), zorder=z, capstyle="round"))


def _strong(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """The winner's line, with a white edge that lifts it off the crowd."""
    axes.plot(x, y, color="white", linewidth=4.4, solid_capstyle="round", zorder=4)
    axes.plot(x, y, color=COLOURS[0], linewidth=2.8, solid_capstyle="round", zorder=5)


def _note_hidden(axes: Axes, shown: data.Values) -> None:
    """Crosses at the edge for values that the axis does not reach; what is not finite counts as the worst."""
    hidden = ~shown.shown
    if not hidden.any():
        return
    above = shown.strands.value[hidden] > shown.window[1] if shown.mode == "max" else ~(shown.strands.value[hidden] < shown.window[0])
    axes.scatter(
        shown.strands.until[hidden], above.astype(float), marker="x", s=16, color="#555555", linewidths=0.9, zorder=6, clip_on=False,
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    axes.set_title(f"× {hidden.sum()} outside the axis or not finite", loc="right", fontsize=8, color="#555555")


def _grid(panels: int) -> tuple[Figure, list[Axes]]:
    columns = min(panels, 2 if panels in (2, 4) else 3)
    rows = -(-panels // columns)
    figure = canvas(max(6.5, 4.0 * columns), 2.6 * rows + 0.9)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, axes[:panels]
