"""The figures of a run.

Colour is ancestry: all that descends from one founder has one colour, what has died out is grey, and the life of the best weights is drawn
strong across everybody who carried them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lamarck._errors import SettingsError
from lamarck.history import History
from lamarck.plots import data
from lamarck.plots._coordinates import draw_coordinates, name_ranks
from lamarck.plots._paths import draw_paths
from lamarck.plots._style import LIGHT, Look, Style, canvas, caption, key, look_of
from lamarck.plots._takeover import draw_effective, draw_shares, draw_spread, name_shares
from lamarck.plots._time import draw_band, draw_panel, draw_values
from lamarck.plots._tree import draw_lineage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "coordinates", "first_panels", "grid", "hyperparameters", "lineage", "overview", "paths", "save", "takeover", "values"]

_MOST = 23
"""Most hyperparameters that have a panel each: eight rows of three, with the values."""


def values(history: History, *, style: Style = "light") -> Figure:
    """Draws everybody's value over time, with the best so far, the median and the middle four fifths of each generation.

    Args:
        history: The run, ended or not.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure of 9 by 5 inches that belongs to no window; ``figure.savefig("values.png")`` writes it.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    return _values(history, data.strands(history), look_of(style))


def hyperparameters(history: History, *, style: Style = "light") -> Figure:
    """Draws each hyperparameter over time, one panel each: the schedule of the best weights over what everybody else tried.

    Args:
        history: The run, ended or not.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure; the panels' axes cover what the space allows, and are logarithmic where the space is.

    Raises:
        SettingsError: If the space has no hyperparameters that vary.
        MissingExtra: If matplotlib is not installed.
    """
    return _hyperparameters(history, data.strands(history), look_of(style))


def overview(history: History, *, style: Style = "light") -> Figure:
    """Draws values and hyperparameters together, each in a panel of one figure.

    Args:
        history: The run, ended or not.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure with one panel more than the space has hyperparameters that vary; of very many, the first 23 have one.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    return _overview(history, data.strands(history), look_of(style))


def lineage(history: History, *, style: Style = "light") -> Figure:
    """Draws who descends from whom: a row for each member, generations across, copies as curves from the donor's row to the copier's.

    Args:
        history: The run, ended or not.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure that is the higher the more members there are.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    return _lineage(history, data.strands(history), look_of(style))


def paths(history: History, x: str | None = None, y: str | None = None, *, style: Style = "light") -> Figure:
    """Draws the way of everybody's weights through a plane: a point for each report, the larger the earlier, and dotted jumps at copies.

    Args:
        history: The run, ended or not.
        x: A reported metric, a numeric hyperparameter, or ``"value"``; by default the first two metrics by name, such as the weights
            ``theta0`` and ``theta1`` of a toy, and if there are none the first numeric hyperparameter and the value.
        y: Likewise.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure of 6.5 by 6 inches. The numbers at the winner's points are generations.

    Raises:
        SettingsError: If a name is unknown.
        MissingExtra: If matplotlib is not installed.
    """
    return _paths(history, data.strands(history), look_of(style), x, y)


def coordinates(history: History, *, style: Style = "light") -> Figure:
    """Draws the newest population in parallel coordinates: a line for each member across one upright axis for each hyperparameter.

    Args:
        history: The run, ended or not.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure that is the wider the more hyperparameters vary; the better a member's newest value, the stronger its line.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    return _coordinates(history, data.strands(history), look_of(style))


def takeover(history: History, *, style: Style = "light") -> Figure:
    """Draws each family's part of the population over time, the effective number of founders, and the spread of each hyperparameter.

    Args:
        history: The run, ended or not.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure of 9 by 7.5 inches.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    return _takeover(history, data.strands(history), look_of(style))


def save(
    history: History,
    folder: str | os.PathLike[str],
    *,
    format: Literal["png", "svg", "pdf"] = "png",  # noqa: A002
    style: Style = "light",
    only: Collection[str] = (),
    x: str | None = None,
    y: str | None = None,
) -> list[Path]:
    """Writes the figures of a run into a folder, which is made if it does not exist.

    Args:
        history: The run, ended or not.
        folder: Where to.
        format: Kind of file.
        style: ``"light"`` or ``"dark"``.
        only: Names of figures among `FIGURES`; by default all of which the run has something to show.
        x: For the figure ``paths``, as `paths` takes it.
        y: Likewise.

    Returns:
        The files, named after the figures.

    Raises:
        SettingsError: If there is no such figure, or the run has nothing to show in one that was asked for.
        MissingExtra: If matplotlib is not installed.
    """
    unknown = [name for name in only if name not in FIGURES]
    if unknown:
        raise SettingsError(f"got {', '.join(map(repr, unknown))}; the figures are {', '.join(FIGURES)}")
    names, look, drawn = only or _shown(history), look_of(style), data.strands(history)
    draw = FIGURES | {"paths": partial(_paths, x=x, y=y)}
    figures = {Path(folder) / f"{name}.{format}": draw[name](history, drawn, look) for name in names}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, figure in figures.items():
        figure.savefig(path)
    return list(figures)


def _shown(history: History) -> list[str]:
    """The figures that have something to show."""
    bare = set() if data.panels(history) else {"hyperparameters", "coordinates", "paths"}
    return [name for name in FIGURES if name not in bare]


# ---- one run, one figure -------------------------------------------------------------------------------------------------------------------


def _values(history: History, drawn: data.Strands, look: Look) -> Figure:
    figure, shown, size = canvas(9, 5, look), data.values(history, drawn), history.settings.population_size
    axes = figure.subplots()
    draw_values(axes, shown, size, look)
    draw_band(axes, shown, look)
    key(figure, drawn, size, best=True, look=look)
    caption(figure, history, look)
    return figure


def first_panels(history: History) -> tuple[tuple[data.Panel, ...], str]:
    """Returns the hyperparameters that are drawn, and what to say of the rest: a hundred panels take minutes, and have no room left inside."""
    panels = data.panels(history)
    return panels[:_MOST], "" if len(panels) <= _MOST else f"; the first {_MOST} of {len(panels)} hyperparameters"


def _hyperparameters(history: History, drawn: data.Strands, look: Look) -> Figure:
    (panels, note), size = first_panels(history), history.settings.population_size
    if not panels:
        raise SettingsError("the space of this run has no hyperparameters that vary, so there is nothing to draw")
    figure, axes = grid(len(panels), look)
    for axis, panel in zip(axes, panels, strict=True):
        draw_panel(axis, panel, drawn, size, look)
    key(figure, drawn, size, look=look)
    caption(figure, history, look, note)
    return figure


def _overview(history: History, drawn: data.Strands, look: Look) -> Figure:
    shown, (panels, note), size = data.values(history, drawn), first_panels(history), history.settings.population_size
    figure, axes = grid(1 + len(panels), look)
    draw_values(axes[0], shown, size, look)
    for axis, panel in zip(axes[1:], panels, strict=True):
        draw_panel(axis, panel, drawn, size, look)
    key(figure, drawn, size, look=look)
    caption(figure, history, look, note)
    return figure


def _lineage(history: History, drawn: data.Strands, look: Look) -> Figure:
    tree, size = data.lineage(history, drawn), history.settings.population_size
    height = float(np.clip(0.19 * size, 1.4, 12.0))
    figure = canvas(9, height + 1.6, look)
    draw_lineage(figure.subplots(), tree, height=height, look=look)
    key(figure, drawn, size, winner=(look.ink, 1.4), look=look)
    caption(figure, history, look)
    return figure


def _paths(history: History, drawn: data.Strands, look: Look, x: str | None = None, y: str | None = None) -> Figure:
    figure, shown, size = canvas(6.5, 6, look), data.paths(history, x, y, drawn), history.settings.population_size
    axes = figure.subplots()
    key(figure, drawn, size, look=look)
    caption(figure, history, look)
    draw_paths(axes, shown, size, look)
    return figure


def _coordinates(history: History, drawn: data.Strands, look: Look) -> Figure:
    shown = data.coordinates(history)
    figure = canvas(max(6.5, 1.7 * len(shown.scales)), 4.6, look)
    draw_coordinates(figure.subplots(), shown, look)
    name_ranks(figure, shown, look)
    caption(figure, history, look)
    return figure


def _takeover(history: History, drawn: data.Strands, look: Look) -> Figure:
    figure, shown = canvas(9, 7.5, look), data.takeover(history, drawn)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(1.5, 1.1, 1.3))
    draw_shares(top, shown, look)
    draw_effective(middle, shown, look)
    draw_spread(bottom, shown, look)
    for axes in (top, middle):
        axes.set_xlabel("")
    name_shares(figure, shown, look)
    caption(figure, history, look)
    return figure


FIGURES: dict[str, Callable[[History, data.Strands, Look], Figure]] = {
    "values": _values,
    "hyperparameters": _hyperparameters,
    "lineage": _lineage,
    "takeover": _takeover,
    "coordinates": _coordinates,
    "paths": _paths,
}
"""The figures that `save` writes, by name."""


def grid(panels: int, look: Look = LIGHT) -> tuple[Figure, list[Axes]]:
    """Returns a figure with so many axes, and those axes."""
    columns = min(panels, 2 if panels in (2, 4) else 3)
    rows = -(-panels // columns)
    figure = canvas(max(6.5, 4.0 * columns), 2.6 * rows + 0.9, look)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, axes[:panels]
