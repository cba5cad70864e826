"""Does every decision in a journal follow from what was known before it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

from lamarck._errors import LamarckError, ReportError, StrategyError
from lamarck.follow import Machine, machine_of
from lamarck.population import Population, apply, risen
from lamarck.types import Assigned, Damaged, Event, Failed, Failure, Reported, Started

__all__ = ["Mismatch", "verify"]


@final
@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first event that does not follow.

    Args:
        sequence: Its number in the journal, from 1.
        found: The event.
        expected: What should stand there, or ``None`` if nothing should.
        why: In words.
    """

    sequence: int
    found: Event
    expected: Event | None
    why: str


def verify(events: Iterable[Event], **changes: Any) -> Mismatch | None:
    """Makes every decision of a journal again and compares.

    Reports and failures are taken as they are; that intervals follow from them, and retirements and the end, is what is checked. A run that was
    resumed with another space or strategy stops following where that begins to matter: the journal does not say that there was a change.

    Args:
        events: A journal, from its first event.
        **changes: Fields of `PBT` that a journal cannot hold: Python functions.

    Returns:
        The first event that does not follow, or ``None`` if all do.

    Raises:
        ReportError: If the journal does not begin with `Started`.
        StrategyError: If a strategy cannot decide, as one whose Python function the journal could not hold.

    Example:
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.simulation import simulate
        >>> from lamarck.types import Settings
        >>> pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=4, interval=1, generations=3))
        >>> verify(simulate(pbt, lambda interval, state: (interval.hparams["h"], None))) is None
        True
    """
    stream = iter(events)
    first = next(stream, None)
    if not isinstance(first, Started):
        raise ReportError("a journal must begin with a 'Started' event")
    pbt, population = machine_of(first, **changes), apply(None, first)
    due: list[Event] = []
    for sequence, event in enumerate(stream, start=2):
        try:
            due = due or list(_expected(pbt, population, event))
            expected = due.pop(0) if due else None
            if event != expected:
                return Mismatch(sequence, event, expected, "another event follows from what was known")
            population = apply(population, event)
        except StrategyError:
            raise
        except LamarckError as error:
            return Mismatch(sequence, event, None, str(error))
    return None


def _expected(pbt: Machine, population: Population, event: Event) -> tuple[Event, ...]:
    """Returns what follows from an input that the machine cannot know, or from the question that an interval answers."""
    member = event.interval.member if isinstance(event, Assigned) else event.member if isinstance(event, Damaged) else 0
    if not 0 <= member < len(population):
        raise ReportError(f"it is about member {member}; this population has members 0 to {len(population) - 1}")
    match event:
        case Reported():
            return pbt.report(population, event.report)
        case Failed():
            return pbt.fail(population, event.failure)
        case Damaged():
            interval = population.members[event.member].interval
            generation = -1 if interval is None else interval.generation
            return pbt.fail(population, Failure(member=event.member, generation=generation, kind="damaged", checkpoint=event.checkpoint))
        case Assigned():
            return pbt.decide(risen(population), event.interval.member)
        case _:
            return ()
