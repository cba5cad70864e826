"""What the figures show, as numbers: everything that is decided before a line is drawn.

A run is drawn as *strands*, one for each report: a strand begins where the weights that it went on from were reported and ends at its own
report. Put end to end, the strands of a report and its ancestors are the life of its weights, whoever carried them. Strands with a common
founder are a *family*.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.space import Categorical, Constant, Float, Int, Space
from lamarck.types import Key

__all__ = ["Family", "Lineage", "Panel", "Strands", "Values", "lineage", "panels", "strands", "values", "window"]


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
        value: ``float64[R]``; NaN where the value was not finite.
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


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Values:
    """Values over time.

    Args:
        strands: Each goes from (start, before) to (until, value).
        best: ``float64[K, 2]``; (step, value) at each corner of the staircase of the best value so far, and at its end.
        window: Lower and upper end of an axis that is not ruined by a few runaway values.
        shown: ``bool[R]``; whether the value is finite and within the window.
        mode: ``"max"`` or ``"min"``.
    """

    strands: Strands
    best: NDArray[np.float64]
    window: tuple[float, float]
    shown: NDArray[np.bool_]
    mode: str


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One hyperparameter over time.

    Args:
        name: Its name.
        place: ``float64[R]``; its value during each strand, NaN where it was inactive. Of a categorical the index of the choice, with a
            small offset for each member, so that equal choices do not hide each other.
        low: Lowest allowed place.
        high: Highest allowed place.
        log: Whether the scale is logarithmic.
        whole: Whether only whole numbers are allowed.
        choices: Labels of the places 0, 1, ... of a categorical; empty for numbers.
    """

    name: str
    place: NDArray[np.float64]
    low: float
    high: float
    log: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lineage:
    """Who descends from whom: a row for each member, generations across.

    A strand of generation g covers g to g + 1 in its member's row. A copy leaves the donor's row at the end of the copied generation and
    enters the copier's row at the beginning of the new one.

    Args:
        strands: The strands.
        row: ``int64[N]``; row of each member, 0 at the top: relatives are neighbours, the best family is on top.
        copies: ``int64[C]``; the strands whose weights came from another member.
    """

    strands: Strands
    row: NDArray[np.int64]
    copies: NDArray[np.int64]


def strands(history: History) -> Strands:
    """Returns the strands of a run."""
    records = history.records
    rows = {record.key: row for row, record in enumerate(records)}
    parent = np.array([-1 if record.parent is None else rows[record.parent] for record in records], dtype=np.int64)
    value = np.array([record.value if record.finite else math.nan for record in records], dtype=np.float64)
    until = np.array([record.step for record in records], dtype=np.float64)
    member = np.array([record.member for record in records], dtype=np.int64)
    newest = {record.member: row for row, record in enumerate(records) if record.member not in history.retired}
    living = _with_ancestors(parent, list(newest.values()))
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
        winning=_with_ancestors(parent, [] if winner is None else [winner]),
        families=tuple(Family(founder, carried[founder]) for founder in ranked),
    )


def _with_ancestors(parent: NDArray[np.int64], rows: list[int]) -> NDArray[np.bool_]:
    marked = np.zeros(len(parent), dtype=bool)
    for first in rows:
        row = first
        while row >= 0 and not marked[row]:
            marked[row] = True
            row = int(parent[row])
    return marked


def values(history: History) -> Values:
    """Returns the values of a run over time, with the best so far."""
    drawn = strands(history)
    sign = 1.0 if history.settings.mode == "max" else -1.0
    known = np.flatnonzero(~np.isnan(drawn.value))
    order = known[np.argsort(drawn.until[known], kind="stable")]
    steps, fitness = drawn.until[order], np.maximum.accumulate(sign * drawn.value[order])
    whole = np.append(steps[1:] > steps[:-1], np.ones(len(steps[-1:]), dtype=bool))  # the last report of each step
    steps, fitness = steps[whole], fitness[whole]
    corner = np.diff(fitness, prepend=-math.inf) > 0
    corner[-1:] = True
    corners = np.stack([steps[corner], sign * fitness[corner]], axis=1)
    low, high = window(drawn.value)
    shown = (drawn.value >= low) & (drawn.value <= high)
    return Values(strands=drawn, best=corners, window=(low, high), shown=shown, mode=history.settings.mode)


def window(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the ends of an axis for numbers of which a few may have run away.

    The axis covers all of them, unless that is more than thirty times what the middle seven tenths cover; then it covers those, and of the
    others what is no further away from them than three times their width. Learning curves, steep as they may begin, are not cut off by this.

    Args:
        numbers: ``float64[R]``; NaN counts for nothing.

    Example:
        >>> window(np.array([1.0, 2.0, 3.0]))
        (1.0, 3.0)
        >>> window(np.array([*range(99), 120.0, 1e9]))
        (0.0, 120.0)
    """
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    least, most = (float(q) for q in np.quantile(known, [0.15, 0.85]))
    middle = most - least
    if middle > 0 and high - low > 30 * middle:
        near = known[(known >= least - 3 * middle) & (known <= most + 3 * middle)]
        return float(near.min()), float(near.max())
    return low, high


def panels(history: History) -> tuple[Panel, ...]:
    """Returns each hyperparameter over time, in the order of the space; constants are left out."""
    space = Space.from_dict(history.started.space)
    size = history.settings.population_size
    offsets = np.array([record.member for record in history.records]) / max(1, size - 1) - 0.5
    made = []
    for name, parameter in space.items():
        given = [record.hparams.get(name) for record in history.records]
        match parameter:
            case Float() | Int():
                place = np.array([math.nan if value is None else float(value) for value in given], dtype=np.float64)
                low, high, whole = float(parameter.low), float(parameter.high), isinstance(parameter, Int)
                made.append(Panel(name=name, place=place, low=low, high=high, log=parameter.log, whole=whole))
            case Categorical():
                active = [name in record.hparams for record in history.records]
                index = [list(parameter.choices).index(value) if there else math.nan for there, value in zip(active, given, strict=True)]
                place = np.array(index, dtype=np.float64) + 0.6 * offsets
                labels = tuple(map(str, parameter.choices))
                made.append(Panel(name=name, place=place, low=-0.5, high=len(labels) - 0.5, choices=labels))
            case _:
                assert isinstance(parameter, Constant)
    return tuple(made)


def lineage(history: History) -> Lineage:
    """Returns the lineage of a run, with its rows in an order in which relatives are neighbours."""
    drawn = strands(history)
    sign = 1.0 if history.settings.mode == "max" else -1.0
    fitness = np.where(np.isnan(drawn.value), -math.inf, sign * drawn.value)
    newest = {int(member): row for row, member in enumerate(drawn.member)}
    promise = np.full(len(drawn), -math.inf)  # the best that became of a strand among the newest weights
    for row in reversed(range(len(drawn))):
        if newest[int(drawn.member[row])] == row:
            promise[row] = max(promise[row], fitness[row])
        above = drawn.parent[row]
        if above >= 0:
            promise[above] = max(promise[above], promise[row])

    def path(member: int) -> tuple[tuple[float, int], ...]:
        steps, row = [], newest.get(member, -1)
        while row >= 0:
            steps.append((-float(promise[row]), row))
            row = int(drawn.parent[row])
        return tuple(reversed(steps))

    size = history.settings.population_size
    family = {member: int(drawn.family[row]) for member, row in newest.items()}
    order = sorted(range(size), key=lambda member: (family.get(member, size * len(drawn)), path(member), member))
    rows = np.empty(size, dtype=np.int64)
    rows[order] = np.arange(size)
    donors = np.where(drawn.parent >= 0, drawn.member[drawn.parent] if len(drawn) else drawn.member, drawn.member)
    return Lineage(strands=drawn, row=rows, copies=np.flatnonzero(donors != drawn.member))
