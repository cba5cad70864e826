"""What many members are told, and what they answer, as columns: position i of each belongs to the member in row i."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError, TrainingError
from lamarck.types import Interval

__all__ = ["Intervals", "Scores"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals:
    """The intervals of n members that train together. All of them take the same number of steps.

    Args:
        members: ``int64[n]``; who trains.
        generations: ``int64[n]``; which of each member's intervals it is.
        hparams: Columns of hyperparameters by name: ``float64[n]`` or ``int64[n]`` for numbers, with NaN where a conditional one is not active
            (its column is then ``float64``); ``object[n]`` for anything else, with ``None`` there.
        start: ``int64[n]``; step at which the weights stand. Equal for all, unless somebody had to go back.
        steps: How many steps to train.
        seeds: ``int64[n]``, below 2**32; seed of each member's randomness in this interval.

    Example:
        >>> from lamarck import Interval
        >>> one = Interval(member=3, generation=0, hparams={"lr": 0.1}, start=0, until=5, restore=None, parent=None, seed=7)
        >>> intervals = Intervals.of([one])
        >>> intervals.hparams["lr"], intervals.steps
        (array([0.1]), 5)
    """

    members: NDArray[np.int64]
    generations: NDArray[np.int64]
    hparams: Mapping[str, NDArray[Any]]
    start: NDArray[np.int64]
    steps: int
    seeds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.members)

    @classmethod
    def of(cls, intervals: Sequence[Interval]) -> Intervals:
        """Puts intervals side by side; all must have the same number of steps."""
        return cls(
            members=np.array([it.member for it in intervals], dtype=np.int64),
            generations=np.array([it.generation for it in intervals], dtype=np.int64),
            hparams={name: _column([it.hparams.get(name) for it in intervals]) for name in _names(intervals)},
            start=np.array([it.start for it in intervals], dtype=np.int64),
            steps=intervals[0].until - intervals[0].start,
            seeds=np.array([it.seed for it in intervals], dtype=np.int64),
        )

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Returns the columns of numbers.

        Raises:
            SettingsError: If another column differs from member to member, which one program cannot be told.
        """
        for name, column in self.hparams.items():
            if column.dtype == object and any(value != column[0] for value in column):
                got = ", ".join(dict.fromkeys(map(repr, column)))
                raise SettingsError(
                    f"{name}: got {got}; members of one program can differ in numbers alone. Give it numbers, such as "
                    "lamarck.Categorical([0, 1]), and choose by them; or begin a run for each value; or train each member by itself, by "
                    "engine='processes'"
                )
        return {name: column for name, column in self.hparams.items() if column.dtype != object}

    def constants(self) -> dict[str, Any]:
        """Returns what is no number and the same for all, such as a string."""
        return {name: column[0] for name, column in self.hparams.items() if column.dtype == object}

    def rows(self, rows: NDArray[np.int64]) -> Intervals:
        """Returns the intervals of some rows.

        Args:
            rows: ``int64[m]``.
        """
        return Intervals(
            members=self.members[rows],
            generations=self.generations[rows],
            hparams={name: column[rows] for name, column in self.hparams.items()},
            start=self.start[rows],
            steps=self.steps,
            seeds=self.seeds[rows],
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """How good n members are.

    Args:
        values: ``[n]``; the metric that the population is judged by. NaN and infinity count as the worst there is.
        samples: ``[n, k]``; the single evaluations behind each value, e.g. episode returns, or ``None``.
        metrics: Further numbers to keep, ``[n]`` each.

    Example:
        >>> Scores(values=[0.5, 0.7]).values
        array([0.5, 0.7])
    """

    values: Any
    samples: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 1:
            raise TrainingError(f"values: got the shape {values.shape}; evaluate must return one number for each member")
        samples = None if self.samples is None else np.asarray(self.samples, dtype=np.float64)
        metrics = {name: np.asarray(column, dtype=np.float64) for name, column in self.metrics.items()}
        for name, got in (("samples", samples), *metrics.items()):
            if got is not None and (not got.ndim or len(got) != len(values)):
                raise TrainingError(f"{name}: got the shape {got.shape} for {len(values)} members; its first axis must be the members")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "metrics", metrics)

    def __len__(self) -> int:
        return len(self.values)

    def row(self, i: int) -> dict[str, Any]:
        """Returns what one member reports, as fields of a `lamarck.Report`."""
        return {
            "value": float(self.values[i]),
            "samples": () if self.samples is None else tuple(self.samples[i].ravel().tolist()),
            "metrics": {name: float(column[i]) for name, column in self.metrics.items()},
        }


def _names(intervals: Sequence[Interval]) -> list[str]:
    return list(dict.fromkeys(name for interval in intervals for name in interval.hparams))


def _column(values: list[Any]) -> NDArray[Any]:
    kinds = {type(value) for value in values}
    if kinds <= {int}:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float, type(None)}:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
