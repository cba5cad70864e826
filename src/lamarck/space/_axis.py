"""A closed interval on a linear or logarithmic scale: the arithmetic that numbers share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis"]


@dataclass(frozen=True, slots=True)
class Axis:
    """The interval [low, high], seen through its scale.

    A *coordinate* is the number itself on a linear axis and its natural logarithm on a logarithmic one. Distances, reflection and the unit
    interval live in coordinates, so that a factor is as large a step at one end of a logarithmic axis as at the other.

    Args:
        low: Lower end, finite; above 0 on a logarithmic axis.
        high: Upper end, at least ``low``.
        log: Whether the scale is logarithmic.

    Example:
        >>> axis = Axis(1.0, 100.0, log=True)
        >>> round(axis.at(0.5), 12)
        10.0
        >>> round(axis.back(axis.reflect(axis.coordinate(200.0))), 12)
        50.0
    """

    low: float
    high: float
    log: bool
    start: float = field(init=False)
    stop: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", math.log(self.low) if self.log else self.low)
        object.__setattr__(self, "stop", math.log(self.high) if self.log else self.high)

    def coordinate(self, x: float) -> float:
        """Returns the coordinate of a number; ``-inf`` for one that a logarithmic axis does not have."""
        if not self.log:
            return x
        return math.log(x) if x > 0 else -math.inf

    def back(self, t: float) -> float:
        """Returns the number at a coordinate, moved to the nearer end if it lies outside."""
        if t <= self.start:
            return self.low
        if t >= self.stop:
            return self.high
        return min(max(math.exp(t), self.low), self.high) if self.log else t

    def at(self, u: float) -> float:
        """Returns the number at a fraction, 0 to 1, of the way from low to high; the ends are exact."""
        return self.high if u == 1.0 else self.back(self.start + u * (self.stop - self.start))

    def fraction(self, x: float) -> float:
        """Returns how far along the way from low to high a number lies: the inverse of `at`."""
        return min(max((self.coordinate(x) - self.start) / (self.stop - self.start), 0.0), 1.0)

    def reflect(self, t: float) -> float:
        """Returns a coordinate inside, mirrored at the ends as often as it takes; an infinite one moves to the end."""
        if self.start <= t <= self.stop:
            return t
        if math.isinf(t):
            return self.start if t < 0 else self.stop
        span = self.stop - self.start
        distance = abs(t - self.start) % (2 * span)  # a mirror image at low costs nothing: distances have no sign
        return self.start + min(distance, 2 * span - distance)

    def at_all(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Does `at` for ``float64[N]``; the last bit may differ from it."""
        t = self.start + u * (self.stop - self.start)
        x = np.clip(np.exp(t) if self.log else t, self.low, self.high)
        return np.where(u == 0.0, self.low, np.where(u == 1.0, self.high, x))

    def fraction_all(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Does `fraction` for ``float64[N]`` of numbers inside."""
        return np.clip(((np.log(x) if self.log else x) - self.start) / (self.stop - self.start), 0.0, 1.0)
