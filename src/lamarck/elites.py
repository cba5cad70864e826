"""The best reports there were: what a population can go back to when nothing that is alive is as good."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from lamarck._quick import quick
from lamarck.record import Record

__all__ = ["Elites"]


@final
@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Elites:
    """An archive of the best records whose weights can be gone on from, whoever's and however old.

    Who is of age g may know reports of generations up to g alone. So kept is what is among the best ``room`` *of its age or younger* for
    anybody who may still ask: in a synchronous run at most twice ``room``, and ``room`` once everybody has reported. Equal fitnesses are in the
    order of generation and member, so what an age is told does not depend on the order in which reports came.

    Args:
        room: How many anybody is told of, at least 1.
        records: What is kept, best first.

    Example:
        >>> from lamarck.record import Record
        >>> def report(member, generation, fitness):
        ...     shared = dict(step=generation + 1, value=fitness, checkpoint=f"{member}-{generation}", hparams={}, parent=None)
        ...     return Record(member=member, generation=generation, fitness=fitness, **shared)
        >>> elites = Elites(room=1).added(report(0, 0, 0.5), 0).added(report(1, 0, 0.4), 0).added(report(1, 1, 0.7), 0)
        >>> [[record.key for record in elites.known(age)] for age in (0, 1)]
        [[(0, 0)], [(1, 1)]]
    """

    room: int = 1
    records: tuple[Record, ...] = ()

    @classmethod
    def wanted(cls, strategies: Mapping[str, Any]) -> Elites:
        """Returns the empty archive of a run: with as much room as the greatest ``elites`` among its strategies' settings, at least 1.

        Args:
            strategies: Their descriptions, as the journal has them. They are looked at as plain data, so that a journal can be read when a
                strategy is gone.

        Example:
            >>> Elites.wanted({"exploit": {"name": "backtracking", "elites": 4, "inner": {"name": "truncation"}}, "rescue": None}).room
            4
        """
        return cls(room=max((1, *_settings(strategies))))

    def known(self, age: int) -> tuple[Record, ...]:
        """Returns the best of an age or younger, best first, at most ``room``.

        Args:
            age: Generation up to which reports count.
        """
        return tuple(record for record in self.records if record.generation <= age)[: self.room]

    def added(self, record: Record, age: int) -> Elites:
        """Returns the archive after one more report.

        Args:
            record: The report; without sound weights it is not kept.
            age: The lowest age that anybody will still ask for.
        """
        if not record.sound:
            return self
        worse = len(self.records) == self.room and record.fitness < self.records[-1].fitness
        if worse and all(each.generation <= max(age, record.generation) for each in self.records):
            return self  # as nearly always: whoever is told of it is told of enough that are better
        place = bisect(self.records, _order(record), key=_order)
        ranked = (*self.records[:place], record, *self.records[place:])
        kept = list(ranked[: self.room])
        for each in ranked[self.room :]:
            since = max(age, each.generation)
            if len([better for better in kept if better.generation <= since]) < self.room:
                kept.append(each)
        return Elites(room=self.room, records=tuple(kept))

    def without(self, checkpoint: str) -> Elites:
        """Returns the archive without what a damaged checkpoint held."""
        return Elites(room=self.room, records=tuple(record for record in self.records if record.checkpoint != checkpoint))


def _order(record: Record) -> tuple[float, int, int]:
    return (-record.fitness, record.generation, record.member)


def _settings(description: Any) -> Iterator[int]:
    """Every ``elites`` in a description, however deep."""
    match description:
        case Mapping():
            if type(asked := description.get("elites")) is int:
                yield asked
            for part in description.values():
                yield from _settings(part)
        case list() | tuple():
            for part in description:
                yield from _settings(part)
