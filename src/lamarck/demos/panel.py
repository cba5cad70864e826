"""What the pictures of the toy show, as numbers: nothing here draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._student import confidence
from lamarck.demos.toy import START, Toy, Track, tracks
from lamarck.demos.trials import Outcome

__all__ = ["Panel", "contours", "panel"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One case: a single run in full, and where all seeds ended.

    Args:
        name: Name of the case.
        toy: What was trained.
        population: Number of members.
        steps: Steps that each member trained.
        tracks: What everybody did in the run with seed 0.
        ancestry: Those of the tracks that made the weights of that run's best member at the end, from step 0 to the end.
        changes: ``int64[pieces + 1]``: steps at which that ancestry's hyperparameters changed, with 0 and the end.
        rates: ``float64[pieces, 2]``: ``lr h`` between them.
        ready: ``int64[generations + 1]``: steps of the decisions, from 0.
        low: ``float64[generations + 1]``: 5th percentile, over the seeds, of the best member's value.
        high: ``float64[generations + 1]``: 95th percentile.
        ending: Mean of the best member's last value with its 95 % confidence interval: mean, lower, upper.
    """

    name: str
    toy: Toy
    population: int
    steps: int
    tracks: list[Track]
    ancestry: list[Track]
    changes: NDArray[np.int64]
    rates: NDArray[np.float64]
    ready: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    ending: tuple[float, float, float]


def panel(outcome: Outcome) -> Panel:
    """Gathers what a picture of a case needs."""
    case, shown = outcome.case, outcome.shown
    everything = tracks(case.toy, shown)
    best = max(shown.generation(shown.settings.generations - 1), key=lambda record: record.fitness)
    line = {record.key for record in shown.lineage(best.key)}
    schedule = shown.schedule(best.member)
    values = np.column_stack([np.full(len(outcome.values), case.toy.value(np.array(START))), outcome.values])
    low, high = np.percentile(values, [5, 95], axis=0)
    return Panel(
        name=case.name,
        toy=case.toy,
        population=len(case.initial),
        steps=case.steps,
        tracks=everything,
        ancestry=[track for track, record in zip(everything, shown.records, strict=True) if record.key in line],
        changes=np.array([piece.start for piece in schedule] + [schedule.until]),
        rates=np.array([case.toy.rate(piece.hparams) * case.toy.weights(piece.hparams) for piece in schedule]),
        ready=np.arange(values.shape[1]) * case.interval,
        low=low,
        high=high,
        ending=confidence(outcome.best),
    )


def contours(toy: Toy, size: int = 61) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the landscape that the paths cross.

    Args:
        toy: Whose score.
        size: Points on each axis.

    Returns:
        The points of both axes, ``float64[size]``, and the score at each pair, ``float64[size, size]``, the second weight along the rows.
    """
    axis = np.linspace(-0.05, 1.0, size)
    return axis, np.array([[toy.value(np.array([x, y])) for x in axis] for y in axis])
