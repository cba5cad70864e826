"""Who takes over, and what variety is left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.plots.data.strands import Strands, strands
from lamarck.space import Float, Int

__all__ = ["Takeover", "takeover"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Takeover:
    """The families' shares and the variety of each generation that has reports.

    Args:
        strands: The strands, whose families these are.
        generation: ``int64[G]``.
        share: ``float64[G, F]``; part of the generation's reports that descends from each family's founder; families as in ``strands``.
        effective: ``float64[G]``; effective number of founders, ``1 / sum share**2``: as many equal families would be as concentrated.
        spread: For each numeric hyperparameter ``float64[G]``; its standard deviation in the unit cube relative to that of a uniform draw, NaN
            where fewer than two members have it.
        taken: First generation in which one founder is everybody's ancestor, or ``None``.
    """

    strands: Strands
    generation: NDArray[np.int64]
    share: NDArray[np.float64]
    effective: NDArray[np.float64]
    spread: Mapping[str, NDArray[np.float64]]
    taken: int | None


def takeover(history: History, drawn: Strands | None = None) -> Takeover:
    """Returns who has taken over when.

    Args:
        history: The run.
        drawn: Its strands, if they are at hand.
    """
    drawn = strands(history) if drawn is None else drawn
    generation, row = np.unique(drawn.generation, return_inverse=True)
    rows, families = len(generation), len(drawn.families)
    count = np.bincount(row * families + drawn.family, minlength=rows * families).reshape(rows, families)
    share = count / count.sum(axis=1, keepdims=True)
    numeric = {name: it for name, it in history.space.items() if isinstance(it, Float | Int)}
    full = count.sum(axis=1) >= max(2, history.settings.population_size - len(history.retired))
    alone = generation[full & (count.max(axis=1, initial=0) == count.sum(axis=1))]
    return Takeover(
        strands=drawn,
        generation=generation,
        share=share,
        effective=1 / (share**2).sum(axis=1),
        spread={name: _spread(_unit(history, name, parameter), row, rows) for name, parameter in numeric.items()},
        taken=int(alone[0]) if len(alone) else None,
    )


def _unit(history: History, name: str, parameter: Float | Int) -> NDArray[np.float64]:
    """Places in the unit cube of one hyperparameter, NaN where it is inactive."""
    given = [record.hparams.get(name) for record in history.records]
    active = np.array([value is not None for value in given], dtype=bool)
    unit = np.full(len(given), math.nan)
    unit[active] = parameter.to_units([value for value in given if value is not None])  # type: ignore[misc]
    return unit


def _spread(unit: NDArray[np.float64], row: NDArray[np.intp], rows: int) -> NDArray[np.float64]:
    """Standard deviations by generation, relative to a uniform draw's, in two passes over the whole column."""
    active = ~np.isnan(unit)
    place, row = unit[active], row[active]
    count = np.bincount(row, minlength=rows)
    enough = np.where(count > 1, count, np.nan)
    mean = np.bincount(row, place, minlength=rows) / enough
    deviation = np.bincount(row, (place - mean[row]) ** 2, minlength=rows)
    return np.asarray(np.sqrt(12 * deviation / enough), dtype=np.float64) if rows else np.full(0, math.nan)
