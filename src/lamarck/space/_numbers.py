"""What `Float` and `Int` have in common: their arguments, their columns and how they are written down."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError
from lamarck.space.parameter import Parameter, checked_sd, refused

if TYPE_CHECKING:
    from lamarck.space.real import Float
    from lamarck.space.whole import Int

__all__ = ["as_float", "check_range", "checked_init", "column", "number", "plain", "shifted"]

_LARGEST_SHIFT = 700.0  # its exponential is about the largest double


def as_float(value: Any) -> float:
    """A number in double precision; NaN for everything that is none, or too large to be one."""
    if type(value) is float:
        return value
    try:
        return float(value) if isinstance(value, (float, int, numbers.Real)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


def number(parameter: Parameter, value: Any) -> float:
    """A number that can be brought into a range."""
    x = as_float(value)
    if math.isnan(x):
        raise refused(parameter, value)
    return x


def shifted(parameter: Float | Int, value: Any, sd: float, rng: np.random.Generator) -> float:
    """A number plus Gaussian noise on its scale; exactly the number if there is none."""
    x, shift = number(parameter, value), checked_sd(sd) * rng.standard_normal()
    return x * math.exp(min(shift, _LARGEST_SHIFT)) if parameter.log else x + shift


def check_range(parameter: Float | Int, low: float, high: float) -> None:
    """Refuses a range that cannot be, and settings that are none."""
    if low >= high:
        raise SpaceError(f"got low={low!r} and high={high!r}; low must be below high; use Constant for a single value")
    if not isinstance(parameter.log, bool):
        raise SpaceError(f"log: got {parameter.log!r}; it must be True or False")
    if parameter.log and low <= 0:
        raise SpaceError(f"got log=True with low={low!r}; a logarithmic scale needs low above 0; raise low or drop log=True")
    if parameter.log and math.log(low) == math.log(high):
        raise SpaceError(f"got log=True with low={low!r} and high={high!r}, which have the same logarithm; use a wider range or drop log=True")
    if parameter.bounds not in ("reflect", "clip"):
        raise SpaceError(f"bounds: got {parameter.bounds!r}; it must be 'reflect' or 'clip'")


def checked_init(parameter: Float | Int, low: float, high: float, checked: Any) -> Any:
    """The initial range as a pair of checked numbers, or ``None``."""
    init: Any = parameter.init
    if init is None:
        return None
    if not isinstance(init, (list, tuple)) or len(init) != 2:
        raise SpaceError(f"init: got {init!r}; it must be the pair (low, high) of the range to start from")
    first, last = (checked("init", value) for value in init)
    if not low <= first <= last <= high:
        raise SpaceError(f"init: got {init!r}; it must lie within the bounds {low!r} to {high!r}, lower end first")
    return (first, last)


def column(parameter: Float | Int, values: Sequence[Any]) -> NDArray[np.float64]:
    """Allowed values as ``float64[N]``."""
    for value in values:
        if not parameter.contains(value):
            raise refused(parameter, value)
    return np.fromiter(values, np.float64, len(values))


def plain(parameter: Float | Int) -> dict[str, Any]:
    """The parameter in plain JSON values, without what is default."""
    fields: dict[str, Any] = {"type": parameter.kind, "low": parameter.low, "high": parameter.high}
    if parameter.log:
        fields["log"] = True
    if parameter.init is not None:
        fields["init"] = list(parameter.init)
    if parameter.bounds != "reflect":
        fields["bounds"] = parameter.bounds
    if parameter.when is not None:
        fields["when"] = {name: list(values) for name, values in parameter.when.items()}
    return fields
