"""What all figures share: colours that everybody can tell apart, on white or on black, and one way to label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError, require
from lamarck.history import History
from lamarck.plots.data import Strands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DARK",
    "EXTINCT",
    "INK",
    "LIGHT",
    "OTHER",
    "Look",
    "Style",
    "canvas",
    "caption",
    "colours",
    "dress",
    "key",
    "legend",
    "line_width",
    "look_of",
    "short",
    "thousands",
]

Style = Literal["light", "dark"]
"""What figures lie on."""

_ENTRY, _LETTER = 0.55, 0.068
"""Inches that an entry of the legend takes, and each letter of the longest."""

_NAME = 30
"""Characters of a run's name in a caption; of a longer one the end is shown."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The colours of a style.

    Args:
        paper: What everything lies on.
        ink: Text, and the best so far.
        quiet: Captions and the numbers at axes.
        edge: Axes.
        faint: Grid.
        families: For the first families.
        other: For living families beyond those.
        extinct: For what has no descendants left.
        shades: Name of matplotlib's colour map for a quantity; its light and dark are readable in grey.
    """

    paper: str
    ink: str
    quiet: str
    edge: str
    faint: str
    families: tuple[str, ...]
    other: str
    extinct: str
    shades: str


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""For the first families: six of the eight colours of Okabe and Ito 2008, "Color Universal Design"."""

OTHER = "#767676"
"""For living families beyond the first six."""

EXTINCT = "#C9C9C9"
"""For what has no descendants left."""

INK = "#222222"
"""For text and for the best so far."""

LIGHT = Look(
    paper="#FFFFFF",
    ink=INK,
    quiet="#555555",
    edge="#9A9A9A",
    faint="#EBEBEB",
    families=COLOURS,
    other=OTHER,
    extinct=EXTINCT,
    shades="cividis_r",
)

DARK = Look(
    paper="#15191E",
    ink="#F2F2F2",
    quiet="#B4BAC1",
    edge="#6B737C",
    faint="#2A3037",
    families=("#56B4E9", "#E8743B", "#1FB58F", "#E39AC4", "#F0C24B", "#4A7DD6"),
    other="#9AA0A6",
    extinct="#454C54",
    shades="cividis",
)
"""The same families, lightened until they stand out from black."""

_LOOKS = {"light": LIGHT, "dark": DARK}


def look_of(style: Style) -> Look:
    """Returns the colours of a style.

    Raises:
        SettingsError: If there is no such style.

    Example:
        >>> look_of("light") is LIGHT
        True
    """
    if style not in _LOOKS:
        raise SettingsError(f"style: got {style!r}; it must be 'light' or 'dark'")
    return _LOOKS[style]


def canvas(width: float, height: float, look: Look = LIGHT) -> Figure:
    """Returns an empty figure, in inches, that belongs to no window and to no global state."""
    figure: Figure = require("matplotlib.figure", "plot", "Drawing a figure").Figure(figsize=(width, height), dpi=160, layout="constrained")
    figure.set_facecolor(look.paper)
    return figure


def colours(strands: Strands, look: Look = LIGHT) -> NDArray[np.str_]:
    """Returns the colour of each strand: its family's if it lives or the family has won, otherwise that of the extinct."""
    palette = np.array([*look.families, look.other])
    own = palette[np.minimum(strands.family, len(look.families))]
    return np.where(strands.living | strands.winning, own, look.extinct)


def short(text: str, length: int = 22) -> str:
    """Returns a name that fits: of a longer one the middle is left out.

    Example:
        >>> short("a_hyperparameter_with_a_long_name")
        'a_hyperpar…a_long_name'
    """
    half = length // 2
    return text if len(text) <= length else f"{text[: half - 1]}…{text[-half:]}"


def line_width(size: int) -> float:
    """Returns the width of a member's line in points: 1.4 for a few members, thinner as they get in each other's way."""
    return float(np.clip(1.4 * (12 / size) ** 0.5, 0.45, 1.4))


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "", look: Look = LIGHT) -> None:
    """Labels the axes and takes away what is not needed to read them."""
    axes.set_facecolor(look.paper)
    axes.set_xlabel(x, color=look.ink)
    axes.set_ylabel(y, color=look.ink)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=look.ink)
    axes.grid(color=look.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(look.edge)
    axes.tick_params(which="both", color=look.edge, labelcolor=look.quiet, labelsize=8.5)


def thousands(axes: Axes) -> None:
    """Writes steps as 10,000 and keeps them whole."""
    ticker = require("matplotlib.ticker", "plot", "Drawing a figure")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))


def caption(figure: Figure, history: History, look: Look = LIGHT, note: str = "") -> None:
    """Says above a figure which run it shows, in one line that fits, and what else there is to say."""
    settings, name = history.settings, str(history.started.info.get("train", ""))
    text = f"population of {settings.population_size}, {len(history.copies):,} copies"
    if any(record.finite for record in history.records):
        text += f", best {history.best.value:.5g} by member {history.best.member} in generation {history.best.generation}"
    if name:
        text = f"{name if len(name) <= _NAME else '…' + name[1 - _NAME :]}: {text}"
    figure.suptitle(text + note, x=0.01, ha="left", fontsize=9, color=look.quiet)


def key(
    figure: Figure, strands: Strands, size: int, *, best: bool = False, winner: tuple[str, float] | None = None, look: Look = LIGHT
) -> None:
    """Puts the legend below a figure: the winner's ancestry, the families that live, and what is grey."""
    winner = (look.families[0], 2.8) if winner is None else winner
    entries: list[tuple[str, str, float, str]] = []
    if strands.winning.any():
        entries.append((winner[0], "ancestry of the best", winner[1], "-"))
    for colour, family in zip(look.families, strands.families, strict=False):
        if family.members:
            entries.append((colour, f"from member {family.founder[0]}: {family.members} of {size}", 1.4, "-"))
    others = sum(family.members for family in strands.families[len(look.families) :])
    if others:
        entries.append((look.other, f"from others: {others} of {size}", 1.4, "-"))
    if not (strands.living | strands.winning).all():
        entries.append((look.extinct, "no descendants left", 1.4, "-"))
    if best:
        entries.append((look.ink, "best so far", 0.9, "-"))
        entries.append((look.ink, "median, 10 to 90 %", 0.9, "--"))
    legend(figure, entries, look)


def legend(figure: Figure, entries: list[tuple[str, str, float, str]], look: Look = LIGHT) -> None:
    """Puts entries (colour, text, width, dashes) below a figure, in as few rows as they fit in."""
    line = require("matplotlib.lines", "plot", "Drawing a figure").Line2D
    handles = [line([], [], color=colour, linewidth=width, linestyle=dashes, label=text) for colour, text, width, dashes in entries]
    fitting = max(1, int(figure.get_figwidth() / (_ENTRY + _LETTER * max([len(text) for _, text, _, _ in entries], default=0))))
    rows = max(1, -(-len(handles) // fitting))
    columns = max(1, -(-len(handles) // rows))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5, labelcolor=look.ink)
