"""Draws the toy: score against steps, and the path of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck.demos.panel import Panel, contours
from lamarck.demos.toy import OPTIMUM, START, Track

__all__ = ["draw_settings", "draw_variant", "load_matplotlib"]

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8c8c8c"
"""From the palette of Okabe & Ito, which people of all kinds of colour vision can tell apart."""

INK = "#444444"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def load_matplotlib() -> Any:
    """Returns matplotlib, with the modules that are drawn with.

    Raises:
        MissingExtra: If it is not installed.
    """
    for module in ("figure", "lines", "patches"):
        require(f"matplotlib.{module}", "plot", "Drawing the figure")
    return require("matplotlib", "plot", "Drawing the figure")


def draw_settings(panels: Sequence[Panel], *, title: str, note: str) -> Any:
    """Draws one column for each setting: the score above, the weights below.

    Args:
        panels: The settings, each of two members.
        title: Above everything.
        note: What the shaded band is, for the legend.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(13.2, 7.2), layout="constrained")
        axes = figure.subplots(2, len(panels), sharey="row")
        for number, (column, data) in enumerate(zip(axes.T, panels, strict=True)):
            _score(column[0], data, (BLUE, ORANGE))
            _weights(column[1], data, (BLUE, ORANGE))
            column[0].set_title(f"{data.name}\n", fontweight="bold")
            column[0].text(0.5, 1.03, _ending(data), transform=column[0].transAxes, ha="center", color=INK)
            column[0].set_ylabel("" if number else "score Q of each member")
            column[1].set_ylabel("" if number else r"$\theta_1$")
        _name_ends(axes[1, -1])
        figure.suptitle(title, fontsize=14)
        _legend(figure, matplotlib, note)
    return figure


def draw_variant(pairs: Sequence[tuple[Panel, Panel]], *, title: str, note: str) -> Any:
    """Draws one row for each population size: weights under PBT and on the grid, the score, and the schedule that PBT found.

    Args:
        pairs: PBT and the grid that starts from the same configurations, for each size.
        title: Above everything.
        note: What the shaded band is, for the legend.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(14.2, 7.4), layout="constrained")
        axes = figure.subplots(len(pairs), 4, squeeze=False)
        for row, (pbt, grid) in zip(axes, pairs, strict=True):
            _lineage(row[0], pbt, BLUE)
            _lineage(row[1], grid, ORANGE)
            for data, colour in ((grid, ORANGE), (pbt, BLUE)):
                row[2].fill_between(data.ready, data.low, data.high, color=colour, alpha=0.18, linewidth=0)
                row[2].plot(*_curve(data.ancestry), color=colour, linewidth=2)
            _bound(row[2], pbt.steps)
            _schedule(row[3], pbt)
            _name_ends(row[1])
            row[0].set_ylabel(f"{pbt.population} members\n\n" + r"$\theta_1$", fontsize=11)
            row[0].set_title(f"{pbt.name}: ends at {pbt.ending[0]:.3f} on average", fontsize=11)
            row[1].set_title(f"{grid.name}: ends at {grid.ending[0]:.3f}", fontsize=11)
            row[2].set_title("best of the population", fontsize=11)
            row[3].set_title("schedule behind the best", fontsize=11)
        figure.suptitle(title, fontsize=14)
        line = matplotlib.lines.Line2D
        handles = [
            line([], [], color=GREY, linewidth=0.8, label="every member"),
            line([], [], color=BLUE, linewidth=2, label="PBT: ancestry of the best"),
            line([], [], color=ORANGE, linewidth=2, label="grid: the best"),
            matplotlib.patches.Patch(color=BLUE, alpha=0.18, linewidth=0, label=note),
            line([], [], color=GREY, linewidth=1.5, label=f"optimum {OPTIMUM}"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _ending(data: Panel) -> str:
    mean, low, high = data.ending
    return f"ends at {mean:.3f} with every seed" if low == high else f"ends at {mean:.3f} (95 %: {low:.3f} to {high:.3f})"


def _curve(parts: Sequence[Track]) -> tuple[Any, Any]:
    """Steps and scores of tracks that follow each other; where a track begins lower or higher than the last one ended, the line is upright."""
    return np.concatenate([part.start + np.arange(len(part.value)) for part in parts]), np.concatenate([part.value for part in parts])


def _apart(paths: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Paths as one line, ``float64[2, n]``, with a gap before each: one artist draws much faster than hundreds."""
    gap = np.full((1, 2), np.nan)
    return np.concatenate([gap, *(part for path in paths for part in (gap, path))]).T


def _bound(axes: Any, steps: int) -> None:
    axes.axhline(OPTIMUM, color=GREY, linewidth=1.5, zorder=0)
    axes.set(xlim=(0, steps), ylim=(-0.5, 1.3), xlabel="steps", ylabel="score Q")


def _score(axes: Any, data: Panel, colours: Sequence[str]) -> None:
    axes.fill_between(data.ready, data.low, data.high, color=GREY, alpha=0.28, linewidth=0)
    for member, colour in enumerate(colours):
        own = [track for track in data.tracks if track.member == member]
        axes.plot(*_curve(own), color=colour, linewidth=1.8, linestyle=("-", (0, (4, 2)))[member % 2])
    _bound(axes, data.steps)


def _ground(axes: Any, data: Panel) -> None:
    axis, score = contours(data.toy)
    axes.contour(axis, axis, score, levels=np.arange(-0.4, 1.2, 0.2), colors="#dddddd", linewidths=0.8, linestyles="solid", zorder=0)
    axes.plot(*START, marker="o", markersize=7, markerfacecolor="white", markeredgecolor="#222222", zorder=5, clip_on=False)
    axes.plot(0, 0, marker="*", markersize=12, color="#222222", zorder=5, clip_on=False)
    axes.set(xlim=(-0.05, 1.0), ylim=(-0.05, 1.0), xlabel=r"$\theta_0$", aspect="equal", xticks=(0, 0.3, 0.6, 0.9), yticks=(0, 0.3, 0.6, 0.9))


def _name_ends(axes: Any) -> None:
    """Says what the circle and the star are, on a panel where the words are in nobody's way."""
    axes.annotate("start", START, (-4, 9), textcoords="offset points", ha="center", fontsize=10, color=INK)
    axes.annotate("optimum", (0, 0), (9, 5), textcoords="offset points", fontsize=10, color=INK)


def _weights(axes: Any, data: Panel, colours: Sequence[str]) -> None:
    _ground(axes, data)
    for member, colour in enumerate(colours):
        own = [track for track in data.tracks if track.member == member]
        jumps = [np.array([before.theta[-1], after.theta[0]]) for before, after in pairwise(own) if after.copied]
        axes.plot(*_apart(jumps), color=colour, linewidth=1, linestyle=":", zorder=2)
        axes.plot(*_apart([track.theta for track in own]), color=colour, linewidth=1.2, marker=".", markersize=3, zorder=3)


def _lineage(axes: Any, data: Panel, colour: str) -> None:
    _ground(axes, data)
    axes.plot(*_apart([track.theta for track in data.tracks]), color=GREY, linewidth=0.8, zorder=2)
    axes.plot(*_apart([track.theta for track in data.ancestry]), color=colour, linewidth=2, zorder=3)


def _schedule(axes: Any, data: Panel) -> None:
    for rates, name, colour, style in zip(data.rates.T, ("h_0", "h_1"), (GREEN, PURPLE), ("-", (0, (4, 2))), strict=True):
        axes.stairs(rates, data.changes, baseline=None, color=colour, linewidth=2, linestyle=style, label=rf"$\mathrm{{lr}}\cdot {name}$")
    axes.set(xlim=(0, data.steps), ylim=(0, 0.105), xlabel="steps", ylabel="step size")
    axes.legend(loc="lower right", fontsize=10)


def _legend(figure: Any, matplotlib: Any, note: str) -> None:
    line = matplotlib.lines.Line2D
    handles = [
        line([], [], color=BLUE, linewidth=1.8, label="member 0, begins with h = (1, 0)"),
        line([], [], color=ORANGE, linewidth=1.8, linestyle=(0, (4, 2)), label="member 1, begins with h = (0, 1)"),
        line([], [], color=GREY, linewidth=1.2, linestyle=":", label="takes over the other's weights"),
        line([], [], color=GREY, linewidth=1.5, label=f"optimum {OPTIMUM}"),
        matplotlib.patches.Patch(color=GREY, alpha=0.28, linewidth=0, label=note),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
