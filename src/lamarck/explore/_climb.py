"""Going uphill within bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["climb"]

_Array = NDArray[np.float64]


def climb(
    function: Callable[[_Array], tuple[float, _Array]], start: _Array, low: _Array, high: _Array, *, steps: int = 60, tolerance: float = 1e-4
) -> tuple[float, _Array]:
    """Finds a local maximum of a smooth function in a box, by projected BFGS.

    Each step goes along the quasi-Newton direction in those coordinates that do not press against a bound, clipped into the box, and is halved
    until the function rises enough (Armijo; Bertsekas 1982, "Projected Newton Methods for Optimization Problems with Simple Constraints").

    Args:
        function: ``float64[D]`` -> value and gradient.
        start: Where to begin; clipped into the box.
        low: Lower bounds.
        high: Upper bounds.
        steps: How many at most.
        tolerance: The slope of every free coordinate at which it stops, and the gain of a step.

    Returns:
        The value, and where it is.

    Example:
        >>> import numpy as np
        >>> value, place = climb(lambda x: (-float(x @ x), -2 * x), np.array([3.0, 3.0]), np.array([1.0, -5.0]), np.array([5.0, 5.0]))
        >>> round(value, 6), place.round(6).tolist()
        (-1.0, [1.0, 0.0])
    """
    place = np.clip(start, low, high)
    value, slope = function(place)
    curvature, plain = np.eye(len(place)), True
    for _ in range(steps):
        free = np.flatnonzero(~((place <= low) & (slope < 0) | (place >= high) & (slope > 0)))
        if np.abs(slope[free]).max(initial=0.0) < tolerance:
            break
        direction = np.zeros(len(place))
        direction[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        direction *= min(1.0, float((0.5 * (high - low) / np.maximum(np.abs(direction), 1e-300)).min()))  # half the box at most
        for halved in range(25):
            there = np.clip(place + 0.5**halved * direction, low, high)
            reached, steepness = function(there)
            if reached >= value + 1e-4 * (slope @ (there - place)):
                break
        else:
            there, reached, steepness = place, value, slope
        moved, bent, gained = there - place, slope - steepness, reached - value
        place, value, slope = there, reached, steepness
        if gained < 1e-2 * tolerance:  # what was learnt of the curvature may be wrong: once more without
            if plain:
                break
            curvature, plain = np.eye(len(place)), True
        elif moved @ bent > 1e-12:
            along = curvature @ moved
            curvature, plain = curvature - np.outer(along, along) / (moved @ along) + np.outer(bent, bent) / (moved @ bent), False
    return value, place
