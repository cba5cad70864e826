"""What all that train interval by interval have in common."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import TrainingError

__all__ = ["Order", "check_start"]


def check_start(steps: range, step: int) -> None:
    """Raises `TrainingError` unless a member stands where its interval begins.

    Args:
        steps: The interval's steps.
        step: Steps done so far.

    Example:
        >>> check_start(range(500, 1000), 500)
        >>> check_start(range(500, 1000), 0)
        Traceback (most recent call last):
            ...
        lamarck._errors.TrainingError: the interval begins at step 500, and what is to be trained stands at 0: track it, with worker.track, and
        ...
    """
    if steps.start != step:
        raise TrainingError(
            f"the interval begins at step {steps.start}, and what is to be trained stands at {step}: track it, with worker.track, and train "
            "interval.steps, once in each interval"
        )


@final
class Order:
    """Which examples each batch of a run has: every epoch is a random order of its own, and its last batch may be smaller.

    Args:
        count: Examples in an epoch.
        size: How many of them make a batch.
        seed: Decides the orders.

    Example:
        >>> order = Order(5, 2, seed=0)
        >>> sorted(order[0].tolist() + order[1].tolist() + order[2].tolist()), len(order[5])
        ([0, 1, 2, 3, 4], 1)
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        self._count, self._size, self._seed = count, size, seed
        self._known: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, step: int) -> NDArray[np.int64]:
        """Returns the examples of a batch, by its number in the whole run."""
        epoch, batch = divmod(step, -(-self._count // self._size))
        known = self._known  # another thread may ask, too
        if known is None or known[0] != epoch:
            known = self._known = epoch, np.random.default_rng((self._seed, epoch)).permutation(self._count)
        return known[1][batch * self._size : (batch + 1) * self._size]
