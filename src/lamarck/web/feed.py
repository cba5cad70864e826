"""A run as its viewers see it while it goes on, folded once for all of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from lamarck import codec
from lamarck.guards import Watch, settings_findings
from lamarck.history import ENDS, History
from lamarck.population import Population, apply
from lamarck.types import Event, Failed, Reported, Retired, Started
from lamarck.web.data import Columns, description
from lamarck.web.summary import findings, summary

__all__ = ["Feed"]


@final
class Feed:
    """Folds events into what the page shows.

    Args:
        first: The run's first event, as the journal has it.
        name: Name of the run.
        clock: Seconds that only ever grow, for the time left.

    Attributes:
        identity: Names this run, and no other that may take its place in a journal of the same name.
        columns: Its reports.
        seen: Events until now.
        population: The state of everybody.

    Example:
        >>> from lamarck import codec
        >>> from lamarck.testing.simulation import simulate
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.types import Settings
        >>> pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=4, interval=1, generations=3))
        >>> first, *rest = map(codec.encode, simulate(pbt, lambda interval, state: (interval.hparams["h"], None)))
        >>> feed = Feed(first, "main")
        >>> feed.add(rest)
        >>> state = feed.state(["done"] * 4)
        >>> state["done"], state["total"], state["ended"], len(feed.columns)
        (12, 12, 'all generations done', 12)
    """

    def __init__(self, first: bytes, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        started = codec.decode_event(first)
        assert isinstance(started, Started), "a journal begins with 'Started'"
        self.identity = hashlib.sha256(first).hexdigest()[:16]
        self.description = description(started, name)
        self.columns = Columns(started)
        self.seen = 1
        self.population: Population = apply(None, started)
        self._clock = clock
        self._events: list[Event] = [started]
        self._failures = 0
        self._watch = Watch(started)
        self._said = settings_findings(started)
        self._mark = (clock(), 0)

    def add(self, events: Iterable[bytes]) -> None:
        """Takes in the next events, as the journal has them."""
        for event in map(codec.decode_event, events):
            self.population = apply(self.population, event)
            self._events.append(event)
            self.seen += 1
            match event:
                case Reported():
                    record = self.population.members[event.report.member].last
                    assert record is not None
                    self.columns.put(record)
                    self._watch.add(record, record.metrics)
                    self._watch.close()
                case Failed():
                    self._failures += 1
                case Retired():
                    self._watch.retire(event.member)
                    self._watch.close()

    def mark(self) -> None:
        """Says that from here on events come as they happen: the time left is judged by them."""
        self._mark = (self._clock(), len(self.columns))

    def state(self, members: Sequence[str]) -> dict[str, Any]:
        """Returns what there is beside the reports: how far the run is, what each member is doing, what the guards say.

        Args:
            members: The state of each member, in one word.
        """
        population, settings, done = self.population, self.population.settings, len(self.columns)
        total = settings.population_size * settings.generations
        since, before = self._mark
        here = done - before
        going = population.ended is None
        return {
            "done": done,
            "total": total,
            "generation": min(population.floor + 1, settings.generations),
            "generations": settings.generations,
            "failures": self._failures,
            "ended": None if population.ended is None else ENDS[population.ended],
            "left": (total - done) * (self._clock() - since) / here if here > 0 and going else None,
            "members": list(members),
            "retired": [member.id for member in population.members if member.retired],
            "findings": findings((*self._said, *self._watch.findings)),
        }

    def words(self, fetch: str | None = None) -> dict[str, Any]:
        """Returns the run in words; see `lamarck.web.summary.summary`. This looks at every report again: not for every report.

        Args:
            fetch: Command that fetches the best weights.
        """
        return summary(History.of(self._events[:]), fetch)
