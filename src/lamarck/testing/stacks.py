"""The laws' training functions as a stack: the same numbers, to the last bit, for many members at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from lamarck.engines.vectorised import Intervals, Scores, VectorTask

__all__ = ["StackedNumbers"]

_LONGEST = 64
"""Generations for which a member can write down what it was told."""

_Stack = dict[str, NDArray[np.float64]]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StackedNumbers(VectorTask[_Stack]):
    """Shrinks a number for each member at its rate ``h``, and writes down what each was told.

    Args:
        noise: Standard deviation of the noise in each step.
        fault: What goes wrong in generation 1: odd members raise once, or member 0 becomes NaN for good.

    Example:
        >>> import numpy as np
        >>> task = StackedNumbers()
        >>> task.gather(task.init(np.array([1, 2])), np.array([0, 0, 1]))["x"].shape
        (3,)
    """

    noise: float = 0.01
    fault: Literal["raises", "nan"] | None = None

    def init(self, seeds: NDArray[np.int64]) -> _Stack:
        """Returns numbers that begin at 5."""
        return {"x": np.full(len(seeds), 5.0), "log": np.zeros((len(seeds), _LONGEST, 4)), "told": np.zeros(len(seeds))}

    def fit(self, state: _Stack, intervals: Intervals) -> _Stack:
        """Shrinks in place."""
        x, h, rows = state["x"], intervals.hparams["h"], np.arange(len(intervals))
        if self.fault is None:
            noise = np.stack([np.random.default_rng(seed).normal(0.0, self.noise, intervals.steps) for seed in intervals.seeds.tolist()])
            for step in range(intervals.steps):
                x *= 1 - 0.1 * h
                x += noise[:, step]
        else:
            x *= 1 - 0.1 * h
        told = np.stack([intervals.members, intervals.generations, h, intervals.seeds], axis=1)
        state["log"][rows, state["told"].astype(int)] = told
        state["told"] += 1
        if self.fault == "nan":
            x[(intervals.members == 0) & (intervals.generations == 1)] = np.nan
        if self.fault == "raises":
            self._raise_once(x, intervals)
        return state

    def _raise_once(self, x: NDArray[np.float64], intervals: Intervals) -> None:
        """Raises until every odd member has been alone when it did."""
        for member, generation in zip(intervals.members.tolist(), intervals.generations.tolist(), strict=True):
            marker = Path(f"raised-{member}-{generation}")
            if member % 2 and generation == 1 and not marker.exists():
                if len(intervals) == 1:
                    marker.touch()
                x[:] = np.nan  # half-trained weights that nobody must ever see again
                raise RuntimeError("this interval fails once")

    def evaluate(self, state: _Stack, intervals: Intervals) -> Scores:
        """Judges by how near to zero the numbers are."""
        return Scores(values=-np.abs(state["x"]))

    def gather(self, state: _Stack, rows: NDArray[np.int64]) -> _Stack:
        """Copies rows."""
        return {name: column[rows] for name, column in state.items()}

    def scatter(self, state: _Stack, rows: NDArray[np.int64], part: _Stack) -> _Stack:
        """Puts rows in, in place."""
        for name, column in part.items():
            state[name][rows] = column
        return state

    def save(self, state: _Stack) -> _Stack:
        """Returns the columns as they are."""
        return state

    def load(self, saved: _Stack) -> _Stack:
        """Takes the columns over."""
        return saved

    @staticmethod
    def written(saved: Any) -> tuple[float, list[list[float]]]:
        """Reads a member's number, and what it wrote down, from its checkpoint."""
        state = saved["state"]
        return float(state["x"]), state["log"][: int(state["told"])].tolist()
