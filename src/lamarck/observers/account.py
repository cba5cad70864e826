"""What a tracker knows of a run: how it began, its reports in order, and whether it is over."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

from lamarck import codec
from lamarck.history import Copy, History
from lamarck.observers.scalars import scalars
from lamarck.record import Record
from lamarck.types import Key, Started

__all__ = ["Account", "Point", "copies_of"]


@final
@dataclass(frozen=True, slots=True)
class Point:
    """A report on its way to a service.

    Args:
        record: The report.
        at: When it was told here, in seconds since 1970; no two points of a member have the same millisecond. A point that is sent again is
            therefore the same.
    """

    record: Record
    at: float

    @property
    def scalars(self) -> dict[str, float]:
        """Its numbers by name: ``generation``, and those of `lamarck.observers.scalars.scalars`."""
        return {"generation": float(self.record.generation)} | scalars(self.record, self.record.metrics)


@final
@dataclass
class Account:
    """What is known of a run here.

    Args:
        started: How it began.
        fresh: Whether it began here, so that no service can know it yet.
        points: Its reports, in the order of acknowledgement.
        ended: Why it is over, or ``None`` while it is not.
    """

    started: Started
    fresh: bool
    points: list[Point] = field(default_factory=list)
    ended: str | None = None
    _places: dict[Key, int] = field(default_factory=dict)
    _latest: dict[int, float] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """16 hexadecimal digits that every process makes of the same beginning: by them a service's runs are found again."""
        return hashlib.blake2b(codec.encode(self.started), digest_size=8).hexdigest()

    @property
    def title(self) -> str:
        """What to call the run unless it was given a name."""
        return str(self.started.info.get("train", "population"))

    @property
    def settings(self) -> dict[str, Any]:
        """How the population was set up, for people: the rules, and the names of the strategies."""
        rules, strategies = self.started.settings, self.started.strategies
        names = {key: str(found["name"]) for key, found in strategies.items() if isinstance(found, Mapping) and "name" in found}
        fields = ("population_size", "interval", "generations", "mode", "seed", "max_lead", "compare", "target")
        return {name: getattr(rules, name) for name in fields} | names

    def add(self, record: Record, at: float) -> None:
        """Takes in a report; one that is told again, as after going back to a checkpoint, takes the place of the first."""
        place = self._places.setdefault(record.key, len(self.points))
        if place < len(self.points):
            self.points[place] = replace(self.points[place], record=record)
            return
        at = round(at, 3)  # whole milliseconds, or two that end in a half would be rounded to the same
        at = self._latest[record.member] = max(at, round(self._latest.get(record.member, 0.0) + 0.001, 3))
        self.points.append(Point(record, at))

    def agrees(self, member: int, values: Mapping[int, float]) -> bool:
        """Returns whether what somebody else has of a member may be of this run: where both know a generation, they know the same.

        Args:
            member: The member.
            values: Values by generation.
        """
        own = self._values.get(member, {})
        both = ((own[generation], value) for generation, value in values.items() if generation in own)
        return all(mine == theirs for mine, theirs in both if math.isfinite(mine) and math.isfinite(theirs))

    @cached_property
    def _values(self) -> dict[int, dict[int, float]]:
        """Values of each member by generation, as they are when this is asked for first: at the beginning."""
        values: dict[int, dict[int, float]] = {}
        for record in [point.record for point in self.points]:
            values.setdefault(record.member, {})[record.generation] = record.value
        return values

    def history(self) -> History:
        """Returns the run so far; of failures, of which nobody is told here, there are none in it."""
        records = tuple(point.record for point in self.points)
        copies = tuple(
            Copy(member=record.member, generation=record.generation, donor=record.parent, reason="")
            for record in records
            if record.parent is not None and record.parent[0] != record.member
        )
        return History(started=self.started, records=records, copies=copies, ended=self.ended)


def copies_of(history: History) -> list[dict[str, Any]]:
    """Returns who took over whose weights, as plain values."""
    return [{"member": copy.member, "generation": copy.generation, "donor": copy.donor} for copy in history.copies]
