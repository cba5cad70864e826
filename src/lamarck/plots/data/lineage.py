"""Who descends from whom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.plots.data.strands import Strands, own_last, strands

__all__ = ["Lineage", "lineage"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lineage:
    """Who descends from whom: a row for each member, generations across.

    A strand of generation g covers g to g + 1 in its member's row. A copy leaves the donor's row at the end of the copied generation and
    enters the copier's row at the beginning of the new one; so does a return to what the member itself had been.

    Args:
        strands: The strands.
        row: ``int64[N]``; row of each member, 0 at the top: relatives are neighbours, the best family is on top.
        copies: ``int64[C]``; the strands whose weights are another member's, or older than the member's own last.
    """

    strands: Strands
    row: NDArray[np.int64]
    copies: NDArray[np.int64]


def lineage(history: History, drawn: Strands | None = None) -> Lineage:
    """Returns the lineage of a run, with its rows in an order in which relatives are neighbours.

    Args:
        history: The run.
        drawn: Its strands, if they are at hand.
    """
    drawn = strands(history) if drawn is None else drawn
    sign = 1.0 if history.settings.mode == "max" else -1.0
    fitness = np.where(np.isnan(drawn.value), -math.inf, sign * drawn.value).tolist()
    parent, member = drawn.parent.tolist(), drawn.member.tolist()  # lists: ten times as fast to walk through as arrays
    newest = {who: row for row, who in enumerate(member)}
    promise = [-math.inf] * len(drawn)  # the best that became of a strand among the newest weights
    for row in reversed(range(len(drawn))):
        if newest[member[row]] == row:
            promise[row] = max(promise[row], fitness[row])
        above = parent[row]
        if above >= 0 and promise[row] > promise[above]:
            promise[above] = promise[row]

    def path(who: int) -> tuple[tuple[float, int], ...]:
        steps, row = [], newest.get(who, -1)
        while row >= 0:
            steps.append((-promise[row], row))
            row = parent[row]
        return tuple(reversed(steps))

    size = history.settings.population_size
    family = {who: int(drawn.family[row]) for who, row in newest.items()}
    order = sorted(range(size), key=lambda who: (family.get(who, size * len(drawn)), path(who), who))
    rows = np.empty(size, dtype=np.int64)
    rows[order] = np.arange(size)
    copies = np.flatnonzero((drawn.parent >= 0) & (drawn.parent != own_last(drawn)))
    return Lineage(strands=drawn, row=rows, copies=copies)
