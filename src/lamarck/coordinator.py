"""The only writer of a run: decide, append, apply, notify, in that order.

Whatever can fail, fails before the state changes. What `Coordinator.exchange` has returned is in the journal, or will be when the batch around
it ends; what raised never happened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, final

from lamarck import codec
from lamarck._checks import one_line
from lamarck._errors import JournalError, PopulationLost, StaleReport
from lamarck.audience import Audience, Observer
from lamarck.checkpoints import Checkpoints
from lamarck.follow import Machine, machine_of
from lamarck.history import History
from lamarck.journal import Journal
from lamarck.population import Population, apply, replay, risen
from lamarck.types import Assigned, Event, Failure, Interval, Report, Reported, Started

__all__ = ["Coordinator", "Observer", "events_of"]

_KEY = re.compile(r"(\d+)-(\d+)", re.ASCII)
"""How the names of checkpoints begin: member and generation."""


def events_of(journal: Journal, run: str) -> Iterable[Event]:
    """Reads the events of a run, oldest first."""
    return codec.decode_events(journal.read(run))


_Entry = tuple[Event, Population, bytes]
"""What has been decided: the event, the state after it, and the event as the journal takes it."""


@final
class _Batch:
    """What has been decided and is not yet safe, what is said when it is, and how things stood before."""

    __slots__ = ("answers", "before", "entries")

    def __init__(self, before: tuple[Population, dict[int, Hashable], dict[Hashable, int]]) -> None:
        self.before = before
        self.entries: list[_Entry] = []
        self.answers: list[Callable[[], object]] = []


@final
class Coordinator:
    """Joins the machine that decides with the journal that remembers.

    Args:
        pbt: The machine.
        journal: Where events go; ``None`` keeps them in this object, as they are.
        run: Name of the run in the journal.
        checkpoints: Where workers put weights; the coordinator only sweeps it. Whatever no decision may name is deleted at once, so the store
            must belong to this run alone.
        population: The state.
        sequence: How many events the journal holds.
        observers: Who is told.
    """

    def __init__(
        self,
        pbt: Machine,
        journal: Journal | None,
        run: str,
        checkpoints: Checkpoints,
        population: Population,
        sequence: int,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.pbt, self.journal, self.run = pbt, journal, run
        self.checkpoints = checkpoints.flushing(every=population.settings.durable_every or 1)
        self.population = population
        self._sequence = sequence
        self._memory: list[Event] = []
        self.audience = Audience(observers)
        self._batch: _Batch | None = None
        self._held: dict[int, Hashable] = {}
        self._own: dict[Hashable, int] = {}
        live = population.live()
        self._known = set(live)
        self._reports = 0
        self._sweeper: ThreadPoolExecutor | None = None
        self._deleting: Future[list[str]] | None = None

    @classmethod
    def start(
        cls,
        pbt: Machine,
        journal: Journal | None,
        run: str,
        checkpoints: Checkpoints,
        *,
        info: dict[str, Any] | None = None,
        observers: Sequence[Observer] = (),
    ) -> Coordinator:
        """Begins a run.

        Raises:
            JournalConflict: If the journal already has a run of that name.
        """
        events = pbt.init(info)
        population = replay(events)
        assert population is not None
        coordinator = cls(pbt, journal, run, checkpoints, population, 0, observers)
        entries = [(event, population, coordinator._written(event)) for event in events]
        coordinator._append(entries)
        checkpoints.sweep(population.live())  # not before: who is refused because the run is there must not touch its weights
        coordinator.audience.tell([(event, population) for event, population, _ in entries])
        return coordinator

    @classmethod
    def resume(cls, journal: Journal, run: str, checkpoints: Checkpoints, *, observers: Sequence[Observer] = (), **changes: Any) -> Coordinator:
        """Goes on with a run from exactly what its journal holds. If it was lost, those who failed last try again; see `population.risen`.

        Args:
            journal: The journal.
            run: Name of the run.
            checkpoints: The store that the run has used.
            observers: Who is told.
            **changes: Fields of `PBT` that a journal cannot hold: Python functions.

        Raises:
            JournalError: If the journal has no such run.
        """
        started: Started | None = None
        population: Population | None = None
        sequence = 0
        for event in events_of(journal, run):
            started = event if isinstance(event, Started) else started
            population = apply(population, event)
            sequence += 1
        if started is None or population is None:
            raise JournalError(f"no run {run!r} in this journal; it has {', '.join(map(repr, journal.runs())) or 'none'}")
        coordinator = cls(machine_of(started, **changes), journal, run, checkpoints, risen(population), sequence, observers)
        checkpoints.sweep(population.live() | (set() if coordinator.over else _coming(checkpoints, population)))
        coordinator.audience.recall(coordinator.history)
        return coordinator

    @property
    def sequence(self) -> int:
        """How many events there are."""
        return len(self._memory) if self.journal is None else self._sequence

    @property
    def over(self) -> bool:
        """Whether nothing is left to train."""
        return self.population.ended is not None

    def history(self) -> History:
        """Returns all that has happened."""
        return History.of(self._memory if self.journal is None else events_of(self.journal, self.run))

    def lost(self) -> PopulationLost:
        """Returns what an engine raises when every member has failed for good: how often it was tried, and what happened last."""
        history = self.history()
        tries = f", after {len(history.failures)} failed attempts" if history.failures else ""
        last = [f"; the last was member {member}: {one_line(reason)}" for member, reason in history.retired.items()][-1:]
        cure = "" if self.journal is None else ". Correct it, and resume the run: those who failed last try again"
        return PopulationLost(f"every member failed for good{tries}{''.join(last)}{cure}")

    @contextmanager
    def batch(self) -> Iterator[list[Callable[[], object]]]:
        """Makes the exchanges of a block durable together: one transaction and one flush for all of them.

        What an exchange returns inside the block is not yet in the journal, and must not be told to anybody before it is: put what tells it
        into the list that the block is given, and it is called when the journal has the events. If the journal refuses, nothing of that is
        called, the block raises, and none of its exchanges has happened.

        Raises:
            JournalError: If the events could not be made durable.
        """
        batch = self._begin()
        try:
            yield batch.answers
        finally:
            self._commit(batch)

    def exchange(self, worker: Hashable, message: Report | Failure | None, *, claim: bool = True) -> Interval | None:
        """Takes in what a worker says and hands it its next interval, in one transaction.

        Args:
            worker: Who asks.
            message: What came of its last interval; ``None`` if it had none.
            claim: Whether it wants another.

        Returns:
            The next interval, or ``None`` if the run is over, nobody may start yet, or none was wanted.

        Raises:
            StaleReport: If the population has moved on without this worker.
            JournalError: If the events could not be made durable; then nothing has changed.
        """
        if self._batch is not None:
            return self._exchange(self._batch, worker, message, claim)
        batch = self._begin()
        try:
            return self._exchange(batch, worker, message, claim)
        finally:  # also when a strategy failed: the report itself is good
            self._commit(batch)

    def message(self, interval: Interval) -> bytes:
        """Returns an interval as it goes over a wire; the one that was decided last in a batch is encoded already, as an event."""
        if self._batch is not None and self._batch.entries and self.journal is not None:
            event, _, data = self._batch.entries[-1]
            if isinstance(event, Assigned) and event.interval is interval:
                return codec.interval_in(data)
        return codec.encode(interval)

    def hold(self, worker: Hashable, member: int) -> None:
        """Says that a worker trains a member's standing interval already, as those do who go on while the coordinator starts again."""
        self.release(worker)
        self._own.pop(self._held.get(member), None)
        self._held[member], self._own[worker] = worker, member

    def release(self, worker: Hashable) -> int | None:
        """Forgets a worker, whose interval can then be claimed by another; returns the member it held, if any."""
        member = self._own.pop(worker, None)
        if member is None or self._held.get(member) != worker:
            return None
        del self._held[member]
        return member

    def rewind(self, sequence: int) -> None:
        """Goes back to an earlier state, in which nobody holds anything, as after a kill. Observers hear of what follows once more.

        Args:
            sequence: How many events to keep; a journal must hold these and no others.

        Raises:
            JournalError: If it does not, or cannot be read.
        """
        del self._memory[sequence:]
        population, kept = None, 0
        for event in self._memory if self.journal is None else events_of(self.journal, self.run):
            population, kept = apply(population, event), kept + 1
        if population is None or kept != sequence:
            raise JournalError(f"the journal holds {kept} events of the run {self.run!r}, not {sequence}: somebody else has written to it")
        self.population, self._sequence, self._held, self._own = risen(population), sequence, {}, {}

    def rest(self) -> None:
        """Waits until nothing is being deleted any more.

        Raises:
            CheckpointError: If something could not be.
        """
        deleting, self._deleting = self._deleting, None
        if deleting is not None:
            deleting.result()

    # ---- inside ------------------------------------------------------------------------------------------------------------------------------

    def _begin(self) -> _Batch:
        self._batch = _Batch((self.population, self._held.copy(), self._own.copy()))
        return self._batch

    def _exchange(self, batch: _Batch, worker: Hashable, message: Report | Failure | None, claim: bool) -> Interval | None:
        held, own = self._held, self._own.get(worker)
        if message is not None:
            if held.get(message.member, worker) != worker:
                raise StaleReport(
                    f"member {message.member} has been handed to another worker; throw this work away and ask for the next interval"
                )
            before = self.population
            self._take(batch, self.pbt.report(before, message) if isinstance(message, Report) else self.pbt.fail(before, message))
        if own is not None and held.get(own) == worker:
            del held[own]
        member = self.pbt.next(self.population, held, own) if claim else None
        if member is None:
            return None
        self._take(batch, self.pbt.decide(self.population, member))
        held[member], self._own[worker] = worker, member
        return self.population.members[member].interval

    def _take(self, batch: _Batch, events: Iterable[Event]) -> None:
        """Goes on to the state after some events, all or none.

        They are encoded here already, so that one that cannot be is the fault of whoever brought it and not of the batch.
        """
        population, entries = self.population, list[_Entry]()
        for event in events:
            population = apply(population, event)
            entries.append((event, population, self._written(event)))
        batch.entries += entries
        self.population = population

    def _written(self, event: Event) -> bytes:
        return b"" if self.journal is None else codec.encode(event)

    def _commit(self, batch: _Batch) -> None:
        self._batch = None
        try:
            self._append(batch.entries)
        except BaseException:
            self.population, self._held, self._own = batch.before
            raise
        self.audience.tell([(event, population) for event, population, _ in batch.entries])
        for answer in batch.answers:
            answer()
        self._sweep(batch.entries)

    def _append(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        if self.journal is None:
            self._memory += [event for event, _, _ in entries]
        else:
            self._sequence = self.journal.append(self.run, self._sequence, [data for _, _, data in entries])

    def _sweep(self, entries: Sequence[_Entry]) -> None:
        """Deletes what cannot be named any more: once for as many reports as there are members, to spread the cost of looking."""
        for event, _, _ in entries:
            if isinstance(event, Reported) and event.report.checkpoint is not None:
                self._known.add(event.report.checkpoint)
                self._reports += 1
        if self._reports >= len(self.population) or (entries and self.over):
            self._reports = 0
            self.rest()
            live = self.population.live()
            if self.over and not self._held:
                # At the very end nobody is writing, and what killed writers have left behind goes as well.
                self.checkpoints.sweep(live)
            elif self.checkpoints.location is None:
                self.checkpoints.sweep(live, self._known - live)
            else:  # a disk or an object store takes its time, and nobody has to wait for it
                self._sweeper = self._sweeper or ThreadPoolExecutor(1, "lamarck-sweep")
                self._deleting = self._sweeper.submit(self.checkpoints.sweep, live, self._known - live)
            self._known &= live


def _coming(checkpoints: Checkpoints, population: Population) -> set[str]:
    """Names that may still be reported, should another process be writing this run: those of intervals that nobody has reported yet."""
    coming = set()
    for name in checkpoints.names():
        if key := _KEY.match(name):
            member, generation = map(int, key.groups())
            if member < len(population) and generation >= population.generations[member]:
                coming.add(name)
    return coming
