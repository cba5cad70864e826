"""Hyperparameters over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.space import Categorical, Constant, Float, Int

__all__ = ["Panel", "panels"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One hyperparameter over time.

    Args:
        name: Its name.
        place: ``float64[R]``; its value during each strand, NaN where it was inactive. Of a categorical the index of the choice, with a
            small offset for each member, so that equal choices do not hide each other.
        low: Lowest allowed place.
        high: Highest allowed place.
        log: Whether the scale is logarithmic.
        whole: Whether only whole numbers are allowed.
        choices: Labels of the places 0, 1, ... of a categorical; empty for numbers.
    """

    name: str
    place: NDArray[np.float64]
    low: float
    high: float
    log: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()


def panels(history: History) -> tuple[Panel, ...]:
    """Returns each hyperparameter over time, in the order of the space; constants are left out."""
    space = history.space
    size = history.settings.population_size
    offsets = np.array([record.member for record in history.records]) / max(1, size - 1) - 0.5
    made = []
    for name, parameter in space.items():
        given = [record.hparams.get(name) for record in history.records]
        match parameter:
            case Float() | Int():
                place = np.array([math.nan if value is None else float(value) for value in given], dtype=np.float64)
                low, high, whole = float(parameter.low), float(parameter.high), isinstance(parameter, Int)
                made.append(Panel(name=name, place=place, low=low, high=high, log=parameter.log, whole=whole))
            case Categorical():
                active = [name in record.hparams for record in history.records]
                index = [list(parameter.choices).index(value) if there else math.nan for there, value in zip(active, given, strict=True)]
                place = np.array(index, dtype=np.float64) + 0.6 * offsets
                labels = tuple(map(str, parameter.choices))
                made.append(Panel(name=name, place=place, low=-0.5, high=len(labels) - 0.5, choices=labels))
            case _:
                assert isinstance(parameter, Constant)
    return tuple(made)
