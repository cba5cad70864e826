"""One population on many seeds, and what can be said about its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError
from lamarck.demos.toy import Toy
from lamarck.exploit import Never
from lamarck.history import History
from lamarck.runs import run
from lamarck.space import Space
from lamarck.types import Exploit, Explore, HParams

__all__ = ["Case", "Outcome", "measure"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of a table: a toy, and a way of training a population on it.

    Args:
        name: What the line says.
        toy: What is trained.
        space: Hyperparameters.
        initial: Configuration that each member starts with; as many as there are members.
        exploit: Who copies whom.
        explore: What changes afterwards.
        interval: Steps between two decisions.
        steps: Steps that each member trains.
    """

    name: str
    toy: Toy
    space: Space
    initial: Sequence[HParams]
    exploit: Exploit
    explore: Explore
    interval: int
    steps: int

    def run(self, seed: int) -> History:
        """Trains one population, in memory."""
        return run(
            self.toy.train,
            self.space,
            population_size=len(self.initial),
            initial=self.initial,
            interval=self.interval,
            steps=self.steps,
            exploit=self.exploit,
            explore=self.explore,
            seed=seed,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case.

    Args:
        case: The case.
        values: ``float64[seeds, generations]``: value of the best member at each ready point.
        copies: ``int64[seeds]``: how often a member copied another.
        shown: The run with seed 0, to draw.
    """

    case: Case
    values: NDArray[np.float64]
    copies: NDArray[np.int64]
    shown: History

    @property
    def best(self) -> NDArray[np.float64]:
        """``float64[seeds]``: value of the best member at the end."""
        return self.values[:, -1]

    @property
    def halfway(self) -> NDArray[np.float64]:
        """``float64[seeds]``: value of the best member at the last ready point of the first half."""
        return self.values[:, max(0, self.values.shape[1] // 2 - 1)]


def measure(case: Case, seeds: int, on_run: Callable[[], object] = lambda: None) -> Outcome:
    """Trains one population for each seed from 0.

    Where nobody ever copies or explores (`Never`) nothing is random, since the first configurations are given and training has no randomness:
    there one run stands for all seeds.

    Args:
        case: How.
        seeds: How many seeds, at least 2.
        on_run: Called after each run.

    Raises:
        SettingsError: If there are fewer than two seeds.
    """
    if seeds < 2:
        raise SettingsError(f"seeds: got {seeds!r}; it must be a whole number of at least 2, since one run says nothing about the spread")
    shown = case.run(0)
    values, copies = np.tile(_best(shown), (seeds, 1)), np.full(seeds, len(shown.copies))
    on_run()
    for seed in range(1, seeds):
        if not isinstance(case.exploit, Never):
            history = case.run(seed)
            values[seed], copies[seed] = _best(history), len(history.copies)
        on_run()
    return Outcome(case=case, values=values, copies=copies, shown=shown)


def _best(history: History) -> NDArray[np.float64]:
    """The best value of each generation; a synchronous run has its records in the order of generations."""
    values = np.array([record.value for record in history.records]).reshape(-1, history.settings.population_size)
    return np.asarray(values.max(axis=1))
