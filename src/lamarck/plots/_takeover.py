"""Draws who takes over, and what variety is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lamarck._errors import require
from lamarck.plots._style import LIGHT, Look, dress, legend, short
from lamarck.plots.data import Takeover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_effective", "draw_shares", "draw_spread", "name_shares"]

_LOST = 0.05
"""Spread below which a hyperparameter is as good as the same everywhere."""

_DASHES: Sequence[str | tuple[int, tuple[int, ...]]] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))  # type: ignore[assignment]


def draw_shares(axes: Axes, shown: Takeover, look: Look = LIGHT) -> None:
    """Draws each family's part of the population as a layer, the winner's at the bottom."""
    named = len(look.families)
    share = 100 * np.column_stack([shown.share[:, :named], shown.share[:, named:].sum(axis=1)])
    layers = axes.stackplot(shown.generation, share.T, colors=[*look.families, look.other][: share.shape[1]])
    for layer in layers:
        layer.set(edgecolor=look.paper, linewidth=0.5)
    dress(axes, y="descendants\n(% of members)", x="generation", look=look)
    axes.set_ylim(0, 100)
    if shown.taken is not None:
        axes.axvline(shown.taken, color=look.ink, linewidth=1.0, linestyle=(0, (3, 2)))
        axes.set_title(f"one founder is everybody's ancestor since generation {shown.taken}", loc="right", fontsize=8.5, color=look.quiet)
    _across(axes, shown)


def name_shares(figure: Figure, shown: Takeover, look: Look = LIGHT) -> None:
    """Puts the legend of the layers below a figure."""
    families = shown.strands.families
    entries = [
        (colour, f"from member {family.founder[0]}" + (f" of generation {family.founder[1]}" if family.founder[1] else ""), 6.0, "-")
        for colour, family in zip(look.families, families, strict=False)
    ]
    others = len(families) - len(look.families)
    legend(figure, [*entries, *([(look.other, f"from {others} other{'s' if others > 1 else ''}", 6.0, "-")] if others > 0 else [])], look)


def draw_effective(axes: Axes, shown: Takeover, look: Look = LIGHT) -> None:
    """Draws the effective number of founders, on a logarithmic axis."""
    ticker = require("matplotlib.ticker", "plot", "Drawing a figure")
    axes.plot(shown.generation, shown.effective, color=look.ink, linewidth=1.8)
    axes.set_yscale("log", base=2)
    axes.set_ylim(0.9, 1.15 * float(shown.effective.max(initial=2.0)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda number, _: f"{number:g}"))
    dress(axes, y="effective\nfounders (count)", x="generation", look=look)
    _across(axes, shown)


def draw_spread(axes: Axes, shown: Takeover, look: Look = LIGHT) -> None:
    """Draws the spread of each numeric hyperparameter, relative to a uniform draw."""
    shades = require("matplotlib", "plot", "Drawing a figure").colormaps[look.shades]
    for place, (name, spread) in enumerate(shown.spread.items()):
        colour, dashes = shades(1.0 - 0.22 * (place // len(_DASHES) % 4)), _DASHES[place % len(_DASHES)]
        axes.plot(
            shown.generation, spread, color=colour, linestyle=dashes, linewidth=1.5, label=short(name), marker="o" if len(spread) == 1 else ""
        )
    axes.axhspan(0, _LOST, color=look.extinct, alpha=0.5, linewidth=0)
    dress(axes, y="spread\n(1: as if drawn anew)", x="generation", look=look)
    axes.set_ylim(0, 1.08 * max([1.0, *(float(np.nanmax(spread)) for spread in shown.spread.values() if np.isfinite(spread).any())]))
    if shown.spread:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5, labelcolor=look.ink, ncols=-(-len(shown.spread) // 9)
        )
    _across(axes, shown)


def _across(axes: Axes, shown: Takeover) -> None:
    ticker = require("matplotlib.ticker", "plot", "Drawing a figure")
    axes.set_xlim(0, max(1, int(shown.generation.max(initial=1))))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=12, integer=True))
