"""Whole numbers: `Int`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError
from lamarck.space._axis import Axis
from lamarck.space._numbers import check_range, checked_init, column, number, plain, shifted
from lamarck.space.parameter import Parameter, checked_condition, checked_factor, checked_place, checked_places, refused

__all__ = ["Int"]

_LARGEST = 2**40  # the logarithms of neighbours must stay apart in double precision


@final
@dataclass(frozen=True, slots=True, repr=False)
class Int(Parameter):
    """A whole number, each equally likely, or roughly in proportion to its reciprocal on a logarithmic scale.

    The number k owns the cell from k - 1/2 to k + 1/2 of the scale; whatever falls into a cell is rounded to its number.

    Args:
        low: Lower bound, allowed itself.
        high: Upper bound, allowed itself; above ``low``.
        log: Whether the scale is logarithmic, which needs ``low`` above 0.
        init: Range ``(low, high)`` within the bounds, ends included, from which the first population is drawn. ``None``, the default, is all of
            it.
        bounds: What happens to a number outside: ``"reflect"``, the default, mirrors it at the outermost cell's edge on the scale; ``"clip"``
            moves it to the bound.
        when: Condition; see `Parameter`.

    Raises:
        SpaceError: If a bound is not a whole number of at most 2**40 in size, ``low >= high``, ``log`` with ``low <= 0``, or ``init`` out of
            range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> layers = Int(1, 8)
        >>> layers.from_unit(0.0), layers.from_unit(0.5), layers.from_unit(1.0)
        (1, 5, 8)
        >>> layers.perturb(2, 1.2, rng), layers.perturb(1, 0.8, rng)  # never stuck, turned inward at a bound
        (3, 2)
    """

    kind: ClassVar[str] = "int"

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    init: tuple[int, int] | None = None
    bounds: Literal["reflect", "clip"] = "reflect"
    when: Mapping[str, Any] | None = field(default=None, hash=False)
    _axis: Axis = field(init=False, compare=False)
    _first: Axis = field(init=False, compare=False)

    def __post_init__(self) -> None:
        low, high = (_checked_int(name, getattr(self, name)) for name in ("low", "high"))
        check_range(self, low, high)
        init = checked_init(self, low, high, _checked_int)
        first, last = init or (low, high)
        condition = checked_condition(self.when)
        axes = {"_axis": Axis(low - 0.5, high + 0.5, self.log), "_first": Axis(first - 0.5, last + 0.5, self.log)}
        for name, value in ({"low": low, "high": high, "init": init, "when": condition} | axes).items():
            object.__setattr__(self, name, value)

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        return f"a whole number from {self.low} to {self.high}"

    def contains(self, value: object) -> bool:
        """Returns whether a value is an ``int`` within the bounds; a ``bool`` is not."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def clip(self, value: Any) -> int:
        """Returns a number rounded and brought into the range by the bounds rule.

        Raises:
            SpaceError: If the value is NaN or not a number.

        Example:
            >>> Int(1, 8).clip(2.6), Int(1, 8).clip(10), Int(1, 8, bounds="clip").clip(10)
            (3, 7, 8)
        """
        t = self._axis.coordinate(number(self, value))
        inside = self._axis.back(self._axis.reflect(t) if self.bounds == "reflect" else t)
        return min(max(_rounded(inside), self.low), self.high)

    def to_unit(self, value: int) -> float:
        """Returns the centre of the number's cell on the scale, 0 to 1.

        Raises:
            SpaceError: If the number is not allowed.
        """
        if not self.contains(value):
            raise refused(self, value)
        return (self._axis.fraction(value - 0.5) + self._axis.fraction(value + 0.5)) / 2

    def from_unit(self, u: float, *, initial: bool = False) -> int:
        """Returns the number whose cell covers a place on the scale.

        Args:
            u: Place, 0 to 1.
            initial: Whether the scale runs over the initial range.

        Raises:
            SpaceError: If the place lies outside.
        """
        low, high = self.init if initial and self.init else (self.low, self.high)
        return min(max(_rounded((self._first if initial else self._axis).at(checked_place(u))), low), high)

    def perturb(self, value: int, factor: float, rng: np.random.Generator) -> int:
        """Returns the number times the factor, rounded and brought into the range, and in any case another number.

        What rounding would leave in place moves by 1 in the direction of the factor, or the other way at a bound; 0 has no direction of its own
        and goes up for a factor above 1.

        Args:
            value: An allowed number.
            factor: Finite, above 0; 1 stays.
            rng: Not used.

        Raises:
            SpaceError: If the factor is not a positive finite number.
        """
        moved = self.clip(value * checked_factor(factor))
        if moved != value or factor == 1:
            return moved
        step = 1 if (factor > 1) == (value >= 0) else -1
        return value + step if self.low <= value + step <= self.high else value - step

    def noise(self, value: int, sd: float, rng: np.random.Generator) -> int:
        """Returns the number plus Gaussian noise, rounded and brought into the range; a small ``sd`` often leaves it in place.

        Args:
            value: An allowed number.
            sd: Standard deviation, at least 0: in whole numbers, or in natural-log units on a logarithmic scale.
            rng: Source of the noise; one number is taken.

        Raises:
            SpaceError: If ``sd`` is negative or not finite, or the value is not a number.
        """
        return self.clip(shifted(self, value, sd, rng))

    def to_units(self, values: Sequence[int]) -> NDArray[np.float64]:
        """Does `to_unit` for N numbers: ``float64[N]``."""
        centres = column(self, values)
        return (self._axis.fraction_all(centres - 0.5) + self._axis.fraction_all(centres + 0.5)) / 2

    def from_units(self, u: NDArray[np.float64]) -> list[int]:
        """Does `from_unit` for ``float64[N]``."""
        values: list[int] = np.clip(np.floor(self._axis.at_all(checked_places(u)) + 0.5), self.low, self.high).astype(np.int64).tolist()
        return values

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values.

        Example:
            >>> Int(1, 8).to_dict()
            {'type': 'int', 'low': 1, 'high': 8}
        """
        return plain(self)


def _rounded(x: float) -> int:
    return math.floor(x + 0.5)  # round() would send half of all halves the other way


def _checked_int(name: str, value: Any) -> int:
    size: Any = abs(value) if not isinstance(value, bool) and isinstance(value, numbers.Integral) else math.inf
    if size > _LARGEST:
        raise SpaceError(f"{name}: got {value!r}; it must be a whole number of at most 2**40 in size; use Float for others")
    return int(value)
