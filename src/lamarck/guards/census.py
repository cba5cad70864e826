"""What a generation amounts to: the few numbers that guards look at, so that a long run costs them no more than a short one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.population import Record
from lamarck.space import Float, Int, Space

__all__ = ["EDGE", "OVERHEAD", "TRAIN", "Census", "Column", "Zigzag", "census"]

EDGE = 0.01
"""How near to a bound counts as at it, as a share of the range on its scale."""

TRAIN = "seconds.train"
"""Metric that holds how long an interval trained."""

_LONGEST = 1e9
"""Seconds that an interval can take: thirty years."""

OVERHEAD = "seconds."
"""Every other metric that begins like this is time that an interval cost and did not train: saving, restoring, reporting."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One numeric hyperparameter in one generation.

    Args:
        median: Over the members in which it is active.
        upper: Place on the scale, 0 to 1, below which three quarters of them are.
        low: Share of them within `EDGE` of the lower bound.
        high: Share of them within `EDGE` of the upper bound.
    """

    median: float
    upper: float
    low: float
    high: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Zigzag:
    """How much of the change of values is taken back in the generation after.

    Let a member that copied nobody report f0, f1, f2. If a value is quality plus independent noise of variance v, and quality takes
    steps that say nothing about the next one, then Cov(f1 - f0, f2 - f1) = -v: the noise of f1 enters both, with opposite signs, and
    quality enters neither twice (Roll 1984, "A Simple Implicit Measure of the Effective Bid-Ask Spread in an Efficient Market",
    Equation 1). Steady differences in speed between members make the estimate smaller, never larger.

    Who copied nobody was not among the worst, which narrows noise and quality alike. So the noise is compared with the spread of f1 between
    the same members; beside that of all members it would seem too small. The share s = noise / spread is then right where noise is nothing or
    all, and in between too large by at most s (1 - s) (1 / k - 1), where the selection leaves k of the variance of f1: 0.18 for s = 1/2 and the
    loss of the worst fifth, less if quality changes fast.

    Args:
        noise: Sum of ``-(f1 - f0) (f2 - f1)`` over such members, each factor with its mean taken away: of expectation ``v * freedom``.
        spread: Sum of squares of f1, with its mean taken away.
        freedom: Number of such members, less one.
    """

    noise: float = 0.0
    spread: float = 0.0
    freedom: int = 0

    @classmethod
    def of(cls, lines: Sequence[tuple[float, float, float]]) -> Zigzag:
        """Measures the values of three generations in a row.

        Args:
            lines: f0, f1, f2 of each member that copied nobody in between.

        Example:
            >>> Zigzag.of([(0.0, 1.0, 0.0), (0.0, -1.0, 0.0)])
            Zigzag(noise=2.0, spread=2.0, freedom=1)
        """
        if len(lines) < 2:
            return cls()
        values = np.array(lines)
        with np.errstate(over="ignore", invalid="ignore"):
            values -= values.mean(axis=0)
            before, after = np.diff(values, axis=1).T
            noise, spread = float(-before @ after), float(values[:, 1] @ values[:, 1])
        return cls(noise=noise, spread=spread, freedom=len(lines) - 1) if math.isfinite(noise + spread) else cls()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """One generation in which everybody has reported.

    Args:
        generation: Which.
        size: Number of reports.
        copies: How many of the intervals began with another member's weights.
        founders: Number of founders that still have descendants.
        best: Best fitness up to here; ``-inf`` while no value was finite.
        top: Best fitness of this generation; ``-inf`` if no value was finite.
        bottom: Its worst finite fitness; NaN if there is none.
        spread: Variance of the finite values between members; NaN for fewer than two.
        evaluation: Variance of a value as its samples show it (their variance over their number), on average; NaN without samples.
        zigzag: What successive values show of their noise.
        columns: Each numeric hyperparameter.
        train: Seconds of training that were reported, over all members.
        overhead: Seconds of everything else that was reported.
    """

    generation: int
    size: int
    copies: int
    founders: int
    best: float
    top: float
    bottom: float
    spread: float
    evaluation: float
    zigzag: Zigzag
    columns: Mapping[str, Column]
    train: float
    overhead: float


def census(
    records: Sequence[Record],
    metrics: Sequence[Mapping[str, float]],
    space: Space,
    *,
    founders: int,
    best: float,
    zigzag: Zigzag,
) -> Census:
    """Sums up a generation.

    Args:
        records: Its reports, at least one.
        metrics: What each of them said beside the value.
        space: What the hyperparameters mean.
        founders: Number of founders among them.
        best: Best fitness of all generations before.
        zigzag: Noise in the values of its members.
    """
    fitness = np.array([record.fitness for record in records])
    finite = fitness[np.isfinite(fitness)]
    columns = {name: _column(parameter, records, name) for name, parameter in space.items() if isinstance(parameter, Float | Int)}
    return Census(
        generation=records[0].generation,
        size=len(records),
        copies=sum(record.parent is not None and record.parent[0] != record.member for record in records),
        founders=founders,
        best=max(best, float(fitness.max())),
        top=float(fitness.max()),
        bottom=float(finite.min()) if finite.size else math.nan,
        spread=_variance(finite),
        evaluation=_evaluation(records),
        zigzag=zigzag,
        columns={name: column for name, column in columns.items() if column is not None},
        train=_seconds(given.get(TRAIN, 0.0) for given in metrics),
        overhead=_seconds(seconds for given in metrics for name, seconds in given.items() if name.startswith(OVERHEAD) and name != TRAIN),
    )


def _seconds(given: Iterable[float]) -> float:
    """The sum of what can be a time; metrics are the user's, and may be anything."""
    return sum(seconds for seconds in given if 0 <= seconds <= _LONGEST)


def _column(parameter: Float | Int, records: Sequence[Record], name: str) -> Column | None:
    known = [record.hparams[name] for record in records if name in record.hparams]
    # A run can be resumed with another space: what is outside the first one has no place in it.
    active = [value for value in known if isinstance(value, int | float) and parameter.contains(value)]
    if len(active) < 2:
        return None
    values = np.array(active, dtype=np.float64)
    places: NDArray[np.float64] = parameter.to_units(active)  # type: ignore[arg-type]
    return Column(
        median=float(np.median(values)),
        upper=float(np.quantile(places, 0.75)),
        low=float(np.mean((places <= EDGE) | (values == parameter.low))),
        high=float(np.mean((places >= 1 - EDGE) | (values == parameter.high))),
    )


def _evaluation(records: Sequence[Record]) -> float:
    """The variance of the mean of the samples, averaged over the members that gave at least two."""
    found = [_variance(np.array(record.samples)) / len(record.samples) for record in records if record.samples]
    found = [variance for variance in found if math.isfinite(variance)]
    return sum(found) / len(found) if found else math.nan


def _variance(values: NDArray[np.float64]) -> float:
    """The variance, NaN where there is none: of fewer than two values, or of some whose squares are no numbers any more."""
    with np.errstate(over="ignore", invalid="ignore"):
        variance = float(values.var(ddof=1)) if values.size > 1 else math.nan
    return variance if math.isfinite(variance) else math.nan
