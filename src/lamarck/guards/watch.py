"""Guards at work: over a run that is going on, or over its history."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import LamarckError
from lamarck.guards.bounds import AtBound
from lamarck.guards.census import Census, Zigzag, census
from lamarck.guards.collapse import Collapse
from lamarck.guards.family import OneFamily
from lamarck.guards.finding import Finding
from lamarck.guards.greed import Greed
from lamarck.guards.guard import Course, Guard
from lamarck.guards.noise import Noise
from lamarck.guards.overhead import Overhead
from lamarck.guards.start import check_settings
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.population import Record
from lamarck.space import Space
from lamarck.types import Key, Started

__all__ = ["GUARDS", "Watch", "check", "findings_of", "settings_findings"]

GUARDS: tuple[Guard, ...] = (Greed(), OneFamily(), AtBound(), Noise(), Overhead(), Collapse())
"""The guards that watch every run."""


@final
class Watch:
    """Folds reports into one `Census` for each generation and asks the guards about each.

    Args:
        started: The run's first event.
        guards: Whom to ask.

    Attributes:
        findings: What they have said until now, each thing once, in the order of generations.
    """

    def __init__(self, started: Started, guards: Sequence[Guard] = GUARDS) -> None:
        self._size, self._guards = started.settings.population_size, tuple(guards)
        self._retired: set[int] = set()
        self._censuses: list[Census] = []
        self._course = Course(settings=started.settings, space=Space.from_dict(started.space), censuses=self._censuses)
        self._open: defaultdict[int, list[tuple[Record, Mapping[str, float]]]] = defaultdict(list)
        self._zigzags: defaultdict[int, list[tuple[float, float, float]]] = defaultdict(list)
        self._roots: defaultdict[int, NDArray[np.int64]] = defaultdict(lambda: np.full(self._size, -1))
        self._lines: dict[int, tuple[float, ...]] = {}
        self._said: set[tuple[str, str]] = set()
        self.findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, history: History, metrics: Mapping[Key, Mapping[str, float]] | None = None, guards: Sequence[Guard] = GUARDS) -> Watch:
        """Returns the watch that has seen a whole history; see `check` for the arguments."""
        watch = cls(history.started, guards)
        for record in history.records:
            watch.add(record, record.metrics if metrics is None else metrics.get(record.key, {}))
        for member in history.retired:
            watch.retire(member)
        watch.close()
        return watch

    def add(self, record: Record, metrics: Mapping[str, float]) -> None:
        """Takes in a report; the one whose weights it went on from must have come before.

        Args:
            record: The report.
            metrics: What it said beside the value.
        """
        member, generation = record.key
        if generation < len(self._censuses):  # an engine that goes back to a checkpoint reports some generations again
            return
        root = generation * self._size + member if record.parent is None else self._roots[record.parent[1]][record.parent[0]]
        self._roots[generation][member] = root
        self._open[generation].append((record, metrics))
        carried = self._lines.get(member, ()) if record.parent == (member, generation - 1) else ()
        line = self._lines[member] = (*carried[-2:], record.fitness) if record.finite else ()
        if len(line) == 3:
            self._zigzags[generation].append((line[0], line[1], line[2]))

    def retire(self, member: int) -> None:
        """Takes in that a member failed for good: nobody waits for its reports."""
        self._retired.add(member)

    def close(self) -> tuple[Finding, ...]:
        """Closes the next generations, as far as everybody has reported, and returns what is new in `findings`."""
        before = len(self.findings)
        while self._complete(generation := len(self._censuses)):
            records, metrics = zip(*self._open.pop(generation), strict=True)
            self._censuses.append(
                census(
                    records,
                    metrics,
                    self._course.space,
                    founders=len({int(self._roots[generation][record.member]) for record in records}),
                    best=self._censuses[-1].best if self._censuses else -math.inf,
                    zigzag=Zigzag.of(self._zigzags.pop(generation, [])),
                )
            )
            for guard in self._guards:
                self.findings += tuple(filter(self._new, guard(self._course)))
        return self.findings[before:]

    def _complete(self, generation: int) -> bool:
        """Whether everybody who is not retired has reported a generation, and anybody at all."""
        active, reported = self._size - len(self._retired), self._open[generation]
        return 0 < len(reported) >= active <= sum(record.member not in self._retired for record, _ in reported)

    def _new(self, finding: Finding) -> bool:
        """Whether something has not been said before; from now on it has."""
        key = (finding.name, finding.subject)
        new = key not in self._said
        self._said.add(key)
        return new


def check(
    history: History, metrics: Mapping[Key, Mapping[str, float]] | None = None, *, guards: Sequence[Guard] = GUARDS
) -> tuple[Finding, ...]:
    """Returns everything that the guards had to say about a run, in the order of generations.

    What the settings alone show is `check_settings`' affair.

    Args:
        history: The run, also while it is going on: generations count once they are complete.
        metrics: What reports said beside the value, by (member, generation), if not in the records. Only `Overhead` looks at it.
        guards: Whom to ask.

    Example:
        Twenty members whose values are pure noise:

        >>> from lamarck import History
        >>> from lamarck._rng import generator
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.simulation import simulate
        >>> from lamarck.types import Settings
        >>> pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=20, interval=1, generations=15))
        >>> events = simulate(pbt, lambda interval, state: (generator(interval.seed, 0, 0, "noise").normal(), None))
        >>> [finding.name for finding in check(History.of(events))]
        ['noise']
    """
    return Watch.of(history, metrics, guards).findings


def settings_findings(started: Started) -> tuple[Finding, ...]:
    """Returns what the settings of a run show; nothing if a strategy is the user's own, which a journal cannot hold."""
    try:
        return check_settings(PBT.of(started))
    except LamarckError:
        return ()


def findings_of(history: History) -> tuple[Finding, ...]:
    """Returns all that the guards have to say about a run that is read back: what its settings show, then what its generations have shown."""
    return (*settings_findings(history.started), *check(history))
