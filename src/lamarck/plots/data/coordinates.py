"""The final population in parallel coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.history import History
from lamarck.plots.data.strands import drawable
from lamarck.plots.data.values import window
from lamarck.space import Categorical, Constant, Float, Int, Parameter

__all__ = ["Coordinates", "Scale", "coordinates"]

_CHOICES = 12
"""Choices of a categorical up to which each has a mark."""


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """One upright axis.

    Args:
        name: What it shows.
        marks: (place from 0 to 1, label), from below.
    """

    name: str
    marks: tuple[tuple[float, str], ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coordinates:
    """The newest configuration of each member that has not retired, and its value.

    Args:
        scales: The axes: each hyperparameter that varies, then the value.
        member: ``int64[N]``; best first, so that values that are not finite come last.
        place: ``float64[N, D]``; place on each axis, from 0 to 1; NaN where a hyperparameter is inactive or the value is not finite.
    """

    scales: tuple[Scale, ...]
    member: NDArray[np.int64]
    place: NDArray[np.float64]


def coordinates(history: History) -> Coordinates:
    """Returns the newest population as lines across the axes of its hyperparameters."""
    newest = {record.member: record for record in history.records if record.member not in history.retired}
    records = sorted(newest.values(), key=lambda record: (-record.fitness, record.member))
    space = history.space
    varying = [column for column, name in enumerate(space.names) if not isinstance(space[name], Constant)]
    unit = space.to_unit([record.hparams for record in records]).reshape(len(records), len(space.names))
    value = drawable([record.value for record in records])
    low, high = window(value)
    height = np.clip((value - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(value), math.nan, 0.5)
    digits = next((digits for digits in range(4, 17) if f"{low:.{digits}g}" != f"{high:.{digits}g}"), 17)
    marks = ((0.0, f"{low:.{digits}g}"), (1.0, f"{high:.{digits}g}")) if high > low else ((0.5, f"{low:.4g}"),)
    scales = [Scale(space.names[column], _marks(space[space.names[column]])) for column in varying]
    return Coordinates(
        scales=(*scales, Scale("value", marks)),
        member=np.array([record.member for record in records], dtype=np.int64),
        place=np.column_stack([unit[:, varying], height]),
    )


def _marks(parameter: Parameter) -> tuple[tuple[float, str], ...]:
    match parameter:
        case Categorical() if len(parameter.choices) <= _CHOICES:
            return tuple((parameter.to_unit(choice), str(choice)) for choice in parameter.choices)
        case Float():
            return tuple((parameter.to_unit(number), f"{number:.3g}") for number in _round(parameter.low, parameter.high, log=parameter.log))
        case Int():
            numbers = _round(float(parameter.low), float(parameter.high), log=parameter.log)
            return tuple((parameter.to_unit(int(number)), f"{int(number):,}") for number in numbers if number.is_integer())
        case _:
            return ()


def _round(low: float, high: float, *, log: bool) -> list[float]:
    """The two ends, and between them powers of ten if there are any, else the middle."""
    if not log:
        return [low, (low + high) / 2, high]
    powers = [10.0**power for power in range(math.ceil(math.log10(low) + 0.3), math.floor(math.log10(high) - 0.3) + 1)]
    every = -(-len(powers) // 5) if powers else 1
    return [low, *powers[::every], high]
