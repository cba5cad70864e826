"""What all figures share: colours that everybody can tell apart, on a light background, and one way to label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck.history import History
from lamarck.plots.data import Strands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "EXTINCT", "INK", "OTHER", "canvas", "caption", "colours", "dress", "key", "line_width", "thousands"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""For the first families: six of the eight colours of Okabe and Ito 2008, "Color Universal Design"."""

OTHER = "#767676"
"""For living families beyond the first six."""

EXTINCT = "#C9C9C9"
"""For what has no descendants left."""

_ENTRY = 1.95
"""Inches that an entry of the legend takes."""

_NAME = 30
"""Characters of a run's name in a caption; of a longer one the end is shown."""

INK = "#222222"
"""For text and for the best so far."""


def canvas(width: float, height: float) -> Figure:
    """Returns an empty figure, in inches, that belongs to no window and to no global state."""
    figure: Figure = require("matplotlib.figure", "plot", "Drawing a figure").Figure(figsize=(width, height), dpi=160, layout="constrained")
    figure.set_facecolor("white")
    return figure


def colours(strands: Strands) -> NDArray[np.str_]:
    """Returns the colour of each strand: its family's if it lives or the family has won, otherwise that of the extinct."""
    palette = np.array([*COLOURS, OTHER])
    own = palette[np.minimum(strands.family, len(COLOURS))]
    return np.where(strands.living | strands.winning, own, EXTINCT)


def line_width(size: int) -> float:
    """Returns the width of a member's line in points: 1.4 for a few members, thinner as they get in each other's way."""
    return float(np.clip(1.4 * (12 / size) ** 0.5, 0.45, 1.4))


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """Labels the axes and takes away what is not needed to read them."""
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.grid(color="#EBEBEB", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9A9A9A")
    axes.tick_params(colors="#555555", labelsize=8.5)


def thousands(axes: Axes) -> None:
    """Writes steps as 10,000 and keeps them whole."""
    ticker = require("matplotlib.ticker", "plot", "Drawing a figure")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=8, integer=True))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))


def caption(figure: Figure, history: History) -> None:
    """Says above a figure which run it shows, in one line that fits."""
    settings, name = history.settings, str(history.started.info.get("train", ""))
    text = f"population of {settings.population_size}, {len(history.copies)} copies"
    if any(record.finite for record in history.records):
        text += f", best {history.best.value:.5g} by member {history.best.member} in generation {history.best.generation}"
    if name:
        text = f"{name if len(name) <= _NAME else '…' + name[1 - _NAME :]}: {text}"
    figure.suptitle(text, x=0.01, ha="left", fontsize=9, color="#555555")


def key(figure: Figure, strands: Strands, size: int, *, best: bool = False, winner: tuple[str, float] = (COLOURS[0], 2.8)) -> None:
    """Puts the legend below a figure: the winner's ancestry, the families that live, and what is grey."""
    line = require("matplotlib.lines", "plot", "Drawing a figure").Line2D
    entries: list[tuple[str, str, float]] = []
    if strands.winning.any():
        entries.append((winner[0], "ancestry of the best", winner[1]))
    for colour, family in zip(COLOURS, strands.families, strict=False):
        if family.members:
            entries.append((colour, f"from member {family.founder[0]}: {family.members} of {size}", 1.4))
    others = sum(family.members for family in strands.families[len(COLOURS) :])
    if others:
        entries.append((OTHER, f"from others: {others} of {size}", 1.4))
    if not (strands.living | strands.winning).all():
        entries.append((EXTINCT, "no descendants left", 1.4))
    handles = [line([], [], color=colour, linewidth=width, label=label) for colour, label, width in entries]
    if best:
        handles.append(line([], [], color=INK, linewidth=0.9, label="best so far"))
    fitting = max(1, int(figure.get_figwidth() / _ENTRY))
    rows = max(1, -(-len(handles) // fitting))
    columns = max(1, -(-len(handles) // rows))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5, labelcolor=INK)
