"""The way through the plane of two numbers: two weights of a toy, two metrics, or a hyperparameter and the value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError
from lamarck.history import History
from lamarck.plots.data.strands import Strands, drawable, own_last, strands
from lamarck.plots.data.values import window
from lamarck.space import Float, Int

__all__ = ["Paths", "default_names", "paths"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Where every report lies in the plane, and how the weights came there.

    Args:
        strands: Each goes from ``before`` to ``point``.
        names: What the two axes show.
        log: Whether each axis is logarithmic.
        window: Lower and upper end of each axis: all of a hyperparameter, and of a metric what `window` leaves.
        point: ``float64[R, 2]``; NaN where one of the two was not reported or not finite.
        before: ``float64[R, 2]``; the parent's point, NaN for a founder.
        copies: ``int64[C]``; the strands that began with another member's weights.
        left: ``float64[C, 2]``; the copier's own last point, which it left for the donor's; NaN if it had none.
    """

    strands: Strands
    names: tuple[str, str]
    log: tuple[bool, bool]
    window: tuple[tuple[float, float], tuple[float, float]]
    point: NDArray[np.float64]
    before: NDArray[np.float64]
    copies: NDArray[np.int64]
    left: NDArray[np.float64]


def default_names(history: History) -> tuple[str, str] | None:
    """Returns the first two metrics of a run, else its first numeric hyperparameter and the value, or ``None`` if it has neither.

    Metrics come in the order of their names.
    """
    metrics = _metrics(history)
    if len(metrics) > 1:
        return metrics[0], metrics[1]
    numeric = _numeric(history)
    return (next(iter(numeric)), "value") if numeric else None


def paths(history: History, x: str | None = None, y: str | None = None, drawn: Strands | None = None) -> Paths:
    """Returns the way of everybody's weights through a plane.

    Args:
        history: The run.
        x: Name of a reported metric, of a numeric hyperparameter, or ``"value"``; by default see `default_names`.
        y: Likewise.
        drawn: The run's strands, if they are at hand.

    Raises:
        SettingsError: If a name is unknown, or nothing can be chosen by default.
    """
    default = default_names(history)
    if default is None and (x is None or y is None):
        raise SettingsError("this run reports no two metrics and has no numeric hyperparameter: there is no plane to draw a path in")
    names = (x or (default or ("", ""))[0], y or (default or ("", ""))[1])
    (across, across_log), (up, up_log) = (_column(history, name) for name in names)
    drawn = strands(history) if drawn is None else drawn
    point = np.stack([across, up], axis=1)
    point[~np.isfinite(point).all(axis=1)] = math.nan
    begun = drawn.parent >= 0
    before = np.full_like(point, math.nan)
    before[begun] = point[drawn.parent[begun]]
    own = own_last(drawn)
    copies = np.flatnonzero(begun & (drawn.member[drawn.parent] != drawn.member)) if len(drawn) else np.zeros(0, dtype=np.int64)
    left = np.full((len(copies), 2), math.nan)
    had = own[copies] >= 0
    left[had] = point[own[copies][had]]
    numeric = _numeric(history)
    ends = [_ends(column) if name in numeric else window(column) for name, column in zip(names, point.T, strict=True)]
    return Paths(
        strands=drawn,
        names=names,
        log=(across_log, up_log),
        window=(ends[0], ends[1]),
        point=point,
        before=before,
        copies=copies,
        left=left,
    )


def _ends(column: NDArray[np.float64]) -> tuple[float, float]:
    known = column[~np.isnan(column)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _metrics(history: History) -> list[str]:
    return sorted({name for record in history.records for name in record.metrics})


def _numeric(history: History) -> dict[str, bool]:
    """Numeric hyperparameters that vary, and whether their scale is logarithmic."""
    space = history.space
    return {name: parameter.log for name, parameter in space.items() if isinstance(parameter, Float | Int)}


def _column(history: History, name: str) -> tuple[NDArray[np.float64], bool]:
    metrics, numeric = _metrics(history), _numeric(history)
    if name == "value":
        return drawable([record.value for record in history.records]), False
    if name in metrics:
        return drawable([record.metrics.get(name, math.nan) for record in history.records]), False
    if name in numeric:
        given = (record.hparams.get(name) for record in history.records)
        return np.array([math.nan if value is None else float(value) for value in given], dtype=np.float64), numeric[name]
    known = ", ".join(repr(other) for other in ["value", *metrics, *numeric])
    raise SettingsError(f"got {name!r}; a path can be drawn through {known}")
