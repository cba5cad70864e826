"""Draws groups of runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lamarck.comparison import Comparison, Group
from lamarck.comparison import compare as compared
from lamarck.history import History
from lamarck.plots._style import Style, canvas, dress, legend, look_of, short, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["compare"]

_DASHES = ("-", "--", ":", "-.")

_SINGLE = 12
"""Runs of a group up to which each is drawn."""


def compare(groups: Comparison | Mapping[str, Sequence[History]], *, style: Style = "light") -> Figure:
    """Draws the best value so far against the budget: interquartile means with bootstrap bands, and thin lines for single runs.

    Args:
        groups: Runs by name of the group, or what `lamarck.comparison.compare` has made of them.
        style: ``"light"`` or ``"dark"``.

    Returns:
        A figure of 9 by 5.4 inches.

    Raises:
        SettingsError: If they cannot be compared.
        MissingExtra: If matplotlib is not installed.
    """
    shown = groups if isinstance(groups, Comparison) else compared(groups)
    look = look_of(style)
    figure = canvas(9, 5.4, look)
    axes = figure.subplots()
    entries: list[tuple[str, str, float, str]] = []
    for place, group in enumerate(shown.groups):
        colour, dashes = look.families[place % len(look.families)], _DASHES[place // len(look.families) % len(_DASHES)]
        if 1 < group.runs <= _SINGLE:
            axes.plot(group.budget, group.best.T, color=colour, linewidth=0.6, alpha=0.45, zorder=2, drawstyle="steps-post")
        if np.isfinite(group.low).all():
            axes.fill_between(group.budget, group.low, group.high, color=colour, alpha=0.22, linewidth=0, zorder=1, step="post")
        axes.plot(group.budget, group.curve, color=colour, linewidth=2.4, linestyle=dashes, zorder=3, drawstyle="steps-post")
        entries.append((colour, f"{short(group.name, 26)}: {_words(group)}", 2.4, dashes))
    if len({float(group.budget[-1]) for group in shown.groups}) > 1:
        axes.axvline(shown.budget, color=look.edge, linewidth=1.0, linestyle=(0, (3, 2)), zorder=0.5)
    axes.set_xlim(0, 1.01 * max(float(group.budget[-1]) for group in shown.groups))
    thousands(axes)
    better = "higher" if shown.mode == "max" else "lower"
    dress(axes, x="steps of all members together", y=f"best value so far ({better} is better)", look=look)
    legend(figure, entries, look)
    band = f", band: {100 * shown.confidence:g} % bootstrap interval" if any(group.runs > 1 for group in shown.groups) else ""
    text = f"interquartile mean over runs{band}; numbers at {shown.budget:,.0f} steps"
    figure.suptitle(text, x=0.01, ha="left", fontsize=9, color=look.quiet)
    return figure


def _words(group: Group) -> str:
    final = group.final
    interval = f" ({final.low:.4g} to {final.high:.4g})" if np.isfinite(final.low) else ""
    return f"{final.value:.4g}{interval}, {group.runs} run{'s' if group.runs > 1 else ''}"
