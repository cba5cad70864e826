"""The vectorised engine: asks for everybody's interval, trains all of them as one program, and reports everybody.

Each turn is one generation of the members that may train, and one transaction of the journal:

    claim ──▶ place ──▶ fit, evaluate ──▶ save the stacks ──▶ report, claim ──▶ …

A member that copies another costs a gather on the device. A checkpoint is a whole stack in one file, and a report names its row in it.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from lamarck._errors import PopulationLost, SettingsError, TrainingError
from lamarck.checkpoints.rows import row_name
from lamarck.coordinator import Coordinator
from lamarck.engines.engine import Named, Train
from lamarck.engines.vectorised.columns import Scores
from lamarck.engines.vectorised.fleet import Fleet, Group
from lamarck.engines.vectorised.holding import Gate, gated
from lamarck.engines.vectorised.hosts import WorkerDied, hosted
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
            weights, so a kill costs the generations since then; observers are told at once. Between checkpoints only a new best member is
            saved, and a member that has to go back further than the last generation finds its weights gone and starts afresh. With 1, the
            default, nothing of this arises.
        processes: Processes to split the population over, each with one thread; by default what the task says: for PyTorch on a CPU one for
            each core, otherwise one, which is this process.
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
            if (got is not None or name == "checkpoint_every") and (isinstance(got, bool) or not isinstance(got, int) or got < 1):
                raise SettingsError(f"{name}: got {got!r}; it must be a whole number of at least 1")

    def __call__(self, train: Train, coordinator: Coordinator) -> None:
        """Trains until the run is over.

        Raises:
            SettingsError: If what is to be trained is not a `VectorTask`, or cannot be sent to the processes asked for.
            TrainingError: If it breaks its contract, or fails where nothing is saved to go back to.
            PopulationLost: If every member failed for good; the cause is the first failure.
        """
        train = _task(train)
        if coordinator.over:
            return
        size, settings = len(coordinator.population), coordinator.population.settings
        train.expect((settings.generations - min(coordinator.population.floor, settings.generations)) * settings.interval)
        with gated(coordinator) as gate, hosted(train, size, self.processes, self.members_per_chunk) as hosts:
            _Run(coordinator, Fleet(hosts, size), gate, self.checkpoint_every).carry_out()

    def check(self, train: Train) -> None:
        """Raises `SettingsError` if what is to be trained is not a `VectorTask`."""
        _task(train)


def _task(train: Train) -> VectorTask[Any]:
    found = train.resolved() if isinstance(train, Named) else train
    if not isinstance(found, VectorTask):
        raise SettingsError(
            f"the vectorised engine got {found!r}, which trains one member at a time; give it a lamarck.VectorTask, such as "
            "lamarck.Supervised, or use another engine"
        )
    return found


@dataclass(slots=True)
class _Run:
    """What is known between two turns."""

    coordinator: Coordinator
    fleet: Fleet
    gate: Gate
    every: int
    first: Exception | None = None
    holders: dict[int, Hashable] = field(default_factory=dict)

    @property
    def workers(self) -> range:
        """One slot for each member."""
        return range(len(self.coordinator.population))

    def carry_out(self) -> None:
        messages: Sequence[Report | Failure] = ()
        while intervals := self._exchanged(messages):
            messages = self._turn(intervals)
        if self.coordinator.population.ended == "lost":
            raise PopulationLost("every member failed for good; the first failure is the cause given here") from self.first

    def _exchanged(self, messages: Sequence[Report | Failure]) -> list[Interval]:
        """Says what came of the last turn, then takes everybody's next interval: apart, so that a strategy's fault costs no report."""
        coordinator = self.coordinator
        with coordinator.batch():
            for message in messages:
                coordinator.exchange(self.holders[message.member], message, claim=False)
        with coordinator.batch():
            asked = [(worker, coordinator.exchange(worker, None)) for worker in self.workers]
        held = [(worker, interval) for worker, interval in asked if interval is not None]
        self.holders = {interval.member: worker for worker, interval in held}
        return [interval for _, interval in held]

    def _turn(self, intervals: Sequence[Interval]) -> list[Report | Failure]:
        """Trains what was handed out; says of what cannot be restored that it is damaged, before anything is trained."""
        groups = self.fleet.grouped(intervals)
        if failures := self.fleet.place(groups, self.coordinator.checkpoints.get):
            return list(failures)
        outcomes = self.fleet.fit(groups)
        settings = self.coordinator.population.settings
        values = [value for outcome in outcomes.values() if isinstance(outcome, Scores) for value in outcome.values.tolist()]
        last = max(interval.generation for interval in intervals)
        keep = (
            last % self.every == self.every - 1
            or last + 1 == settings.generations
            or len(values) < self.coordinator.population.unfinished
            or any(reached(value, settings) for value in values)
        )
        self.coordinator.rest()  # what the last turn allowed to be deleted is deleted before the gate moves
        self.gate.closed = not keep
        sound = {stack: outcome for stack, outcome in outcomes.items() if isinstance(outcome, Scores)}
        named = self._saved(groups, list(sound)) if keep else self._unsaved(groups, sound)
        messages: list[Report | Failure] = []
        for stack, outcome in outcomes.items():
            if isinstance(outcome, Scores):
                self.fleet.name(stack, named[stack])
                messages += _reports(groups[stack], outcome, named[stack])
            else:
                messages += self._apart(stack, groups[stack], outcome)
        return messages

    def _saved(self, groups: dict[int, list[Interval]], stacks: Sequence[int]) -> dict[int, list[str]]:
        """Saves stacks and returns the names of their rows."""
        names = {}
        for stack, state in zip(stacks, self.fleet.take(stacks), strict=True):
            first = groups[stack][0]
            name = self.coordinator.checkpoints.put(first.member, first.generation, {"state": state})
            names[stack] = [row_name(name, row) for row in range(len(groups[stack]))]
        return names

    def _unsaved(self, groups: dict[int, list[Interval]], scores: dict[int, Scores]) -> dict[int, list[str]]:
        """Names rows that are on the device alone; saves only what is the best so far, because that is what a run is for."""
        names = {stack: [f"{_UNSAVED}{it.generation}#{it.member}" for it in groups[stack]] for stack in scores}
        population = self.coordinator.population
        fitness = {
            (stack, row): fitness_of(value, population.settings)
            for stack, scored in scores.items()
            for row, value in enumerate(scored.values.tolist())
        }
        stack, row = max(fitness, key=fitness.__getitem__)
        if fitness[stack, row] > (float("-inf") if population.best is None else population.best.fitness):
            interval = groups[stack][row]
            (state,) = self.fleet.take([stack], [row])
            names[stack][row] = row_name(self.coordinator.checkpoints.put(interval.member, interval.generation, {"state": state}), 0)
        return names

    def _apart(self, stack: int, group: Group, error: Exception) -> list[Report | Failure]:
        """Finds out whose fault it was that a stack raised: trains the halves apart, each from what is saved."""
        if self.first is None:
            self.first = error
            logger.warning(
                "training members %d to %d failed; later failures are only counted", group[0].member, group[-1].member, exc_info=error
            )
        if any(it.restore is not None and it.restore.startswith(_UNSAVED) for it in group):
            raise TrainingError(
                f"training failed ({type(error).__name__}: {error}), and the weights that it began from are not saved to try again: correct "
                "the cause and resume, which goes back to the last checkpoint; with checkpoint_every=1 a run goes on by itself"
            ) from error
        if isinstance(error, WorkerDied):
            return [Failure(member=it.member, generation=it.generation, kind="lost", message=str(error)) for it in group]
        if len(group) == 1:
            return [raised(group[0], error)]
        messages: list[Report | Failure] = []
        for half in (list(group[: len(group) // 2]), list(group[len(group) // 2 :])):
            if damaged := self.fleet.place({stack: half}, self.coordinator.checkpoints.get):
                messages += damaged
                continue
            outcome = self.fleet.fit({stack: half})[stack]
            if isinstance(outcome, Scores):
                names = self._saved({stack: half}, [stack])[stack]
                self.fleet.name(stack, names)
                messages += _reports(half, outcome, names)
            else:
                messages += self._apart(stack, half, outcome)
        return messages


def _reports(group: Group, scores: Scores, names: Sequence[str]) -> list[Report]:
    if len(scores) != len(group):
        raise TrainingError(f"evaluate returned {len(scores)} values for {len(group)} members; it must return one for each")
    return [
        Report(member=it.member, generation=it.generation, step=it.until, checkpoint=name, **scores.row(row))
        for row, (it, name) in enumerate(zip(group, names, strict=True))
    ]
