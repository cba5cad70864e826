"""Real numbers: `Float`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError
from lamarck.space._axis import Axis
from lamarck.space._numbers import as_float, check_range, checked_init, column, number, plain, shifted
from lamarck.space.parameter import Parameter, checked_condition, checked_factor, checked_place, checked_places, refused

__all__ = ["Float"]

_LARGEST = 1e300  # twice a range must not overflow


@final
@dataclass(frozen=True, slots=True, repr=False)
class Float(Parameter):
    """A real number, uniform on a linear or logarithmic scale.

    Args:
        low: Lower bound, allowed itself.
        high: Upper bound, allowed itself; above ``low``.
        log: Whether the scale is logarithmic, which needs ``low`` above 0. Right for whatever is tuned by factors: learning rates, decay.
        init: Range ``(low, high)`` within the bounds from which the first population is drawn; the two may be equal. ``None``, the default, is
            all of it.
        bounds: What happens to a number outside: ``"reflect"``, the default, mirrors it at the bound on the scale; ``"clip"`` moves it there.
        when: Condition; see `Parameter`.

    Raises:
        SpaceError: If a bound is not finite or larger than 1e300 in size, ``low >= high``, ``log`` with ``low <= 0``, or ``init`` out of range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> lr = Float(1e-5, 1e-1, log=True)
        >>> round(lr.to_unit(1e-3), 9), lr.contains(1.0)
        (0.5, False)
        >>> round(lr.perturb(0.01, 1.25, rng), 9), round(lr.perturb(0.1, 1.25, rng), 9)
        (0.0125, 0.08)
    """

    kind: ClassVar[str] = "float"

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    init: tuple[float, float] | None = None
    bounds: Literal["reflect", "clip"] = "reflect"
    when: Mapping[str, Any] | None = field(default=None, hash=False)
    _axis: Axis = field(init=False, compare=False)
    _first: Axis = field(init=False, compare=False)

    def __post_init__(self) -> None:
        low, high = (_checked_float(name, getattr(self, name)) for name in ("low", "high"))
        check_range(self, low, high)
        init = checked_init(self, low, high, _checked_float)
        first, last = init or (low, high)
        condition = checked_condition(self.when)
        axes = {"_axis": Axis(low, high, self.log), "_first": Axis(first, last, self.log)}
        for name, value in ({"low": low, "high": high, "init": init, "when": condition} | axes).items():
            object.__setattr__(self, name, value)

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        return f"a number from {self.low!r} to {self.high!r}"

    def contains(self, value: object) -> bool:
        """Returns whether a value is a number within the bounds; a whole number counts, a ``bool`` does not."""
        return isinstance(value, (float, int)) and not isinstance(value, bool) and self.low <= value <= self.high

    def clip(self, value: Any) -> float:
        """Returns a number brought into the range by the bounds rule; one that is inside stays exactly as it is.

        Raises:
            SpaceError: If the value is NaN or not a number.

        Example:
            >>> Float(0.0, 1.0).clip(1.25), Float(0.0, 1.0, bounds="clip").clip(1.25)
            (0.75, 1.0)
        """
        x = number(self, value)
        if self.low <= x <= self.high:
            return x
        t = self._axis.coordinate(x)
        return self._axis.back(self._axis.reflect(t) if self.bounds == "reflect" else t)

    def to_unit(self, value: float) -> float:
        """Returns how far along the scale an allowed number lies, 0 to 1.

        Raises:
            SpaceError: If the number is not allowed.
        """
        if not self.contains(value):
            raise refused(self, value)
        return self._axis.fraction(value)

    def from_unit(self, u: float, *, initial: bool = False) -> float:
        """Returns the number at a place on the scale.

        Args:
            u: Place, 0 to 1; the ends give the bounds exactly.
            initial: Whether the scale runs over the initial range.

        Raises:
            SpaceError: If the place lies outside.
        """
        return (self._first if initial else self._axis).at(checked_place(u))

    def perturb(self, value: float, factor: float, rng: np.random.Generator) -> float:
        """Returns the number times the factor, brought into the range.

        A factor cannot leave 0, and pulls towards 0 where a range has both signs. So a value of exactly 0, and every value of a range that
        crosses 0, moves by ``(factor - 1) * (high - low) / 2`` instead.

        Args:
            value: An allowed number.
            factor: Finite, above 0.
            rng: Not used.

        Raises:
            SpaceError: If the factor is not a positive finite number, or the value is NaN.

        Example:
            >>> import numpy as np
            >>> rng = np.random.default_rng(0)
            >>> Float(0.0, 1.0).perturb(0.0, 1.5, rng), Float(-1.0, 1.0).perturb(0.5, 0.75, rng)
            (0.25, 0.25)
        """
        checked_factor(factor)
        additive = value == 0 or self.low < 0 < self.high
        moved = value + (factor - 1) * (self.high - self.low) / 2 if additive else value * factor
        return self.clip(moved)

    def noise(self, value: float, sd: float, rng: np.random.Generator) -> float:
        """Returns the number plus Gaussian noise, brought into the range.

        Args:
            value: An allowed number.
            sd: Standard deviation, at least 0: in the number's own units, or in natural-log units on a logarithmic scale.
            rng: Source of the noise; one number is taken.

        Raises:
            SpaceError: If ``sd`` is negative or not finite, or the value is not a number.
        """
        return self.clip(shifted(self, value, sd, rng))

    def to_units(self, values: Sequence[float]) -> NDArray[np.float64]:
        """Does `to_unit` for N numbers: ``float64[N]``."""
        return self._axis.fraction_all(column(self, values))

    def from_units(self, u: NDArray[np.float64]) -> list[float]:
        """Does `from_unit` for ``float64[N]``; the last bit may differ from it."""
        values: list[float] = self._axis.at_all(checked_places(u)).tolist()
        return values

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values.

        Example:
            >>> Float(1e-5, 0.1, log=True).to_dict()
            {'type': 'float', 'low': 1e-05, 'high': 0.1, 'log': True}
        """
        return plain(self)


def _checked_float(name: str, value: Any) -> float:
    x = as_float(value)
    if not abs(x) <= _LARGEST:
        raise SpaceError(f"{name}: got {value!r}; it must be a number of at most {_LARGEST} in size")
    return x
