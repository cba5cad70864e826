"""Values over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.plots.data.strands import Strands, strands

__all__ = ["Band", "Values", "values", "window"]


_PLATEAU = 300
"""Times the width of the middle that the rise of the best is shown in full: a long plateau does not cut off how it was reached."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """What the middle of the population reports, by generation.

    Where a population has gone back to older weights, what it made of them stands in the place of the generations that it gave up.

    Args:
        step: ``float64[G]``; median step of the generation's reports, rising.
        low: ``float64[G]``; 10 % quantile of its finite values; generations without one are left out.
        middle: ``float64[G]``; median.
        high: ``float64[G]``; 90 % quantile.
    """

    step: NDArray[np.float64]
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Values:
    """Values over time.

    Args:
        strands: Each goes from (start, before) to (until, value).
        band: The middle four fifths of each generation.
        best: ``float64[K, 2]``; (step, value) at each corner of the staircase of the best value so far, and at its end.
        window: Lower and upper end of an axis that is not ruined by a few runaway values.
        shown: ``bool[R]``; whether the value is finite and within the window.
        mode: ``"max"`` or ``"min"``.
    """

    strands: Strands
    band: Band
    best: NDArray[np.float64]
    window: tuple[float, float]
    shown: NDArray[np.bool_]
    mode: str


def values(history: History, drawn: Strands | None = None) -> Values:
    """Returns the values of a run over time, with the best so far.

    Args:
        history: The run.
        drawn: Its strands, if they are at hand.
    """
    drawn = strands(history) if drawn is None else drawn
    sign = 1.0 if history.settings.mode == "max" else -1.0
    known = np.flatnonzero(~np.isnan(drawn.value))
    order = known[np.argsort(drawn.until[known], kind="stable")]
    steps, fitness = drawn.until[order], np.maximum.accumulate(sign * drawn.value[order])
    whole = np.append(steps[1:] > steps[:-1], np.ones(len(steps[-1:]), dtype=bool))  # the last report of each step
    steps, fitness = steps[whole], fitness[whole]
    corner = np.diff(fitness, prepend=-math.inf) > 0
    corner[-1:] = True
    corners = np.stack([steps[corner], sign * fitness[corner]], axis=1)
    low, high = window(drawn.value)
    begin, end = np.sort(corners[[0, -1], 1]) if len(corners) else (low, high)
    if end - begin <= _PLATEAU * (high - low):
        low, high = min(low, float(begin)), max(high, float(end))
    shown = (drawn.value >= low) & (drawn.value <= high)
    return Values(strands=drawn, band=_band(drawn), best=corners, window=(low, high), shown=shown, mode=history.settings.mode)


def _band(drawn: Strands) -> Band:
    known = np.flatnonzero(~np.isnan(drawn.value))
    order = known[np.argsort(drawn.generation[known], kind="stable")]
    cuts = np.flatnonzero(np.diff(drawn.generation[order])) + 1
    groups = [group for group in np.split(order, cuts) if len(group)]
    quantiles = np.array([np.quantile(drawn.value[group], (0.1, 0.5, 0.9)) for group in groups]).reshape(-1, 3)
    step = np.array([np.median(drawn.until[group]) for group in groups], dtype=np.float64)
    later = np.minimum.accumulate(np.append(step[1:], math.inf)[::-1])[::-1]
    step, (low, middle, high) = step[step < later], quantiles[step < later].T
    return Band(step=step, low=low, middle=middle, high=high)


def window(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the ends of an axis for numbers of which a few may have run away.

    The axis covers all of them, unless that is more than thirty times what the middle seven tenths cover; then it covers those, and of the
    others what is no further away from them than three times their width. Learning curves, steep as they may begin, are not cut off by this.

    Args:
        numbers: ``float64[R]``; NaN counts for nothing.

    Example:
        >>> import numpy as np
        >>> window(np.array([1.0, 2.0, 3.0]))
        (1.0, 3.0)
        >>> window(np.array([*range(99), 120.0, 1e9]))
        (0.0, 120.0)
    """
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    least, most = (float(q) for q in np.quantile(known, [0.15, 0.85]))
    middle = most - least
    if middle > 0 and high - low > 30 * middle:
        near = known[(known >= least - 3 * middle) & (known <= most + 3 * middle)]
        return float(near.min()), float(near.max())
    return low, high
