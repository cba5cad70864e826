"""Populations to try a strategy on: made by hand for golden values, or generated in great variety for the Laws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from lamarck._rng import generator
from lamarck.population import Population, apply, replay
from lamarck.types import (
    Assigned,
    Damaged,
    Event,
    HParams,
    Interval,
    Key,
    Report,
    Reported,
    Retired,
    Settings,
    Started,
)

__all__ = ["generated", "mirrored", "population", "state"]

_ELITES = 3
"""Of the best reports, how many can be gone back to."""


def population(
    values: Sequence[Sequence[float]],
    *,
    mode: Literal["max", "min"] = "max",
    compare: Literal["age", "latest"] = "age",
    seed: int = 0,
    hparams: Sequence[HParams] = (),
    unsaved: Collection[Key] = (),
    samples: Mapping[Key, Sequence[float]] | None = None,
    parents: Mapping[Key, Key] | None = None,
    elites: int = 1,
) -> Population:
    """Returns the population in which the members have reported given values.

    Args:
        values: ``values[i][g]`` is what member i reported for generation g; the members may be of different ages.
        mode: Whether higher or lower values are better.
        compare: Whom a member is compared with; see `Settings`.
        seed: Seed of the run, which decides the order of exact ties.
        hparams: Configuration of each member; none by default.
        unsaved: Keys (member, generation) of reports without a checkpoint.
        samples: Single evaluations of a report, by its key.
        parents: Report that an interval began from, by the interval's key; by default the member's own of the generation before.
        elites: How many of the best reports are kept to go back to.

    Example:
        >>> two = population([[0.1, 0.3], [0.2]])
        >>> two.cohort(0).fitness.tolist(), two.cohort(1).fitness.tolist()
        ([0.3, 0.2], [0.1, 0.2])
    """
    settings = Settings(population_size=len(values), interval=1, generations=1000, mode=mode, compare=compare, seed=seed)
    initial = tuple(hparams) or ({},) * len(values)
    events: list[Event] = [Started(settings=settings, space={}, strategies={"exploit": {"elites": elites}}, initial=initial)]
    for generation in range(max(map(len, values))):
        for member in (i for i, reported in enumerate(values) if generation < len(reported)):
            key = (member, generation)
            parent = (parents or {}).get(key, (member, generation - 1) if generation else None)
            events += _interval(
                key,
                parent,
                initial[member],
                value=values[member][generation],
                checkpoint=None if key in unsaved else f"{member}-{generation}",
                samples=tuple((samples or {}).get(key, ())),
            )
    return state(events)


def state(events: Sequence[Event]) -> Population:
    """Returns the population that a journal stands for; the journal must have begun."""
    folded = replay(events)
    assert folded is not None, "an empty journal is no population"
    return folded


def mirrored(events: Sequence[Event]) -> list[Event]:
    """Returns the same journal told the other way up: every number negated, and ``mode`` exchanged, so that nothing that matters changes.

    Example:
        >>> [down.cohort(0).fitness.tolist() for down in map(state, map(mirrored, generated(1, seed=4)))] == [
        ...     up.cohort(0).fitness.tolist() for up in map(state, generated(1, seed=4))
        ... ]
        True
    """
    return [_flipped(event) for event in events]


def _flipped(event: Event) -> Event:
    match event:
        case Started():
            flipped = dataclasses.replace(event.settings, mode="min" if event.settings.mode == "max" else "max")
            return dataclasses.replace(event, settings=flipped)
        case Reported():
            report = event.report
            return Reported(report=dataclasses.replace(report, value=-report.value, samples=tuple(-x for x in report.samples)))
    return event


@lru_cache(maxsize=8)
def generated(count: int, *, seed: int = 0) -> tuple[tuple[Event, ...], ...]:
    """Returns journals of small runs in every condition that a run can be in.

    Between them they have one member to nine, both modes and both ways to compare, synchronous and wildly asynchronous histories, exact ties,
    values that are not finite, reports without a checkpoint or with samples, copies, returns to one of the best three reports there were,
    damaged checkpoints and retired members.

    Args:
        count: How many.
        seed: Other journals for another one.
    """
    return tuple(tuple(_journal(generator(seed, -1, i, "journal"))) for i in range(count))


def _journal(rng: np.random.Generator) -> Iterator[Event]:
    size = int(rng.integers(1, 10))
    settings = Settings(
        population_size=size,
        interval=1,
        generations=1000,
        mode="max" if rng.random() < 0.5 else "min",
        compare="age" if rng.random() < 0.5 else "latest",
        seed=int(rng.integers(1000)),
    )
    lead = (0, 1, 1000)[rng.integers(3)]
    # Whether values come from few levels, so that ties are common; and how often something goes wrong.
    tied, trouble = rng.random() < 0.5, (0.0, 0.1, 0.5)[rng.integers(3)]
    hparams = tuple({"lr": 0.1 * (i + 1)} for i in range(size))
    started = Started(settings=settings, space={}, strategies={"exploit": {"elites": _ELITES}}, initial=hparams)
    yield started
    now = apply(None, started)
    for _ in range(int(rng.integers(0, 5 * size))):
        for event in _turn(now, rng, lead, tied, trouble):
            yield event
            now = apply(now, event)


def _turn(now: Population, rng: np.random.Generator, lead: int, tied: bool, trouble: float) -> Sequence[Event]:
    """One member's next interval and how it ends."""
    ready = [m for m in now.members if not m.retired and now.generations[m.id] <= now.floor + lead]
    if not ready:
        return ()
    member = ready[rng.integers(len(ready))]
    if rng.random() < trouble / 20:
        return (Retired(member=member.id, reason="failed for good"),)
    cohort, last = now.cohort(member.id), member.last
    parent = last.key if last is not None and last.sound else None
    donors = [*map(cohort.key, np.flatnonzero(cohort.donor).tolist()), *(elite.key for elite in now.elites(member.id))]
    if donors and rng.random() < 0.2:
        parent = donors[rng.integers(len(donors))]
    if parent is not None and rng.random() < trouble / 10:
        return (Damaged(member=member.id, checkpoint=str(now.record(parent).checkpoint)),)
    key = (member.id, int(now.generations[member.id]))
    value = float(rng.integers(3)) if tied else float(rng.normal())
    if rng.random() < trouble:
        value = (math.nan, math.inf, -math.inf)[rng.integers(3)]
    return _interval(
        key,
        parent,
        now.initial[member.id],
        value=value,
        checkpoint=None if rng.random() < trouble else f"{key[0]}-{key[1]}",
        samples=tuple(rng.normal(value, 1.0, rng.integers(6)).tolist()) if math.isfinite(value) else (),
    )


def _interval(key: Key, parent: Key | None, hparams: HParams, **report: Any) -> tuple[Event, Event]:
    """An interval that is handed out and reported."""
    member, generation = key
    interval = Interval(
        member=member,
        generation=generation,
        hparams=hparams,
        start=generation,
        until=generation + 1,
        restore=None if parent is None else f"{parent[0]}-{parent[1]}",
        parent=parent,
        seed=0,
    )
    return Assigned(interval=interval), Reported(report=Report(member=member, generation=generation, step=generation + 1, **report))
