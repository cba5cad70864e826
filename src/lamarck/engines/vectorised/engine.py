"""The vectorised engine: asks for everybody's interval, trains all of them as one program, and reports everybody.

Each turn is one generation of the members that may train, and one transaction of the journal:

    claim ──▶ place ──▶ fit, evaluate ──▶ save the stacks ──▶ report, claim ──▶ …

A member that copies another costs a gather on the device. A checkpoint is a whole stack in one file, and a report names its row in it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from lamarck._checks import check_whole
from lamarck._errors import SettingsError
from lamarck.checkpoints.rows import row_name
from lamarck.coordinator import Coordinator
from lamarck.engines.engine import Named, Train
from lamarck.engines.vectorised.columns import Scores
from lamarck.engines.vectorised.fleet import Fleet, Group
from lamarck.engines.vectorised.holding import Gate, gated
from lamarck.engines.vectorised.hosts import hosted
from lamarck.engines.vectorised.stack import Gone
from lamarck.engines.vectorised.task import VectorTask
from lamarck.population import fitness_of, reached
from lamarck.training import raised
from lamarck.types import Failure, Interval, Report

__all__ = ["Vectorised"]

logger = logging.getLogger("lamarck")

_UNSAVED = "unsaved-"
"""Begins the names of weights that are on the device alone."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Vectorised:
    """An engine that trains the whole population as one program; it takes a `VectorTask` in place of a training function.

    It is synchronous by nature: a generation is trained, then the next, whatever ``max_lead`` allows beyond that.

    Args:
        checkpoint_every: Save the stacks every so many generations. Reports are acknowledged together with the checkpoint that holds their
            weights, so a kill or a failure costs the generations since then; observers are told at once, and of those generations again.
            Between checkpoints only new best members are saved, as many as a strategy goes back to, and a member that has to go back further
            than the last generation finds any other weights gone and starts afresh. With 1, the default, nothing of this arises.
        processes: Processes to split the population over, each with one thread; by default what the task says, for PyTorch on a CPU one for
            each core, if the task can be sent to another process, and otherwise one, which is this process.
        members_per_chunk: The most members that train at once, for what does not fit in memory together; by default what the task says.

    Raises:
        SettingsError: If a number is out of its range.

    Example:
        >>> Vectorised(checkpoint_every=5).checkpoint_every
        5
    """

    checkpoint_every: int = 1
    processes: int | None = None
    members_per_chunk: int | None = None

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "processes", "members_per_chunk"):
            got = getattr(self, name)
            if got is not None or name == "checkpoint_every":
                check_whole(name, got, 1)

    def __call__(self, train: Train, coordinator: Coordinator) -> None:
        """Trains until the run is over.

        Raises:
            SettingsError: If what is to be trained is not a `VectorTask`, or cannot be sent to the processes asked for.
            TrainingError: If it breaks its contract.
            PopulationLost: If every member failed for good; the cause is the first failure.
        """
        train = _task(train)
        if coordinator.over:
            return
        size, settings = len(coordinator.population), coordinator.population.settings
        steps = (settings.generations - min(coordinator.population.floor, settings.generations)) * settings.interval
        try:
            with gated(coordinator) as gate, hosted(train, size, steps, self.processes, self.members_per_chunk) as hosts:
                _Run(coordinator, Fleet(hosts, size), gate, self.checkpoint_every).carry_out()
        finally:
            train.done()

    def check(self, train: Train) -> None:
        """Raises `SettingsError` if what is to be trained is not a `VectorTask`."""
        _task(train)


def _task(train: Train) -> VectorTask[Any]:
    found = train.resolved() if isinstance(train, Named) else train
    if not isinstance(found, VectorTask):
        raise SettingsError(
            f"the vectorised engine got {getattr(found, '__qualname__', found)!r}, which trains one member at a time; give it a "
            "lamarck.VectorTask, such as lamarck.Supervised, or use another engine"
        )
    return found


class _NothingSaved(Exception):
    """Training failed where the weights that it began from are not saved."""


@dataclass(slots=True)
class _Run:
    """What is known between two turns.

    Attributes:
        first: The first failure.
        safe: Events that stand in the journal, with weights that are saved.
        careful: Generation up to which everything is saved, because something went wrong there before.
        holders: Who holds each member.
    """

    coordinator: Coordinator
    fleet: Fleet
    gate: Gate
    every: int
    first: Exception | None = None
    safe: int = 0
    careful: int = -1
    holders: dict[int, Hashable] = field(default_factory=dict)

    @property
    def workers(self) -> range:
        """One slot for each member."""
        return range(len(self.coordinator.population))

    def carry_out(self) -> None:
        messages: Sequence[Report | Failure] = ()
        while intervals := self._exchanged(messages):
            try:
                messages = self._turn(intervals)
            except _NothingSaved:
                self._go_back(max(interval.generation for interval in intervals))
                messages = ()
        if self.coordinator.population.ended == "lost":
            raise self.coordinator.lost() from self.first

    def _exchanged(self, messages: Sequence[Report | Failure]) -> list[Interval]:
        """Says what came of the last turn, then takes everybody's next interval: apart, so that a strategy's fault costs no report."""
        coordinator = self.coordinator
        with coordinator.batch():
            for message in messages:
                coordinator.exchange(self.holders[message.member], message, claim=False)
        with coordinator.batch():
            asked = [(worker, coordinator.exchange(worker, None)) for worker in self.workers]
        if not self.gate.closed:
            self.safe = coordinator.sequence
        held = [(worker, interval) for worker, interval in asked if interval is not None]
        self.holders = {interval.member: worker for worker, interval in held}
        return [interval for _, interval in held]

    def _turn(self, intervals: Sequence[Interval]) -> list[Report | Failure]:
        """Trains what was handed out, and returns what came of it; what nothing is said about is handed out again."""
        groups = self.fleet.grouped(intervals)
        damaged, gone = self.fleet.place(groups, self.coordinator.checkpoints.get)
        if damaged or gone:  # said before anything is trained
            return [*damaged, *(failure for stack, error in gone.items() for failure in self._lost(groups.get(stack, ()), error, intervals))]
        outcomes = self.fleet.fit(groups)
        settings = self.coordinator.population.settings
        values = [value for outcome in outcomes.values() if isinstance(outcome, Scores) for value in outcome.values.tolist()]
        last = max(interval.generation for interval in intervals)
        keep = (
            last % self.every == self.every - 1
            or last + 1 == settings.generations
            or last <= self.careful
            or len(values) < self.coordinator.population.unfinished
            or any(reached(value, settings) for value in values)
        )
        self.coordinator.rest()  # what the last turn allowed to be deleted is deleted before the gate moves
        named = None if keep else self._unsaved(groups, outcomes)
        self.gate.closed = named is not None
        if named is None:
            named = self._saved(groups, outcomes)
        messages: list[Report | Failure] = []
        for stack, outcome in outcomes.items():
            if isinstance(outcome, Scores):
                self.fleet.name(stack, named[stack])
                messages += _reports(groups[stack], outcome, named[stack])
            else:
                messages += self._apart(stack, groups[stack], outcome)
        return messages

    def _saved(self, groups: Mapping[int, Group], outcomes: dict[int, Scores | Exception]) -> dict[int, list[str]]:
        """Saves the stacks that were trained and returns the names of their rows; a stack that dies meanwhile was not trained."""
        names = {}
        for stack, state in self.fleet.take(stack for stack, outcome in outcomes.items() if isinstance(outcome, Scores)).items():
            if isinstance(state, Gone):
                outcomes[stack] = state
                continue
            first = groups[stack][0]
            name = self.coordinator.checkpoints.put(first.member, first.generation, {"state": state})
            names[stack] = [row_name(name, row) for row in range(len(groups[stack]))]
        return names

    def _unsaved(self, groups: Mapping[int, Group], outcomes: dict[int, Scores | Exception]) -> dict[int, list[str]] | None:
        """Names rows that are on the device alone; saves only what is among the best so far, because that is what a run is for.

        Returns:
            The names, or ``None`` if a stack with one of the best died: then all others have to be saved.
        """
        scores = {stack: outcome for stack, outcome in outcomes.items() if isinstance(outcome, Scores)}
        names = {stack: [f"{_UNSAVED}{it.generation}#{it.member}" for it in groups[stack]] for stack in scores}
        for stack, rows in self._elites(groups, scores).items():
            state = self.fleet.take([stack], rows)[stack]
            if isinstance(state, Gone):
                outcomes[stack] = state
                return None
            first = groups[stack][rows[0]]
            name = self.coordinator.checkpoints.put(first.member, first.generation, {"state": state})
            for place, row in enumerate(rows):
                names[stack][row] = row_name(name, place)
        return names

    def _elites(self, groups: Mapping[int, Group], scores: Mapping[int, Scores]) -> dict[int, list[int]]:
        """Returns the rows, by stack, that are about to be among the best reports there were."""
        population = self.coordinator.population
        room, before = population.archive.room, population.archive.records
        least = before[room - 1].fitness if len(before) >= room else float("-inf")
        scored = [
            (-fitness_of(value, population.settings), groups[stack][row].member, stack, row)
            for stack, each in scores.items()
            for row, value in enumerate(each.values.tolist())
        ]
        chosen: dict[int, list[int]] = defaultdict(list)
        for worse, _, stack, row in sorted(scored)[:room]:
            if -worse > least:
                chosen[stack].append(row)
        return chosen

    def _apart(self, stack: int, group: Group, error: Exception) -> list[Report | Failure]:
        """Finds out whose fault it was that a stack raised: trains the halves apart, each from what is saved."""
        if isinstance(error, Gone):
            return [*self._lost(group, error, group)]
        self._noted(group, error, group)
        if len(group) == 1:
            return [raised(group[0], error)]
        messages: list[Report | Failure] = []
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            messages += self._half(stack, half)
        return messages

    def _half(self, stack: int, half: Group) -> list[Report | Failure]:
        groups = {stack: half}
        damaged, gone = self.fleet.place(groups, self.coordinator.checkpoints.get)
        if damaged or gone:
            return [*damaged, *(failure for error in gone.values() for failure in self._lost(half, error, half))]
        outcomes = self.fleet.fit(groups)
        names = self._saved(groups, outcomes)
        outcome = outcomes[stack]
        if not isinstance(outcome, Scores):
            return self._apart(stack, half, outcome)
        self.fleet.name(stack, names[stack])
        return [*_reports(half, outcome, names[stack])]

    def _lost(self, group: Group, error: Gone, affected: Group) -> list[Failure]:
        """Says of members that their process died."""
        self._noted(group, error, affected)
        return [Failure(member=it.member, generation=it.generation, kind="lost", message=str(error)) for it in group]

    def _noted(self, group: Group, error: Exception, affected: Group) -> None:
        """Remembers the first failure and shows it.

        Args:
            group: Who failed.
            error: How.
            affected: Who begins from weights that may be gone now.

        Raises:
            _NothingSaved: If somebody's are not saved.
        """
        if self.first is None:
            self.first = error
            who = f"members {group[0].member} to {group[-1].member}" if group else "members who wait"
            trace = None if isinstance(error, Gone) else error
            logger.warning("training %s failed (%s); later failures are only counted", who, _told(error), exc_info=trace)
        if any(it.restore is not None and it.restore.startswith(_UNSAVED) for it in affected):
            raise _NothingSaved from error

    def _go_back(self, generation: int) -> None:
        """Goes back to the last checkpoint. From there on all is saved until the place is passed where it went wrong."""
        logger.warning(
            "generation %d failed, and the weights that it began from are not saved: going back to the last checkpoint, and saving every "
            "generation from there to here",
            generation,
        )
        self.gate.reopen()
        self.fleet.forget()
        self.coordinator.rewind(self.safe)
        self.careful = generation


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, Gone) else f"{type(error).__name__}: {error}"


def _reports(group: Group, scores: Scores, names: Sequence[str]) -> list[Report]:
    return [
        Report(member=it.member, generation=it.generation, step=it.until, checkpoint=name, **scores.row(row))
        for row, (it, name) in enumerate(zip(group, names, strict=True))
    ]
