"""One stack on one device: where its rows come from, and what is done with them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.engines.vectorised.task import VectorTask, trained

__all__ = ["Answer", "Gone", "Held", "Host", "Layout", "Saved", "Stack", "here"]

Answer = Callable[[], Any]
"""What was asked for, when it is needed; raises what went wrong."""

Host = Callable[[str, Any], Answer]
"""Passes a verb of `Stack` and its argument on to a stack, wherever that is."""


class Gone(RuntimeError):
    """The weights of a stack are gone, with the process that held them."""


class Saved(abc.ABC):
    """The saved form of some rows, wherever it is."""

    __slots__ = ()

    @abc.abstractmethod
    def open(self) -> Any:
        """Returns what `VectorTask.save` returned."""


@final
@dataclass(frozen=True, slots=True)
class Held(Saved):
    """A saved form in this process.

    Args:
        state: The saved form.
    """

    state: Any

    def open(self) -> Any:
        """Returns it."""
        return self.state


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the rows of a stack come from, before an interval.

    Args:
        seeds: ``int64[n]``; one for each row.
        copies: Row from which each row is copied, -1 where it comes from elsewhere.
        fresh: Rows that begin from nothing.
        brought: Rows and what to put into them.
    """

    seeds: NDArray[np.int64]
    copies: NDArray[np.int64]
    fresh: NDArray[np.int64]
    brought: Sequence[tuple[NDArray[np.int64], Saved]] = field(default=())


@final
class Stack:
    """Holds a task's state; its verbs take one argument each, so that they can be asked for from another process.

    Args:
        task: The task.
    """

    def __init__(self, task: VectorTask[Any]) -> None:
        self._task = task
        self._state: Any = None
        self._size = 0

    def arrange(self, layout: Layout) -> None:
        """Puts every row in place: copies first, all read before one is written, then what is new."""
        task, size = self._task, len(layout.seeds)
        targets = np.flatnonzero(layout.copies >= 0)
        if targets.size:
            self._check_held()
        if not targets.size:
            self._state = task.init(layout.seeds)  # what is brought is put over it
        else:
            if size != self._size:
                self._state = task.gather(self._state, np.maximum(layout.copies, 0))
            else:
                moved = targets[layout.copies[targets] != targets]
                if moved.size:
                    self._state = task.scatter(self._state, moved, task.gather(self._state, layout.copies[moved]))
            if layout.fresh.size:
                self._state = task.scatter(self._state, layout.fresh, task.init(layout.seeds[layout.fresh]))
        for rows, saved in layout.brought:
            self._state = task.scatter(self._state, rows, task.load(saved.open()))
        self._size = size

    def fit(self, intervals: Intervals) -> Scores:
        """Trains all rows and judges them.

        Raises:
            TrainingError: If the task answers with something else than it should.
        """
        self._check_held()
        state, self._state, size, self._size = self._state, None, self._size, 0  # gone, if training raises
        state, scores = trained(self._task, state, intervals)
        self._state, self._size = state, size
        return scores

    def take(self, rows: NDArray[np.int64] | None) -> Saved:
        """Returns some rows, or all."""
        self._check_held()
        return Held(self._task.save(self._state if rows is None else self._task.gather(self._state, rows)))

    def _check_held(self) -> None:
        if self._state is None:
            raise Gone("the process that held these weights died, and a new one has taken its place")


class _Asks(Protocol):
    def __call__(self, argument: Any, /) -> Any: ...


def here(task: VectorTask[Any]) -> Host:
    """Returns a stack in this process."""
    stack = Stack(task)
    verbs: dict[str, _Asks] = {"arrange": stack.arrange, "fit": stack.fit, "take": stack.take}
    return lambda verb, argument: lambda: verbs[verb](argument)
