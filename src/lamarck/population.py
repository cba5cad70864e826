"""The state of a population: a fold over its events.

`apply` is the only way from one state to the next. It knows no strategy, no randomness and no rule of decision: it writes down what was
decided, so an old journal replays even if the strategy that made it has changed or vanished. It trusts its events, because only `PBT` makes
them.

A state is immutable, and shares with the one before it whatever an event does not touch. What looks mutable, the cache of cohorts, is a
function of the rest: each is kept with the reports that have come in since, because counting everybody for each decision is what is slow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import ReportError
from lamarck._quick import quick
from lamarck._vector import Tail, Vector
from lamarck.cohort import Cohort
from lamarck.elites import Elites
from lamarck.record import TRAIL, Record, fitness_of, kept
from lamarck.types import Assigned, Damaged, Ended, Event, Failed, HParams, Interval, Key, Report, Reported, Retired, Settings, Started

__all__ = ["RECENT", "TRAIL", "Member", "Population", "Record", "apply", "fitness_of", "reached", "replay"]

RECENT = 256
"""Newest reports, whoever's, that a strategy can learn from: `Population.recent`."""

_RETIRED = np.iinfo(np.int64).max

_Since = tuple["Record", "_Since"] | None
"""Reports that have come in since, the newest first."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member: what it has done and what it is doing.

    Args:
        id: Its number, from 0.
        records: What decisions may still look at, oldest first.
        interval: The interval that was handed out and not yet reported, or ``None``.
        failures: How often that interval has failed.
        copied_at: Generation in which it last took another member's weights, or ``None``.
        retired: Whether it has failed for good.
        trail: Fitnesses of the weights it goes on from.
    """

    id: int
    records: tuple[Record, ...] = ()
    interval: Interval | None = None
    failures: int = 0
    copied_at: int | None = None
    retired: bool = False
    trail: tuple[float, ...] = ()

    @property
    def last(self) -> Record | None:
        """Its newest record, or ``None`` before the first report."""
        return self.records[-1] if self.records else None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The state of everybody, as far as decisions need it.

    Args:
        settings: The rules of the run.
        members: One `Member` each, by id.
        initial: First configuration of each member.
        generations: ``int64[N]``; how many intervals each member has reported, which is also the generation it does next. Retired members hold
            the largest integer.
        standing: Members whose interval was handed out and not yet reported.
        reports: The newest records, whoever's, in the order of acknowledgement; see `recent`.
        archive: The best sound records, whoever's and however old; see `elites`.
        best: The best finite record so far; the earlier one if two are equal.
        fallen: Members that have retired since the newest report.
        ended: Why the run is over, or ``None``.
    """

    settings: Settings
    members: Vector[Member]
    initial: tuple[HParams, ...]
    generations: NDArray[np.int64] = field(compare=False)
    reports: Tail[Record]
    archive: Elites
    standing: frozenset[int] = frozenset()
    best: Record | None = None
    fallen: frozenset[int] = frozenset()
    ended: str | None = None
    _cohorts: dict[int | None, tuple[Cohort, _Since]] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def floor(self) -> int:
        """Generation that the slowest active member does next; the largest integer when nobody is active."""
        return int(self.generations[self.generations.argmin()])

    @property
    def unfinished(self) -> int:
        """Number of active members that have generations left to train."""
        return int(np.count_nonzero(self.generations < self.settings.generations))

    def record(self, key: Key) -> Record:
        """Returns the record of a report that decisions may still name.

        Raises:
            ReportError: If there is none.
        """
        member, generation = key
        for record in reversed(self.members[member].records):
            if record.generation == generation:
                return record
        for record in self.archive.records:
            if record.key == key:
                return record
        raise ReportError(f"no record of member {member}, generation {generation}, is kept")

    def cohort(self, member: int) -> Cohort:
        """Returns the reports that a member may be compared with.

        With ``compare="age"`` these are, of each member, the newest report that is not older than the member's own last one; with ``"latest"``
        simply the newest. Reports of retired members do not count.
        """
        age = self._age(member)
        cohort, since = self._cohorts.get(age) or (self._count(age), None)
        if since is not None:
            cohort = cohort.updated(reversed([*_each(since)]))
        self._cohorts[age] = (cohort, None)
        return cohort

    def _age(self, member: int) -> int | None:
        """Generation up to which the reports of others count for a member; ``None`` for all."""
        return int(self.generations[member]) - 1 if self.settings.compare == "age" else None

    def _count(self, age: int | None) -> Cohort:
        found = [_comparable(member, age) for member in self.members]
        return Cohort(
            fitness=np.array([math.nan if record is None else record.fitness for record in found]),
            generation=np.array([-1 if record is None else record.generation for record in found], dtype=np.int64),
            donor=np.array([record is not None and record.sound for record in found]),
            seed=self.settings.seed,
            age=age,
        )

    def recent(self, member: int, count: int) -> list[Record]:
        """Returns the last reports that a member may learn from, whoever's, by generation and member.

        Like `cohort` it looks at no report that is older than the member's own last one, unless ``compare="latest"``. So in a synchronous run
        everybody of one generation sees the same, whatever came in meanwhile. Reports of members that have retired since are among them.

        Args:
            member: Who asks.
            count: How many at most, from 1 to `RECENT`.
        """
        age = self._age(member)
        known = (record for record in self.reports if age is None or record.generation <= age)
        return sorted(known, key=lambda record: (record.generation, record.member))[-count:]

    def elites(self, member: int) -> tuple[Record, ...]:
        """Returns the best reports that a member may go back to, best first: whoever's, however old, and with weights that are kept.

        There are as many as the strategies that the run began with have asked for, by a setting called ``elites``, and 1 otherwise: fewer while
        fewer sound reports are in, or where one turned out to be damaged. Like `cohort` it looks at no report that is older than the member's
        own last one, unless ``compare="latest"``. Reports of members that have retired since are among them.

        Args:
            member: Who asks.
        """
        age = self._age(member)
        return self.archive.known(_RETIRED if age is None else age)

    def live(self) -> frozenset[str]:
        """Returns the checkpoints that a decision, standing or possible, may name: all others can be deleted."""
        names = {record.checkpoint for member in self.members for record in member.records}
        names |= {member.interval.restore for member in self.members if member.interval}
        names |= {record.checkpoint for record in self.archive.records}
        if self.best is not None:
            names.add(self.best.checkpoint)
        return frozenset(name for name in names if name is not None)


def _each(since: _Since) -> Iterator[Record]:
    while since is not None:
        record, since = since
        yield record


def _comparable(member: Member, age: int | None) -> Record | None:
    for record in reversed(() if member.retired else member.records):
        if age is None or record.generation <= age:
            return record
    return None


def reached(value: float, settings: Settings) -> bool:
    """Returns whether a value ends the run."""
    target = settings.target
    return target is not None and math.isfinite(value) and fitness_of(value, settings) >= fitness_of(target, settings)


def replay(events: Iterable[Event]) -> Population | None:
    """Folds a journal into the state it stands for, or ``None`` if it is empty."""
    population: Population | None = None
    for event in events:
        population = apply(population, event)
    return population


def risen(population: Population) -> Population:
    """Returns the state in which a run goes on that has lost every member.

    That everybody fails is seldom the fault of their weights: a disk was full, data was away, or the training function has been mended since.
    So those who have fallen since the newest report stand again where they stood, and so do others that gave up in the same generations or
    later ones. Who was given up before stays so. The first interval that is handed out after the end says in the journal that this happened.

    Args:
        population: A state; any other than that of a lost run, or of one that was lost by its values alone, is returned as it is.

    Example:
        >>> from lamarck.testing.populations import population
        >>> from lamarck.types import Ended, Retired
        >>> lost = population([[0.5], [0.7]])
        >>> for event in (Retired(member=0, reason="no data"), Retired(member=1, reason="no data"), Ended(reason="lost")):
        ...     lost = apply(lost, event)
        >>> again = risen(lost)
        >>> lost.unfinished, again.unfinished, again.ended
        (0, 2, None)
    """
    if population.ended != "lost" or not population.fallen:
        return population
    due = [0 if member.last is None else member.last.generation + 1 for member in population.members]
    since = min(due[member] for member in population.fallen)
    generations, members = population.generations.copy(), population.members
    for member in population.members:
        if member.retired and due[member.id] >= since:
            generations[member.id] = due[member.id]
            members = members.replaced(member.id, replace(member, retired=False, failures=0))
    return replace(population, members=members, generations=generations, fallen=frozenset(), ended=None, _cohorts={})


def apply(population: Population | None, event: Event) -> Population:
    """Returns the state after an event.

    Args:
        population: The state before, or ``None`` before the `Started` event.
        event: What happened.

    Raises:
        ReportError: If the journal does not begin with `Started`, or begins twice.
    """
    if isinstance(event, Started):
        if population is not None:
            raise ReportError("a run can start only once; this journal holds a second 'Started' event")
        size = event.settings.population_size
        return Population(
            settings=event.settings,
            members=Vector(Member(id=i) for i in range(size)),
            initial=event.initial,
            generations=np.zeros(size, dtype=np.int64),
            # What is `recent` must not depend on the order in which two generations' reports came.
            reports=Tail(RECENT + 2 * size),
            archive=Elites.wanted(event.strategies),
        )
    if population is None:
        raise ReportError(f"a journal must begin with a 'Started' event; this one begins with {type(event).__name__!r}")
    match event:
        case Assigned():
            return _assigned(risen(population), event.interval)
        case Reported():
            return _reported(population, event.report)
        case Failed():
            member = population.members[event.failure.member]
            return _with(population, replace(member, failures=member.failures + 1))
        case Damaged():
            return _damaged(population, event)
        case Retired():
            generations = population.generations.copy()
            generations[event.member] = _RETIRED
            member = replace(population.members[event.member], retired=True, interval=None)
            standing, fallen = population.standing - {member.id}, population.fallen | {member.id}
            return _with(population, member, generations=generations, standing=standing, fallen=fallen, cohorts={})
        case Ended():
            return replace(population, ended=event.reason)


def _with(
    population: Population,
    member: Member,
    *,
    generations: NDArray[np.int64] | None = None,
    standing: frozenset[int] | None = None,
    best: Record | None = None,
    archive: Elites | None = None,
    fallen: frozenset[int] | None = None,
    reports: Tail[Record] | None = None,
    cohorts: dict[int | None, tuple[Cohort, _Since]] | None = None,
) -> Population:
    return Population(
        settings=population.settings,
        members=population.members.replaced(member.id, member),
        initial=population.initial,
        generations=population.generations if generations is None else generations,
        reports=population.reports if reports is None else reports,
        standing=population.standing if standing is None else standing,
        best=population.best if best is None else best,
        archive=population.archive if archive is None else archive,
        fallen=population.fallen if fallen is None else fallen,
        ended=population.ended,
        _cohorts=population._cohorts if cohorts is None else cohorts,
    )


def _assigned(population: Population, interval: Interval) -> Population:
    member = population.members[interval.member]
    if interval.parent is None:
        trail: tuple[float, ...] = ()
    else:
        trail = population.record(interval.parent).trail
    return _with(
        population,
        Member(
            id=member.id,
            records=member.records,
            interval=interval,
            failures=member.failures,
            copied_at=interval.generation if interval.copied else member.copied_at,
            trail=trail,
        ),
        standing=population.standing | {member.id},
    )


def _reported(population: Population, report: Report) -> Population:
    member = population.members[report.member]
    interval = member.interval
    if interval is None:
        raise ReportError(f"the journal reports member {report.member}, generation {report.generation}, which was not assigned")
    settings = population.settings
    record = Record.of(report, interval, settings, member.trail)
    generations = population.generations.copy()
    generations[report.member] = report.generation + 1
    floor = int(generations[generations.argmin()])  # three times as fast as min()
    cohorts = {
        age: (cohort, (record, since) if age is None or age >= report.generation else since)
        for age, (cohort, since) in population._cohorts.items()
        if age is None or age >= floor - 1
    }
    best = record if record.finite and (population.best is None or record.fitness > population.best.fitness) else None
    by_age = settings.compare == "age"
    after = Member(
        id=member.id,
        records=kept((*member.records, record), floor - 1 if by_age else report.generation, settings.durable_every or 1),
        copied_at=member.copied_at,
    )
    return _with(
        population,
        after,
        generations=generations,
        standing=population.standing - {member.id},
        best=best,
        archive=population.archive.added(record, floor - 1 if by_age else _RETIRED),
        fallen=frozenset(),
        reports=population.reports.added(record),
        cohorts=cohorts,
    )


def _damaged(population: Population, event: Damaged) -> Population:
    def cleaned(record: Record) -> Record:
        return replace(record, checkpoint=None) if record.checkpoint == event.checkpoint else record

    def without(member: Member) -> Member:
        interval = None if member.id == event.member else member.interval
        return replace(member, records=tuple(map(cleaned, member.records)), interval=interval)

    return replace(
        population,
        members=Vector(map(without, population.members)),
        standing=population.standing - {event.member},
        best=None if population.best is None else cleaned(population.best),
        archive=population.archive.without(event.checkpoint),
        _cohorts={},
    )
