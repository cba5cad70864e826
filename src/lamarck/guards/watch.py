"""Guards at work: over a run that is going on, or over its history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.guards.bounds import AtBound
from lamarck.guards.census import Census, Zigzag, census
from lamarck.guards.family import OneFamily
from lamarck.guards.finding import Finding
from lamarck.guards.greed import Greed
from lamarck.guards.guard import Course, Guard
from lamarck.guards.noise import Noise
from lamarck.guards.overhead import Overhead
from lamarck.history import History
from lamarck.population import Record
from lamarck.space import Space
from lamarck.types import Key, Started

__all__ = ["GUARDS", "Watch", "check"]

GUARDS: tuple[Guard, ...] = (Greed(), OneFamily(), AtBound(), Noise(), Overhead())
"""The guards that watch every run."""


@final
class Watch:
    """Folds reports into one `Census` for each generation and asks the guards about each.

    Args:
        started: The run's first event.
        guards: Whom to ask.
    """

    def __init__(self, started: Started, guards: Sequence[Guard] = GUARDS) -> None:
        self._size, self._guards = started.settings.population_size, tuple(guards)
        self._censuses: list[Census] = []
        self._course = Course(settings=started.settings, space=Space.from_dict(started.space), censuses=self._censuses)
        self._open: dict[int, list[tuple[Record, Mapping[str, float]]]] = {}
        self._zigzags: dict[int, list[tuple[float, float, float]]] = {}
        self._roots: dict[int, NDArray[np.int64]] = {}
        self._lines: dict[int, tuple[float, ...]] = {}
        self._said: set[tuple[str, str]] = set()

    def add(self, record: Record, metrics: Mapping[str, float]) -> None:
        """Takes in a report; the one whose weights it went on from must have come before.

        Args:
            record: The report.
            metrics: What it said beside the value.
        """
        member, generation = record.key
        roots = self._roots.setdefault(generation, np.full(self._size, -1))
        roots[member] = generation * self._size + member if record.parent is None else self._roots[record.parent[1]][record.parent[0]]
        carried = self._lines.get(member, ()) if record.parent == (member, generation - 1) else ()
        line = self._lines[member] = (*carried[-2:], record.fitness) if record.finite else ()
        if generation >= len(self._censuses):  # a straggler of a generation that is closed tells no census
            self._open.setdefault(generation, []).append((record, metrics))
            if len(line) == 3:
                self._zigzags.setdefault(generation, []).append((line[0], line[1], line[2]))

    def close(self, expected: int) -> tuple[Finding, ...]:
        """Closes the next generations, as far as they are complete, and returns what they show for the first time.

        Args:
            expected: How many members have to have reported.
        """
        found: list[Finding] = []
        while len(self._open.get(len(self._censuses), ())) >= max(1, expected):
            generation = len(self._censuses)
            records, metrics = zip(*self._open.pop(generation), strict=True)
            self._censuses.append(
                census(
                    records,
                    metrics,
                    self._course.space,
                    founders=len({int(self._roots[generation][record.member]) for record in records}),
                    best=self._censuses[-1].best if self._censuses else -math.inf,
                    zigzag=Zigzag.of(self._zigzags.pop(generation, ())),
                )
            )
            found += self._new()
        return tuple(found)

    def _new(self) -> list[Finding]:
        """What the guards say about the newest generation and have not said before."""
        new = []
        for guard in self._guards:
            for finding in guard(self._course):
                if (finding.name, finding.subject) not in self._said:
                    self._said.add((finding.name, finding.subject))
                    new.append(finding)
        return new


def check(
    history: History, metrics: Mapping[Key, Mapping[str, float]] | None = None, *, guards: Sequence[Guard] = GUARDS
) -> tuple[Finding, ...]:
    """Returns everything that the guards had to say about a run, in the order of generations.

    What the settings alone show is `check_settings`' affair.

    Args:
        history: The run, also while it is going on: generations count once they are complete.
        metrics: What reports said beside the value, by (member, generation); a history does not keep it. Only `Overhead` looks at it.
        guards: Whom to ask.

    Example:
        Eight members whose values are pure noise:

        >>> from lamarck._rng import generator
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.simulation import simulate
        >>> from lamarck.types import Settings
        >>> pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=8, interval=1, generations=20))
        >>> events = simulate(pbt, lambda interval, state: (generator(interval.seed, 0, 0, "noise").normal(), None))
        >>> [finding.name for finding in check(History.of(events))]
        ['noise']
    """
    watch = Watch(history.started, guards)
    for record in history.records:
        watch.add(record, {} if metrics is None else metrics.get(record.key, {}))
    return watch.close(history.settings.population_size - len(history.retired))
