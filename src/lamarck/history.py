"""What happened in a run, folded from its journal: the best model, who descends from whom, and the schedule that the winner followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, final

from lamarck._errors import ReportError
from lamarck._quick import quick
from lamarck.population import Record
from lamarck.schedule import Piece, Schedule
from lamarck.space import Space, widened
from lamarck.types import Assigned, Damaged, Ended, Event, Failed, Failure, Interval, Key, Reported, Retired, Settings, Started

__all__ = ["ENDS", "Copy", "History"]

ENDS = {"generations": "all generations done", "target": "target reached", "lost": "every member lost"}
"""Why a run is over, in words."""


@final
@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One exploit: a member took over another's weights.

    Args:
        member: Who copied.
        generation: The interval that it began with them.
        donor: Report whose weights they are.
        reason: In the words of the strategy.
    """

    member: int
    generation: int
    donor: Key
    reason: str


@final
@dataclass(frozen=True, kw_only=True)
class History:
    """A run as it can be asked about afterwards.

    Args:
        started: The run's first event: settings, space, strategies, first configurations.
        records: Every acknowledged report, in the order of acknowledgement.
        copies: Every exploit.
        failures: Every failed interval.
        retired: Members that failed for good, with the reason.
        damaged: Checkpoints that turned out not to be what was saved.
        ended: Why the run is over, or ``None`` while it is not.

    Example:
        >>> from lamarck import pbt, population, space, types
        >>> rules = types.Settings(population_size=1, interval=5, generations=1)
        >>> machine = pbt.PBT(space=space.Space(lr=space.Float(0.0, 1.0)), settings=rules)
        >>> events = list(machine.init())
        >>> events += machine.decide(population.replay(events), 0)
        >>> events += machine.report(population.replay(events), types.Report(member=0, generation=0, step=5, value=0.5, checkpoint="0-0"))
        >>> history = History.of(events)
        >>> history.best.value, history.ended
        (0.5, 'generations')
    """

    started: Started
    records: tuple[Record, ...]
    copies: tuple[Copy, ...] = ()
    failures: tuple[Failure, ...] = ()
    retired: dict[int, str] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    ended: str | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Folds the events of a journal.

        Raises:
            ReportError: If they do not begin with `Started`.
        """
        stream = iter(events)
        started = next(stream, None)
        if not isinstance(started, Started):
            raise ReportError("an empty journal has no history" if started is None else "a journal must begin with a 'Started' event")
        records: list[Record] = []
        copies: list[Copy] = []
        failures: list[Failure] = []
        retired: dict[int, str] = {}
        damaged: list[str] = []
        ended: str | None = None
        standing: dict[int, Interval] = {}
        for event in stream:
            match event:
                case Assigned():
                    standing[event.interval.member] = event.interval
                    if retired.pop(event.interval.member, None) is not None:
                        ended = None  # the population was lost, and tries again
                case Reported():
                    interval = standing.pop(event.report.member, None)
                    if interval is None or interval.generation != event.report.generation:
                        raise ReportError(
                            f"the journal reports member {event.report.member}, generation {event.report.generation}, which was not assigned"
                        )
                    records.append(Record.of(event.report, interval, started.settings))
                    if interval.copied and interval.parent is not None:
                        copies.append(
                            Copy(
                                member=interval.member,
                                generation=interval.generation,
                                donor=interval.parent,
                                reason=str(interval.info.get("reason", "")),
                            )
                        )
                case Failed():
                    failures.append(event.failure)
                case Retired():
                    retired[event.member] = event.reason
                case Damaged():
                    damaged.append(event.checkpoint)
                case Ended():
                    ended = event.reason
        return cls(
            started=started,
            records=tuple(records),
            copies=tuple(copies),
            failures=tuple(failures),
            retired=retired,
            damaged=tuple(damaged),
            ended=ended,
        )

    @property
    def settings(self) -> Settings:
        """The rules of the run."""
        return self.started.settings

    @property
    def status(self) -> str:
        """Whether and why the run is over, in words."""
        return "not ended" if self.ended is None else ENDS[self.ended]

    @cached_property
    def space(self) -> Space:
        """What was tuned, with ranges that hold every value of the run: a run can be resumed with others than it began with.

        Constraints that are Python functions are not in a journal, and cannot be asked.
        """
        return widened(Space.from_dict(self.started.space), (record.hparams for record in self.records))

    @cached_property
    def _by_key(self) -> dict[Key, Record]:
        return {record.key: record for record in self.records}

    @cached_property
    def _by_member(self) -> dict[int, tuple[Record, ...]]:
        return _grouped(self.records, attrgetter("member"))

    @cached_property
    def _by_generation(self) -> dict[int, tuple[Record, ...]]:
        return _grouped(sorted(self.records, key=attrgetter("member")), attrgetter("generation"))

    def __getitem__(self, key: Key) -> Record:
        return self._by_key[key]

    def __contains__(self, key: Key) -> bool:
        return key in self._by_key

    @cached_property
    def best(self) -> Record:
        """The record with the best finite value; the earlier one if two are equal.

        Raises:
            ReportError: If no finite value was reported.
        """
        finite = [record for record in self.records if record.finite]
        if not finite:
            raise ReportError("no finite value has been reported yet, so there is no best member")
        return max(finite, key=lambda record: record.fitness)

    def member(self, member: int) -> tuple[Record, ...]:
        """Returns all records of a member, by generation."""
        return self._by_member.get(member, ())

    def lineage(self, key: Key | None = None) -> tuple[Record, ...]:
        """Returns the ancestry of the weights behind a report, from the first interval to that report.

        Args:
            key: (member, generation); by default that of the best record.
        """
        record: Record | None = self.best if key is None else self[key]
        line: list[Record] = []
        while record is not None:
            line.append(record)
            record = None if record.parent is None else self[record.parent]
        return tuple(reversed(line))

    def schedule(self, member: int | None = None) -> Schedule:
        """Returns the hyperparameters that the weights of a member saw, from step 0, through all its ancestors.

        Args:
            member: Whose newest weights; by default those of the best record.

        Raises:
            ReportError: If that member has reported nothing, or nobody anything finite.
        """
        own = () if member is None else self.member(member)
        if member is not None and not own:
            raise ReportError(f"member {member} has not reported anything; members are 0 to {self.settings.population_size - 1}")
        line = self.lineage(own[-1].key if own else None)
        starts = [0, *(record.step for record in line)]
        return Schedule.merged(Piece(start, record.step, record.hparams) for start, record in zip(starts, line, strict=False))

    @cached_property
    def founders(self) -> dict[Key, Key]:
        """For each report, the report at the root of its ancestry."""
        roots: dict[Key, Key] = {}
        for record in self.records:
            roots[record.key] = record.key if record.parent is None else roots[record.parent]
        return roots

    def table(self) -> dict[str, list[Any]]:
        """Returns one row for each report as columns, for ``pandas.DataFrame`` or ``polars.DataFrame``.

        Hyperparameters come as ``hparams.<name>`` and further metrics as ``metrics.<name>``, ``None`` where there were none.
        """
        names = sorted({name for record in self.records for name in record.hparams})
        columns: dict[str, list[Any]] = {
            "member": [r.member for r in self.records],
            "generation": [r.generation for r in self.records],
            "step": [r.step for r in self.records],
            "value": [r.value for r in self.records],
            "checkpoint": [r.checkpoint for r in self.records],
            "parent_member": [None if r.parent is None else r.parent[0] for r in self.records],
            "parent_generation": [None if r.parent is None else r.parent[1] for r in self.records],
            "founder": [self.founders[r.key][0] for r in self.records],
        }
        further = sorted({name for record in self.records for name in record.metrics})
        return (
            columns
            | {f"hparams.{name}": [r.hparams.get(name) for r in self.records] for name in names}
            | {f"metrics.{name}": [r.metrics.get(name) for r in self.records] for name in further}
        )

    def generation(self, generation: int) -> tuple[Record, ...]:
        """Returns the records of one generation, by member."""
        return self._by_generation.get(generation, ())

    def _repr_html_(self) -> str:
        """Shows the run in a notebook, as `lamarck.plots.html` makes it."""
        import lamarck  # the one look upwards: notebooks ask the object itself how it wants to be shown

        return lamarck.plots.html(self)

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """Shows the run in IPython in one line, not record by record."""
        printer.text(str(self))

    def __repr__(self) -> str:
        return f"<History: {self}>"

    def __str__(self) -> str:
        size, done = self.settings.population_size, len(self.records)
        total = size * self.settings.generations
        copies = "1 copy" if len(self.copies) == 1 else f"{len(self.copies)} copies"
        head = f"population of {size}, {done} of {total} intervals, {copies}"
        head = f"{head}, {self.status}"
        if not any(record.finite for record in self.records):
            return head
        best = self.best
        return f"{head}; best {best.value:g} by member {best.member}, generation {best.generation}"


def _grouped(records: Iterable[Record], by: Callable[[Record], int]) -> dict[int, tuple[Record, ...]]:
    groups: dict[int, list[Record]] = {}
    for record in records:
        groups.setdefault(by(record), []).append(record)
    return {key: tuple(group) for key, group in groups.items()}
