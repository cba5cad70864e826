"""The machine that decides: population based training with no clock, no file and no thread.

Theory of operation. A population is a fold over events (`lamarck.population`). This class makes the events, in answer to four things that can
happen, and nobody else does:

==================  =======================================================  ============================================
what happens        question                                                 events
==================  =======================================================  ============================================
the run begins      `PBT.init`                                               Started
a worker is free    `PBT.next`, who is to train; then `PBT.decide`, on what  Assigned, or none if an interval stands
a report comes in   `PBT.report`                                             Reported, and Ended if that was the last word
an interval fails   `PBT.fail`                                               Failed, or Damaged; Assigned or Retired if it
                                                                             is given up; Ended
==================  =======================================================  ============================================

A decision about (member, generation) is made when that interval is handed out, from the reports that are in by then, with a generator keyed by
(seed, member, generation). Nothing else enters it. In a synchronous run (``max_lead=0``) the reports that count are those of the generation
before, which are all in, so the decisions do not depend on the order in which anything arrived.

A member normally goes on from its own last report, or from what the exploit strategy names. If its own weights cannot be gone on from, because
the value was not finite, nothing was saved, the checkpoint is damaged, or the interval failed too often, these are tried in turn: what the
rescue strategy names, the member's newest sound report, and a fresh start with newly drawn hyperparameters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, final

import numpy as np

from lamarck import exploit as exploits
from lamarck import explore as explores
from lamarck._checks import check_strategy
from lamarck._errors import ReportError, SettingsError, StaleReport, StrategyError
from lamarck._kinds import plain
from lamarck._rng import derive_seed, generator
from lamarck.population import Population, Record, apply, reached
from lamarck.space import Space
from lamarck.types import (
    Assigned,
    Damaged,
    Ended,
    Event,
    Exploit,
    Explore,
    Failed,
    Failure,
    HParams,
    Interval,
    Report,
    Reported,
    Retired,
    Settings,
    Source,
    Started,
    Strategy,
)

__all__ = ["PBT"]

_TRIES = 100
"""How often an exploration is repeated until it satisfies the constraints; then the inherited configuration stays."""

_NEVER = np.iinfo(np.int64).max
"""A generation that nobody reaches."""


def _blamed(strategy: Strategy, member: int, error: Exception) -> StrategyError:
    """Puts a strategy's fault at its own door: otherwise it would look like a failure of the training that happened to report."""
    return StrategyError(f"the strategy {strategy.name!r} failed for member {member}: {type(error).__name__}: {error}")


def _plain(hparams: HParams) -> HParams:
    """A configuration without NumPy scalars; what is none is left to the checks."""
    return {name: plain(value) for name, value in hparams.items()} if isinstance(hparams, Mapping) else hparams


@final
@dataclass(frozen=True, kw_only=True)
class PBT:
    """Population based training (Jaderberg et al. 2017, arXiv 1711.09846, Algorithm 1) as a state machine.

    Args:
        space: Hyperparameters to tune.
        settings: Rules that are plain values.
        exploit: Who copies whom. The default replaces the worst fifth by copies from the best fifth (§4.1.1).
        explore: What changes afterwards. The default multiplies each hyperparameter by 0.8 or 1.25, or redraws it one time in four.
        rescue: What a member goes on from when its own weights cannot be gone on from; ``None``: nobody else's.
        initial: Configurations that the first members start with; the rest is drawn.
        stratified: Whether the first population is a Latin hypercube (default: at four members it divides the final loss of a noisy quadratic
            by nine against independent draws) or drawn independently.

    Raises:
        SettingsError: If something is of another kind, or there are more initial configurations than members.
        SpaceError: If an initial configuration is not in the space.

    Example:
        >>> from lamarck import Settings, Space
        >>> from lamarck.population import apply, replay
        >>> from lamarck.space import Float
        >>> pbt = PBT(space=Space(lr=Float(1e-4, 1e-1, log=True)), settings=Settings(population_size=2, interval=10, generations=3))
        >>> population = replay(pbt.init())
        >>> member = pbt.next(population)
        >>> population = replay([*pbt.init(), *pbt.decide(population, member)])
        >>> population.members[0].interval.until
        10
    """

    space: Space
    settings: Settings
    exploit: Exploit = field(default_factory=exploits.Truncation)
    explore: Explore = field(default_factory=explores.PerturbOrResample)
    rescue: Exploit | None = field(default_factory=exploits.Top)
    initial: Sequence[HParams] = ()
    stratified: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.space, Space):
            raise SettingsError(f"space: got {self.space!r}; it must be a lamarck.Space, e.g. Space(lr=Float(1e-5, 0.1, log=True))")
        check_strategy("exploit", self.exploit, Exploit, "lamarck.exploit.Truncation()")
        check_strategy("explore", self.explore, Explore, "lamarck.explore.Perturb()")
        if self.rescue is not None:
            check_strategy("rescue", self.rescue, Exploit, "lamarck.exploit.Top()")
        if len(self.initial) > self.settings.population_size:
            raise SettingsError(
                f"initial: got {len(self.initial)} configurations for a population of {self.settings.population_size}; "
                "give at most one for each member, the rest is drawn"
            )
        object.__setattr__(self, "initial", tuple(map(_plain, self.initial)))
        for hparams in self.initial:
            self.space.validate(hparams)

    # ---- the run begins ----------------------------------------------------------------------------------------------------------------------

    def init(self, info: Mapping[str, Any] | None = None) -> tuple[Event, ...]:
        """Returns the events that begin a run.

        Args:
            info: For people and for resuming: kept in the journal, never looked at by a decision.
        """
        size = self.settings.population_size
        drawn = self.space.sample_population(size, generator(self.settings.seed, -1, 0, "initial"), stratified=self.stratified)
        return (
            Started(
                settings=self.settings,
                space=self.space.to_dict(),
                strategies={
                    "exploit": self.exploit.to_dict(),
                    "explore": self.explore.to_dict(),
                    "rescue": None if self.rescue is None else self.rescue.to_dict(),
                },
                initial=(*map(dict, self.initial), *drawn[len(self.initial) :]),
                info=info or {},
            ),
        )

    @classmethod
    def of(cls, started: Started, **changes: Any) -> PBT:
        """Rebuilds the machine from the first event of a journal.

        Args:
            started: That event.
            **changes: Fields to give anew, for what a journal cannot hold: Python functions among the strategies or constraints.

        Raises:
            SettingsError: If a strategy is unknown to this version, a change is not a field, or the space has other hyperparameters.
        """
        unknown = set(changes) - {f.name for f in fields(cls)}
        if unknown:
            raise SettingsError(f"got {sorted(unknown)}; what can be given anew is {sorted(f.name for f in fields(cls))}")
        rescue = started.strategies.get("rescue")
        made: dict[str, Any] = {
            "exploit": lambda: exploits.from_dict(started.strategies["exploit"]),
            "explore": lambda: explores.from_dict(started.strategies["explore"]),
            "rescue": lambda: None if rescue is None else exploits.from_dict(rescue),
            "space": lambda: Space.from_dict(started.space),
        }
        machine = cls(settings=started.settings, **{name: changes[name] if name in changes else make() for name, make in made.items()})
        before, now = (sorted(space.names) for space in (Space.from_dict(started.space), machine.space))
        if before != now:
            raise SettingsError(f"space: got {now}; the run was begun with {before}, and its members have values for those")
        return machine

    # ---- a worker is free --------------------------------------------------------------------------------------------------------------------

    def next(self, population: Population, held: Collection[int] = (), own: int | None = None) -> int | None:
        """Returns whose turn it is, or ``None`` if nobody can start now.

        Intervals that were handed out and that nobody trains any more, as after a crash, come first. Otherwise it is the lowest (generation,
        id) that ``max_lead`` lets go. Among members of that generation the worker's own comes first, so that with as many workers as members
        each keeps its own and reloads nothing.

        Args:
            population: The state.
            held: Members that are being trained right now.
            own: Member whose weights the asking worker already has.
        """
        settings = self.settings
        if population.ended is not None:
            return None
        generations = population.generations
        if orphans := population.standing.difference(held):
            return min(orphans, key=lambda member: (generations[member], member))
        free = generations
        if held:
            free = generations.copy()
            free[np.fromiter(held, np.intp, len(held))] = _NEVER
        member = int(free.argmin())
        generation = int(free[member])
        if generation >= settings.generations:
            return None
        if settings.max_lead is not None and held and generation - population.floor > settings.max_lead:
            return None
        return own if own is not None and free[own] == generation else member

    def decide(self, population: Population, member: int) -> tuple[Event, ...]:
        """Returns the events that hand a member its next interval: none if one is standing, as after a crash.

        Raises:
            ReportError: If the member has nothing left to do.
            StrategyError: If a strategy answers with something that cannot be carried out.
        """
        state = population.members[member]
        if state.interval is not None:
            return ()
        generation = int(population.generations[member])
        if state.retired or generation >= self.settings.generations:
            raise ReportError(f"member {member} has nothing left to train; ask `next` whose turn it is")
        if generation == 0:
            return (self._assign(member, generation, population.initial[member], None, "start"),)
        last = state.last
        if last is None or not last.sound:
            return (self._recover(population, member, "the last value was not finite" if last and not last.finite else "no sound checkpoint"),)
        rng = generator(self.settings.seed, member, generation, "decide")
        source = self._asked(self.exploit, member, population, rng)
        if source is None:
            return (self._assign(member, generation, last.hparams, last, "carry on"),)
        return (self._follow(population, member, generation, self.exploit, source, rng),)

    @staticmethod
    def _asked(strategy: Exploit, member: int, population: Population, rng: np.random.Generator) -> Source | None:
        try:
            return strategy(member, population, rng)
        except Exception as error:
            raise _blamed(strategy, member, error) from error

    def _follow(
        self, population: Population, member: int, generation: int, strategy: Exploit, source: Source, rng: np.random.Generator
    ) -> Assigned:
        try:
            weights, hparams = population.record(source.weights), population.record(source.hparams).hparams
        except (IndexError, TypeError, ValueError):
            raise StrategyError(
                f"{strategy.name!r} answered {source!r} for member {member}; it must name reports of its cohort or elites"
            ) from None
        if not weights.sound:
            raise StrategyError(
                f"{strategy.name!r} made member {member} copy report {source.weights}, whose weights nobody can go on from "
                f"(value {weights.value}, checkpoint {weights.checkpoint}); choose among `cohort.donor`"
            )
        taken = self._assign(member, generation, hparams, weights, source.reason, hparams_from=list(source.hparams))
        return self._explored(population, taken, rng) if source.explore else taken

    def _explored(self, population: Population, taken: Assigned, rng: np.random.Generator) -> Assigned:
        """Changes the hyperparameters of an interval; the strategy sees the population in which it was handed out as it is."""
        interval = taken.interval
        hparams = self._changed(apply(population, taken), interval.member, interval.hparams, rng)
        return Assigned(interval=replace(interval, hparams=hparams))

    def _changed(self, population: Population, member: int, inherited: HParams, rng: np.random.Generator) -> HParams:
        try:
            for _ in range(_TRIES):
                # A copy, because a strategy may change it in place, and it is the donor's.
                hparams = _plain(self.explore(dict(inherited), member, population, self.space, rng))
                if not isinstance(hparams, Mapping):
                    raise TypeError(f"it returned {hparams!r} and must return the changed hparams")
                if self.space.contains(hparams):
                    return hparams
                hparams = self.space.clip(self.space.activate(hparams, rng))
                if self.space.satisfied(hparams):
                    return hparams
        except Exception as error:
            raise _blamed(self.explore, member, error) from error
        return inherited

    def _assign(
        self,
        member: int,
        generation: int,
        hparams: HParams,
        parent: Record | None,
        reason: str,
        **info: Any,
    ) -> Assigned:
        start = 0 if parent is None else parent.step
        return Assigned(
            interval=Interval(
                member=member,
                generation=generation,
                hparams=hparams,
                start=start,
                until=start + self.settings.interval,
                restore=None if parent is None else parent.checkpoint,
                parent=None if parent is None else parent.key,
                seed=derive_seed(self.settings.seed, member, generation),
                info={"reason": reason, **info},
            )
        )

    def _recover(self, population: Population, member: int, why: str) -> Assigned:
        """Hands out the interval of a member whose own last weights cannot be gone on from."""
        generation = int(population.generations[member])
        state = population.members[member]
        rng = generator(self.settings.seed, member, generation, f"recover {state.failures}")
        last = state.last
        back = next((record for record in reversed(state.records) if record.sound), None)
        if back is not None and last is not None and last.finite and state.failures == 0:
            # Only the saved bytes were lost: nothing speaks against the hyperparameters.
            return self._assign(member, generation, last.hparams, back, f"{why}: back to its own generation {back.generation}")
        if self.rescue is not None and (source := self._asked(self.rescue, member, population, rng)) is not None:
            return self._follow(population, member, generation, self.rescue, replace(source, reason=f"{why}: {source.reason}"), rng)
        if back is not None:
            taken = self._assign(member, generation, back.hparams, back, f"{why}: back to its own generation {back.generation}")
            return self._explored(population, taken, rng)
        return self._assign(member, generation, self.space.sample(rng, initial=True), None, f"{why}: fresh start")

    # ---- a report comes in -------------------------------------------------------------------------------------------------------------------

    def report(self, population: Population, report: Report) -> tuple[Event, ...]:
        """Returns the events that acknowledge a report: none if it came before.

        Raises:
            StaleReport: If the member's current interval is another one.
            ReportError: If there is no such member, or the step is not one that the interval could have reached.
        """
        if report.member >= len(population):
            raise ReportError(f"got a report of member {report.member}; this population has members 0 to {len(population) - 1}")
        state = population.members[report.member]
        interval = state.interval
        done = int(population.generations[report.member])
        if not state.retired and report.generation < done:
            return ()
        if interval is None or interval.generation != report.generation:
            raise StaleReport(
                f"got a report of member {report.member} for generation {report.generation}; "
                + ("it is retired" if state.retired else f"it is at generation {done}" + ("" if interval else ", which is not handed out"))
                + "; throw this work away and ask for the next interval"
            )
        if not interval.start < report.step <= interval.until:
            raise ReportError(
                f"got step {report.step} in the report of member {report.member}, generation {report.generation}; "
                f"its interval runs from {interval.start} to {interval.until}"
            )
        reported = Reported(report=report)
        if population.ended is not None:
            return (reported,)
        if reached(report.value, self.settings):
            return (reported, Ended(reason="target"))
        if report.generation + 1 == self.settings.generations and population.unfinished == 1:
            return (reported, Ended(reason="generations"))
        return (reported,)

    # ---- an interval fails -------------------------------------------------------------------------------------------------------------------

    def fail(self, population: Population, failure: Failure) -> tuple[Event, ...]:
        """Returns the events that answer a failed interval.

        It is handed out again up to ``max_failures`` times, then the member goes on from other weights (see the top of this file), and if that
        fails as often, it is retired. A damaged checkpoint is not held against the member: it goes on from the newest sound one.

        Raises:
            StaleReport: If the member's current interval is another one.
        """
        member = failure.member
        state = population.members[member] if 0 <= member < len(population) else None
        if state is None or state.interval is None or state.interval.generation != failure.generation:
            raise StaleReport(f"got the failure of member {member}, generation {failure.generation}, which is not being trained")
        if failure.kind == "damaged" and failure.checkpoint is not None and failure.checkpoint == state.interval.restore:
            damaged = Damaged(member=member, checkpoint=failure.checkpoint)
            return (damaged, *self.decide(apply(population, damaged), member))
        failed = Failed(failure=failure)
        after = apply(population, failed)
        failures, allowed = after.members[member].failures, self.settings.max_failures + 1
        if failures == 2 * allowed:
            retired = Retired(
                member=member, reason=f"generation {failure.generation} failed {failures} times, the last time: {failure.message}"
            )
            return (failed, retired, *self._without(population, member))
        if failures == allowed:
            return (failed, self._recover(after, member, f"failed {failures} times"))
        return (failed,)

    def _without(self, population: Population, member: int) -> tuple[Ended, ...]:
        """Says whether the run is over now that a member has retired."""
        if population.ended is not None or population.unfinished > 1:
            return ()
        others = any(not state.retired for state in population.members if state.id != member)
        return (Ended(reason="generations" if others else "lost"),)
