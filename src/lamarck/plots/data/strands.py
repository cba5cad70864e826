"""A run as strands, one for each report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.types import Key

__all__ = ["Family", "Strands", "drawable", "own_last", "strands"]

_LARGEST = 1e300
"""Largest size of a value that is drawn: the width of an axis, and its margins, must be numbers as well."""


@final
@dataclass(frozen=True, slots=True)
class Family:
    """All that descends from one founder.

    Args:
        founder: The founder's report.
        members: How many members carry its descendants now.
    """

    founder: Key
    members: int


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strands:
    """The reports of a run as columns, in the order of acknowledgement, so that a parent comes before its children.

    Args:
        member: ``int64[R]``.
        generation: ``int64[R]``.
        start: ``float64[R]``; step at which the strand begins.
        until: ``float64[R]``; step at which it was reported.
        before: ``float64[R]``; value of the weights that it began from, NaN at the beginning of a life.
        value: ``float64[R]``; NaN where the value was not finite, or too large to be drawn.
        parent: ``int64[R]``; row of the strand that it goes on from, -1 for a founder.
        family: ``int64[R]``; place in ``families``.
        living: ``bool[R]``; whether a member that has not retired carries its weights, or weights that descend from them, now.
        winning: ``bool[R]``; whether it is the best report or an ancestor of it.
        families: The winner's family first, then by members that carry it now.
    """

    member: NDArray[np.int64]
    generation: NDArray[np.int64]
    start: NDArray[np.float64]
    until: NDArray[np.float64]
    before: NDArray[np.float64]
    value: NDArray[np.float64]
    parent: NDArray[np.int64]
    family: NDArray[np.int64]
    living: NDArray[np.bool_]
    winning: NDArray[np.bool_]
    families: tuple[Family, ...]

    def __len__(self) -> int:
        return len(self.member)


def drawable(values: Sequence[float]) -> NDArray[np.float64]:
    """Returns values as an axis can take them, ``float64[R]``: NaN where one is not finite, or so large that an axis around it is not."""
    numbers = np.array(values, dtype=np.float64)
    return np.where(np.abs(numbers) <= _LARGEST, numbers, math.nan)


def strands(history: History) -> Strands:
    """Returns the strands of a run."""
    records = history.records
    rows = {record.key: row for row, record in enumerate(records)}
    above = [-1 if record.parent is None else rows[record.parent] for record in records]
    parent = np.array(above, dtype=np.int64)
    value = drawable([record.value for record in records])
    until = np.array([record.step for record in records], dtype=np.float64)
    member = np.array([record.member for record in records], dtype=np.int64)
    newest = {record.member: row for row, record in enumerate(records) if record.member not in history.retired}
    living = _with_ancestors(above, list(newest.values()))
    winner = rows[history.best.key] if any(record.finite for record in records) else None
    carried = Counter(history.founders[records[row].key] for row in newest.values())
    first = None if winner is None else history.founders[records[winner].key]
    founders = [record.key for record in records if record.parent is None]
    ranked = sorted(founders, key=lambda key: (key != first, -carried[key], key))
    place = {founder: i for i, founder in enumerate(ranked)}
    begun = parent >= 0
    return Strands(
        member=member,
        generation=np.array([record.generation for record in records], dtype=np.int64),
        start=np.where(begun, until[parent] if len(records) else until, 0.0),
        until=until,
        before=np.where(begun, value[parent] if len(records) else value, math.nan),
        value=value,
        parent=parent,
        family=np.array([place[history.founders[record.key]] for record in records], dtype=np.int64),
        living=living,
        winning=_with_ancestors(above, [] if winner is None else [winner]),
        families=tuple(Family(founder, carried[founder]) for founder in ranked),
    )


def _with_ancestors(parent: list[int], rows: list[int]) -> NDArray[np.bool_]:
    marked = [False] * len(parent)
    for first in rows:
        row = first
        while row >= 0 and not marked[row]:
            marked[row] = True
            row = parent[row]
    return np.array(marked, dtype=bool)


def own_last(drawn: Strands) -> NDArray[np.int64]:
    """Returns for each strand the row of the member's own strand before it, ``int64[R]``, or -1: what a copier has left."""
    order = np.lexsort((np.arange(len(drawn)), drawn.member))
    before = np.full(len(drawn), -1, dtype=np.int64)
    same = drawn.member[order][1:] == drawn.member[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    return before
