"""What a user gives to the vectorised engine: how a stack of members begins, trains, is judged, and moves."""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import TrainingError
from lamarck.checkpoints.rows import row_of, stacked
from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.training import ActiveInterval, Worker
from lamarck.types import Interval

__all__ = ["VectorTask", "trained"]

S = TypeVar("S")


class VectorTask(abc.ABC, Generic[S]):
    """A training task on a *stack*: the states of n members as one thing, usually arrays or tensors ``[n, ...]``.

    The engine owns one stack at a time and hands it from verb to verb; what it has given away it never looks at again, so `fit` and `scatter`
    may work in place. A stack never knows which members are in it: they arrive with the intervals, and n may differ from call to call.

    What member i becomes must not depend on who else is in the stack, but for rounding. Whatever is random comes from ``intervals.seeds``.

    A task is also a training function for every other engine: there it trains stacks of one. That is how a task is tested: the decisions of
    ``engine="inline"`` and of `Vectorised` must be the same.

    Example:
        Numbers that shrink at rates of their own:

        >>> import numpy as np
        >>> import lamarck as lk
        >>> class Shrink(VectorTask):
        ...     def init(self, seeds):
        ...         return np.ones(len(seeds))
        ...     def fit(self, state, intervals):
        ...         return state * (1 - intervals.hparams["rate"]) ** intervals.steps
        ...     def evaluate(self, state, intervals):
        ...         return lk.Scores(values=state)
        ...     def gather(self, state, rows):
        ...         return state[rows]
        ...     def scatter(self, state, rows, part):
        ...         state[rows] = part
        ...         return state
        ...     def save(self, state):
        ...         return {"x": state}
        ...     def load(self, saved):
        ...         return saved["x"]
        >>> space = lk.Space(rate=lk.Float(0.01, 0.5, log=True))
        >>> history = lk.run(Shrink(), space, population_size=64, interval=5, steps=20, mode="min", engine=lk.Vectorised())
        >>> history.best.value < 1e-4
        True
    """

    @abc.abstractmethod
    def init(self, seeds: NDArray[np.int64]) -> S:
        """Returns a stack of members that begin from nothing.

        Args:
            seeds: ``int64[n]``; each member's own seed.
        """

    @abc.abstractmethod
    def fit(self, state: S, intervals: Intervals) -> S:
        """Trains every row for ``intervals.steps`` steps and returns the stack. It may work in place.

        Args:
            state: The stack.
            intervals: What each row is to do, as columns.
        """

    @abc.abstractmethod
    def evaluate(self, state: S, intervals: Intervals) -> Scores:
        """Says how good each row is, without changing the stack.

        Args:
            state: The stack.
            intervals: The intervals that were just trained.
        """

    @abc.abstractmethod
    def gather(self, state: S, rows: NDArray[np.int64]) -> S:
        """Returns a new stack whose row j is a copy of row ``rows[j]``; rows may be left out and repeated. On the device, without the host.

        Args:
            state: The stack.
            rows: ``int64[m]``.
        """

    @abc.abstractmethod
    def scatter(self, state: S, rows: NDArray[np.int64], part: S) -> S:
        """Puts the rows of another stack into this one and returns it: row ``rows[j]`` becomes row j of the part. It may work in place.

        Args:
            state: The stack.
            rows: ``int64[m]``, without repetition.
            part: A stack of m rows.
        """

    @abc.abstractmethod
    def save(self, state: S) -> Any:
        """Returns the stack as a state that a checkpoint can hold, with the members along the first axis of every array.

        Containers are dictionaries, lists and tuples; arrays are NumPy's or PyTorch's. Memory may be shared. A row of it is what
        `lamarck.load` returns for a member.

        Args:
            state: The stack.
        """

    @abc.abstractmethod
    def load(self, saved: Any) -> S:
        """Returns the stack that was saved.

        Args:
            saved: What `save` returned, as it came back from a checkpoint: on the CPU, and with memory of its own.
        """

    def expect(self, steps: int) -> None:
        """Is told once, before anything is trained, how many steps there are to train, for what pays only if there are many.

        Args:
            steps: Steps of each member, from where the run stands to its end, times the stacks that take turns in one process.
        """
        return

    def done(self) -> None:
        """Is told once, after everything else, that the run is over, so that worker processes and the like can go."""
        return

    def processes(self, members: int) -> int:
        """Returns how many processes to split a population over, where the engine is not told: 1, this one, unless a task knows better.

        Args:
            members: Size of the population.
        """
        return 1

    def members_per_chunk(self, members: int) -> int:
        """Returns how many members may train at once, where the engine is not told: all, unless a task knows better.

        Args:
            members: How many there are in a process.
        """
        return members

    def __call__(self, worker: Worker) -> None:
        """Trains one member after the other: what the engines that know nothing of stacks call."""
        state = self.init(np.zeros(1, dtype=np.int64))

        def load(saved: Any) -> None:
            nonlocal state
            state = self.load(stacked([saved]))

        def fresh(seed: int) -> None:
            nonlocal state
            state = self.init(np.array([seed]))

        worker.track(state=(lambda: row_of(self.save(state), 0), load))
        worker.on_fresh(fresh)
        try:
            for interval in worker:
                one = Intervals.of([_plain(interval)])
                state, judged = trained(self, state, one)
                scores = judged.row(0)
                interval.report(scores["value"], samples=scores["samples"], metrics=scores["metrics"])
        finally:
            self.done()


def trained(task: VectorTask[S], state: S, intervals: Intervals) -> tuple[S, Scores]:
    """Trains and judges a stack.

    Args:
        task: The task.
        state: The stack.
        intervals: What its rows do.

    Raises:
        TrainingError: If the task does not return a stack, and scores for all of it.
    """
    state = task.fit(state, intervals)
    if state is None:
        raise TrainingError("fit returned None; it must return the stack, also if it worked in place")
    scores = task.evaluate(state, intervals)
    if not isinstance(scores, Scores):
        raise TrainingError(f"evaluate returned {_called(scores)}; it must return lamarck.Scores(values=...), with a number for each member")
    if len(scores) != len(intervals):
        raise TrainingError(f"evaluate returned {len(scores)} values for {len(intervals)} members; it must return one for each")
    return state, scores


def _called(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _plain(interval: ActiveInterval) -> Interval:
    return Interval(
        member=interval.member,
        generation=interval.generation,
        hparams=interval.hparams,
        start=interval.start,
        until=interval.until,
        restore=None,
        parent=interval.parent,
        seed=interval.seed,
    )
