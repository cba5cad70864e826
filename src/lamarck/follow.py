"""The machine of a replay: one member that follows a schedule and copies nobody.

It is the machine of every run for a population of one, with one thing changed: the intervals that it hands out carry the hyperparameters that
the schedule says for their first step, and, if they are given, seeds that are not this run's own. Everything around it, coordinator, journal,
worker and checkpoints, is therefore the same, and so is what it promises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from lamarck._errors import SettingsError
from lamarck.exploit import Never
from lamarck.explore import Keep
from lamarck.pbt import PBT
from lamarck.population import Population
from lamarck.schedule import Schedule
from lamarck.space import Space
from lamarck.types import Assigned, Ended, Event, Failure, Report, Settings, Started

__all__ = ["Follower", "Machine", "machine_of"]

_KEY = "follow"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Trains one member by a schedule.

    Args:
        settings: The rules; the population size is 1.
        schedule: Hyperparameters by the step. They change between intervals only: an interval has those of its first step.
        seeds: Seed of each interval, by generation; empty, the default, derives them from the seed of the run as always. With the seeds of the
            intervals that a lineage was trained in, training that depends on nothing else gives the lineage's values again, exactly.
        space: What figures and tables say of the hyperparameters, as `Space.to_dict` gives it. Nothing is drawn from it.

    Raises:
        SettingsError: If the population is larger than 1, or there are seeds for another number of generations.

    Example:
        >>> from lamarck import Schedule, Settings
        >>> from lamarck.population import replay
        >>> from lamarck.schedule import Piece
        >>> schedule = Schedule((Piece(0, 5, {"lr": 0.1}), Piece(5, 10, {"lr": 0.2})))
        >>> follower = Follower(settings=Settings(population_size=1, interval=5, generations=2), schedule=schedule)
        >>> population = replay([*follower.init(), *follower.decide(replay(follower.init()), 0)])
        >>> population.members[0].interval.hparams
        {'lr': 0.1}
    """

    settings: Settings
    schedule: Schedule
    seeds: Sequence[int] = ()
    space: Mapping[str, Any] = field(default_factory=lambda: Space().to_dict())

    def __post_init__(self) -> None:
        if self.settings.population_size != 1:
            raise SettingsError(f"population_size: got {self.settings.population_size}; a schedule is followed by 1")
        if self.seeds and len(self.seeds) != self.settings.generations:
            raise SettingsError(f"seeds: got {len(self.seeds)} for {self.settings.generations} generations; give one for each, or none")

    @property
    def _machine(self) -> PBT:
        """Who goes on from what; its own hyperparameters are none."""
        return PBT(space=Space(), settings=self.settings, exploit=Never(), explore=Keep(), rescue=None)

    def init(self, info: Mapping[str, Any] | None = None) -> tuple[Event, ...]:
        """Returns the events that begin a run; see `lamarck.PBT.init`."""
        (started,) = self._machine.init(info)
        assert isinstance(started, Started)
        follow = {"schedule": self.schedule.to_list(), "seeds": list(self.seeds)}
        return (replace(started, space=self.space, initial=(self.schedule(0),), strategies={**started.strategies, _KEY: follow}),)

    @classmethod
    def of(cls, started: Started) -> Follower:
        """Rebuilds the machine from the first event of a journal.

        Raises:
            SettingsError: If the journal is not of a replay, or what it holds is not a schedule.
        """
        follow = started.strategies[_KEY]
        return cls(
            settings=started.settings,
            schedule=Schedule.from_list(follow["schedule"]),
            seeds=tuple(follow["seeds"]),
            space=started.space,
        )

    def next(self, population: Population, held: Iterable[int] = (), own: int | None = None) -> int | None:
        """Returns whose turn it is; see `lamarck.PBT.next`."""
        return self._machine.next(population, tuple(held), own)

    def decide(self, population: Population, member: int) -> tuple[Event, ...]:
        """Returns the event that hands out the next interval; see `lamarck.PBT.decide`."""
        return self._led(self._machine.decide(population, member))

    def report(self, population: Population, report: Report) -> tuple[Event, ...]:
        """Returns the events that acknowledge a report; see `lamarck.PBT.report`. A value that is not finite is the end: nobody can rescue."""
        events = self._machine.report(population, report)
        if not events or population.ended is not None or any(isinstance(event, Ended) for event in events) or math.isfinite(report.value):
            return events
        return (*events, Ended(reason="lost"))

    def fail(self, population: Population, failure: Failure) -> tuple[Event, ...]:
        """Returns the events that answer a failed interval; see `lamarck.PBT.fail`."""
        return self._led(self._machine.fail(population, failure))

    def _led(self, events: Iterable[Event]) -> tuple[Event, ...]:
        return tuple(self._followed(event) if isinstance(event, Assigned) else event for event in events)

    def _followed(self, event: Assigned) -> Assigned:
        interval = event.interval
        seed = self.seeds[interval.generation] if self.seeds else interval.seed
        return Assigned(interval=replace(interval, hparams=self.schedule(interval.start), seed=seed))


Machine = PBT | Follower
"""What decides in a run."""


def machine_of(started: Started, **changes: Any) -> Machine:
    """Rebuilds the machine that began a run.

    Args:
        started: First event of its journal.
        **changes: See `lamarck.PBT.of`.

    Raises:
        SettingsError: If a strategy is unknown to this version, or there is nothing to change.
    """
    if _KEY not in started.strategies:
        return PBT.of(started, **changes)
    if changes:
        raise SettingsError(f"got {sorted(changes)}; a run that follows a schedule has nothing that could be given anew")
    return Follower.of(started)
