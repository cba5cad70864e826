"""The toy of the paper's Figure 2: two weights, a score that nobody may differentiate, and a surrogate that hyperparameters bend.

The score is ``Q(theta) = 1.2 - sum_i c_i theta_i**2``. Training climbs the surrogate ``1.2 - sum_i c_i h_i theta_i**2`` instead, so a
hyperparameter of 0 makes training blind to its weight: a member with ``h = (1, 0)`` can learn only the first, one with ``(0, 1)`` only the
second, and neither gets further alone than ``1.2 - 0.81 = 0.39``.

Training has no randomness of its own. That is why `tracks` can draw every weight at every step from the history alone: who went on from whose
weights, and with which hyperparameters, is all there is to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError
from lamarck.history import History
from lamarck.training import Worker
from lamarck.types import Key

__all__ = ["OPTIMUM", "START", "Toy", "Track", "tracks"]

OPTIMUM = 1.2
"""The highest score there is, at ``theta = (0, 0)``."""

START = (0.9, 0.9)
"""Where all members begin."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """One version of the toy.

    Args:
        curvature: ``c``, both above 0: (1, 1) in the paper's figure.
        surrogate: ``"linear"``, the paper's ``h theta**2``, or ``"squared"``, ``(h theta)**2``, which some scripts use: there a small
            hyperparameter does next to nothing.
        lr: Step of gradient ascent, unless the hyperparameters hold an ``lr`` of their own.

    Raises:
        SettingsError: If the surrogate is unknown.

    References:
        Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv 1711.09846, Figure 2.

    Example:
        >>> import numpy as np
        >>> toy = Toy()
        >>> theta = np.array(START)
        >>> toy.ascend(theta, {"h0": 1.0, "h1": 0.0}, steps=200)
        >>> round(toy.value(theta), 5), round(1.2 - 0.81 - 0.81 * 0.98**400, 5)
        (0.38975, 0.38975)
    """

    curvature: tuple[float, float] = (1.0, 1.0)
    surrogate: Literal["linear", "squared"] = "linear"
    lr: float = 0.01

    def __post_init__(self) -> None:
        if self.surrogate not in ("linear", "squared"):
            raise SettingsError(f"surrogate: got {self.surrogate!r}; it must be 'linear' (h theta^2, the paper's) or 'squared' ((h theta)^2)")

    def value(self, theta: NDArray[np.float64]) -> float:
        """Returns the score of ``theta``, ``float64[2]``."""
        # Squares first, then their sum: two members that are each other's mirror image are tied exactly, as they are on paper.
        return float(OPTIMUM - (np.array(self.curvature) * theta**2).sum())

    def weights(self, hparams: Mapping[str, Any]) -> NDArray[np.float64]:
        """Returns what the surrogate weighs the two terms of the score with, ``float64[2]``: ``h``, or its square."""
        h = np.array([hparams["h0"], hparams["h1"]], dtype=np.float64)
        return h if self.surrogate == "linear" else h**2

    def rate(self, hparams: Mapping[str, Any]) -> float:
        """Returns the learning rate."""
        return float(hparams.get("lr", self.lr))

    def ascend(self, theta: NDArray[np.float64], hparams: Mapping[str, Any], steps: int) -> None:
        """Climbs the surrogate, in place.

        Args:
            theta: ``float64[2]``.
            hparams: ``h0``, ``h1``, and perhaps ``lr``.
            steps: How many steps.
        """
        slope, lr = -2.0 * np.array(self.curvature) * self.weights(hparams), self.rate(hparams)
        for _ in range(steps):
            theta += lr * (slope * theta)

    def train(self, worker: Worker) -> None:
        """Trains members of a population: the training function that `lamarck.run` takes."""
        theta = np.array(START)
        worker.track(theta=theta)
        for interval in worker:
            self.ascend(theta, interval.hparams, len(interval.steps))
            interval.report(self.value(theta), metrics={"theta0": theta[0], "theta1": theta[1]})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What one interval of a member did to its weights.

    Args:
        member: Whose interval.
        start: Step at which it began.
        copied: Whether it began with another member's weights.
        theta: ``float64[interval + 1, 2]``: the weights before the first step and after each.
        value: ``float64[interval + 1]``: their scores.
    """

    member: int
    start: int
    copied: bool
    theta: NDArray[np.float64]
    value: NDArray[np.float64]


def tracks(toy: Toy, history: History) -> list[Track]:
    """Follows the weights of everybody, step by step.

    Args:
        toy: What was trained.
        history: What came of it.

    Returns:
        One track for each report, in the order of acknowledgement.
    """
    made: dict[Key, Track] = {}
    for record in history.records:
        start = 0 if record.parent is None else history[record.parent].step
        theta = np.array(START) if record.parent is None else made[record.parent].theta[-1].copy()
        walked = [theta.copy()]
        for _ in range(record.step - start):
            toy.ascend(theta, record.hparams, steps=1)
            walked.append(theta.copy())
        made[record.key] = Track(
            member=record.member,
            start=start,
            copied=record.parent is not None and record.parent[0] != record.member,
            theta=np.array(walked),
            value=np.array([toy.value(place) for place in walked]),
        )
    return list(made.values())
