"""What every hyperparameter can do."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError

__all__ = ["Parameter"]

_SCALARS = (bool, int, float, str, type(None))


class Parameter(abc.ABC):
    """One hyperparameter: its range, its scale, and how it moves.

    The final classes are `Float`, `Int`, `Categorical` and `Constant`: frozen, comparable, validated when built. Values are plain Python
    values, never NumPy scalars. A ``bool`` is not a number here.

    Args:
        when: The condition under which the hyperparameter exists: names of others with the value, or the values, that they must have, all of
            them. ``None``, the default, is always.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """What the class is called in plain dictionaries."""

    when: Mapping[str, tuple[Any, ...]] | None

    @property
    @abc.abstractmethod
    def allowed(self) -> str:
        """What values are allowed, in words, for messages."""

    @abc.abstractmethod
    def contains(self, value: object) -> bool:
        """Returns whether a value is allowed."""

    @abc.abstractmethod
    def clip(self, value: Any) -> Any:
        """Returns the value brought into the range by the bounds rule, as a plain Python value.

        Raises:
            SpaceError: If there is no way to bring it in: NaN, or a value of another type.
        """

    @abc.abstractmethod
    def to_unit(self, value: Any) -> float:
        """Returns the place of an allowed value in the unit interval; for discrete values the centre of their cell.

        Raises:
            SpaceError: If the value is not allowed.
        """

    @abc.abstractmethod
    def from_unit(self, u: float, *, initial: bool = False) -> Any:
        """Returns the value at a place in the unit interval; a uniform place gives a draw from the prior.

        Args:
            u: Place, 0 to 1.
            initial: Whether the interval stands for the initial range instead of the allowed one.

        Raises:
            SpaceError: If the place lies outside.
        """

    @abc.abstractmethod
    def perturb(self, value: Any, factor: float, rng: np.random.Generator) -> Any:
        """Returns the value moved by a factor.

        Args:
            value: An allowed value.
            factor: Above 0 and finite; above 1 is up, below 1 is down, 1 stays.
            rng: For values without an order.

        Raises:
            SpaceError: If the factor is not a positive finite number, or the value cannot be moved.
        """

    @abc.abstractmethod
    def noise(self, value: Any, sd: float, rng: np.random.Generator) -> Any:
        """Returns the value with Gaussian noise added.

        Args:
            value: An allowed value.
            sd: Standard deviation, at least 0 and finite: in the hyperparameter's own units; in natural-log units on a logarithmic scale; in
                positions for ordered choices. Unordered choices and constants stay.
            rng: Source of the noise.

        Raises:
            SpaceError: If ``sd`` is negative or not finite.
        """

    @abc.abstractmethod
    def to_units(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Does `to_unit` for N values at once: ``float64[N]``."""

    @abc.abstractmethod
    def from_units(self, u: NDArray[np.float64]) -> list[Any]:
        """Does `from_unit` for ``float64[N]`` at once."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values: the type, the range, and what differs from the defaults."""

    def sample(self, rng: np.random.Generator, initial: bool = False) -> Any:
        """Draws a value: uniform on the scale.

        Args:
            rng: Source of the draw; one number is taken.
            initial: Whether to draw from the initial range instead of the allowed one.
        """
        return self.from_unit(rng.random(), initial=initial)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items() if name != "type")
        return f"{type(self).__name__}({fields})"


def is_scalar(value: object) -> bool:
    """Whether a value may stand in a configuration: plain, and finite if it is a number."""
    return isinstance(value, _SCALARS) and not (isinstance(value, float) and not math.isfinite(value))


def bare(value: Any) -> Any:
    """A NumPy scalar as the plain value that it holds; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def checked_condition(when: object) -> dict[str, tuple[Any, ...]] | None:
    """A condition with its values as tuples."""
    if when is None:
        return None
    if not isinstance(when, Mapping) or not when:
        raise SpaceError(f"when: got {when!r}; it must name other hyperparameters and their values, e.g. {{'optimizer': 'sgd'}}")
    condition = {}
    for name, values in when.items():
        chosen = tuple(map(bare, values)) if isinstance(values, (list, tuple)) else (bare(values),)
        if not chosen or not all(map(is_scalar, chosen)):
            raise SpaceError(f"when: got {name!r}: {values!r}; it must be a value, or a tuple of values, of the hyperparameter {name!r}")
        condition[name] = chosen
    return condition


def checked_factor(factor: float) -> float:
    """A factor that can be multiplied with."""
    if not 0 < factor < math.inf:
        raise SpaceError(f"factor: got {factor!r}; it must be a finite number above 0, e.g. 0.8 or 1.25")
    return factor


def checked_sd(sd: float) -> float:
    """A standard deviation."""
    if not 0 <= sd < math.inf:
        raise SpaceError(f"sd: got {sd!r}; it must be a finite number of at least 0")
    return sd


def checked_place(u: float) -> float:
    """A place in the unit interval."""
    if not 0 <= u <= 1:
        raise SpaceError(f"unit value: got {u!r}; it must lie between 0 and 1; clip it first")
    return u


def checked_places(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in the unit interval."""
    outside = u[~((u >= 0) & (u <= 1))]
    if outside.size:
        checked_place(float(outside[0]))
    return u


def refused(parameter: Parameter, value: object) -> SpaceError:
    """The error for a value that is not allowed."""
    return SpaceError(f"got {value!r}; allowed is {parameter.allowed}")
