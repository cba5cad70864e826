"""A report as the population keeps it: with what it was trained from, and as a fitness, where higher is always better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lamarck._quick import quick
from lamarck.types import HParams, Interval, Key, Report, Settings

__all__ = ["TRAIL", "Record", "fitness_of", "kept"]

TRAIL = 64
"""Past fitnesses that a record carries along its lineage: the most that a test over the last k values can look at."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An acknowledged report together with what it was trained from.

    Args:
        member: Who reported.
        generation: For which interval.
        start: Step at which the interval began.
        step: Step reached.
        value: The metric as reported.
        fitness: Higher is better; ``-inf`` for a value that is not finite.
        checkpoint: What was evaluated, or ``None`` if nothing was saved or it is damaged.
        hparams: What was trained with.
        parent: Report that the weights came from.
        samples: The single evaluations behind the value.
        metrics: Further numbers of the report; decisions do not look at them.
        trail: Fitnesses of these weights and their ancestors, oldest first, this one last; at most `TRAIL`.
    """

    member: int
    generation: int
    step: int
    value: float
    fitness: float
    checkpoint: str | None
    hparams: HParams
    parent: Key | None
    start: int = 0
    samples: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    trail: tuple[float, ...] = ()

    @classmethod
    def of(cls, report: Report, interval: Interval, settings: Settings, before: tuple[float, ...] | None = None) -> Record:
        """Joins a report and its interval, and turns the value into a fitness.

        Args:
            report: What was reported.
            interval: What it answers.
            settings: The rules of the run; the mode gives the sign.
            before: Trail of the weights that the interval began with; ``None`` for a record without a trail.
        """
        fitness = fitness_of(report.value, settings)
        return cls(
            member=report.member,
            generation=report.generation,
            start=interval.start,
            step=report.step,
            value=report.value,
            fitness=fitness,
            checkpoint=report.checkpoint,
            hparams=interval.hparams,
            parent=interval.parent,
            samples=report.samples,
            metrics=report.metrics,
            trail=() if before is None else (*before[1 - TRAIL :], fitness),
        )

    @property
    def key(self) -> Key:
        """(member, generation)."""
        return (self.member, self.generation)

    @property
    def finite(self) -> bool:
        """Whether the value was a number that can be compared."""
        return self.fitness != -math.inf

    @property
    def sound(self) -> bool:
        """Whether somebody may go on from these weights."""
        return self.fitness != -math.inf and self.checkpoint is not None


def fitness_of(value: float, settings: Settings) -> float:
    """Returns a value as decisions see it, higher is better: the one place that knows signs and what is not finite.

    Example:
        >>> import math
        >>> from lamarck import Settings
        >>> settings = Settings(population_size=1, interval=1, generations=1, mode="min")
        >>> fitness_of(0.5, settings), fitness_of(math.nan, settings)
        (-0.5, -inf)
    """
    if not math.isfinite(value):
        return -math.inf
    return value if settings.mode == "max" else -value


def kept(records: tuple[Record, ...], age: int, durable_every: int) -> tuple[Record, ...]:
    """Returns a member's records without those that no decision can name any more.

    The slowest member decides at ``age``: it looks at the newest record up to there, everybody else at newer ones. One sound record before
    those stays as well, to fall back on when the newest turns out to be damaged: one whose checkpoint was flushed to the disk, so that a power
    cut cannot have damaged it, too.
    """
    newest = len(records) - 1
    while newest > 0 and records[newest].generation > age:
        newest -= 1
    spare: tuple[Record, ...] = ()
    for i in range(newest - 1, -1, -1):
        if records[i].sound:
            spare = spare or (records[i],)
            if (records[i].generation + 1) % durable_every == 0:
                spare = (records[i],)
                break
    return (*spare, *records[newest:])
